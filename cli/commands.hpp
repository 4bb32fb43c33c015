#pragma once

#include <vector>

#include "cli/command.hpp"

namespace dbcache::cli {

/// Every command, in the order of the help.
std::vector<CommandPointer> make_commands();

// One file each.
CommandPointer make_access();
CommandPointer make_cache();
CommandPointer make_can_join();
CommandPointer make_cleanup();
CommandPointer make_cleanup_shared();
CommandPointer make_clear();
CommandPointer make_dbinfo();
CommandPointer make_hash();
CommandPointer make_history();
CommandPointer make_list();
CommandPointer make_mark();
CommandPointer make_optimize();
CommandPointer make_register();
CommandPointer make_remove();
CommandPointer make_replay();
CommandPointer make_shared();
CommandPointer make_status();
CommandPointer make_unuse();
CommandPointer make_use();
CommandPointer make_verify();

}  // namespace dbcache::cli
