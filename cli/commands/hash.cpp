#include <dbcache/cluster.hpp>
#include <dbcache/errors.hpp>

#include "cli/commands/all.hpp"
#include "cli/config_file.hpp"

namespace dbcache::cli {
namespace {

class Hash final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"hash", Group::shells, "Print the config_hash of a configuration",
            "dbcache hash --config cluster.json --leave-out cluster_name"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("--config", "FILE", config_,
                       "The configuration, a JSON object; default: - for stdin");
    arguments.repeatable("--leave-out", "KEY", leave_out_,
                         "Leave this key out of config_hash; may be repeated");
  }

  ExitCode run(Context& context) override {
    // If a missing configuration were an empty one, a fixture that forgets it would share clusters
    // with every other such fixture.
    if (!config_ && context.terminal().in_is_terminal) {
      throw InvalidArgument("hash needs a configuration; give --config FILE, or pass it on stdin");
    }
    const std::string hash = config_hash(read_config(context.terminal(), config_.value_or("-")),
                                         {.leave_out = leave_out_});
    if (context.json()) {
      context.print_json({{"config_hash", hash}});
    } else {
      context.out() << hash << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::optional<std::string> config_;
  std::vector<std::string> leave_out_;
};

}  // namespace

CommandPointer make_hash() { return std::make_unique<Hash>(); }

}  // namespace dbcache::cli
