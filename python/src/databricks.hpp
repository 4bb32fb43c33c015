#pragma once

#include <pybind11/pybind11.h>

namespace dbcache::python {

void bind_databricks(pybind11::module_& module);

}  // namespace dbcache::python
