#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "power_loss/journal.hpp"

namespace dbcache::power_loss {

/// A process of a machine's life.
struct Part {
  std::function<void()> body;
  bool may_be_killed = false;
};

/// Processes of which some run at once, the next as soon as one has ended. Where none of the next
/// shift begins before all have ended, the last to close the database deletes its WAL.
struct Shift {
  std::vector<Part> parts;
  std::size_t at_once = 4;
};

/// Runs the shifts, recorded, under a boot id of their own; kills processes at random, and takes
/// snapshots of mapped files. Returns the records, which end with complaints of processes that
/// failed.
std::string live(Journal& journal, const std::string& directory, const std::string& boot_id_file,
                 const std::vector<Shift>& shifts, std::mt19937_64& random);

}  // namespace dbcache::power_loss
