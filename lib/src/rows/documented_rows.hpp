#pragma once

#include <vector>

#include <boost/json/object.hpp>

namespace dbcache::rows {

/// The rows of a database that the documented Python system made, as they were: each with all its
/// columns, in order of id. A text that is no UTF-8 is `{"text": HEX}`, a blob `{"blob": HEX}`, an
/// infinite number `{"real": "inf"}` or `"-inf"`.
struct DocumentedRows {
  std::vector<boost::json::object> clusters;
  std::vector<boost::json::object> entries;
};

}  // namespace dbcache::rows
