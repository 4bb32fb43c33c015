#pragma once

#include <vector>

#include <boost/json/object.hpp>

namespace dbcache::rows {

/// The rows of a database that the documented Python system made, in order of id, each with all its
/// columns as they were. Invalid UTF-8 becomes `{"text": HEX}`, a blob `{"blob": HEX}`, an infinite
/// number `{"real": "inf"}` or `{"real": "-inf"}`.
struct DocumentedRows {
  std::vector<boost::json::object> clusters;
  std::vector<boost::json::object> entries;
};

}  // namespace dbcache::rows
