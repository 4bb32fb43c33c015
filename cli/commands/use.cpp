#include "cli/commands/all.hpp"

namespace dbcache::cli {
namespace {

class Use final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"use", Group::shells, "Add a use of a shared cluster, and print the new count",
            "dbcache use 5f70bf18a086007016e948b04aed3b82"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("HASH", hash_, "The config_hash, as dbcache hash prints it");
  }

  ExitCode run(Context& context) override {
    const std::int64_t count = context.manager().increment_shared_cluster_usage(hash_);
    if (context.json()) {
      context.print_json({{"config_hash", hash_}, {"usage_count", count}});
    } else {
      context.out() << count << '\n';
    }
    if (count > 0) return ExitCode::done;
    return context.answer_no("the registry has no entry '" + hash_ +
                             "', so nothing was counted; dbcache register makes one");
  }

 private:
  std::string hash_;
};

}  // namespace

CommandPointer make_use() { return std::make_unique<Use>(); }

}  // namespace dbcache::cli
