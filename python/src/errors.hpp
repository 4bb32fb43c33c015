#pragma once

#include <pybind11/pybind11.h>

namespace dbcache::python {

/// Makes Python raise the classes of dbcache.errors for the library's errors.
void bind_errors();

}  // namespace dbcache::python
