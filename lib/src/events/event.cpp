#include "events/event.hpp"

#include <array>
#include <exception>
#include <utility>

#include <boost/mp11/algorithm.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "events/fields.hpp"
#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache {

/// For `read_field`, beside the library's own enums.
static void from_string(std::string_view word, RegistryStatus& status) {
  status = parse_registry_status(word);
}

}  // namespace dbcache

namespace dbcache::system {

BOOST_DESCRIBE_STRUCT(ProcessIdentity, (), (pid, start_time, boot_id, pid_namespace))

}  // namespace dbcache::system

namespace dbcache::events {

BOOST_DESCRIBE_STRUCT(ClusterCached, (), (cluster, configuration))
BOOST_DESCRIBE_STRUCT(ClusterImported, (), (cluster, original, notes))
BOOST_DESCRIBE_STRUCT(ClusterDeactivated, (), (cluster_id, active_cluster_id))
BOOST_DESCRIBE_STRUCT(ClusterAccessed, (), (cluster_id, last_accessed, access_count))
BOOST_DESCRIBE_STRUCT(ClusterExpired, (), (cluster_id, expiry_time))
BOOST_DESCRIBE_STRUCT(ClusterRemoved, (), (cluster_id, reason))
BOOST_DESCRIBE_STRUCT(CreationRegistered, (), (config_hash, creation_time, worker))
BOOST_DESCRIBE_STRUCT(EntryImported, (), (entry, original, notes))
BOOST_DESCRIBE_STRUCT(RegistryStatusChanged, (), (config_hash, from, to, cluster_id, error_message))
BOOST_DESCRIBE_STRUCT(UsageIncremented, (), (config_hash, usage_count))
BOOST_DESCRIBE_STRUCT(UsageDecremented, (), (config_hash, usage_count))
BOOST_DESCRIBE_STRUCT(RegistryEntryRemoved, (), (config_hash, reason))

namespace {

template <class Enum, std::size_t Count>
using Words = std::array<std::pair<Enum, std::string_view>, Count>;

constexpr Words<ClusterRemovalReason, 3> cluster_removal_words{
    {{ClusterRemovalReason::cleared, "cleared"},
     {ClusterRemovalReason::terminated, "terminated"},
     {ClusterRemovalReason::lost, "lost"}}};
constexpr Words<EntryRemovalReason, 1> entry_removal_words{
    {{EntryRemovalReason::cleaned_up, "cleaned_up"}}};

template <class Enum, std::size_t Count>
std::string_view word_of(const Words<Enum, Count>& words, Enum value) {
  for (const auto& [key, word] : words) {
    if (key == value) return word;
  }
  return "unknown";
}

template <class Enum, std::size_t Count>
Enum value_of(const Words<Enum, Count>& words, std::string_view word) {
  for (const auto& [key, name] : words) {
    if (name == word) return key;
  }
  throw InvalidArgument(fmt::format("'{}' is not a reason", word));
}

/// Brings a payload of an older schema to the present one. There is one schema of each type so far;
/// the first change adds its case here.
json::object upcast(std::string_view type, int from, int to, json::object payload) {
  if (from < 1) throw CorruptDatabase("its schema is below 1");
  if (from > to) {
    throw NewerSchema(fmt::format(
        "an event {} has schema {}, and this dbcache reads up to {}; use the newer dbcache that "
        "wrote it",
        type, from, to));
  }
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
  if constexpr (requires { event.config_hash; }) {
    return registry_stream(event.config_hash);
  } else {
    return cluster_stream(event.cluster_id);
  }
}

}  // namespace

std::string_view to_string(ClusterRemovalReason reason) noexcept {
  return word_of(cluster_removal_words, reason);
}
void from_string(std::string_view word, ClusterRemovalReason& reason) {
  reason = value_of(cluster_removal_words, word);
}
std::string_view to_string(EntryRemovalReason reason) noexcept {
  return word_of(entry_removal_words, reason);
}
void from_string(std::string_view word, EntryRemovalReason& reason) {
  reason = value_of(entry_removal_words, word);
}

std::string cluster_stream(std::string_view cluster_id) {
  return fmt::format("{}{}", cluster_stream_prefix, cluster_id);
}
std::string registry_stream(std::string_view config_hash) {
  return fmt::format("{}{}", registry_stream_prefix, config_hash);
}

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
        json::object object;
        object["schema"] = std::remove_cvref_t<decltype(payload)>::schema;
        write_fields(payload, object);
        return text::json_text(object);
      },
      event);
}

bool is_known_type(std::string_view type) {
  return with_type(type, [](auto) {});
}

Event parse_event(std::string_view type, std::string_view payload) {
  Event event;
  try {
    const bool known = with_type(type, [&](auto identity) {
      using Payload = typename decltype(identity)::type;
      json::object object =
          text::parse_json(payload, "the payload", text::max_stored_json_depth).as_object();
      const int schema = object.at("schema").to_number<int>();
      object = upcast(type, schema, Payload::schema, std::move(object));
      read_fields(object, event.emplace<Payload>());
    });
    if (!known) throw CorruptDatabase("this dbcache knows no such event type");
  } catch (const NewerSchema&) {
    throw;
  } catch (const std::exception& error) {
    throw CorruptDatabase(fmt::format(
        "an event {} has a payload that cannot be read: {}; `dbcache verify` tells whether the log "
        "was altered",
        type, error.what()));
  }
  return event;
}

}  // namespace dbcache::events
