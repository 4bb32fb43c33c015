#include "power_loss/journal.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>
#include <stdexcept>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace dbcache::power_loss {
namespace {

/// Address space, of which only what is written takes memory.
constexpr std::size_t capacity = std::size_t{1} << 30;

constexpr std::size_t records_a_tick = 32;

constexpr long nanoseconds_a_second = 1'000'000'000;

/// Before the bytes of each record.
struct Header {
  std::uint64_t size;
  std::uint64_t inode;
  std::uint64_t offset;
  What what;
};

/// An exception would end in SQLite's C code.
[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "the journal of the power loss test: %s\n", why);
  std::abort();
}

template <std::size_t size>
void copy_text(std::array<char, size>& to, const std::string& text) {
  if (text.size() >= size) throw std::runtime_error("too long a path: " + text);
  std::memcpy(to.data(), text.c_str(), text.size() + 1);
}

}  // namespace

Journal& Journal::make() {
  void* const memory = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
  Journal& journal = *new (memory) Journal;
  pthread_mutexattr_t attributes;
  ::pthread_mutexattr_init(&attributes);
  ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  ::pthread_mutex_init(&journal.mutex_, &attributes);
  ::pthread_mutexattr_destroy(&attributes);
  journal.ticks_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (journal.ticks_ < 0) throw std::runtime_error("eventfd failed");
  return journal;
}

Journal::Lock::Lock(Journal& journal) : journal_(journal) {
  // Who was woken for it may be killed before he takes it, and the others would sleep on: they look
  // now and then.
  constexpr long longest_sleep_ns = 20'000'000;
  int result = ETIMEDOUT;
  while (result == ETIMEDOUT) {
    timespec until{};
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += longest_sleep_ns;
    until.tv_sec += until.tv_nsec / nanoseconds_a_second;
    until.tv_nsec %= nanoseconds_a_second;
    result = ::pthread_mutex_clocklock(&journal_.mutex_, CLOCK_MONOTONIC, &until);
  }
  if (result != 0) give_up("a process died within an operation");
}

Journal::Lock::~Lock() { ::pthread_mutex_unlock(&journal_.mutex_); }

void Journal::begin(const std::string& directory, const std::string& boot_id_file) {
  const Lock lock(*this);
  copy_text(directory_, directory);
  copy_text(boot_id_file_, boot_id_file);
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) throw std::runtime_error("no " + directory);
  device_ = status.st_dev;
  used_ = 0;
  records_ = 0;
  inodes_seen_ = 0;
  note(status.st_ino);
  append({What::make_directory, status.st_ino, 0, ""});
}

std::size_t Journal::append(const Record& record) {
  const Header header{record.bytes.size(), record.inode, record.offset, record.what};
  if (sizeof(Journal) + used_ + sizeof header + record.bytes.size() > capacity) {
    give_up("it is full");
  }
  std::memcpy(text() + used_, &header, sizeof header);
  used_ += sizeof header;
  record.bytes.copy(text() + used_, record.bytes.size());
  used_ += record.bytes.size();
  if (record.what == What::found || record.what == What::create ||
      record.what == What::make_directory) {
    note(record.inode);
  }
  if (records_ % records_a_tick == records_a_tick - 1) ::eventfd_write(ticks_, 1);
  return records_++;
}

bool Journal::has_seen(std::uint64_t inode) const {
  const auto* const end = inodes_.begin() + inodes_seen_.load();
  return std::find(inodes_.begin(), end, inode) != end;
}

void Journal::note(std::uint64_t inode) {
  if (has_seen(inode)) return;
  const std::size_t place = inodes_seen_;
  if (place == inodes_.size()) give_up("too many files");
  inodes_[place] = inode;
  inodes_seen_ = place + 1;
}

std::vector<Record> records_of(std::string_view bytes) {
  std::vector<Record> records;
  while (!bytes.empty()) {
    Header header{};
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes.remove_prefix(sizeof header);
    records.push_back({header.what, header.inode, header.offset, bytes.substr(0, header.size)});
    bytes.remove_prefix(header.size);
  }
  return records;
}

}  // namespace dbcache::power_loss
