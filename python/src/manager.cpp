#include "manager.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pybind11/stl.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "gil.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace dbcache::python {
namespace {

Durability durability_of(const std::string& word) {
  if (word == "full") return Durability::full;
  if (word == "relaxed") return Durability::relaxed;
  throw InvalidArgument("durability must be 'full' or 'relaxed', not '" + word + "'");
}

template <class Rows>
py::list rows_to_python(const Rows& rows) {
  py::list list;
  for (const auto& row : rows) list.append(to_python(row));
  return list;
}

template <class Items>
py::list list_to_python(const Items& items) {
  py::list list;
  for (const auto& item : items) list.append(to_python(to_json(item)));
  return list;
}

HeldClusters held_of(bool force) { return force ? HeldClusters::remove : HeldClusters::leave; }

/// A callback that ends a long pass over the log on Ctrl-C. The library calls it between two pages.
ProgressCallback interruptible() {
  return [](const LogProgress&) {
    locked([] {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    });
  };
}

std::optional<Timestamp> time_of(const std::optional<std::string>& text) {
  return text ? std::optional(parse_timestamp(*text)) : std::nullopt;
}

std::optional<LogHead> head_of(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  const auto colon = text->find(':');
  LogHead head;
  const char* const end = text->data() + std::min(colon, text->size());
  const auto [stop, error] = std::from_chars(text->data(), end, head.events);
  if (colon == std::string::npos || error != std::errc() || stop != end) {
    throw InvalidArgument("head must be NUMBER:HASH, as verify() returns it, not '" + *text + "'");
  }
  head.hash = text->substr(colon + 1);
  return head;
}

using ManagerHolder = std::unique_ptr<CacheManager, DeleteUnlocked>;
using ManagerClass = py::class_<CacheManager, ManagerHolder>;

void bind_construction(ManagerClass& type) {
  using namespace py::literals;
  type.def(py::init([](const py::bytes& database, const py::str& schema,
                       std::int64_t default_expiry_microseconds, const std::string& durability,
                       std::int64_t busy_timeout_milliseconds, const py::str& label,
                       const py::str& adoption_timezone) {
             Options options;
             options.database = database;
             options.schema = to_text(schema, "schema");
             options.default_expiry = std::chrono::microseconds(default_expiry_microseconds);
             options.durability = durability_of(durability);
             options.busy_timeout = std::chrono::milliseconds(busy_timeout_milliseconds);
             options.label = to_readable_text(label, "label");
             options.adoption_timezone = to_text(adoption_timezone, "adoption_timezone");
             return unlocked([&] { return ManagerHolder(new CacheManager(std::move(options))); });
           }),
           "database"_a, "schema"_a, "default_expiry_microseconds"_a, "durability"_a,
           "busy_timeout_milliseconds"_a, "label"_a, "adoption_timezone"_a);
}

void bind_clusters(ManagerClass& type) {
  type.def("load_cluster_cache",
           [](const CacheManager& manager) -> py::object {
             const auto cluster = unlocked([&] { return manager.load_cluster_cache(); });
             return cluster ? to_python(*cluster) : py::dict();
           })
      .def("get_cached_cluster_info",
           [](const CacheManager& manager) -> py::object {
             const auto info = unlocked([&] { return manager.get_cached_cluster_info(); });
             if (!info) return py::dict();
             py::object told = to_python(to_json(*info));
             told.attr("update")(to_python(info->cluster));
             return told;
           })
      .def("is_cluster_cache_valid",
           [](const CacheManager& manager, const py::str& columns) {
             const std::string text = to_text(columns, "cache_data");
             return unlocked([&] {
               return manager.is_cluster_cache_valid(
                   read_cached_cluster(ClusterConfig::parse(text).values()));
             });
           })
      .def("cache_new_cluster",
           [](CacheManager& manager, const py::object& cluster_id, const py::str& config) {
             const std::string id = to_text(cluster_id, "cluster_id");
             const std::string text = to_text(config, "cluster_config");
             unlocked([&] { manager.cache_new_cluster(id, ClusterConfig::parse(text)); });
           })
      .def("save_cluster_cache",
           [](CacheManager& manager, const py::str& columns) {
             const std::string text = to_text(columns, "cache_data");
             unlocked([&] { manager.save_cluster_cache(ClusterConfig::parse(text)); });
           })
      .def("update_cluster_access",
           [](CacheManager& manager, const py::object& cluster_id) {
             const std::string id = to_text(cluster_id, "cluster_id");
             return unlocked([&] { return manager.update_cluster_access(id); });
           })
      .def("get_all_clusters",
           [](const CacheManager& manager) {
             return rows_to_python(unlocked([&] { return manager.get_all_clusters(); }));
           })
      .def("get_clusters_where",
           [](const CacheManager& manager, const py::object& condition) {
             const std::string text = to_text(condition, "where_clause");
             return rows_to_python(unlocked([&] { return manager.get_clusters_where(text); }));
           })
      .def("get_cache_statistics",
           [](const CacheManager& manager) {
             return to_python(to_json(unlocked([&] { return manager.get_cache_statistics(); })));
           })
      .def("cleanup_expired_clusters",
           [](CacheManager& manager, bool force) {
             return to_python(to_json(
                 unlocked([&] { return manager.cleanup_expired_clusters(held_of(force)); })));
           })
      .def("remove_terminated_cluster",
           [](CacheManager& manager, const py::object& cluster_id) {
             const std::string id = to_text(cluster_id, "cluster_id");
             return unlocked([&] { return manager.remove_terminated_cluster(id); });
           })
      .def("clear_cluster_cache", [](CacheManager& manager, bool force) {
        return to_python(
            to_json(unlocked([&] { return manager.clear_cluster_cache(held_of(force)); })));
      });
}

void bind_registry(ManagerClass& type) {
  type.def("register_or_join_shared_cluster",
           [](CacheManager& manager, const py::object& config_hash, std::int64_t worker_pid) {
             const std::string hash = to_text(config_hash, "config_hash");
             const Registration registration = unlocked(
                 [&] { return manager.register_or_join_shared_cluster(hash, worker_pid); });
             return py::make_tuple(registration.created, registration.joinable,
                                   to_python(to_json(registration.entry)));
           })
      .def("can_join_shared_cluster_creation",
           [](const CacheManager& manager, const py::object& config_hash) {
             const std::string hash = to_text(config_hash, "config_hash");
             return unlocked([&] { return manager.can_join_shared_cluster_creation(hash); });
           })
      .def("update_shared_cluster_status",
           [](CacheManager& manager, const py::object& config_hash, const py::object& status,
              const py::object& cluster_id, const py::object& error_message) {
             const std::string hash = to_text(config_hash, "config_hash");
             const std::string word = to_text(status, "status");
             StatusDetails details;
             if (!cluster_id.is_none()) details.cluster_id = to_text(cluster_id, "cluster_id");
             if (!error_message.is_none()) {
               details.error_message = to_text(error_message, "error_message");
             }
             unlocked([&] {
               manager.update_shared_cluster_status(hash, parse_registry_status(word), details);
             });
           })
      .def("get_shared_cluster_info",
           [](const CacheManager& manager, const py::object& config_hash) -> py::object {
             const std::string hash = to_text(config_hash, "config_hash");
             const auto entry = unlocked([&] { return manager.get_shared_cluster_info(hash); });
             return entry ? to_python(to_json(*entry)) : py::none();
           })
      .def("increment_shared_cluster_usage",
           [](CacheManager& manager, const py::object& config_hash) {
             const std::string hash = to_text(config_hash, "config_hash");
             return unlocked([&] { return manager.increment_shared_cluster_usage(hash); });
           })
      .def("decrement_shared_cluster_usage",
           [](CacheManager& manager, const py::object& config_hash) {
             const std::string hash = to_text(config_hash, "config_hash");
             return unlocked([&] { return manager.decrement_shared_cluster_usage(hash); });
           })
      .def("cleanup_shared_cluster_registry",
           [](CacheManager& manager, const py::object& config_hash, bool force) {
             const std::string hash = to_text(config_hash, "config_hash");
             return to_python(to_json(unlocked(
                 [&] { return manager.cleanup_shared_cluster_registry(hash, held_of(force)); })));
           })
      .def("clear_shared_cluster_registry",
           [](CacheManager& manager, bool force) {
             return to_python(to_json(
                 unlocked([&] { return manager.clear_shared_cluster_registry(held_of(force)); })));
           })
      .def("get_all_shared_clusters", [](const CacheManager& manager) {
        return list_to_python(unlocked([&] { return manager.get_all_shared_clusters(); }));
      });
}

void bind_log(ManagerClass& type) {
  type.def(
          "history",
          [](const CacheManager& manager, const py::object& subject, std::vector<std::string> types,
             const std::optional<std::string>& since, const std::optional<std::string>& until,
             std::optional<std::size_t> limit, bool newest_first) {
            HistoryQuery query;
            query.subject = to_text(subject, "subject");
            query.types = std::move(types);
            query.since = time_of(since);
            query.until = time_of(until);
            query.limit = limit;
            query.order = newest_first ? HistoryOrder::newest_first : HistoryOrder::oldest_first;
            return list_to_python(unlocked([&] { return manager.history(query); }));
          })
      .def("wait_for_events",
           [](const CacheManager& manager, std::int64_t from_position,
              std::int64_t timeout_milliseconds) {
             return list_to_python(unlocked([&] {
               return manager.wait_for_events(
                   from_position, {.timeout = std::chrono::milliseconds(timeout_milliseconds)});
             }));
           })
      .def("replay",
           [](CacheManager& manager, bool check) {
             const ReplayOptions options{check ? ReplayMode::check : ReplayMode::rebuild,
                                         interruptible()};
             return to_python(to_json(unlocked([&] { return manager.replay(options); })));
           })
      .def("verify", [](const CacheManager& manager, const std::optional<std::string>& head) {
        const VerifyOptions options{head_of(head), interruptible()};
        return to_python(to_json(unlocked([&] { return manager.verify(options); })));
      });
}

void bind_database(ManagerClass& type) {
  type.def("create_database",
           [](CacheManager& manager) { unlocked([&] { manager.create_database(); }); })
      .def("optimize_database",
           [](CacheManager& manager, bool vacuum) {
             unlocked([&] { manager.optimize_database(vacuum ? Vacuum::yes : Vacuum::no); });
           })
      .def("get_database_info",
           [](const CacheManager& manager) {
             const DatabaseInfo info = unlocked([&] { return manager.get_database_info(); });
             py::object told = to_python(to_json(info));
             told["path"] = from_path(info.path);
             return told;
           })
      .def("database_location",
           [](const CacheManager& manager) {
             const DatabaseLocation location = manager.database_location();
             return py::make_tuple(from_path(location.path), from_path(location.name),
                                   location.schema);
           })
      .def("adoption", [](const CacheManager& manager) -> py::object {
        const auto report = unlocked([&] { return manager.adoption(); });
        return report ? to_python(to_json(*report)) : py::none();
      });
}

}  // namespace

void bind_manager(py::module_& module) {
  ManagerClass type(module, "Manager");
  bind_construction(type);
  bind_clusters(type);
  bind_registry(type);
  bind_log(type);
  bind_database(type);

  module.def("config_hash", [](const py::str& config, std::vector<std::string> leave_out) {
    const std::string text = to_text(config, "config");
    return unlocked([&] {
      return config_hash(ClusterConfig::parse(text), {.leave_out = std::move(leave_out)});
    });
  });
}

}  // namespace dbcache::python
