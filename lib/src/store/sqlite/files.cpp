#include "store/sqlite/files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/one_name.hpp"
#include "store/sqlite/side_rights.hpp"
#include "system/descriptor.hpp"

namespace dbcache::store::sqlite {

std::string reason(int error) { return std::generic_category().message(error); }

namespace {

std::string directory_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool may(const std::string& path, int mode) {
  if (::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0) return true;
  // Older container runtimes refuse faccessat2(2), which they do not know, with EPERM.
  return errno == EPERM && ::getuid() == ::geteuid() && ::getgid() == ::getegid() &&
         ::access(path.c_str(), mode) == 0;
}

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

/// The longest name that the file system takes in the last directory above `path` that exists.
std::size_t longest_name_above(std::filesystem::path path) {
  constexpr std::size_t usual = 255;
  std::error_code error;
  while (path.has_relative_path() && !std::filesystem::exists(path, error)) {
    path = path.parent_path();
  }
  const long most = ::pathconf(path.c_str(), _PC_NAME_MAX);
  return most > 0 ? static_cast<std::size_t>(most) : usual;
}

/// Of a database, but not which of its names this is.
std::optional<struct stat> find_file(const std::string& path) {
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
    if (status.st_nlink > 1) require_own_side_files(path, {status.st_dev, status.st_ino});
    return std::nullopt;
  }
  if (status.st_size < smallest_database) {
    // SQLite takes a file of one byte for an empty one, and would overwrite it.
    throw CorruptDatabase(fmt::format(
        "{} is not a SQLite database, or is damaged; give another path, or restore it", path));
  }
  return status;
}

int open_above_standard(const std::string& side) {
  return system::above_standard(::open(side.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
}

/// A file without a name in the directory of `side`, or one that has the name at once where the
/// file system knows no others. Returns -1 with errno.
int make_unnamed(const std::string& side, bool& is_named) {
  const std::string directory = directory_of(side);
  is_named = false;
  const int unnamed = ::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
  if (unnamed >= 0 || errno == EACCES || errno == ENOSPC || errno == EROFS) return unnamed;
  is_named = true;
  return ::open(side.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/// The file appears with its rights: others who look for it meanwhile find none that they may not
/// open. Returns its descriptor or -errno; -EEXIST where another has made it.
int make_side_file(const std::string& side, const struct stat* database) {
  bool is_named = false;
  const int descriptor = system::above_standard(make_unnamed(side, is_named));
  if (descriptor < 0) return -errno;
  const auto give_up = [&](int error) {
    if (is_named) ::unlink(side.c_str());
    ::close(descriptor);
    return -error;
  };
  if (database != nullptr && !give_rights_of(*database, descriptor)) return give_up(EPERM);
  if (is_named) return descriptor;
  const std::string own = fmt::format("/proc/self/fd/{}", descriptor);
  if (::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, side.c_str(), AT_SYMLINK_FOLLOW) == 0) {
    return descriptor;
  }
  if (errno == EEXIST) return give_up(EEXIST);
  // Without /proc.
  ::close(descriptor);
  const int named = system::above_standard(
      ::open(side.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (named < 0) return -errno;
  if (database == nullptr || give_rights_of(*database, named)) return named;
  ::unlink(side.c_str());
  ::close(named);
  return -EPERM;
}

}  // namespace

std::optional<FileIdentity> identify_database(const std::string& path) {
  const auto status = find_file(path);
  if (!status) return std::nullopt;
  return FileIdentity{status->st_dev, status->st_ino};
}

void require_short(const std::string& path) {
  // SQLite's MAX_PATHNAME, of which it keeps 8 bytes for a suffix (pager.c, sqlite3PagerOpen).
  constexpr std::size_t most_of_sqlite = 512 - 8;
  if (path.size() > most_of_sqlite) {
    throw StorageFailure(fmt::format(
        "the path of the database is too long: it has {} bytes, and SQLite takes at most {}; give "
        "a shorter one (--database, DBCACHE_DATABASE), not {}",
        path.size(), most_of_sqlite, path));
  }
  const std::filesystem::path whole(path);
  const std::size_t suffix = suffix_of_locks(most_lock_files - 1).size();
  const std::size_t most = longest_name_above(whole.parent_path());
  for (auto name = whole.begin(); name != whole.end(); ++name) {
    const bool is_last = std::next(name) == whole.end();
    const std::size_t kept = is_last ? std::min(suffix, most) : 0;
    if (name->native().size() + kept <= most) continue;
    throw StorageFailure(fmt::format(
        "the name {} is too long: it has {} bytes, and the file system takes at most {}{}; give "
        "the database {} a shorter one (--database, DBCACHE_DATABASE)",
        name->string(), name->native().size(), most - kept,
        is_last ? fmt::format(" with {} more for the files beside the database", kept) : "",
        is_last ? "file" : "directory"));
  }
}

std::optional<FileIdentity> find_database(const std::string& path) {
  const auto status = find_file(path);
  if (!status) return std::nullopt;
  const FileIdentity file{status->st_dev, status->st_ino};
  if (status->st_nlink > 1) require_own_side_files(path, file);
  return file;
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
  if (exists) refuse_mounted_file(path);
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
  if (exists) require_shareable(path);
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
    give_rights_of(database, side);
  }
}

int open_side_file(const std::string& path, const std::string& suffix) {
  const std::string side = path + suffix;
  struct stat database {};
  const bool has_database = ::stat(path.c_str(), &database) == 0;
  for (;;) {
    // Without O_CREAT: in a directory with the sticky bit the kernel would refuse another's file.
    const int descriptor = open_above_standard(side);
    if (descriptor < 0 && errno != ENOENT) return -errno;
    if (descriptor < 0) {
      const int made = make_side_file(side, has_database ? &database : nullptr);
      if (made != -EEXIST) return made;
      continue;
    }
    struct stat status {};
    if (has_database && ::fstat(descriptor, &status) == 0 &&
        (status.st_uid == ::geteuid() || ::geteuid() == 0)) {
      give_rights_of(database, descriptor);
    }
    return descriptor;
  }
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
  if (opened == -EPERM) throw_not_shareable(path);
  if (opened < 0) {
    throw StorageFailure(
        fmt::format("{}{} cannot be opened: {}; check the permissions beside the database", path,
                    suffix, reason(-opened)));
  }
  return opened;
}

}  // namespace dbcache::store::sqlite
