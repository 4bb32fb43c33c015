#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Init final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {.name = "init",
            .group = Group::cache,
            .summary = "Create the database, or migrate it to this version",
            .example = "dbcache init",
            .notes =
                "Every command that writes does this too. Run init as the owner of a PostgreSQL "
                "schema\n"
                "whose users have no right to do it (docs/operations.md)."};
  }

  ExitCode run(Context& context) override {
    context.manager().create_database();
    const DatabaseInfo info = context.manager().get_database_info();
    if (context.json()) {
      context.print_json(to_json(info));
    } else {
      context.out() << "the database is at schema version " << info.schema_version << '\n';
    }
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_init() { return std::make_unique<Init>(); }

}  // namespace dbcache::cli
