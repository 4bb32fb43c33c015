#include "cli/commands.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Cleanup final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"cleanup", Group::cache, "Clean up expired clusters", "dbcache cleanup"};
  }

  ExitCode run(Context& context) override {
    const auto removed = static_cast<std::int64_t>(context.manager().cleanup_expired_clusters());
    if (context.json()) {
      context.print_json({{"removed", removed}});
      return ExitCode::done;
    }
    print_title(context.out(), "Clean Up Expired Clusters");
    print_field(context.out(), "Removed Clusters", removed);
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_cleanup() { return std::make_unique<Cleanup>(); }

}  // namespace dbcache::cli
