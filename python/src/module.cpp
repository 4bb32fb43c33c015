#include <pybind11/pybind11.h>

#include <dbcache/version.hpp>

#include "errors.hpp"
#include "logging.hpp"
#include "manager.hpp"
#include "shared.hpp"

/// What the library offers, as the Python of the package needs it: configurations go in as JSON,
/// everything comes out as dictionaries. Users see the package.
PYBIND11_MODULE(_dbcache, module) {
  module.attr("version") = DBCACHE_VERSION;
  dbcache::python::bind_errors();
  dbcache::python::bind_logging(module);
  dbcache::python::bind_manager(module);
  dbcache::python::bind_shared(module);
}
