#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Dbinfo final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"dbinfo", Group::cache, "Show database file information", "dbcache dbinfo"};
  }

  ExitCode run(Context& context) override {
    const DatabaseInfo info = context.manager().get_database_info();
    if (context.json()) {
      context.print_json(to_json(info));
      return ExitCode::done;
    }
    std::ostream& out = context.out();
    print_title(out, "Database");
    print_field(out, "Path", info.path);
    if (!info.schema.empty()) print_field(out, "Schema", info.schema);
    print_field(out, "Exists", yes_no(info.exists));
    if (!info.exists) return ExitCode::done;
    print_field(out, "Database Size", bytes(info.database_size));
    if (info.schema.empty()) {
      print_field(out, "WAL File", info.wal_exists ? bytes(info.wal_size) : "None");
      print_field(out, "Shared Memory File", info.shm_exists ? bytes(info.shm_size) : "None");
    }
    print_field(out, "Schema Version", info.schema_version);
    print_field(out, "Events", info.events);
    if (info.closed) print_field(out, "Note", *info.closed);
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_dbinfo() { return std::make_unique<Dbinfo>(); }

}  // namespace dbcache::cli
