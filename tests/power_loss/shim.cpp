#include "power_loss/shim.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <optional>
#include <sched.h>
#include <string>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

namespace dbcache::power_loss {
namespace {

template <class Function>
void find(Function*& function, const char* name) {
  function = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
  if (function == nullptr) std::abort();
}

/// The C library's own. Those with a 64 in their names are the same here (feature_test_macros(7)).
struct Real {
  int (*open)(const char*, int, ...);
  int (*openat)(int, const char*, int, ...);
  FILE* (*fopen)(const char*, const char*);
  ssize_t (*write)(int, const void*, std::size_t);
  ssize_t (*writev)(int, const iovec*, int);
  ssize_t (*pwrite)(int, const void*, std::size_t, off_t);
  ssize_t (*pwritev)(int, const iovec*, int, off_t);
  int (*ftruncate)(int, off_t);
  int (*fallocate)(int, int, off_t, off_t);
  int (*posix_fallocate)(int, off_t, off_t);
  int (*fsync)(int);
  int (*fdatasync)(int);
  int (*linkat)(int, const char*, int, const char*, int);
  int (*unlink)(const char*);
  int (*unlinkat)(int, const char*, int);
  int (*rename)(const char*, const char*);
  int (*mkdir)(const char*, mode_t);
  void* (*mmap)(void*, std::size_t, int, int, int, off_t);

