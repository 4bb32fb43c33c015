#pragma once

#include <string>
#include <string_view>

#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>

namespace dbcache::text {

/// How deep a JSON text may nest: what Boost.JSON's parser takes by default.
inline constexpr int max_json_depth = 32;

/// How deep stored JSON may nest: events wrap what users give.
inline constexpr int max_stored_json_depth = 2 * max_json_depth;

/// How `json_text` orders the keys of an object.
enum class KeyOrder {
  as_given,
  canonical,  ///< By UTF-16 code units, as RFC 8785 (section 3.2.3) has it.
};

/// JSON on one line without blanks; strings are escaped as RFC 8785 (section 3.2.2.2) has it, and
/// doubles written as ECMAScript does. Integers are written in full. Throws InvalidArgument for
/// numbers that are not finite, text that is not UTF-8, and nesting past `max_stored_json_depth`.
std::string json_text(const boost::json::value& value, KeyOrder order = KeyOrder::as_given);

/// The canonical JSON of RFC 8785: as above with keys in canonical order. Throws InvalidArgument
/// also for integers that an IEEE 754 double cannot hold, since RFC 8785 would round them.
std::string canonical_json(const boost::json::value& value);

/// A double as ECMAScript's Number::toString writes it (ECMA-262, 6.1.6.1.20). `number` is finite.
std::string ecmascript_number(double number);

/// Parses JSON text; throws InvalidArgument that names `what` and says where it went wrong. The
/// value lives in `storage`.
boost::json::value parse_json(std::string_view json, std::string_view what,
                              int max_depth = max_json_depth,
                              boost::json::storage_ptr storage = {});

}  // namespace dbcache::text
