#pragma once

#include <pybind11/pybind11.h>

namespace dbcache::python {

/// Hands what the library logged to Python's logging at the end of its life, with the GIL. The
/// library's threads log too: were they to wait for the GIL, the end of the interpreter would end
/// them in the middle of something. So lines are kept until a call of Python's comes by.
class LogDelivery {
 public:
  LogDelivery() = default;
  ~LogDelivery();
  LogDelivery(const LogDelivery&) = delete;
  LogDelivery& operator=(const LogDelivery&) = delete;
};

/// Makes the library log to here, and adds what Python needs to the module.
void bind_logging(pybind11::module_& module);

}  // namespace dbcache::python
