#include "store/sqlite/files.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::sqlite {

std::string reason(int error) { return std::generic_category().message(error); }

namespace {

std::string directory_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool may(const std::string& path, int mode) {
  return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0;
}

constexpr mode_t permission_bits = 07777;

/// A database has at least one page, and this is SQLite's smallest.
constexpr off_t smallest_database = 512;

void refuse_network_filesystem(const std::string& place, const std::string& path) {
  struct statfs system {};
  if (::statfs(place.c_str(), &system) == 0 && is_network_filesystem(system.f_type)) {
    throw StorageFailure(
        fmt::format("the database {} is on a network file system, where SQLite's locks do not "
                    "hold; put it on a local disk, or share a PostgreSQL database between machines",
                    path));
  }
}

/// SQLite makes the WAL after the database, and never leaves it behind. So somebody has removed the
/// database, and the WAL has its newest changes.
void require_no_wal(const std::string& path, std::string_view state) {
  const auto wal = find_wal(path);
  if (!wal || wal->empty) return;
  // Another process may have made both since the database was looked for.
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && status.st_size > 0) return;
  throw StorageFailure(fmt::format(
      "the database {0} {1}, but its WAL is still there, with changes that are nowhere else; put "
      "the database back, or remove {0}-wal and {0}-shm to begin anew",
      path, state));
}

/// Makes a directory for the database at `path`, and those above it first.
void make_directory(const std::filesystem::path& directory, const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(directory, error) || !directory.has_relative_path()) {
    refuse_network_filesystem(directory.string(), path);
    return;
  }
  make_directory(directory.parent_path(), path);
  std::filesystem::create_directory(directory, error);
  if (error) {
    throw StorageFailure(fmt::format(
        "the directory {} cannot be made: {}; make it, or give another path for the database",
        directory.string(), error.message()));
  }
  // Commits in the new directory are on disk only if the directory is.
  const int parent = ::open(directory.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent >= 0) {
    ::fsync(parent);
    ::close(parent);
  }
}

}  // namespace

std::optional<FileIdentity> find_database(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) {
      require_no_wal(path, "is gone");
      return std::nullopt;
    }
    throw StorageFailure(fmt::format("the database {} cannot be reached: {}; check its directories",
                                     path, reason(errno)));
  }
  if (S_ISDIR(status.st_mode)) {
    throw StorageFailure(
        fmt::format("the database {} is a directory; give the path of a file in it", path));
  }
  if (!S_ISREG(status.st_mode)) {
    throw StorageFailure(
        fmt::format("the database {} is not a regular file; give another path", path));
  }
  if (status.st_size == 0) {
    require_no_wal(path, "is empty");
    return std::nullopt;
  }
  if (status.st_size < smallest_database) {
    // SQLite takes a file of one byte for an empty one, and would overwrite it.
    throw CorruptDatabase(fmt::format(
        "{} is not a SQLite database, or is damaged; give another path, or restore it", path));
  }
  return FileIdentity{status.st_dev, status.st_ino};
}

std::optional<Wal> find_wal(const std::string& path) {
  struct stat status {};
  if (::lstat((path + "-wal").c_str(), &status) != 0) return std::nullopt;
  return Wal{{status.st_dev, status.st_ino}, status.st_size == 0};
}

void require_usable(const std::string& path) {
  const std::string directory = directory_of(path);
  // The file's own too: it may be reached through a link, or be mounted by itself.
  refuse_network_filesystem(path, path);
  refuse_network_filesystem(directory, path);
  const bool exists = may(path, F_OK);
  if (exists && !may(path, R_OK | W_OK)) {
    throw StorageFailure(fmt::format(
        "you may not write the database {}, and reading it would leave files that lock its owner "
        "out; ask its owner for write permission, or use a database of your own",
        path));
  }
  if (!may(directory, W_OK | X_OK)) {
    throw StorageFailure(fmt::format(
        "you may not write in {}, where the database keeps its WAL; ask its owner for write "
        "permission, or use a database of your own",
        directory));
  }
}

