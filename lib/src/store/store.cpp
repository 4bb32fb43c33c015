#include "store/store.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <unistd.h>
#include <utility>

#include <boost/mp11/algorithm.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "input/input.hpp"
#include "projections/memory_tables.hpp"
#include "projections/project.hpp"
#include "store/chain.hpp"
#include "store/event_mark.hpp"
#include "store/migration.hpp"
#include "system/environment.hpp"
#include "system/fork_gate.hpp"
#include "system/logger.hpp"
#include "system/process.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"
#include "text/sha256.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::store {
namespace {

/// Makes the library's statics when it is loaded. So they come before the statics of the program,
/// and are destroyed after them: static fixtures release their cluster in destructors.
[[maybe_unused]] const bool made_before_the_program = [] {
  static_cast<void>(system::logger());
  static_cast<void>(text::Sha256());
  static_cast<void>(sqlite_migrations());
  return true;
}();

/// Without a database there are no events.
class NothingIsNamed final : public rows::EventNames {
 public:
  [[nodiscard]] std::vector<rows::LoggedEvent> events_at(
      const std::vector<std::int64_t>&) const override {
    return {};
  }
};

/// Without a database there are no holders.
class NobodyIsKnown final : public rows::Liveness {
 public:
  [[nodiscard]] Verdict probe(const rows::Holder&) const override { return Verdict::unknown; }
};

std::string new_command_id() {
  const auto bits = system::random_128_bits();
  return {bits.begin(), bits.end()};
}

/// Events about clusters that cost money, or that others wait for, must survive a power loss even
/// under relaxed durability.
bool must_be_synced(const events::Event& event) {
  return std::visit(
      []<class Payload>(const Payload&) {
        using namespace events;
        using boost::mp11::mp_contains;
        using boost::mp11::mp_list;
        using Spared =
            mp_list<ClusterCached, ClusterImported, ClusterDeactivated, ClusterAccessed,
                    ClusterExpired, ClusterRemoved, EntryImported, UsageIncremented,
                    UsageDecremented, RegistryEntryRemoved, ClusterUsed, RunJoined, RunLeft>;
        return !mp_contains<Spared, Payload>::value;
      },
      event);
}

}  // namespace

Store::Store(Options options, Adopt adopt)
    : origin_{text::to_valid_utf8(system::host_name()), text::to_valid_utf8(system::user_name()),
              text::to_valid_utf8(system::program_name()), std::move(options.label)},
      clock_(options.clock),
      adopt_(std::move(adopt)) {
  engine_ =
      open_engine(options, [this](WriteSession& session, const rows::DocumentedRows& documented) {
        return adopt_rows(session, documented);
      });
}

void Store::transact(const Decide& decide, const Observe& observe) {
  // A command that changes nothing must not create the database: a mistyped path would go
  // unnoticed.
  if (!engine_->exists() && decide(nothing()).empty()) {
    return;
  }

  transact_in_steps(
      [&](Transaction& transaction) {
        transaction.append(decide(transaction.present()));
        if (observe) observe(transaction.rows());
      },
      Engine::LockScope::streams);
}

void Store::transact_in_steps(const std::function<void(Transaction&)>& steps,
                              Engine::LockScope scope) {
  const std::string command_id = new_command_id();
  const std::string metadata = this->metadata();
  std::size_t appended = 0;
  engine_->write(
      given_now(),
      [&](WriteSession& session) {
        Transaction transaction(*this, session, metadata, command_id);
        steps(transaction);
        appended = transaction.appended_.size();
        // In a closed log, a command without events must fail too, or it would seem to succeed.
        if (appended == 0 && !transaction.closed_) require_open(session.log);
        return transaction.sync_;
      },
      Engine::Grouping::grouped, scope);
  if (system::logger()->should_log(spdlog::level::debug)) {
    system::logger()->debug("committed {} events of command {}", appended,
                            text::to_hex(command_id));
  }
}

std::int64_t Store::Transaction::append(const events::Events& events) {
  appended_.insert(appended_.end(), events.begin(), events.end());
  if (std::any_of(events.begin(), events.end(), must_be_synced)) sync_ = Sync::always;
  return store_.append(session_, events, metadata_, command_id_, &hashes_);
}

rows::EventName Store::Transaction::name_of(std::int64_t position) const {
  return {position, event_mark(hashes_.at(position), session_.log.incarnation())};
}

