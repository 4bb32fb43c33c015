#include "cli/commands/all.hpp"

namespace dbcache::cli {
namespace {

class Unuse final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"unuse", Group::shells, "Remove a use of a shared cluster, and print the new count",
            "dbcache unuse 5f70bf18a086007016e948b04aed3b82"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("HASH", hash_, "The config_hash, as dbcache hash prints it");
  }

  /// An unknown entry counts as unused, so that a teardown can run twice.
  ExitCode run(Context& context) override {
    const std::int64_t count = context.manager().decrement_shared_cluster_usage(hash_);
    if (context.json()) {
      context.print_json({{"config_hash", hash_}, {"usage_count", count}});
    } else {
      context.out() << count << '\n';
    }
    return ExitCode::done;
  }

 private:
  std::string hash_;
};

}  // namespace

CommandPointer make_unuse() { return std::make_unique<Unuse>(); }

}  // namespace dbcache::cli
