#pragma once

#include "cli/command.hpp"

namespace dbcache::cli {

/// Prints what was adopted from a database of the Python system, if this command adopted one.
void report_adoption(Context& context);

}  // namespace dbcache::cli
