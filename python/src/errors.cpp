#include "errors.hpp"

#include <string_view>
#include <utility>

#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>

#include "gil.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace dbcache::python {
namespace {

/// The text of an error. It may hold a path, which need not be UTF-8.
py::object message_of(const std::exception& error) {
  const std::string_view text = error.what();
  auto message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (!message) throw py::error_already_set();
  return message;
}

template <class... More>
void raise(const char* name, const std::exception& error, More&&... more) {
  try {
    const py::object type = py::module_::import("dbcache.errors").attr(name);
    const py::object exception = type(message_of(error), std::forward<More>(more)...);
    PyErr_SetObject(type.ptr(), exception.ptr());
  } catch (py::error_already_set& other) {
    other.restore();
  }
}

/// The name of the class in Python.
const char* name_of(const databricks::WorkspaceError& error) {
  using namespace databricks;
  if (dynamic_cast<const NotAuthenticated*>(&error) != nullptr) return "NotAuthenticated";
  if (dynamic_cast<const PermissionDenied*>(&error) != nullptr) return "PermissionDenied";
  if (dynamic_cast<const InvalidClusterConfig*>(&error) != nullptr) return "InvalidClusterConfig";
  if (dynamic_cast<const QuotaExceeded*>(&error) != nullptr) return "QuotaExceeded";
  if (dynamic_cast<const CapacityUnavailable*>(&error) != nullptr) return "CapacityUnavailable";
  if (dynamic_cast<const ClusterFailed*>(&error) != nullptr) return "ClusterFailed";
  if (dynamic_cast<const WorkspaceUnavailable*>(&error) != nullptr) return "WorkspaceUnavailable";
  return "WorkspaceError";
}

void raise_of_workspace(const databricks::WorkspaceError& error) {
  const databricks::Refusal& refusal = error.refusal();
  raise(name_of(error), error, error.may_succeed_again(), refusal.http_status, refusal.error_code,
        refusal.message);
}

void translate(std::exception_ptr thrown) {
  if (!thrown) return;
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const Raised& raised) {
    raised.restore();
  } catch (const InvalidArgument& error) {
    raise("InvalidArgument", error);
  } catch (const NotFound& error) {
    raise("NotFound", error);
  } catch (const Busy& error) {
    raise("Busy", error);
  } catch (const Timeout& error) {
    raise("Timeout", error);
  } catch (const Cancelled& error) {
    raise("Cancelled", error);
  } catch (const LeaseLost& error) {
    raise("LeaseLost", error);
  } catch (const CreationFailed& error) {
    raise("CreationFailed", error);
  } catch (const databricks::WorkspaceError& error) {
    raise_of_workspace(error);
  } catch (const LifecycleError& error) {
    raise("LifecycleError", error, error.may_succeed_again());
  } catch (const CorruptDatabase& error) {
    raise("CorruptDatabase", error);
  } catch (const DatabaseMoved& error) {
    raise("DatabaseMoved", error);
  } catch (const NewerSchema& error) {
    raise("NewerSchema", error);
  } catch (const StorageFailure& error) {
    raise("StorageFailure", error,
          error.outcome() == StorageFailure::Outcome::unknown ? "unknown" : "not_committed");
  } catch (const Error& error) {
    raise("Error", error);
  }
}

/// "ValueError: no such node type"; for the library's own errors, the message alone.
std::string message_of(const py::handle& exception) {
  const py::object type = py::type::of(exception);
  std::string text;
  try {
    text = to_readable_text(py::str(exception), "the message");
  } catch (const std::exception&) {
    text = "its message cannot be shown";  // its __str__ raises
  }
  if (py::isinstance(exception, py::module_::import("dbcache.errors").attr("Error"))) return text;
  auto name = py::cast<std::string>(type.attr("__name__"));
  return text.empty() ? name : name + ": " + text;
}

bool may_help(const py::handle& exception) {
  if (!py::isinstance(exception, py::module_::import("dbcache.errors").attr("LifecycleError"))) {
    return true;
  }
  return PyObject_IsTrue(py::getattr(exception, "may_succeed_again", py::bool_(true)).ptr()) != 0;
}

}  // namespace

Raised Raised::take() {
  PyObject* type = nullptr;
  PyObject* value = nullptr;
  PyObject* traceback = nullptr;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != nullptr) PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return Raised(py::reinterpret_steal<py::object>(value));
}

Raised::Raised(const py::object& raised)
    : LifecycleError(message_of(raised), may_help(raised)), exception_(raised) {}

void Raised::restore() const {
  const py::handle raised = exception_.get();
  PyErr_SetObject(py::type::handle_of(raised).ptr(), raised.ptr());
}

void bind_errors() { py::register_exception_translator(&translate); }

}  // namespace dbcache::python
