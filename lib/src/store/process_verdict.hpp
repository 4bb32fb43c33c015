#pragma once

#include "rows/present.hpp"

namespace dbcache::store {

/// What it means that a process belongs to another boot than this machine's.
enum class OtherBoot {
  dead,     ///< Everybody is on one machine, which was started anew since.
  unknown,  ///< It may be on another machine.
};

/// Judges a holder by its process alone.
rows::Liveness::Verdict judge_process(const system::ProcessIdentity& process, OtherBoot other);

}  // namespace dbcache::store
