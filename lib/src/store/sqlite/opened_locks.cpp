#include "store/sqlite/opened_locks.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/stat.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "system/process.hpp"
#include "text/hex.hpp"

namespace dbcache::store::sqlite {
namespace {

/// The file's beginning. Its maker locks the first byte. Older versions write the id alone.
struct Beginning {
  std::array<char, 32> id;  ///< In hex.
  std::array<char, 40> boot_id;
  std::int64_t made_at;  ///< In nanoseconds since that boot.
  std::uint64_t inode;
};
static_assert(sizeof(Beginning) == 88);

/// Holders look every few seconds whether their file is still there (held_places.cpp).
constexpr std::chrono::seconds grace{15};

template <std::size_t size>
void copy_text(std::string_view text, std::array<char, size>& field) {
  std::copy_n(text.begin(), std::min(text.size(), size), field.begin());
}

/// False where the file has no id of its own.
bool read_beginning(OpenedLocks& file) {
  Beginning found{};
  const ssize_t size = ::pread(file.descriptor.get(), &found, sizeof found, 0);
  if (size < static_cast<ssize_t>(found.id.size())) return false;
  if (size >= static_cast<ssize_t>(sizeof found)) {
    if (found.inode != file.inode) return false;
    file.boot_id =
        std::string(found.boot_id.data(), ::strnlen(found.boot_id.data(), found.boot_id.size()));
    file.made_at = std::chrono::nanoseconds{found.made_at};
  }
  file.id = std::string(found.id.data(), found.id.size());
  return true;
}

/// The number of the error, or 0.
int write_beginning(OpenedLocks& file) {
  const auto bits = system::random_128_bits();
  file.id = text::to_hex({reinterpret_cast<const char*>(bits.data()), bits.size()});
  file.boot_id = system::boot_id();
  file.made_at = system::since_boot();
  Beginning made{{}, {}, file.made_at.count(), file.inode};
  copy_text(file.id, made.id);
  copy_text(file.boot_id, made.boot_id);
  const ssize_t written = ::pwrite(file.descriptor.get(), &made, sizeof made, 0);
  if (written == static_cast<ssize_t>(sizeof made)) return 0;
  return written < 0 ? errno : ENOSPC;
}

/// Leaves the id empty while another process makes it.
void make_beginning(OpenedLocks& file, const std::string& path) {
  if (read_beginning(file)) return;
  const int descriptor = file.descriptor.get();
  if (!set_ofd_lock(descriptor, F_WRLCK, 0)) {
    if (errno == EAGAIN || errno == EACCES) return;
    throw StorageFailure(fmt::format("{} cannot be locked: {}; put the database on a local disk",
                                     path, reason(errno)));
  }
  const int error = read_beginning(file) ? 0 : write_beginning(file);
  set_ofd_lock(descriptor, F_UNLCK, 0);
  if (error == 0) return;
  throw StorageFailure(
      fmt::format("{} cannot be written: {}; free some space on its disk", path, reason(error)));
}

}  // namespace

bool OpenedLocks::is_new() const {
  if (id.empty()) return true;  // another process makes it just now
  return !boot_id.empty() && boot_id == system::boot_id() && system::since_boot() < made_at + grace;
}

bool OpenedLocks::is_at(const std::string& path) const {
  struct stat status {};
  return descriptor.get() >= 0 && ::lstat(path.c_str(), &status) == 0 && status.st_dev == device &&
         status.st_ino == inode;
}

OpenedLocks open_locks(const std::string& database, std::uint32_t number, MissingId missing) {
  OpenedLocks opened;
  opened.descriptor =
      system::Descriptor(open_side_file_or_throw(database, suffix_of_locks(number)));
  struct stat status {};
  ::fstat(opened.descriptor.get(), &status);
  opened.device = status.st_dev;
  opened.inode = status.st_ino;
  if (missing == MissingId::make) {
    make_beginning(opened, path_of_locks(database, number));
  } else {
    read_beginning(opened);
  }
  return opened;
}

std::string path_of_locks(const std::string& database, std::uint32_t number) {
  return database + suffix_of_locks(number);
}

std::string name_of_file(const std::string& id, std::uint32_t number) {
  return number == 0 ? id : fmt::format("{}.{}", id, number);
}

std::uint32_t number_of_file(std::string_view name) {
  const auto dot = name.find('.');
  std::uint32_t number = 0;
  if (dot != std::string_view::npos) {
    std::from_chars(name.data() + dot + 1, name.data() + name.size(), number);
  }
  return number < most_lock_files ? number : 0;
}

}  // namespace dbcache::store::sqlite
