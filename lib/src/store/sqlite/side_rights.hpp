#pragma once

#include <string>

#include <sys/stat.h>
#include <sys/types.h>

// A file beside the database is used by everybody who may write the database. So it takes the
// database's mode and group, or is not made at all.
namespace dbcache::store::sqlite {

/// Gives a file of this process, open or at a path, the group and the mode of the database; as root
/// its owner too, as SQLite does with its own files. False where somebody who may write the
/// database could not write this file, or more users could read it.
bool give_rights_of(const struct stat& database, int descriptor);
bool give_rights_of(const struct stat& database, const std::string& path);

/// Throws StorageFailure where this user may write the database, but could not give a file beside
/// it those rights.
void require_shareable(const std::string& path);

/// What a failure of `give_rights_of` means to a user.
[[noreturn]] void throw_not_shareable(const std::string& path);

/// The value of the kernel's fs.protected_regular (proc_sys_fs(5)).
int protected_regular();

/// Whether the kernel, with that value, lets this user open the file only without O_CREAT.
bool is_protected(const struct stat& file, const struct stat& directory, int value);

}  // namespace dbcache::store::sqlite
