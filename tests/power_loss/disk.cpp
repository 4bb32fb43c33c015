#include "power_loss/disk.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>

namespace dbcache::power_loss {
namespace {

using Random = std::mt19937_64;

constexpr std::size_t sector = 512;

bool chance(Random& random, int percent) {
  return std::uniform_int_distribution(1, 100)(random) <= percent;
}

std::size_t number_below(Random& random, std::size_t end) {
  return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
}

/// One file, under whatever names.
struct File {
  std::string before{};
  std::vector<std::size_t> changes{};    ///< Records of writes, truncations, allocations.
  std::vector<std::size_t> snapshots{};  ///< Records of what it held, once it was mapped.
  std::size_t synced = 0;                ///< The records before this one are on the disk.
  bool mapped = false;
};
using FilePointer = std::shared_ptr<File>;

struct NameChange {
  std::size_t record = 0;
  std::string gone;  ///< A name that goes.
  std::string name;  ///< One that comes: of the file, or of a directory.
  FilePointer file;
};

struct Directory {
  std::vector<NameChange> changes;
  std::size_t synced = 0;
};

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

void apply(const NameChange& change, std::map<std::string, FilePointer>& names,
           std::set<std::string>& directories) {
  if (!change.gone.empty()) names.erase(change.gone);
  if (change.file) {
    names[change.name] = change.file;
  } else if (!change.name.empty()) {
    directories.insert(change.name);
  }
}

void write(std::string& content, std::size_t at, std::string_view bytes) {
  if (content.size() < at + bytes.size()) content.resize(at + bytes.size());
  bytes.copy(content.data() + at, bytes.size());
}

void apply(const Record& record, std::string& content) {
  if (record.what == What::write) {
    write(content, record.offset, record.bytes);
  } else if (record.what == What::truncate || content.size() < record.offset) {
    content.resize(record.offset);
  }
}

/// The sectors of a write that reached the disk.
void apply_torn(const Record& record, std::string& content, Random& random) {
  for (std::size_t done = 0; done < record.bytes.size();) {
    const std::size_t at = record.offset + done;
    const std::size_t size = std::min(record.bytes.size() - done, sector - at % sector);
    if (chance(random, 50)) write(content, at, record.bytes.substr(done, size));
    done += size;
  }
}

/// What records up to some point did to files and names.
class History {
 public:
  History(const Disk& before, const std::vector<Record>& records, std::size_t end)
      : records_(records), end_(end), first_directories_(before.directories) {
    for (const auto& [path, content] : before.files) {
      first_names_[path] = files_.emplace_back(std::make_shared<File>(File{.before = content}));
    }
    names_ = first_names_;
    seen_directories_ = first_directories_;
    for (std::size_t i = 0; i < end_; ++i) take(i);
  }

  [[nodiscard]] Disk seen() const {
    Disk disk{.directories = seen_directories_};
    for (const auto& [path, file] : names_) {
      if (file->mapped) continue;
      std::string& content = disk.files[path] = file->before;
      for (const std::size_t change : file->changes) apply(records_[change], content);
    }
    return disk;
  }

  [[nodiscard]] std::set<std::string> mapped() const {
    std::set<std::string> paths;
    for (const auto& [path, file] : names_) {
      if (file->mapped) paths.insert(path);
    }
    return paths;
  }

  [[nodiscard]] Disk after(Survival survival, Random& random) const {
    const std::size_t reached = number_below(random, end_ + 1);
    auto names = first_names_;
    Disk disk{.directories = first_directories_};
    for (const auto& [path, directory] : directories_) {
      const std::size_t survive = surviving_names(directory, survival, reached, random);
      for (std::size_t i = 0; i < survive; ++i) {
        apply(directory.changes[i], names, disk.directories);
      }
    }
    for (const FilePointer& file : files_) {
      std::string content = content_after(*file, survival, reached, random);
      for (const auto& [path, named] : names) {
        if (named == file && is_reachable(path, disk)) disk.files[path] = content;
      }
    }
    std::erase_if(disk.directories, [&](const auto& path) { return !is_reachable(path, disk); });
    return disk;
  }

