#include "store/sqlite/ofd_lock.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

namespace dbcache::store::sqlite {
namespace {

namespace fs = std::filesystem;

/// Whether what proc(5) says of a descriptor has a lock that begins at this byte:
/// `lock:  1: OFDLCK  ADVISORY  WRITE -1 fe:00:1186 4611686018427387904 4611686018427387905`.
bool has_lock(std::istream& information, std::string_view begin) {
  for (std::string line; std::getline(information, line);) {
    if (line.find("OFDLCK") != std::string::npos && line.find(begin) != std::string::npos) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<bool> has_ofd_lock(std::int64_t process, off_t byte) {
  const std::string begin = fmt::format(" {} ", byte);
  std::error_code error;
  fs::directory_iterator descriptors(fmt::format("/proc/{}/fdinfo", process), error);
  bool saw_all = true;
  for (; !error && descriptors != fs::directory_iterator(); descriptors.increment(error)) {
    errno = 0;
    std::ifstream information(descriptors->path());
    const bool was_closed = !information && errno == ENOENT;
    if (information && has_lock(information, begin)) return true;
    saw_all = saw_all && (was_closed || (information.eof() && !information.bad()));
  }
  if (error || !saw_all) return std::nullopt;
  return false;
}

}  // namespace dbcache::store::sqlite
