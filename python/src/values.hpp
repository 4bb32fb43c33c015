#pragma once

#include <string>

#include <boost/json/value.hpp>
#include <pybind11/pybind11.h>

#include <dbcache/cluster.hpp>

namespace dbcache::python {

/// The value as dict, list, str, int, float, bool or None.
pybind11::object to_python(const boost::json::value& value);

/// A row of `clusters`. Its flags are 0 and 1, as in SQLite, which has no booleans.
pybind11::object to_python(const CachedCluster& cluster);

/// The UTF-8 of a str. `what` names the argument. Throws TypeError for any other type, and
/// InvalidArgument for a str with half of a surrogate pair.
std::string to_text(const pybind11::handle& value, const char* what);

/// The same for a text that only people read, such as the name of a test: bytes that are not UTF-8,
/// which Python keeps as halves of surrogate pairs, become U+FFFD.
std::string to_readable_text(const pybind11::handle& value, const char* what);

/// A path as os.fsdecode() gives it; its bytes need not be UTF-8.
pybind11::object from_path(const std::string& path);

}  // namespace dbcache::python
