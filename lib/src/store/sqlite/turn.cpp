#include "store/sqlite/turn.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/stat.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/files.hpp"

namespace dbcache::store::sqlite {
namespace {

constexpr off_t turn_byte = 0;
constexpr off_t waiting_byte = 1;

struct flock byte_lock(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

bool set_lock(int descriptor, short type, off_t byte) {
  struct flock lock = byte_lock(type, byte);
  return ::fcntl(descriptor, F_OFD_SETLK, &lock) == 0;
}

/// Whether another open file description holds a lock on the byte.
bool held_by_others(int descriptor, off_t byte) {
  struct flock lock = byte_lock(F_WRLCK, byte);
  return ::fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace

bool Turn::open() {
  if (descriptor_ >= 0) return true;
  const int opened = open_side_file(database_, "-turn");
  if (opened == -ELOOP || opened == -EISDIR) {
    throw StorageFailure(fmt::format(
        "{}-turn is not the file that dbcache keeps there; remove what stands in its place",
        database_));
  }
  descriptor_ = opened < 0 ? -1 : opened;
  return descriptor_ >= 0;
}

bool Turn::try_take() {
  if (!open()) return true;
  const bool give_way = !waiting_ && held_by_others(descriptor_, waiting_byte);
  if (!give_way && set_lock(descriptor_, F_WRLCK, turn_byte)) {
    if (waiting_) set_lock(descriptor_, F_UNLCK, waiting_byte);
    waiting_ = false;
    return true;
  }
  if (!waiting_) waiting_ = set_lock(descriptor_, F_RDLCK, waiting_byte);
  // Without the mark of waiting this one would give way for ever.
  waiting_ = true;
  return false;
}

void Turn::leave() noexcept {
  if (descriptor_ < 0) return;
  set_lock(descriptor_, F_UNLCK, turn_byte);
  if (waiting_) set_lock(descriptor_, F_UNLCK, waiting_byte);
  waiting_ = false;
}

void Turn::close() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  waiting_ = false;
}

}  // namespace dbcache::store::sqlite
