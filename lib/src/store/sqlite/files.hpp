#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace dbcache::store::sqlite {

/// What is appended to the database's path for the files that dbcache keeps beside it.
inline constexpr const char* turn_suffix = "-turn";
inline constexpr const char* sync_suffix = "-sync";
inline constexpr const char* locks_suffix = "-locks";
inline constexpr std::uint32_t most_lock_files = 64;
inline constexpr const char* signal_suffix = "-signal";

/// Which file a path led to.
struct FileIdentity {
  dev_t device{};
  ino_t inode{};
  bool operator==(const FileIdentity&) const = default;
};

/// The database file at `path`; nothing where there is none, or an empty one. Throws StorageFailure
/// where `path` leads to something else than a regular file, or cannot be followed; and where the
/// database is gone or empty but its WAL is there, whose changes would be lost; and for a hard link
/// of a database whose files lie beside another of its names. Throws CorruptDatabase for a file too
/// small to be a database.
std::optional<FileIdentity> find_database(const std::string& path);

/// The same, also by another name (a hard link) than the one that its files lie beside. Only to
/// compare: by that name nothing may be opened.
std::optional<FileIdentity> identify_database(const std::string& path);

struct Wal {
  FileIdentity file;
  bool empty = true;
};

/// The WAL of the database at `path`; nothing where there is none.
std::optional<Wal> find_wal(const std::string& path);

/// Call it before SQLite opens anything. Throws StorageFailure where this user may not write the
/// database or its directory: even a SELECT leaves -wal and -shm files that would lock their owner
/// out. Also where the database is mounted without its directory, and on a network file system,
/// where SQLite's locks do not hold between machines (https://www.sqlite.org/faq.html#q5).
void require_usable(const std::string& path);

/// Throws StorageFailure where the absolute `path` is longer than SQLite takes, or one of its
/// names longer than the file system takes, counted with the longest suffix of a file beside it.
void require_short(const std::string& path);

/// Whether there is a file that this user may read and write.
bool may_use_file(const std::string& path);

/// NFS, CIFS, SMB and 9p, by statfs(2)'s f_type.
bool is_network_filesystem(long f_type);

/// Makes the directories above the database, on disk. Throws StorageFailure on a network file
/// system.
void create_directories_for(const std::string& path);

/// Gives the files beside the database its mode and group, where this user may.
void align_side_files(const std::string& path);

/// What an errno means, in words.
std::string reason(int error);

/// The suffix of a file of life locks, which are numbered from 0.
std::string suffix_of_locks(std::uint32_t number);

/// Opens a file beside the database for reading and writing, making it with the database's mode and
/// group where it is missing. Follows no link. Returns the descriptor, or -errno.
int open_side_file(const std::string& path, const std::string& suffix);

/// Whether that result of open_side_file means that something else stands in the file's place.
bool is_not_ours(int opened);
[[noreturn]] void throw_not_ours(const std::string& path, std::string_view suffix);

/// The same. Throws StorageFailure where the file cannot be opened.
int open_side_file_or_throw(const std::string& path, std::string_view suffix);

}  // namespace dbcache::store::sqlite
