#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "system/descriptor.hpp"

namespace dbcache::store::sqlite {

/// A file of life locks, open. It begins with a random id; behind it stands when and as which inode
/// it was made. A copy of such a file has no locks in it, and so counts as one without an id.
struct OpenedLocks {
  system::Descriptor descriptor;
  std::string id;       ///< Empty before the file is made, or while another process makes it.
  std::string boot_id;  ///< When the file was made; empty where it does not say.
  std::chrono::nanoseconds made_at{};  ///< Since that boot.
  dev_t device{};
  ino_t inode{};

  /// Whether holders in a file before it may not have noticed it yet.
  [[nodiscard]] bool is_new() const;

  /// Whether the path leads to this file.
  [[nodiscard]] bool is_at(const std::string& path) const;
};

/// What to do where the file has no id yet.
enum class MissingId { make, leave };

/// Opens the file with this number, and makes it where there is none. Throws StorageFailure where
/// it cannot be opened, or its id cannot be written.
OpenedLocks open_locks(const std::string& database, std::uint32_t number, MissingId missing);

std::string path_of_locks(const std::string& database, std::uint32_t number);

/// A holder names its file `ID`, or `ID.NUMBER` where it is not the first one.
std::string name_of_file(const std::string& id, std::uint32_t number);
std::uint32_t number_of_file(std::string_view name);

}  // namespace dbcache::store::sqlite
