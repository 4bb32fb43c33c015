#pragma once

#include <memory>
#include <string>

#include <dbcache/options.hpp>

#include "events/adoption.hpp"
#include "input/redact.hpp"
#include "rows/documented_rows.hpp"

// Turns the rows of a database of the documented Python system into events.
namespace dbcache::commands {

/// A time zone by name (tz database), by offset (`+02:00`), or this machine's.
class Zone {
 public:
  /// Empty: this machine's (TZ, else /etc/localtime). Throws InvalidArgument for an unknown one.
  explicit Zone(const std::string& name);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] Timestamp to_utc(std::chrono::local_time<std::chrono::microseconds> local) const;

 private:
  std::string name_;
  struct Rules;
  std::shared_ptr<const Rules> rules_;
};

/// Makes an import event of each row. Replaces invalid values by safe ones, and notes them: an
/// unreadable expiry becomes the present, an unknown status of an entry `failed`. Throws
/// CorruptDatabase for a row whose id cannot name a stream.
events::Adoption adopt(const rows::DocumentedRows& rows, const Zone& zone,
                       const input::Redactor& redactor, Timestamp now);

}  // namespace dbcache::commands
