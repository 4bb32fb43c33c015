#include "cli/commands/all.hpp"

namespace dbcache::cli {
namespace {

class CanJoin final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"can-join", Group::shells,
            "Answer whether a configuration's cluster is creating or ready: yes or no",
            "dbcache can-join 5f70bf18a086007016e948b04aed3b82"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("HASH", hash_, "The config_hash, as dbcache hash prints it");
  }

  ExitCode run(Context& context) override {
    const bool can_join = context.manager().can_join_shared_cluster_creation(hash_);
    if (context.json()) {
      context.print_json({{"config_hash", hash_}, {"can_join", can_join}});
    } else {
      context.out() << (can_join ? "yes" : "no") << '\n';
    }
    return can_join ? ExitCode::done : ExitCode::no;
  }

 private:
  std::string hash_;
};

}  // namespace

CommandPointer make_can_join() { return std::make_unique<CanJoin>(); }

}  // namespace dbcache::cli
