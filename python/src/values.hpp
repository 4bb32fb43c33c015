#pragma once

#include <string>

#include <boost/json/value.hpp>
#include <pybind11/pybind11.h>

#include <dbcache/cluster.hpp>

namespace dbcache::python {

/// Made of dict, list, str, int, float, bool and None.
pybind11::object to_python(const boost::json::value& value);

/// A row of `clusters`. SQLite has no booleans: its flags are 0 and 1.
pybind11::object to_python(const CachedCluster& cluster);

/// UTF-8. Throws TypeError for what is no str, and InvalidArgument for a str with half of a
/// surrogate pair. `what` names the argument.
std::string to_text(const pybind11::handle& value, const char* what);

/// What a file system has for a name, which need not be UTF-8, as os.fsdecode() gives it.
pybind11::object from_path(const std::string& path);

}  // namespace dbcache::python
