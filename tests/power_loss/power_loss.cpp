#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <stdlib.h>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/stat.h>

#include "power_loss/disk.hpp"
#include "power_loss/journal.hpp"
#include "power_loss/life.hpp"
#include "power_loss/workload.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

// Whether a database outlives a power loss. Processes use one while every write, sync and
// acknowledgement of theirs is recorded in one order. The records are cut somewhere; what a disk
// may hold after a power loss at that moment is put in place, and must open, be sound and hold all
// that was acknowledged before the cut. Then the machine lives on under another boot id: processes
// go on with that database, and are cut off in the same way again.
namespace dbcache::power_loss {
namespace {

namespace fs = std::filesystem;
using Random = std::mt19937_64;

constexpr int images_a_workload = 20;

struct Settings {
  int images = 60;
  std::uint64_t seed = 0;
  bool expect_loss = false;
  std::string recheck;
  std::string directory;
};

int number(Random& random, int least, int most) {
  return std::uniform_int_distribution(least, most)(random);
}

/// Where a cut falls.
enum class Moment { anywhere, after_acknowledgement, within_sync, at_names, at_the_beginning };
constexpr int moments = 5;

std::string_view to_string(Moment moment) {
  switch (moment) {
    case Moment::anywhere:
      return "anywhere";
    case Moment::after_acknowledgement:
      return "after an acknowledgement";
    case Moment::within_sync:
      return "within a sync";
    case Moment::at_names:
      return "as names change";
    case Moment::at_the_beginning:
      return "at the beginning";
  }
  return "";
}

/// A moment at random. The first record is that of the directory itself.
std::size_t cut_at(Moment moment, const std::vector<Record>& records, Random& random) {
  const auto below = [&](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  std::vector<std::size_t> cuts;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const What what = records[i].what;
    if (moment == Moment::after_acknowledgement && what == What::acknowledge) {
      cuts.push_back(i + 1);
    } else if (moment == Moment::within_sync && what == What::sync_end) {
      cuts.push_back(records[i].offset + 1 + below(i - records[i].offset));
    } else if (moment == Moment::at_names && i > 1 &&
               (what == What::create || what == What::unlink || what == What::rename ||
                what == What::make_directory || what == What::truncate)) {
      cuts.push_back(std::min(records.size(), i + below(8)));
    }
  }
  if (!cuts.empty()) return cuts[below(cuts.size())];
  return 1 + below(moment == Moment::at_the_beginning ? records.size() / 20 + 1 : records.size());
}

/// What the records acknowledge before the cut.
void add_promises(const std::vector<Record>& records, std::size_t cut,
                  std::vector<std::string>& promises) {
  for (std::size_t i = 0; i < cut; ++i) {
    if (records[i].what == What::acknowledge) promises.emplace_back(records[i].bytes);
  }
}

std::vector<std::string> complaints(const std::vector<Record>& records) {
  std::vector<std::string> all;
  for (const Record& record : records) {
    if (record.what == What::complain) all.emplace_back(record.bytes);
  }
  return all;
}

/// A disk before a life, the life's records, and what lives before it had promised: all that a
/// power loss in it is made of.
struct Case {
  Disk before;
  std::string records;
  std::vector<std::string> promised;
  Loss loss;
};

void keep(const Case& kept, const fs::path& directory) {
  fs::create_directories(directory / "before");
  write_disk(kept.before, (directory / "before").string());
  std::ofstream(directory / "records", std::ios::binary) << kept.records;
  std::ofstream promised(directory / "promised");
  for (const std::string& promise : kept.promised) promised << promise << '\n';
  std::ofstream(directory / "loss") << kept.loss.cut << ' ' << static_cast<int>(kept.loss.survival)
                                    << ' ' << kept.loss.seed << '\n';
}

Case read_case(const fs::path& directory) {
  Case kept;
  kept.before = read_disk((directory / "before").string());
  std::ifstream records(directory / "records", std::ios::binary);
  kept.records = std::string(std::istreambuf_iterator<char>(records), {});
  std::ifstream promised(directory / "promised");
  for (std::string line; std::getline(promised, line);) kept.promised.push_back(line);
  int survival = 0;
  std::ifstream loss(directory / "loss");
  if (!(loss >> kept.loss.cut >> survival >> kept.loss.seed)) {
    throw std::runtime_error("there is no case kept in " + directory.string());
  }
  kept.loss.survival = static_cast<Survival>(survival);
  return kept;
}

/// One disk, on which machines live and lose their power.
class Place {
 public:
  explicit Place(const fs::path& directory)
      : disk_((directory / "disk").string()),
        boot_id_((directory / "boot_id").string()),
        shelf_(directory / "shelf"),
        journal_(Journal::make()) {
    fs::create_directories(disk_);
    fs::create_directories(shelf_);
  }

