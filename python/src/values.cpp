#include "values.hpp"

#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

namespace json = boost::json;
namespace py = pybind11;

namespace dbcache::python {

py::object to_python(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return py::none();
    case json::kind::bool_:
      return py::bool_(value.get_bool());
    case json::kind::int64:
      return py::int_(value.get_int64());
    case json::kind::uint64:
      return py::int_(value.get_uint64());
    case json::kind::double_:
      return py::float_(value.get_double());
    case json::kind::string: {
      const json::string& text = value.get_string();
      return py::str(text.data(), text.size());
    }
    case json::kind::array: {
      py::list list;
      for (const json::value& element : value.get_array()) list.append(to_python(element));
      return list;
    }
    case json::kind::object: {
      py::dict dictionary;
      for (const auto& member : value.get_object()) {
        dictionary[py::str(member.key().data(), member.key().size())] = to_python(member.value());
      }
      return dictionary;
    }
  }
  return py::none();
}

py::object to_python(const CachedCluster& cluster) {
  json::object row = to_json(cluster);
  for (const char* const flag : {"is_active", "is_shared"}) {
    row[flag] = std::int64_t{row.at(flag).get_bool()};
  }
  return to_python(json::value(std::move(row)));
}

namespace {

void require_str(const py::handle& value, const char* what) {
  if (PyUnicode_Check(value.ptr())) return;
  throw py::type_error(
      fmt::format("{} must be a str, not {}", what, Py_TYPE(value.ptr())->tp_name));
}

}  // namespace

std::string to_text(const py::handle& value, const char* what) {
  require_str(value, what);
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (text == nullptr) {
    PyErr_Clear();
    throw InvalidArgument(fmt::format(
        "{} cannot be written as UTF-8: it holds half of a surrogate pair; remove that", what));
  }
  return {text, static_cast<std::size_t>(size)};
}

std::string to_readable_text(const py::handle& value, const char* what) {
  require_str(value, what);
  // The bytes that os.fsdecode() could not decode come back; any other half becomes `?`.
  auto bytes = py::reinterpret_steal<py::object>(
      PyUnicode_AsEncodedString(value.ptr(), "utf-8", "surrogateescape"));
  if (!bytes) {
    PyErr_Clear();
    bytes = py::reinterpret_steal<py::object>(
        PyUnicode_AsEncodedString(value.ptr(), "utf-8", "replace"));
    if (!bytes) throw py::error_already_set();
  }
  const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
      PyBytes_AS_STRING(bytes.ptr()), PyBytes_GET_SIZE(bytes.ptr()), "replace"));
  if (!text) throw py::error_already_set();
  return to_text(text, what);
}

py::object from_path(const std::string& path) {
  auto decoded = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<Py_ssize_t>(path.size())));
  if (!decoded) throw py::error_already_set();
  return decoded;
}

}  // namespace dbcache::python
