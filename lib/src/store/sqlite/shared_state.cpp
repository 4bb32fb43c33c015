#include "store/sqlite/shared_state.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <string_view>
#include <thread>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include "store/sqlite/ofd_lock.hpp"
#include "system/process.hpp"

namespace dbcache::store::sqlite {
namespace {

/// Bytes of the file that are locked, and not read.
constexpr off_t making_byte = 0;
constexpr off_t syncing_byte = 1;

/// A second in all. After that the process goes on without the file.
constexpr int most_tries = 1000;
constexpr std::chrono::milliseconds pause_between_tries{1};

constexpr std::uint64_t pause_between_sweeps = 1'000'000'000;
constexpr std::uint64_t longest_pause = 60 * pause_between_sweeps;

std::uint64_t nanoseconds_since_boot() {
  return static_cast<std::uint64_t>(system::since_boot().count());
}

/// The file's beginning. It says for which boot and database the words after it are.
struct Header {
  std::array<char, 32> format;
  std::array<char, 64> boot_id;
  std::uint64_t device;
  std::uint64_t inode;
  /// The inode of the directory, for a database that gets another hard link; 0 from older versions.
  std::uint64_t directory;

  /// Whether the words after it are valid.
  bool operator==(const Header& other) const {
    return std::memcmp(this, &other, offsetof(Header, directory)) == 0;
  }
};

constexpr std::size_t words_offset = 128;
constexpr off_t file_size = 4096;
static_assert(sizeof(Header) <= words_offset);
static_assert(words_offset % alignof(SharedState::Words) == 0);
static_assert(words_offset + sizeof(SharedState::Words) <= file_size);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

template <std::size_t size>
void put(std::array<char, size>& field, std::string_view text) {
  std::copy_n(text.begin(), std::min(text.size(), size), field.begin());
}

/// The inode of the directory that holds `path`; 0 where it cannot be told.
std::uint64_t inode_of_directory(const std::string& path) {
  struct stat status {};
  return ::stat(std::filesystem::path(path).parent_path().c_str(), &status) == 0 ? status.st_ino
                                                                                 : 0;
}

/// The header that fits now; its boot id is empty where that is not known.
Header header_of(const std::string& path, const FileIdentity& database) {
  Header header{};
  put(header.format, "dbcache sync 2");
  put(header.boot_id, system::boot_id());
  header.device = database.device;
  header.inode = database.inode;
  header.directory = inode_of_directory(path);
  return header;
}

bool leads_to(const std::string& path, int descriptor) {
  struct stat there {};
  struct stat here {};
  return ::lstat(path.c_str(), &there) == 0 && ::fstat(descriptor, &here) == 0 &&
         there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

bool is_empty(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 && status.st_size == 0;
}

std::optional<Header> read_header(int descriptor) {
  Header header{};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || status.st_size != file_size ||
      ::pread(descriptor, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
    return std::nullopt;
  }
  return header;
}

/// Whether it has this header. Notes the directory, which is another once the files were moved.
bool has(int descriptor, const Header& wanted) {
  const auto header = read_header(descriptor);
  if (!header || !(*header == wanted)) return false;
  if (header->directory == wanted.directory) return true;
  // Where it cannot be noted, no other hard link will be taken for the first.
  static_cast<void>(!::pwrite(descriptor, &wanted.directory, sizeof wanted.directory,
                              offsetof(Header, directory)));
  return true;
}

/// In full: storing into a hole of a mapped file kills the process where the disk is full.
bool make(int descriptor, const Header& header) {
  constexpr std::array<char, file_size> zeros{};
  const int allocated = ::posix_fallocate(descriptor, 0, file_size);
  const bool is_refused = allocated == EPERM || allocated == ENOSYS;
  if ((allocated == 0 ||
       (is_refused && ::pwrite(descriptor, zeros.data(), zeros.size(), 0) == file_size)) &&
      ::pwrite(descriptor, &header, sizeof header, 0) == static_cast<ssize_t>(sizeof header)) {
    return true;
  }
  static_cast<void>(!::ftruncate(descriptor, 0));
  return false;
}

}  // namespace

bool SharedState::is_beside(const std::string& database, const FileIdentity& file) {
  const int descriptor =
      ::open((database + sync_suffix).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return false;
  const auto header = read_header(descriptor);
  ::close(descriptor);
  const Header wanted = header_of(database, file);
  // Not its boot or device, whose number may be another after a boot.
  return header && header->format == wanted.format && header->inode == wanted.inode &&
         header->directory != 0 && header->directory == wanted.directory;
}

std::shared_ptr<SharedState> SharedState::open(const std::string& database,
                                               const FileIdentity& file) {
  std::shared_ptr<SharedState> state(new SharedState(file));
  if (state->map(database)) {
    state->words_ = reinterpret_cast<Words*>(static_cast<char*>(state->memory_) + words_offset);
  } else {
    state->close_file();
    state->own_ = std::make_unique<Words>();
    state->words_ = state->own_.get();
  }
  return state;
}

bool SharedState::map(const std::string& database) {
  const Header wanted = header_of(database, database_);
  if (wanted.boot_id[0] == '\0') return false;
  const std::string path = database + sync_suffix;
  // Making the file takes a moment, in which its maker may be stopped. Others may unlink a file of
  // another boot at the same time.
  for (int attempt = 0; attempt < most_tries; ++attempt) {
    close_file();
    file_ = open_side_file(database, sync_suffix);
    if (file_ < 0) return false;
    if (!set_ofd_lock(file_, F_WRLCK, making_byte)) {
      if (errno != EAGAIN && errno != EACCES) return false;
      std::this_thread::sleep_for(pause_between_tries);
      continue;
    }
    if (!leads_to(path, file_)) continue;
    if (is_empty(file_) && !make(file_, wanted)) return false;
    if (!has(file_, wanted)) {
      ::unlink(path.c_str());
      continue;
    }
    set_ofd_lock(file_, F_UNLCK, making_byte);
    void* const memory = ::mmap(nullptr, file_size, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    if (memory == MAP_FAILED) return false;
    memory_ = memory;
    return true;
  }
  return false;
}

SharedState::~SharedState() {
  close_file();
  if (memory_ != nullptr) ::munmap(memory_, file_size);
}

bool SharedState::claim_sweep(std::chrono::nanoseconds overdue) {
  const std::uint64_t now = nanoseconds_since_boot();
  std::uint64_t due = words_->sweep_due;
  const auto left = static_cast<std::uint64_t>(overdue.count());
  if (now < due + left && due <= now + longest_pause) return false;
  return words_->sweep_due.compare_exchange_strong(due, now + pause_between_sweeps);
}

void SharedState::swept(std::chrono::nanoseconds pause, std::size_t holders) {
  words_->life_locks = static_cast<std::uint32_t>(holders);
  const std::uint64_t now = nanoseconds_since_boot();
  const std::uint64_t due =
      now + std::min(static_cast<std::uint64_t>(pause.count()), longest_pause);
  std::uint64_t before = words_->sweep_due;
  while (before < due && !words_->sweep_due.compare_exchange_weak(before, due)) {
  }
}

void SharedState::uncount_life_lock() {
  std::uint32_t count = words_->life_locks;
  while (count > 0 && !words_->life_locks.compare_exchange_weak(count, count - 1)) {
  }
}

void SharedState::close_file() noexcept {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

bool SharedState::try_lock_sync() {
  if (syncing_.test_and_set()) return false;
  if (memory_ == nullptr || set_ofd_lock(file_, F_WRLCK, syncing_byte)) return true;
  syncing_.clear();
  return false;
}

void SharedState::unlock_sync() noexcept {
  if (memory_ != nullptr) set_ofd_lock(file_, F_UNLCK, syncing_byte);
  syncing_.clear();
}

}  // namespace dbcache::store::sqlite