bool may_use_file(const std::string& path) { return may(path, R_OK | W_OK); }

bool is_network_filesystem(long f_type) {
  // linux/magic.h; CIFS and SMB2 from fs/smb/client/cifsfs.c.
  constexpr std::array<unsigned long, 5> refused{0x6969, 0x517B, 0xFF534D42, 0xFE534D42,
                                                 0x01021997};
  for (const unsigned long magic : refused) {
    if (static_cast<unsigned long>(f_type) == magic) return true;
  }
  return false;
}

void create_directories_for(const std::string& path) { make_directory(directory_of(path), path); }

std::string suffix_of_locks(std::uint32_t number) {
  return number == 0 ? locks_suffix : fmt::format("{}-{}", locks_suffix, number);
}

void align_side_files(const std::string& path) {
  struct stat database {};
  if (::stat(path.c_str(), &database) != 0) return;
  // By path, never by descriptor: closing any descriptor of a file drops all POSIX locks that the
  // process holds on it, SQLite's too (https://www.sqlite.org/howtocorrupt.html, 2.2).
  std::vector<std::string> suffixes{"-wal", "-shm", turn_suffix, sync_suffix, signal_suffix};
  for (std::uint32_t number = 0; number < most_lock_files; ++number) {
    suffixes.push_back(suffix_of_locks(number));
  }
  for (const std::string& suffix : suffixes) {
    const std::string side = fmt::format("{}{}", path, suffix);
    struct stat status {};
    if (::lstat(side.c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
        status.st_uid != ::geteuid()) {
      continue;
    }
    const mode_t mode = database.st_mode & permission_bits;
    if (status.st_gid != database.st_gid &&
        ::lchown(side.c_str(), static_cast<uid_t>(-1), database.st_gid) != 0) {
      continue;  // this user is not in that group, and the mode must not open the file to another
    }
    if ((status.st_mode & permission_bits) != mode) {
      ::fchmodat(AT_FDCWD, side.c_str(), mode, AT_SYMLINK_NOFOLLOW);
    }
  }
}

int open_side_file(const std::string& path, const std::string& suffix) {
  const std::string side = path + suffix;
  const int descriptor = ::open(side.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) return -errno;
  struct stat database {};
  struct stat status {};
  if (::stat(path.c_str(), &database) == 0 && ::fstat(descriptor, &status) == 0 &&
      (status.st_uid == ::geteuid() || ::geteuid() == 0)) {
    const bool same_group = status.st_gid == database.st_gid ||
                            ::fchown(descriptor, static_cast<uid_t>(-1), database.st_gid) == 0;
    // As root, give it to the database's owner, as SQLite does with its own files.
    const bool same_owner = ::geteuid() != 0 || status.st_uid == database.st_uid ||
                            ::fchown(descriptor, database.st_uid, static_cast<gid_t>(-1)) == 0;
    const mode_t mode = database.st_mode & permission_bits;
    if (same_group && same_owner && (status.st_mode & permission_bits) != mode) {
      ::fchmod(descriptor, mode);
    }
  }
  return descriptor;
}

bool is_not_ours(int opened) { return opened == -ELOOP || opened == -EISDIR; }

void throw_not_ours(const std::string& path, std::string_view suffix) {
  throw StorageFailure(
      fmt::format("{}{} is not the file that dbcache keeps there; remove what stands in its place",
                  path, suffix));
}

int open_side_file_or_throw(const std::string& path, std::string_view suffix) {
  const int opened = open_side_file(path, std::string(suffix));
  if (is_not_ours(opened)) throw_not_ours(path, suffix);
  if (opened < 0) {
    throw StorageFailure(
        fmt::format("{}{} cannot be opened: {}; check the permissions beside the database", path,
                    suffix, reason(-opened)));
  }
  return opened;
}

}  // namespace dbcache::store::sqlite
