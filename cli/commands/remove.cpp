#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Remove final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"remove", Group::shells, "Remove a terminated cluster from the cache",
            "dbcache remove cluster-123"};
  }

  void declare(Arguments& arguments) override { arguments.required("ID", id_, "The cluster's id"); }

  ExitCode run(Context& context) override {
    const bool removed = context.manager().remove_terminated_cluster(id_);
    if (context.json()) {
      context.print_json({{"cluster_id", id_}, {"removed", removed}});
    } else if (removed) {
      context.out() << "removed " << escape(id_) << '\n';
    }
    if (removed) return ExitCode::done;
    return context.answer_no("'" + id_ + "' is not cached; dbcache list shows the cached clusters");
  }

 private:
  std::string id_;
};

}  // namespace

CommandPointer make_remove() { return std::make_unique<Remove>(); }

}  // namespace dbcache::cli
