#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Access final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"access", Group::shells, "Count an access to an active cluster",
            "dbcache access cluster-123"};
  }

  void declare(Arguments& arguments) override { arguments.required("ID", id_, "The cluster's id"); }

  ExitCode run(Context& context) override {
    const bool accessed = context.manager().update_cluster_access(id_);
    if (context.json()) {
      context.print_json({{"cluster_id", id_}, {"accessed", accessed}});
    } else if (accessed) {
      context.out() << "counted an access to " << escape(id_) << '\n';
    }
    if (accessed) return ExitCode::done;
    return context.answer_no("'" + id_ +
                             "' is not an active cluster, so nothing was counted; dbcache cache " +
                             "makes it active");
  }

 private:
  std::string id_;
};

}  // namespace

CommandPointer make_access() { return std::make_unique<Access>(); }

}  // namespace dbcache::cli
