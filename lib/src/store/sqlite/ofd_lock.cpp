#include "store/sqlite/ofd_lock.hpp"

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
    std::ifstream information(descriptors->path());
    if (!information) {
      std::error_code gone;
      saw_all = saw_all && !fs::exists(fs::symlink_status(descriptors->path(), gone));
    } else if (has_lock(information, begin)) {
      return true;
    }
  }
  if (error || !saw_all) return std::nullopt;
  return false;
}

}  // namespace dbcache::store::sqlite
