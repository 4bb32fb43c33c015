#pragma once

#include <pybind11/pybind11.h>

namespace dbcache::python {

/// Makes the library's errors arrive as those of dbcache.errors.
void bind_errors();

}  // namespace dbcache::python
