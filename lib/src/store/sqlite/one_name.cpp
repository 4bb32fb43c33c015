#include "store/sqlite/one_name.hpp"

#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fmt/format.h>
#include <sys/stat.h>

#include <dbcache/errors.hpp>

#include "store/sqlite/shared_state.hpp"

namespace dbcache::store::sqlite {
namespace {

/// From linux/stat.h, since 5.8; the C library's headers may be older.
constexpr std::uint64_t mount_root = 0x2000;

/// A name in mountinfo has blanks, newlines and backslashes as `\` and three octal digits.
std::string unescape(const std::string& field) {
  std::string text;
  for (std::size_t at = 0; at < field.size(); ++at) {
    if (field[at] == '\\' && at + 3 < field.size()) {
      text += static_cast<char>(std::stoi(field.substr(at + 1, 3), nullptr, 8));
      at += 3;
    } else {
      text += field[at];
    }
  }
  return text;
}

bool is_mount_point(const std::string& path) {
  struct statx status {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) == 0 &&
      (status.stx_attributes_mask & mount_root) != 0) {
    return (status.stx_attributes & mount_root) != 0;
  }
  // An older kernel, or one that refuses the call.
  std::ifstream file("/proc/self/mountinfo");
  return lists_mount({std::istreambuf_iterator<char>(file), {}}, path);
}

}  // namespace

bool lists_mount(const std::string& mountinfo, const std::string& path) {
  constexpr int field_of_mount_point = 5;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string field;
    for (int number = 0; number < field_of_mount_point; ++number) fields >> field;
    if (fields && unescape(field) == path) return true;
  }
  return false;
}

void require_own_side_files(const std::string& path, const FileIdentity& file) {
  if (SharedState::is_beside(path, file)) return;
  throw StorageFailure(fmt::format(
      "the database {0} has other names (hard links), and its locks and its WAL belong to another "
      "of them; use it by the name that it was made with. If this is that name, the file {0}-sync "
      "does not say so: remove all other names (`find DIRECTORY -samefile {0}` lists them), and "
      "use "
      "it once before you link it again",
      path));
}

void refuse_mounted_file(const std::string& path) {
  if (!is_mount_point(path)) return;
  throw StorageFailure(fmt::format(
      "the database {} is mounted without its directory, so its locks and its WAL would not be "
      "those that others use; mount the directory that holds it instead",
      path));
}

}  // namespace dbcache::store::sqlite
