#pragma once

#include <string>

#include "store/sqlite/files.hpp"

// The files beside a database belong to one name of it. By another name the same file would have
// other locks and another WAL.
namespace dbcache::store::sqlite {

/// For a database with several hard links. Throws StorageFailure unless its files lie beside this
/// one: SharedState notes where they do.
void require_own_side_files(const std::string& path, const FileIdentity& file);

/// Throws StorageFailure where the database is mounted by itself, without its directory.
void refuse_mounted_file(const std::string& path);

/// Whether this text of /proc/self/mountinfo (proc(5)) lists something that is mounted at `path`.
bool lists_mount(const std::string& mountinfo, const std::string& path);

}  // namespace dbcache::store::sqlite
