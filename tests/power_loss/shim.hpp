#pragma once

#include <string_view>

#include "power_loss/journal.hpp"

// The calls of the C library by which files are made and changed. Linked before it, they stand in
// its place for the whole process, SQLite included: everything done below the journal's directory
// is recorded, and the kernel's boot id is read from the file that the journal names.
namespace dbcache::power_loss {

/// From here on this process, and what it forks, is recorded.
void watch(Journal& journal);

/// Records that a call has returned which promised this.
void acknowledge(std::string_view what);

/// Records that something is wrong.
void complain(std::string_view what);

}  // namespace dbcache::power_loss
