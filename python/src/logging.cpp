#include "logging.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <boost/lockfree/queue.hpp>
#include <fmt/format.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

namespace py = pybind11;

namespace dbcache::python {
namespace {

constexpr const char* logger_name = "dbcache";  // the logger that the library looks up
constexpr std::size_t max_lines = 1024;

struct Line {
  int level;
  double created;  ///< When the library logged it, in seconds since 1970.
  std::string text;
};

/// The lines that are not delivered yet. The queue has no lock, since a fork may come while a
/// thread of the library adds a line. It is never freed, since threads may log until the process
/// ends.
auto& lines() {
  static auto* const kept =
      new boost::lockfree::queue<Line*, boost::lockfree::capacity<max_lines>>();
  return *kept;
}

std::atomic<std::size_t>& dropped() {
  static std::atomic<std::size_t> count{0};
  return count;
}

/// The level in Python's logging (https://docs.python.org/3/library/logging.html#logging-levels).
int python_level(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return 10;
    case spdlog::level::info:
      return 20;
    case spdlog::level::warn:
      return 30;
    case spdlog::level::err:
      return 40;
    default:
      return 50;
  }
}

class KeepLines : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    auto line = std::make_unique<Line>(
        Line{python_level(message.level),
             std::chrono::duration<double>(message.time.time_since_epoch()).count(),
             std::string(message.payload.data(), message.payload.size())});
    if (lines().push(line.get())) {
      static_cast<void>(line.release());
    } else {
      ++dropped();
    }
  }
  void flush_() override {}
};

/// The Python function that takes a line: (level, text, created).
py::object& receiver() {
  static auto* const function = new py::object();  // outlives the interpreter
  return *function;
}

void deliver(int level, const std::string& text, double created) {
  const auto decoded = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (!decoded) throw py::error_already_set();
  receiver()(level, decoded, created);
}

/// An exception of a logging handler must not fail the caller's call, so it is only printed. Ctrl-C
/// is raised again.
void deliver_quietly(int level, const std::string& text, double created) {
  try {
    deliver(level, text, created);
  } catch (py::error_already_set& error) {
    if (error.matches(PyExc_KeyboardInterrupt)) {
      PyErr_SetInterrupt();
    } else {
      error.restore();
      PyErr_WriteUnraisable(receiver().ptr());
    }
  }
}

void deliver_all() {
  Line* taken = nullptr;
  while (receiver() && lines().pop(taken)) {
    const std::unique_ptr<Line> line(taken);
    deliver_quietly(line->level, line->text, line->created);
  }
  if (dropped() == 0 || !receiver()) return;
  const std::size_t count = dropped().exchange(0);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  deliver_quietly(
      30,
      fmt::format("dropped {} log lines: more than {} came before Python could take them", count,
                  max_lines),
      std::chrono::duration<double>(now).count());
}

}  // namespace

LogDelivery::~LogDelivery() {
  if (!lines().empty() || dropped() != 0) deliver_all();
}

void bind_logging(py::module_& module) {
  // The logger keeps every level: Python's logging filters them, and its level may change later.
  spdlog::drop(logger_name);
  const auto logger = std::make_shared<spdlog::logger>(logger_name, std::make_shared<KeepLines>());
  logger->set_level(spdlog::level::debug);
  spdlog::register_logger(logger);

  module.def("receive_log", [](py::object function) { receiver() = std::move(function); });
  module.def("deliver_log", [] { deliver_all(); });
  module.def("forget_log", [] {
    lines().consume_all([](Line* line) { delete line; });
    dropped() = 0;
  });
}

}  // namespace dbcache::python
