#include "events/event.hpp"

#include <array>
#include <exception>
#include <utility>

#include <boost/json/monotonic_resource.hpp>
#include <boost/mp11/algorithm.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "rows/fields.hpp"
#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache {

/// For `read_field`, which finds it by argument-dependent lookup.
static void from_string(std::string_view word, RegistryStatus& status) {
  status = parse_registry_status(word);
}

}  // namespace dbcache

namespace dbcache::events {

BOOST_DESCRIBE_STRUCT(ClusterCached, (), (cluster, configuration))
BOOST_DESCRIBE_STRUCT(ClusterImported, (), (cluster, original, notes))
BOOST_DESCRIBE_STRUCT(ClusterDeactivated, (), (cluster_id, active_cluster_id))
BOOST_DESCRIBE_STRUCT(ClusterAccessed, (), (cluster_id, last_accessed, access_count))
BOOST_DESCRIBE_STRUCT(ClusterExpired, (), (cluster_id, expiry_time))
BOOST_DESCRIBE_STRUCT(ClusterRemoved, (), (cluster_id, reason))
BOOST_DESCRIBE_STRUCT(CreationRegistered, (), (config_hash, creation_time, worker))
BOOST_DESCRIBE_STRUCT(EntryImported, (), (entry, original, notes))
BOOST_DESCRIBE_STRUCT(RegistryStatusChanged, (),
                      (config_hash, from, to, cluster_id, error_message, for_good))
BOOST_DESCRIBE_STRUCT(UsageIncremented, (), (config_hash, usage_count))
BOOST_DESCRIBE_STRUCT(UsageDecremented, (), (config_hash, usage_count))
BOOST_DESCRIBE_STRUCT(RegistryEntryRemoved, (), (config_hash, reason))
BOOST_DESCRIBE_STRUCT(CreationStarted, (),
                      (config_hash, holder, idempotency_token, cluster_id, host, creation_time,
                       usage_count))
BOOST_DESCRIBE_STRUCT(LeaseGranted, (),
                      (config_hash, cluster_id, holder, policy, run, granted_at, created_here, host,
                       creation, usage_count))
BOOST_DESCRIBE_STRUCT(LeaseReleased, (),
                      (config_hash, lease, cluster_id, policy, usage_count, released_at))
BOOST_DESCRIBE_STRUCT(LeaseLost, (), (config_hash, lease, cluster_id, policy, reason, usage_count))
BOOST_DESCRIBE_STRUCT(LeaseRenewed, (), (config_hash, lease, until, deadline))
BOOST_DESCRIBE_STRUCT(ClusterUsed, (), (cluster_id, lease, by))
BOOST_DESCRIBE_STRUCT(CheckStarted, (), (config_hash, cluster_id, holder))
BOOST_DESCRIBE_STRUCT(CheckAnswered, (),
                      (config_hash, cluster_id, check, answer, error, answered_at))
BOOST_DESCRIBE_STRUCT(TerminationOwed, (),
                      (subject, cluster_id, idempotency_token, config_hash, host, reason, owed_at))
BOOST_DESCRIBE_STRUCT(TerminationStarted, (), (subject, config_hash, holder))
BOOST_DESCRIBE_STRUCT(TerminationDone, (), (subject, termination))
BOOST_DESCRIBE_STRUCT(TerminationFailed, (), (subject, termination, error, retry_at))
BOOST_DESCRIBE_STRUCT(TerminationCancelled, (), (subject, reason))
BOOST_DESCRIBE_STRUCT(RunJoined, (), (run, kind, name, holder, joined_at))
BOOST_DESCRIBE_STRUCT(RunLeft, (), (run, participant, reason))

namespace {

/// Holds most payloads in the form of Boost.JSON; larger ones go to the heap.
constexpr std::size_t document_bytes = 4096;

/// Converts a payload of an older schema to the present one.
json::object upcast(std::string_view type, int from, int to, json::object payload) {
  if (from < 1) throw CorruptDatabase("its schema is below 1");
  if (from > to) {
    throw NewerSchema(fmt::format(
        "a {} event has schema {}, but this dbcache reads only up to {}; use the newer dbcache "
        "that wrote it",
        type, from, to));
  }
  // Before schema 2 a failed termination was tried again at once.
  if (type == TerminationFailed::type && from == 1) payload["retry_at"] = nullptr;
  // Before schema 2 only the clock told when a lease ended.
  if (type == LeaseRenewed::type && from == 1) payload["deadline"] = nullptr;
  // Before schema 2 nobody said so, nor when a cluster was known to run.
  if (type == RegistryStatusChanged::type && from == 1) payload["for_good"] = false;
  if (type == LeaseReleased::type && from == 1) payload["released_at"] = nullptr;
  if (type == CheckAnswered::type && from == 1) payload["answered_at"] = nullptr;
  return payload;
}

template <class Visit>
bool with_type(std::string_view type, Visit&& visit) {
  bool found = false;
  boost::mp11::mp_for_each<boost::mp11::mp_transform<boost::mp11::mp_identity, Event>>(
      [&](auto candidate) {
        using Payload = typename decltype(candidate)::type;
        if (!found && Payload::type == type) {
          found = true;
          visit(candidate);
        }
      });
  return found;
}

std::string stream_of_payload(const ClusterCached& event) {
  return cluster_stream(event.cluster.cluster_id);
}
std::string stream_of_payload(const ClusterImported& event) {
  return cluster_stream(event.cluster.cluster_id);
}
std::string stream_of_payload(const EntryImported& event) {
  return registry_stream(event.entry.config_hash);
}
template <class Payload>
std::string stream_of_payload(const Payload& event) {
  if constexpr (requires { event.subject; }) {
    return cluster_stream(event.subject);
  } else if constexpr (requires { event.config_hash; }) {
    return registry_stream(event.config_hash);
  } else if constexpr (requires { event.run; }) {
    return run_stream(event.run);
  } else {
    return cluster_stream(event.cluster_id);
  }
}

}  // namespace

std::string cluster_stream(std::string_view cluster_id) {
  return std::string(cluster_stream_prefix).append(cluster_id);
}
std::string registry_stream(std::string_view config_hash) {
  return std::string(registry_stream_prefix).append(config_hash);
}
std::string run_stream(std::string_view run) { return std::string(run_stream_prefix).append(run); }

std::string stream_of(const Event& event) {
  return std::visit([](const auto& payload) { return stream_of_payload(payload); }, event);
}

std::string_view type_of(const Event& event) {
  return std::visit(
      [](const auto& payload) { return std::remove_cvref_t<decltype(payload)>::type; }, event);
}

std::string payload_of(const Event& event) {
  return std::visit(
      [](const auto& payload) {
        std::array<unsigned char, document_bytes> buffer{};
        json::monotonic_resource memory(buffer.data(), buffer.size());
        json::object object(&memory);
        object["schema"] = std::remove_cvref_t<decltype(payload)>::schema;
        rows::write_fields(payload, object);
        return text::json_text(object);
      },
      event);
}

bool is_known_type(std::string_view type) {
  return with_type(type, [](auto) {});
}

Event parse_event(std::string_view type, std::string_view payload) {
  Event event;
  std::array<unsigned char, document_bytes> buffer{};
  json::monotonic_resource memory(buffer.data(), buffer.size());
  try {
    const bool known = with_type(type, [&](auto identity) {
      using Payload = typename decltype(identity)::type;
      json::object object =
          std::move(text::parse_json(payload, "the payload", text::max_stored_json_depth, &memory)
                        .as_object());
      const int schema = object.at("schema").to_number<int>();
      object = upcast(type, schema, Payload::schema, std::move(object));
      rows::read_fields(object, event.emplace<Payload>());
    });
    if (!known) throw CorruptDatabase("this dbcache does not know that type");
  } catch (const NewerSchema&) {
    throw;
  } catch (const std::exception& error) {
    throw CorruptDatabase(fmt::format(
        "the payload of a {} event cannot be read: {}; `dbcache verify` shows whether the log was "
        "altered",
        type, error.what()));
  }
  return event;
}

}  // namespace dbcache::events
