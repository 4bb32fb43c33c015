#pragma once

#include <cxxabi.h>
#include <exception>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include <pybind11/pybind11.h>

#include <dbcache/errors.hpp>

#include "logging.hpp"

// When a thread holds the interpreter's lock (GIL). A call of the library runs without it. The
// library holds no lock of its own while it calls a caller's function, so taking the GIL again for
// that function cannot deadlock.
namespace dbcache::python {

/// Takes the GIL by a call of the interpreter. While the interpreter shuts down, that call ends a
/// daemon thread by unwinding its stack, through destructors that need the GIL. Such a thread
/// sleeps here instead, until the process ends.
template <class Take>
auto take_gil(Take&& take) {
  try {
    return std::forward<Take>(take)();
  } catch (const abi::__forced_unwind&) {
    for (;;) ::pause();
  }
}

/// Releases the GIL, which this thread holds, for as long as the object lives.
class Released {
 public:
  Released() : state_(PyEval_SaveThread()) {}
  ~Released() {
    take_gil([this] { PyEval_RestoreThread(state_); });
  }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  PyThreadState* state_;
};

/// Holds the GIL for as long as the object lives, whether or not this thread held it before.
class Acquired {
 public:
  Acquired() : state_(take_gil([] { return PyGILState_Ensure(); })) {}
  ~Acquired() { PyGILState_Release(state_); }
  Acquired(const Acquired&) = delete;
  Acquired& operator=(const Acquired&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Runs a call of the library without the GIL, so that other Python threads can run. Afterwards,
/// also if the call throws, delivers the lines that the library logged.
template <class Call>
auto unlocked(Call&& call) {
  const LogDelivery delivery;
  const Released released;
  return std::forward<Call>(call)();
}

/// Destroys an object of the library without the GIL, since that may take as long as a call. For
/// the holders of pybind11.
struct DeleteUnlocked {
  template <class Object>
  void operator()(Object* object) const {
    if (PyGILState_Check() == 0) {
      delete object;
      return;
    }
    unlocked([object] { delete object; });
  }
};

/// A Python object that C++ threads may copy and destroy. Leaks it if the interpreter has ended.
class SharedObject {
 public:
  explicit SharedObject(pybind11::object object)
      : object_(new pybind11::object(std::move(object)), [](pybind11::object* held) {
          if (Py_IsInitialized() == 0) return;
          const Acquired acquired;
          delete held;
        }) {}

  /// The caller holds the GIL.
  [[nodiscard]] const pybind11::object& get() const noexcept { return *object_; }

 private:
  std::shared_ptr<pybind11::object> object_;
};

/// Carries an exception that a caller's Python function raised through the library. The log, and so
/// other processes, get its message; the caller gets the exception itself. A dbcache.LifecycleError
/// says here, too, whether another try may help.
class Raised : public LifecycleError {
 public:
  /// Takes the exception that is set in Python. The caller holds the GIL.
  static Raised take();

  /// Sets the exception in Python again. The caller holds the GIL.
  void restore() const;

 private:
  explicit Raised(const pybind11::object& raised);

  SharedObject exception_;
};

/// Runs `call`, which uses Python, for the library. The thread does not hold the GIL before.
template <class Call>
auto locked(Call&& call) {
  const Acquired acquired;
  try {
    return std::forward<Call>(call)();
  } catch (pybind11::error_already_set& error) {
    error.restore();
    throw Raised::take();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
    throw Raised::take();
  }
}

}  // namespace dbcache::python
