#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "power_loss/journal.hpp"

namespace dbcache::power_loss {

/// What a disk holds below the watched directory, by path.
struct Disk {
  std::map<std::string, std::string> files{};
  std::set<std::string> directories{};
};

/// What survives of that which no completed sync covers.
enum class Survival {
  nothing,     ///< The disk was slow: only what was forced.
  everything,  ///< The disk had kept up.
  prefix,      ///< It wrote in order, up to some moment.
  subset,      ///< It wrote in any order.
  torn,        ///< The same, and single sectors of a write.
  by_file,     ///< One of these for each file.
};
inline constexpr int survivals = 6;
std::string_view to_string(Survival survival);

/// A power loss: before which record, and what survives. The seed decides the rest.
struct Loss {
  std::size_t cut = 0;
  Survival survival = Survival::nothing;
  std::uint64_t seed = 0;
};

/// What may be on the disk after a power loss.
///
/// A file's changes before the begin of a sync that ended before the cut are there; of the others
/// some, a write perhaps in part, by sectors of 512 bytes, or only as zeros within a size that
/// grew. Names are there if their directory was synced, a directory's other changes of names up to
/// some point in their order. Stores to mapped files are not recorded: such a file holds what calls
/// wrote to it, a snapshot, words of several snapshots, or garbage.
///
/// That allows more than file systems do (ext4, say, keeps truncations and names in one order, and
/// a name with the fsync of its file). It holds a disk to its word about syncs, and to leaving
/// alone the sectors that it does not write.
Disk after_power_loss(const Disk& before, const std::vector<Record>& records, const Loss& loss);

/// What the processes saw in the end, but for files that they mapped.
Disk as_seen(const Disk& before, const std::vector<Record>& records);

/// The directory as it is; but for files that were mapped.
Disk read_disk(const std::string& directory, const std::set<std::string>& leave_out = {});

/// Which files the records map.
std::set<std::string> mapped_files(const Disk& before, const std::vector<Record>& records);

/// Makes a directory hold this and nothing else. Files stay the inodes that they are.
void write_disk(const Disk& disk, const std::string& directory);

}  // namespace dbcache::power_loss