 private:
  static bool is_reachable(const std::string& path, const Disk& disk) {
    const std::string parent = parent_of(path);
    return parent.empty() || (disk.directories.contains(parent) && is_reachable(parent, disk));
  }

  void take(std::size_t number) {
    const Record& record = records_[number];
    const std::string path(record.bytes.substr(0, record.bytes.find('\0')));
    switch (record.what) {
      case What::found:
        if (path.empty() || seen_directories_.contains(path)) {
          directory_of_inode_[record.inode] = path;
        } else if (names_.contains(path)) {
          file_of_inode_[record.inode] = names_.at(path);
        } else {
          throw std::runtime_error("nobody recorded who made " + path);
        }
        break;
      case What::create: {
        const auto& file = files_.emplace_back(std::make_shared<File>());
        // The number may have been another file's that is gone.
        file_of_inode_[record.inode] = file;
        change_names({number, "", path, file});
        break;
      }
      case What::make_directory:
        directory_of_inode_[record.inode] = path;
        if (!path.empty()) change_names({number, "", path, nullptr});
        break;
      case What::write:
      case What::truncate:
      case What::allocate:
        file_of_inode_.at(record.inode)->changes.push_back(number);
        break;
      case What::sync_end:
        if (const auto found = directory_of_inode_.find(record.inode);
            found != directory_of_inode_.end()) {
          reach(directories_[found->second].synced, record.offset);
        } else {
          reach(file_of_inode_.at(record.inode)->synced, record.offset);
        }
        break;
      case What::unlink:
        change_names({number, path, "", nullptr});
        break;
      case What::rename: {
        const std::string to(record.bytes.substr(path.size() + 1));
        if (parent_of(path) != parent_of(to)) throw std::runtime_error("cannot move " + path);
        change_names({number, path, to, names_.at(path)});
        break;
      }
      case What::map:
        file_of_inode_.at(record.inode)->mapped = true;
        break;
      case What::snapshot:
        file_of_inode_.at(record.inode)->snapshots.push_back(number);
        break;
      case What::sync_begin:
      case What::acknowledge:
      case What::complain:
        break;
    }
  }

  static void reach(std::size_t& synced, std::size_t begin) { synced = std::max(synced, begin); }

  void change_names(NameChange change) {
    apply(change, names_, seen_directories_);
    const std::string parent = parent_of(change.name.empty() ? change.gone : change.name);
    directories_[parent].changes.push_back(std::move(change));
  }

  /// How many of a directory's changes of names are on the disk.
  std::size_t surviving_names(const Directory& directory, Survival survival, std::size_t reached,
                              Random& random) const {
    std::size_t durable = 0;
    std::size_t in_order = 0;
    for (const NameChange& change : directory.changes) {
      if (change.record < directory.synced) ++durable;
      if (change.record < std::max(directory.synced, reached)) ++in_order;
    }
    const std::size_t all = directory.changes.size();
    if (survival == Survival::nothing) return durable;
    if (survival == Survival::everything) return all;
    if (survival == Survival::prefix) return in_order;
    return durable + number_below(random, all - durable + 1);
  }

  std::string content_after(const File& file, Survival survival, std::size_t reached,
                            Random& random) const {
    if (survival == Survival::by_file) {
      survival = static_cast<Survival>(number_below(random, survivals - 1));
    }
    const int surviving = static_cast<int>(10 + 40 * number_below(random, 3));  // percent
    std::string content = file.before;
    for (const std::size_t change : file.changes) {
      const Record& record = records_[change];
      const bool whole = change < file.synced || survival == Survival::everything ||
                         (survival == Survival::prefix && change < reached);
      if (whole) {
        apply(record, content);
      } else if (survival == Survival::subset || survival == Survival::torn) {
        const bool is_write = record.what == What::write;
        if (chance(random, surviving)) {
          apply(record, content);
        } else if (is_write && survival == Survival::torn && chance(random, 70)) {
          apply_torn(record, content, random);
        } else if (is_write && chance(random, 10)) {
          content.resize(
              std::max<std::size_t>(content.size(), record.offset + record.bytes.size()));
        }
      }
    }
    return file.mapped ? mapped_content(file, std::move(content), random) : content;
  }

