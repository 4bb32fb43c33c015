#pragma once

#include "commands/zone.hpp"
#include "events/adoption.hpp"
#include "input/redact.hpp"
#include "rows/documented_rows.hpp"

// Turns the rows of a database of the documented Python system into events.
namespace dbcache::commands {

/// Makes an import event of each row. Replaces invalid values by safe ones, and notes them: an
/// unreadable expiry becomes the present, an unknown status of an entry `failed`. Throws
/// CorruptDatabase for a row whose id cannot name a stream.
events::Adoption adopt(const rows::DocumentedRows& rows, const Zone& zone,
                       const input::Redactor& redactor, Timestamp now);

}  // namespace dbcache::commands
