#pragma once

#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// Every command, in the order of the help.
std::vector<CommandPointer> make_commands();

// One file for each.
CommandPointer make_access();
CommandPointer make_acquire();
CommandPointer make_cache();
CommandPointer make_can_join();
CommandPointer make_cleanup();
CommandPointer make_cleanup_shared();
CommandPointer make_clear();
CommandPointer make_dbinfo();
CommandPointer make_init();
CommandPointer make_hash();
CommandPointer make_history();
CommandPointer make_join_run();
CommandPointer make_leases();
CommandPointer make_list();
CommandPointer make_mark();
CommandPointer make_move();
CommandPointer make_optimize();
CommandPointer make_owed();
CommandPointer make_reconcile();
CommandPointer make_register();
CommandPointer make_release();
CommandPointer make_remove();
CommandPointer make_renew();
CommandPointer make_replay();
CommandPointer make_run();
CommandPointer make_shared();
CommandPointer make_started();
CommandPointer make_status();
CommandPointer make_unuse();
CommandPointer make_use();
CommandPointer make_verify();
CommandPointer make_watch();
CommandPointer make_workspace();

}  // namespace dbcache::cli
