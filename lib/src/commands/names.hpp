#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "events/event.hpp"
#include "rows/event_name.hpp"
#include "rows/present.hpp"

// Names that come back from outside: from an object that lives on between two transactions, from
// the environment, from a command line. The log may be another one by then: the database was wiped
// and made anew, restored from a backup, lost its end in a failover, or is a different one.
namespace dbcache::commands {

using rows::EventName;

/// What this log has under a name.
enum class Fit {
  ours,
  nothing,      ///< No event stands there.
  another_log,  ///< An event that another log does not have.
  other_kind,   ///< Of another kind than what is asked for.
};

/// A name, and the type of the event that it is to stand for.
struct Named {
  EventName name;
  std::string_view type;
};

template <class Payload>
Named named(const EventName& name) {
  return {name, Payload::type};
}

/// A name without a mark fits by its number alone: its caller has another proof.
Fit fit_of(const Named& named, const rows::Present& present);

/// Whether what has this name can be touched.
inline bool is_ours(const Named& named, const rows::Present& present) {
  return fit_of(named, present) == Fit::ours;
}

/// Reads a name, or a number alone. Throws InvalidArgument that names `what`, such as "lease".
EventName read_name(std::string_view text, std::string_view what);

/// `POSITION-16HEX`, or the position alone.
std::string to_string(const EventName& name);

/// Says that something ended with its log. `what` is such as "the lease".
std::string log_gone_text(std::string_view what, const EventName& name, Fit fit);

}  // namespace dbcache::commands
