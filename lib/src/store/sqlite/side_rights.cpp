#include "store/sqlite/side_rights.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::sqlite {
namespace {

constexpr mode_t permissions = 07777;
constexpr mode_t others_write = S_IROTH | S_IWOTH;
constexpr mode_t group_writes = S_IRGRP | S_IWGRP;

bool has_all(mode_t mode, mode_t bits) { return (mode & bits) == bits; }

/// The mode of a file beside the database. In another group than the database's it gives that group
/// no more than everybody has.
mode_t mode_beside(const struct stat& database, gid_t group) {
  const mode_t mode = database.st_mode & permissions;
  if (group == database.st_gid) return mode;
  return (mode & ~mode_t{S_IRWXG}) | (mode & S_IRWXO) << 3;
}

bool is_in_group(gid_t group) {
  if (::getegid() == group) return true;
  const int count = ::getgroups(0, nullptr);
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(count, 0)));
  if (::getgroups(count, groups.data()) < 0) return false;
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

/// True for a user that this machine does not list, as in a container.
bool may_be_in_group(uid_t user, gid_t group) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16384);
  if (::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return true;
  }
  std::vector<gid_t> groups(64);
  auto count = static_cast<int>(groups.size());
  if (::getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count) < 0) {
    groups.resize(static_cast<std::size_t>(std::max(count, 0)));
    if (::getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count) < 0) return true;
  }
  groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

/// Whether all who may write the database could use a file of this owner and group with
/// `mode_beside`: the database's owner, its group, and everybody.
bool is_for_all(const struct stat& database, uid_t owner, gid_t group) {
  if (has_all(database.st_mode, others_write)) return true;
  const bool is_shared_with_group = has_all(database.st_mode, group_writes);
  if (is_shared_with_group && group != database.st_gid) return false;
  if (owner == database.st_uid) return true;
  return is_shared_with_group && may_be_in_group(database.st_uid, group);
}

template <class GetStatus, class ChangeOwner, class ChangeMode>
bool give_rights(const struct stat& database, const GetStatus& get_status,
                 const ChangeOwner& change_owner, const ChangeMode& change_mode) {
  struct stat file {};
  if (get_status(file) != 0) return false;
  if (::geteuid() == 0 && file.st_uid != database.st_uid) {
    static_cast<void>(change_owner(database.st_uid, static_cast<gid_t>(-1)));
  }
  if (file.st_gid != database.st_gid) {
    static_cast<void>(change_owner(static_cast<uid_t>(-1), database.st_gid));
  }
  if (get_status(file) != 0) return false;
  const mode_t mode = mode_beside(database, file.st_gid);
  if ((file.st_mode & permissions) != mode && change_mode(mode) != 0) return false;
  return is_for_all(database, file.st_uid, file.st_gid);
}

}  // namespace

bool give_rights_of(const struct stat& database, int descriptor) {
  return give_rights(
      database, [&](struct stat& file) { return ::fstat(descriptor, &file); },
      [&](uid_t owner, gid_t group) { return ::fchown(descriptor, owner, group); },
      [&](mode_t mode) { return ::fchmod(descriptor, mode); });
}

bool give_rights_of(const struct stat& database, const std::string& path) {
  const char* const name = path.c_str();
  return give_rights(
      database, [&](struct stat& file) { return ::lstat(name, &file); },
      [&](uid_t owner, gid_t group) { return ::lchown(name, owner, group); },
      [&](mode_t mode) { return ::fchmodat(AT_FDCWD, name, mode, AT_SYMLINK_NOFOLLOW); });
}

void throw_not_shareable(const std::string& path) {
  struct stat database {};
  static_cast<void>(::stat(path.c_str(), &database));
  if (::geteuid() == database.st_uid) {
    throw StorageFailure(fmt::format(
        "the group {0} may write your database {1}, but could not use the files that you would "
        "make "
        "beside it, since this process is not in that group; run it with that group (in a "
        "container `--user {2}:{0}`), or take the right away (`chmod g-w`)",
        database.st_gid, path, database.st_uid));
  }
  throw StorageFailure(fmt::format(
      "others who may write the database {} could not use the files that you would make beside it; "
      "ask its owner to join you both to its group (now {}), or to let everybody write it",
      path, database.st_gid));
}

void require_shareable(const std::string& path) {
  struct stat database {};
  struct stat directory {};
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (::stat(path.c_str(), &database) != 0 || ::stat(parent.c_str(), &directory) != 0) return;
  const uid_t user = ::geteuid();
  if (user != 0) {
    // In a directory with the setgid bit files have its group from the beginning.
    const bool has_group =
        database.st_gid == (directory.st_mode & S_ISGID ? directory.st_gid : ::getegid()) ||
        is_in_group(database.st_gid);
    const gid_t group = has_group ? database.st_gid : static_cast<gid_t>(-1);
    if (!is_for_all(database, user, group)) {
      throw_not_shareable(path);
    }
  }
  // SQLite opens its files with O_CREAT.
  if ((directory.st_mode & S_ISVTX) != 0 &&
      is_protected(database, directory, protected_regular())) {
    throw StorageFailure(fmt::format(
        "the kernel does not let you use another user's database in {} (its sticky bit, and "
        "fs.protected_regular); share it in a directory without the sticky bit",
        parent));
  }
}

int protected_regular() {
  int value = 0;
  std::ifstream("/proc/sys/fs/protected_regular") >> value;
  return value;
}

bool is_protected(const struct stat& file, const struct stat& directory, int value) {
  if ((directory.st_mode & S_ISVTX) == 0 || file.st_uid == directory.st_uid ||
      file.st_uid == ::geteuid()) {
    return false;
  }
  return ((directory.st_mode & S_IWOTH) != 0 && value >= 1) ||
         ((directory.st_mode & S_IWGRP) != 0 && value >= 2);
}

}  // namespace dbcache::store::sqlite
