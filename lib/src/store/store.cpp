#include "store/store.hpp"

#include <algorithm>
#include <iterator>
#include <limits>
#include <unistd.h>
#include <utility>

#include <dbcache/errors.hpp>

#include "commands/input.hpp"
#include "log.hpp"
#include "projections/memory_tables.hpp"
#include "projections/project.hpp"
#include "store/chain.hpp"
#include "store/migration.hpp"
#include "system/environment.hpp"
#include "system/process.hpp"
#include "text/hex.hpp"
#include "text/json_text.hpp"
#include "text/sha256.hpp"
#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::store {
namespace {

/// What the library makes once is made when it is loaded, before any object of the program, and so
/// destroyed after them: fixtures are often static, and let go of their cluster in destructors.
[[maybe_unused]] const bool made_before_the_program = [] {
  static_cast<void>(logger());
  static_cast<void>(text::Sha256());
  static_cast<void>(sqlite_migrations());
  return true;
}();

std::string new_command_id() {
  const auto bits = system::random_128_bits();
  return {bits.begin(), bits.end()};
}

/// A creation that was acknowledged must not be lost with the power even where the last accesses
/// may: somebody pays for the cluster.
bool must_be_synced(const events::Event& event) {
  return std::holds_alternative<events::CreationRegistered>(event) ||
         std::holds_alternative<events::RegistryStatusChanged>(event);
}

}  // namespace

Store::Store(Options options)
    : origin_{text::to_valid_utf8(system::host_name()), text::to_valid_utf8(system::user_name()),
              text::to_valid_utf8(system::program_name()), std::move(options.label)},
      clock_(std::move(options.clock)) {
  if (!options.adoption_timezone.empty()) adoption_zone_.emplace(options.adoption_timezone);
  engine_ =
      open_engine(options, [this](WriteSession& session, const commands::DocumentedRows& rows) {
        return adopt(session, rows);
      });
}

void Store::transact(const Decide& decide, const Observe& observe) {
  // What changes nothing where there is nothing must not leave a database behind: a mistyped path
  // would go unnoticed.
  if (!engine_->exists() && decide(projections::MemoryTables(), now()).empty()) return;

  const std::string command_id = new_command_id();
  const std::string metadata = this->metadata();
  std::size_t appended = 0;
  engine_->write(given_now(), [&](WriteSession& session) {
    const commands::Events events = decide(session.tables, session.now);
    append(session, events, metadata, command_id);
    if (observe) observe(session.tables);
    appended = events.size();
    return std::any_of(events.begin(), events.end(), must_be_synced) ? Sync::always
                                                                     : Sync::as_configured;
  });
  logger()->debug("committed {} events of command {}", appended, text::to_hex(command_id));
}

bool Store::read(const ReadWork& work) const { return engine_->read(given_now(), work); }

Timestamp Store::now() const { return clock_ ? clock_() : engine_->now(); }

/// The user's clock is read before a transaction begins, never inside.
std::optional<Timestamp> Store::given_now() const {
  return clock_ ? std::optional(clock_()) : std::nullopt;
}

std::string Store::metadata() const {
  const auto environment = system::Environment::read();
  const commands::Redactor redactor(environment.databricks_token);
  const std::string label =
      commands::clean_label(origin_.label.empty() ? environment.label : origin_.label, redactor);
  json::object metadata;
  metadata["host"] = origin_.host;
  metadata["pid"] = ::getpid();
  metadata["user"] = origin_.user;
  metadata["program"] = redactor.text(origin_.program);
  metadata["label"] = label.empty() ? json::value() : json::value(label);
  return text::json_text(metadata);
}

void Store::append(WriteSession& session, const commands::Events& events,
                   const std::string& metadata, const std::string& command_id) const {
  std::int64_t position = session.log.last_position();
  if (position > std::numeric_limits<std::int64_t>::max() - std::ssize(events)) {
    throw CorruptDatabase(
        "the log's last position was altered, and leaves no room for more events; `dbcache verify` "
        "lists what is wrong");
  }
  for (const events::Event& event : events) {
    EventRecord record;
    record.position = ++position;
    record.stream = events::stream_of(event);
    const StreamEnd end = session.log.end_of(record.stream);
    record.version = end.version + 1;
    record.type = events::type_of(event);
    record.payload = events::payload_of(event);
    record.metadata = metadata;
    record.recorded_at = session.now.time_since_epoch().count();
    record.command_id = command_id;
    record.hash = chain_hash(record, end.hash);
    session.log.append(record);
    projections::project(event, record.position, session.tables);
  }
}

AdoptionReport Store::adopt(WriteSession& session, const commands::DocumentedRows& rows) const {
  const commands::Redactor redactor(system::Environment::read().databricks_token);
  const commands::Zone zone = adoption_zone_ ? *adoption_zone_ : commands::Zone("");
  commands::Adoption adoption = commands::adopt(rows, zone, redactor, session.now);
  session.tables.clear();
  append(session, adoption.events, metadata(), new_command_id());
  return std::move(adoption.report);
}

}  // namespace dbcache::store
