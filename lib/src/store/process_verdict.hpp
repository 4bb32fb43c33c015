#pragma once

#include "rows/present.hpp"

namespace dbcache::store {

/// What to conclude if the boot id of a process differs from this machine's.
enum class OtherBoot {
  dead,     ///< All processes run on this machine, so it was rebooted since.
  unknown,  ///< The process may run on another machine.
};

/// Judges a holder by its process alone.
rows::Liveness::Verdict judge_process(const system::ProcessIdentity& process, OtherBoot other);

}  // namespace dbcache::store