  [[nodiscard]] std::string database() const { return disk_ + "/made/by_dbcache/cache.db"; }

  std::string live(const std::vector<Shift>& shifts, Random& random) {
    return power_loss::live(journal_, disk_, boot_id_, shifts, random);
  }

  /// Complains, after a life that began with `before`, if the records do not explain what is on the
  /// disk: then a call went past them.
  [[nodiscard]] std::optional<std::string> unexplained(const Disk& before,
                                                       const std::vector<Record>& records) const {
    const Disk expected = as_seen(before, records);
    const Disk found = read_disk(disk_, mapped_files(before, records));
    for (const auto& [path, content] : found.files) {
      if (!expected.files.contains(path) || expected.files.at(path) != content) {
        return fmt::format("the records do not explain what is in {}", path);
      }
    }
    if (found.files.size() != expected.files.size()) return "the records have files that are gone";
    return std::nullopt;
  }

  /// Puts a disk in place. The database is the inode that it was in the life before: by it, other
  /// files may know it.
  void put(const Disk& disk, std::uint64_t database_inode) {
    const std::string path = database();
    if (inode(path) != database_inode) {
      // A name elsewhere keeps an inode from being given to another file.
      if (inode(path) != 0) fs::rename(path, on_shelf(inode(path)));
      if (inode(on_shelf(database_inode)) != 0) {
        fs::create_directories(fs::path(path).parent_path());
        fs::rename(on_shelf(database_inode), path);
      }
    }
    if (!disk.files.contains(path.substr(disk_.size() + 1)) && inode(path) != 0) {
      fs::rename(path, on_shelf(inode(path)));
    }
    write_disk(disk, disk_);
  }

  [[nodiscard]] std::uint64_t database_inode() const { return inode(database()); }

 private:
  [[nodiscard]] std::string on_shelf(std::uint64_t inode) const {
    return (shelf_ / std::to_string(inode)).string();
  }

  /// 0 where there is no file.
  static std::uint64_t inode(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
  }

  std::string disk_;
  std::string boot_id_;
  fs::path shelf_;
  Journal& journal_;
};

/// Processes that make the database, and use it for some time.
std::vector<Shift> first_life(const std::string& database, Random& random) {
  std::vector<Shift> shifts;
  int worker = 0;
  for (const int calls : {number(random, 20, 40), number(random, 3, 10), number(random, 3, 10)}) {
    Shift& shift = shifts.emplace_back();
    for (int part = 0; part < 6; ++part) {
      WorkerSettings settings{.database = database,
                              .name = fmt::format("first-{}", ++worker),
                              .seed = random(),
                              .threads = number(random, 1, 3),
                              .calls = calls,
                              .forks = part == 0};
      if (part == 1) settings.durability = Durability::relaxed;
      shift.parts.push_back({[settings] { work(settings); }, !settings.forks});
    }
  }
  return shifts;
}

/// Processes that go on with it, and one that checks it: before them, or beside them.
std::vector<Shift> second_life(const std::string& database,
                               const std::vector<std::string>& promised, Random& random) {
  const Part checker{[database, &promised] { check(database, promised); }};
  std::vector<Shift> shifts(1);
  shifts.back().parts.push_back(checker);
  if (number(random, 0, 1) == 0) shifts.emplace_back();
  for (int part = 0; part < 2; ++part) {
    const WorkerSettings settings{.database = database,
                                  .name = fmt::format("second-{}", part),
                                  .seed = random(),
                                  .threads = 2,
                                  .calls = number(random, 3, 8)};
    shifts.back().parts.push_back({[settings] { work(settings); }, true});
  }
  return shifts;
}

/// A machine that only looks.
std::vector<Shift> last_life(const std::string& database,
                             const std::vector<std::string>& promised) {
  return {{{{[database, &promised] { check(database, promised); }}}}};
}

/// What the images came to.
struct Tally {
  int images = 0;
  std::size_t promises = 0;
  std::array<int, moments> at{};
  std::array<int, survivals> surviving{};
  std::vector<std::string> failures;
  bool lost = false;  ///< An acknowledged commit, in one of them.
};

class Test {
 public:
  Test(const Settings& settings, fs::path directory)
      : settings_(settings), directory_(std::move(directory)), place_(directory_) {}

