#include "cli/log_to_terminal.hpp"

#include <memory>
#include <mutex>
#include <string_view>

#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

constexpr const char* logger_name = "dbcache";  // of the library's logger

class TerminalSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit TerminalSink(std::ostream& err) : err_(err) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
    const std::string_view text(message.payload.data(), message.payload.size());
    err_ << fmt::format("dbcache: {}: {}\n", std::string_view(level.data(), level.size()),
                        escape(text));
  }
  void flush_() override { err_.flush(); }

 private:
  std::ostream& err_;
};

}  // namespace

LogToTerminal::LogToTerminal(std::ostream& err, const std::string& level) {
  spdlog::drop(logger_name);
  const auto logger =
      std::make_shared<spdlog::logger>(logger_name, std::make_shared<TerminalSink>(err));
  logger->set_level(spdlog::level::from_str(level));
  spdlog::register_logger(logger);
}

LogToTerminal::~LogToTerminal() { spdlog::drop(logger_name); }

}  // namespace dbcache::cli
