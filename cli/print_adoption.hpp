#pragma once

#include "cli/command.hpp"

namespace dbcache::cli {

/// Says what was taken over from a database of the Python system: it happens once, unasked.
void report_adoption(Context& context);

}  // namespace dbcache::cli
