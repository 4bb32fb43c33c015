#include "chaos/journal.hpp"

#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include <boost/json/serialize.hpp>

namespace dbcache::chaos {

std::int64_t monotonic_now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void spend(std::chrono::milliseconds duration) {
  ::poll(nullptr, 0, static_cast<int>(duration.count()));
}

Journal::Journal(const std::filesystem::path& path)
    : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (file_ < 0) throw std::runtime_error("cannot open the journal " + path.string());
}

Journal::~Journal() { ::close(file_); }

void Journal::write(boost::json::object record, std::int64_t at) const {
  record["at"] = at;
  // The line break before it ends what a killed process may have left unfinished.
  const std::string line = "\n" + boost::json::serialize(record) + "\n";
  if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::runtime_error("a journal could not be written");
  }
}

}  // namespace dbcache::chaos