  Tally run() {
    for (int workload = 0; !is_done(); ++workload) {
      std::seed_seq seeds{settings_.seed, settings_.seed >> 32,
                          static_cast<std::uint64_t>(workload)};
      random_.seed(seeds);
      try_workload();
    }
    return tally_;
  }

 private:
  [[nodiscard]] bool is_done() const {
    return tally_.images >= settings_.images || (settings_.expect_loss && tally_.lost);
  }

  void try_workload() {
    place_.put({}, 0);
    Case first;
    first.records = place_.live(first_life(place_.database(), random_), random_);
    const auto records = records_of(first.records);
    const std::uint64_t inode = place_.database_inode();
    note(first, complaints(records), "in the workload");
    if (const auto wrong = place_.unexplained({}, records))
      note(first, {*wrong}, "in the workload");
    for (int image = 0; image < images_a_workload && !is_done(); ++image) {
      ++tally_.images;
      try_image(first, records, inode);
    }
  }

  /// A power loss in the first life, a second life, and another power loss.
  void try_image(Case& first, const std::vector<Record>& records, std::uint64_t inode) {
    first.loss = choose_loss(records, moments);
    Case second;
    second.before = after_power_loss(first.before, records, first.loss);
    add_promises(records, first.loss.cut, second.promised);
    tally_.promises += second.promised.size();
    place_.put(second.before, inode);
    second.records = place_.live(second_life(place_.database(), second.promised, random_), random_);
    const auto second_records = records_of(second.records);
    if (note(first, complaints(second_records), "after the first power loss")) return;
    if (const auto wrong = place_.unexplained(second.before, second_records)) {
      note(first, {*wrong}, "after the first power loss");
      return;
    }
    // Little is acknowledged at the beginning of so short a life.
    second.loss = choose_loss(second_records, moments - 1);
    const Disk disk = after_power_loss(second.before, second_records, second.loss);
    auto promised = second.promised;
    add_promises(second_records, second.loss.cut, promised);
    tally_.promises += promised.size();
    place_.put(disk, place_.database_inode());
    const std::string last = place_.live(last_life(place_.database(), promised), random_);
    note(second, complaints(records_of(last)), "after the second power loss");
  }

  /// At one of the first so many kinds of moments.
  Loss choose_loss(const std::vector<Record>& records, int kinds) {
    const auto moment = static_cast<Moment>(number(random_, 0, kinds - 1));
    const Loss loss{.cut = cut_at(moment, records, random_),
                    .survival = static_cast<Survival>(number(random_, 0, survivals - 1)),
                    .seed = random_()};
    ++tally_.at.at(static_cast<std::size_t>(moment));
    ++tally_.surviving.at(static_cast<std::size_t>(loss.survival));
    return loss;
  }

  /// Tells of a failure, and keeps what it takes to see it again. False where there is none.
  bool note(const Case& failed, const std::vector<std::string>& wrong, std::string_view when) {
    if (wrong.empty()) return false;
    const bool lost = std::any_of(wrong.begin(), wrong.end(), [](const std::string& what) {
      return what.starts_with("lost: ");
    });
    tally_.lost = tally_.lost || lost;
    std::string& failure = tally_.failures.emplace_back(
        fmt::format("image {} of seed {}, {} (before record {}, surviving: {})", tally_.images,
                    settings_.seed, when, failed.loss.cut, to_string(failed.loss.survival)));
    if (!settings_.expect_loss) {
      const fs::path kept = directory_ / fmt::format("failure-{}", tally_.failures.size());
      keep(failed, kept);
      failure += fmt::format(", kept in {}", kept.string());
    }
    failure += ':';
    constexpr std::size_t most = 5;
    for (std::size_t i = 0; i < std::min(most, wrong.size()); ++i) failure += "\n  " + wrong[i];
    if (wrong.size() > most) failure += fmt::format("\n  and {} more", wrong.size() - most);
    std::cout << failure << std::endl;
    return true;
  }