  Real() {
    static_assert(sizeof(off_t) == 8);
    find(open, "open");
    find(openat, "openat");
    find(fopen, "fopen");
    find(write, "write");
    find(writev, "writev");
    find(pwrite, "pwrite");
    find(pwritev, "pwritev");
    find(ftruncate, "ftruncate");
    find(fallocate, "fallocate");
    find(posix_fallocate, "posix_fallocate");
    find(fsync, "fsync");
    find(fdatasync, "fdatasync");
    find(linkat, "linkat");
    find(unlink, "unlink");
    find(unlinkat, "unlinkat");
    find(rename, "rename");
    find(mkdir, "mkdir");
    find(mmap, "mmap");
  }
};

const Real& real() {
  static const Real functions;
  return functions;
}

/// Where this process is recorded.
Journal* journal = nullptr;

/// Other calls follow that of the C library before its caller looks at errno.
class KeepErrno {
 public:
  KeepErrno() = default;
  ~KeepErrno() { errno = kept_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int kept_ = errno;
};

/// The path below the watched directory; nothing for any other. SQLite and the library name their
/// files by absolute paths; what came by another way would show, since the records must explain
/// what is on the disk in the end.
std::optional<std::string_view> watched_path(std::string_view path) {
  if (journal == nullptr || !path.starts_with(journal->directory())) return std::nullopt;
  path.remove_prefix(journal->directory().size());
  if (path.empty()) return path;
  if (!path.starts_with('/')) return std::nullopt;
  return path.substr(1);
}

/// Which file below the watched directory this is; nothing for any other. Not by number of
/// descriptor: those are closed and reused, in forked children too.
std::optional<std::uint64_t> watched_inode(int descriptor) {
  if (journal == nullptr) return std::nullopt;
  const KeepErrno keep;
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || status.st_dev != journal->device() ||
      !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) || !journal->has_seen(status.st_ino)) {
    return std::nullopt;
  }
  return status.st_ino;
}

const char* redirect(const char* path) {
  const bool is_boot_id = std::strcmp(path, "/proc/sys/kernel/random/boot_id") == 0;
  return journal != nullptr && is_boot_id ? journal->boot_id_file() : path;
}

/// Opens by `open`, and records what that did.
template <class Open>
int record_open(const char* path, int flags, Open open) {
  const auto watched = watched_path(path);
  // A file without a name appears when it is linked.
  const bool is_unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  if (!watched || is_unnamed) return open(redirect(path));
  const Journal::Lock lock(*journal);
  struct stat status {};
  const bool existed = ::lstat(path, &status) == 0;
  const int descriptor = open(path);
  if (descriptor < 0) return descriptor;
  const KeepErrno keep;
  ::fstat(descriptor, &status);
  journal->append({existed ? What::found : What::create, status.st_ino, 0, *watched});
  if (existed && (flags & O_TRUNC) != 0) journal->append({What::truncate, status.st_ino, 0, ""});
  return descriptor;
}

/// Writes by `write`, and records what was written at `at`; without it, at the file's own offset.
template <class Write>
ssize_t record_write(int descriptor, const iovec* parts, int count, std::optional<off_t> at,
                     Write write) {
  const auto inode = watched_inode(descriptor);
  if (!inode) return write();
  const Journal::Lock lock(*journal);
  if (!at) {
    const bool appends = (::fcntl(descriptor, F_GETFL) & O_APPEND) != 0;
    at = ::lseek(descriptor, 0, appends ? SEEK_END : SEEK_CUR);
  }
  const ssize_t written = write();
  const KeepErrno keep;
  auto left = static_cast<std::size_t>(std::max<ssize_t>(written, 0));
  auto offset = static_cast<std::uint64_t>(*at);
  for (int part = 0; part < count && left > 0; ++part) {
    const std::size_t size = std::min(left, parts[part].iov_len);
    journal->append(
        {What::write, *inode, offset, {static_cast<const char*>(parts[part].iov_base), size}});
    left -= size;
    offset += size;
  }
  return written;
}

int record_sync(int descriptor, int (*sync)(int)) {
  const auto inode = watched_inode(descriptor);
  if (!inode) return sync(descriptor);
  std::size_t begin = 0;
  {
    const Journal::Lock lock(*journal);
    begin = journal->append({What::sync_begin, *inode, 0, ""});
  }
  // A disk that is slow lets others get in between; so does one in memory, this way.
  ::sched_yield();
  const int result = sync(descriptor);
  if (result == 0) {
    const KeepErrno keep;
    const Journal::Lock lock(*journal);
    journal->append({What::sync_end, *inode, begin, ""});
  }
  return result;
}

/// Does `change` and records it, where it succeeded.
template <class Change>
int record_change(int descriptor, What what, std::uint64_t size, Change change) {
  const auto inode = watched_inode(descriptor);
  if (!inode) return change();
  const Journal::Lock lock(*journal);
  const int result = change();
  const KeepErrno keep;
  if (result == 0) journal->append({what, *inode, size, ""});
  return result;
}

template <class Unlink>
int record_unlink(const char* path, Unlink unlink) {
  const auto watched = watched_path(path);
  if (!watched) return unlink();
  const Journal::Lock lock(*journal);
  const int result = unlink();
  const KeepErrno keep;
  if (result == 0) journal->append({What::unlink, 0, 0, *watched});
  return result;
}

void* record_map(void* address, std::size_t size, int protection, int flags, int descriptor,
                 off_t offset) {
  const auto inode = descriptor >= 0 ? watched_inode(descriptor) : std::nullopt;
  const bool is_stored_to = (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0;
  if (inode && is_stored_to) {
    const KeepErrno keep;
    const Journal::Lock lock(*journal);
    journal->append({What::map, *inode, 0, ""});
  }
  return real().mmap(address, size, protection, flags, descriptor, offset);
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

void watch(Journal& shared) { journal = &shared; }

void acknowledge(std::string_view what) {
  const Journal::Lock lock(*journal);
  journal->append({What::acknowledge, 0, 0, what});
}

void complain(std::string_view what) {
  const Journal::Lock lock(*journal);
  journal->append({What::complain, 0, 0, what});
}

}  // namespace dbcache::power_loss

using namespace dbcache::power_loss;

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return record_open(path, flags, [&](const char* to) { return real().open(to, flags, mode); });
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return record_open(path, flags, [&](const char* to) { return real().open(to, flags, mode); });
}

int openat(int at, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return record_open(path, flags,
                     [&](const char* to) { return real().openat(at, to, flags, mode); });
}

int openat64(int at, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return record_open(path, flags,
                     [&](const char* to) { return real().openat(at, to, flags, mode); });
}

int creat(const char* path, mode_t mode) {
  return ::open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
int creat64(const char* path, mode_t mode) { return creat(path, mode); }

// By which std::ifstream opens. What streams write is not seen: nothing may write so.
FILE* fopen(const char* path, const char* mode) { return real().fopen(redirect(path), mode); }
FILE* fopen64(const char* path, const char* mode) { return real().fopen(redirect(path), mode); }

ssize_t write(int descriptor, const void* bytes, size_t size) {
  const iovec part{const_cast<void*>(bytes), size};
  return record_write(descriptor, &part, 1, std::nullopt,
                      [&] { return real().write(descriptor, bytes, size); });
}

ssize_t writev(int descriptor, const iovec* parts, int count) {
  return record_write(descriptor, parts, count, std::nullopt,
                      [&] { return real().writev(descriptor, parts, count); });
}

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t at) {
  const iovec part{const_cast<void*>(bytes), size};
  return record_write(descriptor, &part, 1, at,
                      [&] { return real().pwrite(descriptor, bytes, size, at); });
}
ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t at) {
  return pwrite(descriptor, bytes, size, at);
}

