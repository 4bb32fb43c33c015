#pragma once

#include <cxxabi.h>
#include <exception>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include <pybind11/pybind11.h>

#include "logging.hpp"

// Who has the interpreter's lock (GIL), and when. The library never calls a user's function while
// it holds anything itself, so taking the lock again there cannot deadlock.
namespace dbcache::python {

/// Takes the GIL by a call of the interpreter's. That ends a thread which comes while the
/// interpreter ends (a daemon's): by unwinding its stack, through destructors that want the GIL.
/// Such a thread stands still instead, until the process ends.
template <class Take>
auto take_gil(Take&& take) {
  try {
    return std::forward<Take>(take)();
  } catch (const abi::__forced_unwind&) {
    for (;;) ::pause();
  }
}

/// Without the GIL, which this thread has, for as long as this lives.
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

/// With the GIL, whether this thread had it or not.
class Acquired {
 public:
  Acquired() : state_(take_gil([] { return PyGILState_Ensure(); })) {}
  ~Acquired() { PyGILState_Release(state_); }
  Acquired(const Acquired&) = delete;
  Acquired& operator=(const Acquired&) = delete;

 private:
  PyGILState_STATE state_;
};

/// Runs a call of the library's without the GIL, so that other Python threads go on. What was
/// logged meanwhile is delivered afterwards, also where the call throws.
template <class Call>
auto unlocked(Call&& call) {
  const LogDelivery delivery;
  const Released released;
  return std::forward<Call>(call)();
}

/// Destroys what the library made, which may take as long as a call: without the GIL. Usable as a
/// holder's deleter.
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

/// A Python object that C++ threads may copy and destroy. Leaked where the interpreter is gone.
class SharedObject {
 public:
  explicit SharedObject(pybind11::object object)
      : object_(new pybind11::object(std::move(object)), [](pybind11::object* held) {
          if (Py_IsInitialized() == 0) return;
          const Acquired acquired;
          delete held;
        }) {}

  /// To be used with the GIL.
  [[nodiscard]] const pybind11::object& get() const noexcept { return *object_; }

 private:
  std::shared_ptr<pybind11::object> object_;
};

/// What a user's Python function raised, on its way through the library. The message is what the
/// log keeps and other processes are told; the exception itself arrives at the caller.
class Raised : public std::exception {
 public:
  /// Takes the exception that is set. With the GIL.
  static Raised take();

  [[nodiscard]] const char* what() const noexcept override { return message_->c_str(); }

  /// Sets it again. With the GIL.
  void restore() const;

 private:
  explicit Raised(const pybind11::object& raised);

  SharedObject exception_;
  std::shared_ptr<const std::string> message_;  // copying must not throw
};

/// Calls Python on behalf of the library, from a thread that has not got the GIL.
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
