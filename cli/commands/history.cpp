#include <utility>

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print_event.hpp"

namespace json = boost::json;

namespace dbcache::cli {
namespace {

Timestamp time_of_option(std::string_view option, const std::string& text) {
  try {
    return parse_timestamp(text);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("{}: {}", option, error.what()));
  }
}

class History final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"history", Group::log,
            "Show what happened to a cluster, to a configuration, or to all of them",
            "dbcache history cluster-123 --since 2024-01-15 --limit 20"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("SUBJECT", "", subject_,
                       "A cluster id or config_hash, removed ones too; default: the whole log");
    arguments.repeatable("--type", "TYPE", types_, "Only events of this type; may be repeated");
    arguments.optional("--since", "TIME", since_,
                       "Only events recorded at this time (UTC) or later");
    arguments.optional("--until", "TIME", until_, "Only events recorded before this time (UTC)");
    arguments.optional("--limit", "N", limit_, "At most this many events");
    arguments.flag("--reverse", reverse_, "Newest first");
  }

  ExitCode run(Context& context) override {
    const auto events = context.manager().history(query());
    if (context.json()) {
      json::array documents;
      for (const RecordedEvent& event : events) documents.push_back(to_json(event));
      context.print_json(std::move(documents));
    } else {
      for (const RecordedEvent& event : events) print_event(context, event);
    }
    if (!events.empty()) return ExitCode::done;
    return context.answer_no(why_empty(context));
  }

 private:
  [[nodiscard]] HistoryQuery query() const {
    HistoryQuery query;
    if (subject_) {
      if (subject_->empty()) {
        throw InvalidArgument(
            "SUBJECT is empty; give a cluster id or config_hash, or leave it out");
      }
      query.subject = *subject_;
    }
    query.types = types_;
    if (since_) query.since = time_of_option("--since", *since_);
    if (until_) query.until = time_of_option("--until", *until_);
    if (limit_) {
      if (*limit_ < 1) throw InvalidArgument("--limit must be at least 1");
      query.limit = static_cast<std::size_t>(*limit_);
    }
    if (reverse_) query.order = HistoryOrder::newest_first;
    return query;
  }

  [[nodiscard]] std::string why_empty(Context& context) const {
    const DatabaseInfo info = context.manager().get_database_info();
    if (!info.exists) return "no events: there is no database yet at " + info.path;
    const bool filtered = !types_.empty() || since_ || until_;
    const std::string of_subject = subject_ ? fmt::format(" of '{}'", *subject_) : "";
    return fmt::format("the log has no events{}{}", of_subject,
                       filtered ? " that match the filters" : "");
  }

  std::optional<std::string> subject_;
  std::vector<std::string> types_;
  std::optional<std::string> since_;
  std::optional<std::string> until_;
  std::optional<std::int64_t> limit_;
  bool reverse_ = false;
};

}  // namespace

CommandPointer make_history() { return std::make_unique<History>(); }

}  // namespace dbcache::cli
