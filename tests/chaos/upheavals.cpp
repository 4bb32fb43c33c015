#include "chaos/upheavals.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "support/raw_database.hpp"

namespace dbcache::chaos {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::string_view file_name = "cache.db";

// Within directories of one file system, so that each takes the other's place at once.
fs::path prepared(const Places& places) { return places.directory / "prepared"; }
fs::path backup(const Places& places) { return places.directory / "backup.db"; }

fs::path kept(const Places& places, int number) {
  return places.directory / ("log-" + std::to_string(number));
}

fs::path in_use(const Places& places) { return fs::path(places.database).parent_path(); }

}  // namespace

Upheavals::Upheavals(const Places& places) : places_(places) {
  fs::create_directories(in_use(places_));
}

void Upheavals::befall(Crowd& crowd, milliseconds duration) {
  constexpr int kinds = 4;
  constexpr int one_in = 8;
  constexpr milliseconds calm_before_the_end{1000};
  constexpr std::chrono::minutes long_enough{1};
  const auto until = monotonic_now() + std::chrono::nanoseconds(duration).count();
  const auto left = [&] {
    return std::chrono::ceil<milliseconds>(std::chrono::nanoseconds(until - monotonic_now()));
  };
  for (;;) {
    // Mostly soon after one another. Now and then there is time for the dead to be noticed by, for
    // which files of locks that are new have to be 15 seconds old.
    const bool calm = left() > long_enough && crowd.pause(1, one_in).count() == 1;
    const auto pause = calm ? crowd.pause(16'000, 20'000) : crowd.pause(100, 2'500);
    if (left() < pause + calm_before_the_end) return crowd.work_for(left());
    crowd.work_for(pause);
    const std::int64_t since = monotonic_now();
    const char* what = "";
    switch (crowd.pause(1, kinds).count()) {
      case 1:
        what = "wiped";
        wipe();
        break;
      case 2:
        what = "backed up";
        back_up();
        break;
      case 3:
        if (!restore()) continue;
        what = "restored";
        break;
      default:
        what = "locks deleted";
        delete_locks();
    }
    crowd.journal().write({{"what", what}, {"since", since}});
  }
}

std::vector<std::string> Upheavals::databases() const {
  std::vector<std::string> found;
  for (int number = 1; number <= gone_; ++number) {
    const fs::path database = kept(places_, number) / file_name;
    if (fs::exists(database)) found.push_back(database.string());
  }
  found.push_back(places_.database);
  return found;
}

void Upheavals::wipe() {
  fs::create_directory(prepared(places_));
  exchange();
}

void Upheavals::back_up() {
  fs::remove(backup(places_));
  if (fs::exists(places_.database)) {
    test::run_sql(places_.database, "VACUUM INTO '" + backup(places_).string() + "'");
  }
}

bool Upheavals::restore() {
  if (!fs::exists(backup(places_))) return false;
  fs::create_directory(prepared(places_));
  fs::copy_file(backup(places_), prepared(places_) / file_name);
  exchange();
  return true;
}

void Upheavals::delete_locks() const {
  const std::string first = std::string(file_name) + "-locks";
  for (const auto& file : fs::directory_iterator(in_use(places_))) {
    if (file.path().filename().string().starts_with(first)) fs::remove(file);
  }
}

void Upheavals::exchange() {
  if (::renameat2(AT_FDCWD, prepared(places_).c_str(), AT_FDCWD, in_use(places_).c_str(),
                  RENAME_EXCHANGE) != 0) {
    throw std::system_error(errno, std::generic_category(), "renameat2");
  }
  fs::rename(prepared(places_), kept(places_, ++gone_));
}

}  // namespace dbcache::chaos
