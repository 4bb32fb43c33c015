#include "cli/commands/all.hpp"

namespace dbcache::cli {

std::vector<CommandPointer> make_commands() {
  std::vector<CommandPointer> commands;
  for (const auto make :
       {make_status,         make_list,      make_cleanup, make_clear,    make_shared,
        make_cleanup_shared, make_init,      make_dbinfo,  make_optimize, make_history,
        make_watch,          make_verify,    make_replay,  make_move,     make_run,
        make_acquire,        make_renew,     make_release, make_leases,   make_owed,
        make_workspace,      make_reconcile, make_started, make_join_run, make_hash,
        make_register,       make_can_join,  make_mark,    make_use,      make_unuse,
        make_cache,          make_access,    make_remove}) {
    commands.push_back(make());
  }
  return commands;
}

}  // namespace dbcache::cli
