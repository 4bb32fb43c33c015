#pragma once

#include <string>
#include <string_view>

#include <boost/json/storage_ptr.hpp>
#include <boost/json/value.hpp>

namespace dbcache::text {

/// How deep a JSON text may nest: the default limit of Boost.JSON's parser.
inline constexpr int max_json_depth = 32;

/// How deep stored JSON may nest: more, since events wrap what users give.
inline constexpr int max_stored_json_depth = 2 * max_json_depth;

/// How `json_text` orders the keys of an object.
enum class KeyOrder {
  as_given,
  canonical,  ///< By UTF-16 code units (RFC 8785, section 3.2.3).
};

/// JSON on one line without blanks. Strings are escaped as in RFC 8785 (section 3.2.2.2), doubles
/// written as in ECMAScript, and integers in full. Throws InvalidArgument for infinite numbers,
/// invalid UTF-8, and nesting deeper than `max_stored_json_depth`.
std::string json_text(const boost::json::value& value, KeyOrder order = KeyOrder::as_given);

/// The canonical JSON of RFC 8785: as above, with keys in canonical order. Also throws
/// InvalidArgument for integers that an IEEE 754 double cannot hold: RFC 8785 would round them.
std::string canonical_json(const boost::json::value& value);

/// A double as ECMAScript's Number::toString writes it (ECMA-262, 6.1.6.1.20). `number` is finite.
std::string ecmascript_number(double number);

/// Parses JSON text. Throws InvalidArgument that names `what` and the position of the error. The
/// value lives in `storage`.
boost::json::value parse_json(std::string_view json, std::string_view what,
                              int max_depth = max_json_depth,
                              boost::json::storage_ptr storage = {});

}  // namespace dbcache::text