  std::string mapped_content(const File& file, std::string by_calls, Random& random) const {
    const std::size_t way = number_below(random, 8);
    if (way == 0) return by_calls;
    if (way == 1) {
      for (char& byte : by_calls) byte = static_cast<char>(number_below(random, 256));
      return by_calls;
    }
    if (file.snapshots.empty()) return by_calls;
    const auto snapshot = [&](std::size_t number) {
      return records_[file.snapshots[number]].bytes;
    };
    if (way == 2) return std::string(snapshot(file.snapshots.size() - 1));
    std::string content(snapshot(number_below(random, file.snapshots.size())));
    if (way == 3) return content;
    // The page was read while processors stored to it: each word is of its own moment.
    constexpr std::size_t word = 8;
    for (std::size_t at = 0; at + word <= content.size(); at += word) {
      const auto other = snapshot(number_below(random, file.snapshots.size()));
      if (at + word <= other.size()) other.copy(content.data() + at, word, at);
    }
    return content;
  }

  const std::vector<Record>& records_;
  const std::size_t end_;
  std::vector<FilePointer> files_;  ///< Every one there ever was.
  std::map<std::uint64_t, FilePointer> file_of_inode_;
  std::map<std::uint64_t, std::string> directory_of_inode_;
  std::map<std::string, Directory> directories_;
  std::map<std::string, FilePointer> first_names_;
  std::set<std::string> first_directories_;
  std::map<std::string, FilePointer> names_;  ///< As processes see them.
  std::set<std::string> seen_directories_;
};

}  // namespace

std::string_view to_string(Survival survival) {
  switch (survival) {
    case Survival::nothing:
      return "nothing";
    case Survival::everything:
      return "everything";
    case Survival::prefix:
      return "a prefix";
    case Survival::subset:
      return "a subset";
    case Survival::torn:
      return "torn writes";
    case Survival::by_file:
      return "by file";
  }
  return "";
}

Disk after_power_loss(const Disk& before, const std::vector<Record>& records, const Loss& loss) {
  Random random(loss.seed);
  return History(before, records, loss.cut).after(loss.survival, random);
}

Disk as_seen(const Disk& before, const std::vector<Record>& records) {
  return History(before, records, records.size()).seen();
}

std::set<std::string> mapped_files(const Disk& before, const std::vector<Record>& records) {
  return History(before, records, records.size()).mapped();
}

Disk read_disk(const std::string& directory, const std::set<std::string>& leave_out) {
  Disk disk;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string path = entry.path().lexically_relative(directory).string();
    if (entry.is_directory()) {
      disk.directories.insert(path);
    } else if (!leave_out.contains(path)) {
      std::ifstream file(entry.path(), std::ios::binary);
      disk.files[path] = std::string(std::istreambuf_iterator<char>(file), {});
    }
  }
  return disk;
}

void write_disk(const Disk& disk, const std::string& directory) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    paths.push_back(entry.path().lexically_relative(directory).string());
  }
  // What is in a directory goes before it.
  std::sort(paths.rbegin(), paths.rend());
  for (const std::string& path : paths) {
    if (!disk.files.contains(path) && !disk.directories.contains(path)) {
      std::filesystem::remove(directory + "/" + path);
    }
  }
  for (const std::string& path : disk.directories) {
    std::filesystem::create_directory(directory + "/" + path);
  }
  for (const auto& [path, content] : disk.files) {
    std::ofstream file(directory + "/" + path, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path);
  }
}

}  // namespace dbcache::power_loss