ssize_t pwritev(int descriptor, const iovec* parts, int count, off_t at) {
  return record_write(descriptor, parts, count, at,
                      [&] { return real().pwritev(descriptor, parts, count, at); });
}
ssize_t pwritev64(int descriptor, const iovec* parts, int count, off64_t at) {
  return pwritev(descriptor, parts, count, at);
}

int ftruncate(int descriptor, off_t size) noexcept {
  return record_change(descriptor, What::truncate, static_cast<std::uint64_t>(size),
                       [&] { return real().ftruncate(descriptor, size); });
}
int ftruncate64(int descriptor, off64_t size) noexcept { return ftruncate(descriptor, size); }

int fallocate(int descriptor, int mode, off_t at, off_t size) {
  const std::uint64_t end = mode == 0 ? static_cast<std::uint64_t>(at + size) : 0;
  return record_change(descriptor, What::allocate, end,
                       [&] { return real().fallocate(descriptor, mode, at, size); });
}
int fallocate64(int descriptor, int mode, off64_t at, off64_t size) {
  return fallocate(descriptor, mode, at, size);
}
int posix_fallocate(int descriptor, off_t at, off_t size) {
  return record_change(descriptor, What::allocate, static_cast<std::uint64_t>(at + size),
                       [&] { return real().posix_fallocate(descriptor, at, size); });
}
int posix_fallocate64(int descriptor, off64_t at, off64_t size) {
  return posix_fallocate(descriptor, at, size);
}

int fsync(int descriptor) { return record_sync(descriptor, real().fsync); }
int fdatasync(int descriptor) { return record_sync(descriptor, real().fdatasync); }

int unlink(const char* path) noexcept {
  return record_unlink(path, [&] { return real().unlink(path); });
}
int unlinkat(int at, const char* path, int flags) noexcept {
  return record_unlink(path, [&] { return real().unlinkat(at, path, flags); });
}

int linkat(int from_at, const char* from, int to_at, const char* to, int flags) noexcept {
  const auto watched = watched_path(to);
  if (!watched) return real().linkat(from_at, from, to_at, to, flags);
  const Journal::Lock lock(*journal);
  const int result = real().linkat(from_at, from, to_at, to, flags);
  const KeepErrno keep;
  struct stat status {};
  if (result == 0 && ::lstat(to, &status) == 0) {
    journal->append({What::create, status.st_ino, 0, *watched});
  }
  return result;
}

int rename(const char* from, const char* to) noexcept {
  const auto watched_from = watched_path(from);
  const auto watched_to = watched_path(to);
  if (!watched_from || !watched_to) return real().rename(from, to);
  const Journal::Lock lock(*journal);
  const int result = real().rename(from, to);
  const KeepErrno keep;
  if (result == 0) {
    journal->append(
        {What::rename, 0, 0, std::string(*watched_from) + '\0' + std::string(*watched_to)});
  }
  return result;
}

int mkdir(const char* path, mode_t mode) noexcept {
  const auto watched = watched_path(path);
  if (!watched) return real().mkdir(path, mode);
  const Journal::Lock lock(*journal);
  const int result = real().mkdir(path, mode);
  const KeepErrno keep;
  struct stat status {};
  if (result == 0 && ::stat(path, &status) == 0) {
    journal->append({What::make_directory, status.st_ino, 0, *watched});
  }
  return result;
}

void* mmap(void* address, size_t size, int protection, int flags, int descriptor,
           off_t offset) noexcept {
  return record_map(address, size, protection, flags, descriptor, offset);
}
void* mmap64(void* address, size_t size, int protection, int flags, int descriptor,
             off64_t offset) noexcept {
  return record_map(address, size, protection, flags, descriptor, offset);
}

}  // extern "C"
