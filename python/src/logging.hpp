#pragma once

#include <pybind11/pybind11.h>

namespace dbcache::python {

/// Its destructor hands the lines that the library logged to Python's logging. The caller holds the
/// GIL then. A line waits for that, since the library's own threads log too: if such a thread
/// waited for the GIL, a shutdown of the interpreter would end it at any point.
class LogDelivery {
 public:
  LogDelivery() = default;
  ~LogDelivery();
  LogDelivery(const LogDelivery&) = delete;
  LogDelivery& operator=(const LogDelivery&) = delete;
};

/// Makes the library's logger keep its lines, and adds the functions that deliver them to the
/// module.
void bind_logging(pybind11::module_& module);

}  // namespace dbcache::python