  Settings settings_;
  fs::path directory_;
  Place place_;
  Random random_;
  Tally tally_;
};

void print_summary(const Settings& settings, const Tally& tally) {
  std::string cuts;
  for (int moment = 0; moment < moments; ++moment) {
    cuts += fmt::format("{}{} {}", moment == 0 ? "" : ", ",
                        tally.at.at(static_cast<std::size_t>(moment)),
                        to_string(static_cast<Moment>(moment)));
  }
  std::string surviving;
  for (int survival = 0; survival < survivals; ++survival) {
    surviving += fmt::format("{}{} {}", survival == 0 ? "" : ", ",
                             tally.surviving.at(static_cast<std::size_t>(survival)),
                             to_string(static_cast<Survival>(survival)));
  }
  std::cout << fmt::format(
                   "power loss: {} images of two power losses each, {} acknowledged commits "
                   "looked for; cuts: {}; surviving: {}; failures: {} (seed {})",
                   tally.images, tally.promises, cuts, surviving, tally.failures.size(),
                   settings.seed)
            << std::endl;
}

/// Puts a kept case in place once more, and looks at it.
int recheck(const Settings& settings, const fs::path& directory) {
  const Case kept = read_case(settings.recheck);
  const auto records = records_of(kept.records);
  auto promised = kept.promised;
  add_promises(records, kept.loss.cut, promised);
  Place place(directory);
  place.put(after_power_loss(kept.before, records, kept.loss), 0);
  Random random(kept.loss.seed);
  const std::string life = place.live(last_life(place.database(), promised), random);
  const auto wrong = complaints(records_of(life));
  for (const std::string& what : wrong) std::cout << what << std::endl;
  std::cout << promised.size() << " acknowledged commits looked for" << std::endl;
  return wrong.empty() ? 0 : 1;
}

int test(const Settings& settings, const fs::path& directory) {
  std::cout << "seed " << settings.seed << std::endl;
  const Tally tally = Test(settings, directory).run();
  print_summary(settings, tally);
  if (settings.expect_loss) return tally.lost ? 0 : 1;
  return tally.failures.empty() ? 0 : 1;
}

int run(int argc, char** argv) {
  Settings settings;
  settings.seed = std::random_device()();
  CLI::App app{"Whether a database outlives power losses at random moments"};
  app.add_option("--images", settings.images, "How many")->capture_default_str();
  app.add_option("--seed", settings.seed, "Of everything random but the scheduler; printed");
  app.add_flag("--expect-loss", settings.expect_loss,
               "Stop, and succeed, at the first acknowledged commit that is lost");
  app.add_option("--recheck", settings.recheck, "Look again at a failure that was kept");
  app.add_option("--directory", settings.directory,
                 "For the disk, and for failures; else a temporary one");
  CLI11_PARSE(app, argc, argv);
  const test::BareEnvironment environment;
  const bool is_temporary = settings.directory.empty();
  if (is_temporary) {
    settings.directory = (fs::temp_directory_path() / "dbcache-power-loss-XXXXXX").string();
    if (::mkdtemp(settings.directory.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  }
  const fs::path directory = fs::absolute(settings.directory);
  const int status =
      settings.recheck.empty() ? test(settings, directory) : recheck(settings, directory);
  if (is_temporary && (status == 0 || !settings.recheck.empty())) fs::remove_all(directory);
  return status;
}

}  // namespace
}  // namespace dbcache::power_loss

int main(int argc, char** argv) try {
  return dbcache::power_loss::run(argc, argv);
} catch (const std::exception& error) {
  std::cerr << error.what() << std::endl;
  return 1;
}
