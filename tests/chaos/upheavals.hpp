#pragma once

#include <string>
#include <vector>

#include "chaos/crowd.hpp"

namespace dbcache::chaos {

/// What befalls the directory of a database on a CI machine while workers use what is in it. Each
/// changes all of it at once, so that no log is left with the files of another beside it.
class Upheavals {
 public:
  /// Makes the directory.
  explicit Upheavals(const Places& places);

  /// Lets the crowd work, with an upheaval every now and then.
  void befall(Crowd& crowd, std::chrono::milliseconds duration);

  /// Every database that there was, in the order of their ends; the last is the one in use.
  [[nodiscard]] std::vector<std::string> databases() const;

 private:
  /// As `git clean` does.
  void wipe();
  void back_up();
  /// The backup takes the database's place. False where none was made yet.
  bool restore();
  /// As a cleaner of old files does.
  void delete_locks() const;
  /// What is prepared becomes the database's directory, and that is kept for the judge.
  void exchange();

  Places places_;
  int gone_ = 0;
};

}  // namespace dbcache::chaos