void Store::Transaction::close_log(const ClosedLog& closed) {
  session_.log.close(closed);
  closed_ = true;
  sync_ = Sync::always;
}

void Store::require_open(const EventLogReader& log) const {
  if (const auto closed = log.closed()) {
    throw DatabaseMoved(refusal(*closed, engine_->name()));
  }
}

bool Store::read(const ReadWork& work, Engine::Patience patience) const {
  return engine_->read(given_now(), work, patience);
}

rows::Present Store::nothing() const {
  // Never destroyed: a fixture's static objects may come here last.
  static const auto& tables = *new projections::MemoryTables();
  static const auto& liveness = *new NobodyIsKnown();
  static const auto& names = *new NothingIsNamed();
  return {tables, liveness, now(), names};
}

Timestamp Store::now() const { return clock_ ? clock_() : engine_->now(); }

/// Reads the user's clock, which must not run inside a transaction.
std::optional<Timestamp> Store::given_now() const {
  return clock_ ? std::optional(clock_()) : std::nullopt;
}

std::optional<std::string> Store::label() const {
  const auto environment = system::Environment::read();
  const input::Redactor redactor(environment.databricks_token);
  std::string label =
      input::clean_label(origin_.label.empty() ? environment.label : origin_.label, redactor);
  return label.empty() ? std::nullopt : std::optional(std::move(label));
}

std::string Store::metadata() const {
  const auto environment = system::Environment::read();
  const pid_t pid = ::getpid();
  // Keeps forks out, since a child would find the mutex locked.
  const system::ForkGate::Pass pass;
  const std::lock_guard lock(metadata_mutex_);
  if (metadata_.text.empty() || metadata_.pid != pid ||
      metadata_.token != environment.databricks_token || metadata_.label != environment.label) {
    metadata_ = {pid, environment.databricks_token, environment.label, new_metadata()};
  }
  return metadata_.text;
}

std::string Store::new_metadata() const {
  const input::Redactor redactor(system::Environment::read().databricks_token);
  const auto label = this->label();
  json::object metadata;
  metadata["host"] = origin_.host;
  metadata["pid"] = ::getpid();
  metadata["user"] = origin_.user;
  metadata["program"] = redactor.text(origin_.program);
  metadata["label"] = label ? json::value(*label) : json::value();
  return text::json_text(metadata);
}

std::int64_t Store::append(WriteSession& session, const events::Events& events,
                           const std::string& metadata, const std::string& command_id,
                           std::map<std::int64_t, std::string>* hashes) const {
  if (events.empty()) return 0;
  std::vector<std::string> streams;  // only a few, since a command has few events
  for (const events::Event& event : events) {
    std::string stream = events::stream_of(event);
    if (std::find(streams.begin(), streams.end(), stream) == streams.end()) {
      streams.push_back(std::move(stream));
    }
  }
  AppendPoint point = session.log.begin_append(streams, events.size());
  if (point.position > std::numeric_limits<std::int64_t>::max() - std::ssize(events)) {
    throw CorruptDatabase(
        "the log's last position was altered and leaves no room for more events; `dbcache verify` "
        "lists what is wrong");
  }
  std::int64_t position = point.position - 1;
  for (const events::Event& event : events) {
    EventRecord record;
    record.position = ++position;
    record.stream = events::stream_of(event);
    const auto at = std::find(streams.begin(), streams.end(), record.stream) - streams.begin();
    StreamEnd& end = point.ends[static_cast<std::size_t>(at)];
    record.version = end.version + 1;
    record.type = events::type_of(event);
    record.payload = events::payload_of(event);
    record.metadata = metadata;
    record.recorded_at = session.now.time_since_epoch().count();
    record.command_id = command_id;
    record.hash = chain_hash(record, end.hash);
    session.log.append(record);
    projections::project(event, record.position, session.tables);
    if (hashes != nullptr) hashes->emplace(record.position, record.hash);
    end = {record.version, std::move(record.hash)};
  }
  return point.position;
}

AdoptionReport Store::adopt_rows(WriteSession& session,
                                 const rows::DocumentedRows& documented) const {
  if (!adopt_) {
    throw InvalidArgument(fmt::format(
        "the database {} has rows of the Python system but no log; give an empty database",
        engine_->name()));
  }
  events::Adoption adoption = adopt_(documented, session.now);
  session.tables.clear();
  append(session, adoption.events, new_metadata(), new_command_id());
  return std::move(adoption.report);
}

}  // namespace dbcache::store
