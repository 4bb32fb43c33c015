#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace dbcache::store::sqlite {

/// What is appended to the database's path for the files that dbcache keeps beside it.
inline constexpr const char* turn_suffix = "-turn";
inline constexpr const char* sync_suffix = "-sync";
inline constexpr const char* locks_suffix = "-locks";
inline constexpr const char* signal_suffix = "-signal";

/// Which file a path led to.
struct FileIdentity {
  dev_t device{};
  ino_t inode{};
  bool operator==(const FileIdentity&) const = default;
};

/// The database file at `path`; nothing where there is none, or an empty one. Throws StorageFailure
/// for what is no regular file, for a path that cannot be followed, and where the database is gone
/// or empty but its WAL is there, with changes that would be lost; CorruptDatabase for a file too
/// small to be one.
std::optional<FileIdentity> find_database(const std::string& path);

struct Wal {
  FileIdentity file;
  bool empty = true;
};

/// The WAL of the database at `path`; nothing where there is none.
std::optional<Wal> find_wal(const std::string& path);

/// Throws StorageFailure, before SQLite opens anything, where this user may not write the database
/// or its directory: even a SELECT leaves -wal and -shm files that would lock their owner out. Also
/// for a network file system, on which SQLite's locks do not hold between machines
/// (https://www.sqlite.org/faq.html#q5).
void require_usable(const std::string& path);

/// NFS, CIFS, SMB and 9p, by statfs(2)'s f_type.
bool is_network_filesystem(long f_type);

/// Makes the directories above the database, on disk. Throws StorageFailure on a network file
/// system.
void create_directories_for(const std::string& path);

/// Gives the files beside the database its mode and group, where they are this user's to give.
void align_side_files(const std::string& path);

/// What an errno means, in words.
std::string reason(int error);

/// Opens a file beside the database for reading and writing, making it with the database's mode and
/// group where it is missing. Follows no link. Returns the descriptor, or -errno.
int open_side_file(const std::string& path, const std::string& suffix);

/// Whether what it returned means that something else stands in the file's place; and saying so.
bool is_not_ours(int opened);
[[noreturn]] void throw_not_ours(const std::string& path, std::string_view suffix);

/// The descriptor; StorageFailure where there is none to be had.
int open_side_file_or_throw(const std::string& path, std::string_view suffix);

}  // namespace dbcache::store::sqlite
