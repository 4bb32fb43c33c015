#pragma once

#include <ostream>
#include <string>

#include <dbcache/lease.hpp>

#include "cli/command.hpp"

namespace dbcache::cli {

/// Prints on stderr the termination that the end of a lease left pending, if any.
void report_pending_termination(Context& context, const ReleaseReport& report);

/// Prints `Held By: pid 4711 on build-7, label nightly`, and whether that process is alive.
void print_holder(std::ostream& out, const std::string& key, const HolderInfo& holder);

/// `text` quoted as one word of a shell.
std::string shell_quoted(const std::string& text);

}  // namespace dbcache::cli
