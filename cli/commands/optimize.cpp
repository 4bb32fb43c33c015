#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

std::string before_and_after(std::uintmax_t before, std::uintmax_t after) {
  return bytes(before) + " before, " + bytes(after) + " after";
}

class Optimize final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"optimize", Group::cache,
            "Optimize database performance: empty the WAL, refresh the statistics",
            "dbcache optimize --vacuum"};
  }

  void declare(Arguments& arguments) override {
    arguments.flag("--vacuum", vacuum_,
                   "Also rewrite the file to its smallest size; writers wait meanwhile");
  }

  ExitCode run(Context& context) override {
    CacheManager& manager = context.manager();
    const DatabaseInfo before = manager.get_database_info();
    manager.optimize_database(vacuum_ ? Vacuum::yes : Vacuum::no);
    const DatabaseInfo after = manager.get_database_info();
    if (context.json()) {
      context.print_json({{"before", to_json(before)}, {"after", to_json(after)}});
      return ExitCode::done;
    }
    print_title(context.out(), "Optimize Database");
    print_field(context.out(), "Database Size",
                before_and_after(before.database_size, after.database_size));
    if (after.schema.empty()) {
      print_field(context.out(), "WAL Size", before_and_after(before.wal_size, after.wal_size));
    }
    print_database_note(context);
    return ExitCode::done;
  }

 private:
  bool vacuum_ = false;
};

}  // namespace

CommandPointer make_optimize() { return std::make_unique<Optimize>(); }

}  // namespace dbcache::cli
