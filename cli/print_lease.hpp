#pragma once

#include <ostream>
#include <string>

#include <dbcache/lease.hpp>

#include "cli/command.hpp"

namespace dbcache::cli {

/// Says on stderr what the end of a lease left to be terminated, if anything.
void report_debt(Context& context, const ReleaseReport& report);

/// `Held By: pid 4711 on build-7, label nightly`, and whether that one is alive.
void print_holder(std::ostream& out, const std::string& key, const HolderInfo& holder);

/// `text` as one word of a shell's.
std::string shell_quoted(const std::string& text);

}  // namespace dbcache::cli
