#pragma once

#include <cstdint>
#include <fcntl.h>
#include <optional>

#include <sys/types.h>

// Locks of open file descriptions (fcntl(2)): they belong to the description, not to the process,
// and go with the last descriptor of it.
namespace dbcache::store::sqlite {

enum class Waiting { no, yes };

inline struct flock ofd_range(short type, off_t byte, off_t bytes) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = bytes;
  return lock;
}

/// False, with errno set, where the lock cannot be taken.
inline bool set_ofd_lock(int descriptor, short type, off_t byte, Waiting waiting = Waiting::no,
                         off_t bytes = 1) {
  struct flock lock = ofd_range(type, byte, bytes);
  return ::fcntl(descriptor, waiting == Waiting::yes ? F_OFD_SETLKW : F_OFD_SETLK, &lock) == 0;
}

/// Whether another description holds a lock that excludes one of this type. Nothing where the
/// kernel does not say.
inline std::optional<bool> ofd_lock_held_by_others(int descriptor, short type, off_t byte) {
  struct flock lock = ofd_range(type, byte, 1);
  if (::fcntl(descriptor, F_OFD_GETLK, &lock) != 0) return std::nullopt;
  return lock.l_type != F_UNLCK;
}

/// Whether a process has a description with a lock that begins at this byte, of whichever file.
/// Nothing where /proc does not let this process see all that it has.
std::optional<bool> has_ofd_lock(std::int64_t process, off_t byte);

}  // namespace dbcache::store::sqlite
