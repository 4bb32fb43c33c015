#include <pybind11/pybind11.h>

#include <dbcache/version.hpp>

#include "databricks.hpp"
#include "errors.hpp"
#include "logging.hpp"
#include "manager.hpp"
#include "shared.hpp"

/// The library for the Python modules of the package: configurations go in as JSON, and results
/// come out as dictionaries. Users import the package, not this module.
PYBIND11_MODULE(_dbcache, module) {
  module.attr("version") = DBCACHE_VERSION;
  dbcache::python::bind_errors();
  dbcache::python::bind_logging(module);
  dbcache::python::bind_manager(module);
  dbcache::python::bind_shared(module);
  dbcache::python::bind_databricks(module);
}
