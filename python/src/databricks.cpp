#include "databricks.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pybind11/stl.h>

#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "creation.hpp"
#include "gil.hpp"
#include "values.hpp"

namespace py = pybind11;

namespace dbcache::python {
namespace {

using databricks::CallBounds;
using databricks::ClusterState;
using databricks::Workspace;
using databricks::WorkspaceOptions;

WorkspaceOptions options_of(const std::string& host, const std::string& token,
                            const std::string& client_id, const std::string& client_secret,
                            const std::string& profile, const std::string& config_file,
                            const std::string& auth_type, std::int64_t autotermination_minutes,
                            bool permanent_delete) {
  WorkspaceOptions options;
  options.host = host;
  options.token = token;
  options.client_id = client_id;
  options.client_secret = client_secret;
  options.profile = profile;
  options.config_file = config_file;
  options.auth_type = auth_type;
  options.autotermination_minutes = autotermination_minutes;
  options.permanent_delete = permanent_delete;
  return options;
}

/// Ends the call on Ctrl-C.
CallBounds interruptible_bounds() {
  CallBounds bounds;
  bounds.on_wait = [] {
    locked([] {
      const LogDelivery delivery;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    });
  };
  return bounds;
}

std::optional<std::string> text_at(const py::dict& fields, const char* key) {
  const py::object value = fields[key];
  return value.is_none() ? std::nullopt : std::optional(to_text(value, key));
}

Termination termination_of(const py::dict& fields) {
  Termination termination;
  termination.owed.subject = text_at(fields, "subject").value_or("");
  termination.owed.cluster_id = text_at(fields, "cluster_id");
  termination.owed.idempotency_token = text_at(fields, "idempotency_token");
  termination.owed.config_hash = text_at(fields, "config_hash");
  termination.owed.host = text_at(fields, "host");
  termination.owed.reason = text_at(fields, "reason").value_or("");
  termination.owed.owed_at = parse_timestamp(text_at(fields, "owed_at").value_or(""));
  termination.now = parse_timestamp(text_at(fields, "now").value_or(""));
  return termination;
}

std::vector<ClusterState> states_of(const std::vector<std::string>& words) {
  using State = ClusterState;
  std::vector<ClusterState> states;
  for (const std::string& word : words) {
    bool known = false;
    for (const State state :
         {State::pending, State::running, State::restarting, State::resizing, State::terminating,
          State::terminated, State::error, State::unknown}) {
      if (to_string(state) != word) continue;
      states.push_back(state);
      known = true;
    }
    if (!known) throw InvalidArgument("there is no state '" + word + "' of a cluster");
  }
  return states;
}

void bind_calls(py::class_<Workspace>& type) {
  type.def("create",
           [](const Workspace& workspace, const py::object& config, CreationUnderWay& creation) {
             const std::string text = to_text(config, "config");
             return creation.used([&](Creation& under_way) {
               return workspace.create(ClusterConfig::parse(text), under_way);
             });
           })
      .def("check",
           [](const Workspace& workspace, const py::object& cluster_id,
              const std::optional<std::stop_source>& stop, const std::optional<double>& deadline) {
             const std::string id = to_text(cluster_id, "cluster_id");
             CallBounds bounds = interruptible_bounds();
             if (stop) bounds.stop = stop->get_token();
             if (deadline) {  // as time.monotonic() counts
               bounds.deadline = std::chrono::steady_clock::time_point(
                   std::chrono::round<std::chrono::nanoseconds>(
                       std::chrono::duration<double>(*deadline)));
             }
             return unlocked([&] { return workspace.check(id, bounds); });
           })
      .def("terminate",
           [](const Workspace& workspace, const py::dict& fields) {
             const Termination termination = termination_of(fields);
             CallBounds bounds = interruptible_bounds();
             bounds.patience = std::chrono::minutes{1};  // it stays pending, and is tried again
             unlocked([&] { workspace.terminate(termination, bounds); });
           })
      .def("user",
           [](const Workspace& workspace) {
             return unlocked([&] { return workspace.user(interruptible_bounds()).name; });
           })
      .def("cluster",
           [](const Workspace& workspace, const py::object& cluster_id) -> py::object {
             const std::string id = to_text(cluster_id, "cluster_id");
             const auto cluster =
                 unlocked([&] { return workspace.cluster(id, interruptible_bounds()); });
             return cluster ? to_python(to_json(*cluster)) : py::none();
           })
      .def("clusters", [](const Workspace& workspace, const std::vector<std::string>& words) {
        const auto states = states_of(words);
        py::list list;
        for (const auto& cluster :
             unlocked([&] { return workspace.clusters(states, interruptible_bounds()); })) {
          list.append(to_python(to_json(cluster)));
        }
        return list;
      });
}

}  // namespace

void bind_databricks(py::module_& module) {
  using namespace py::literals;
  py::class_<WorkspaceOptions>(module, "WorkspaceOptions")
      .def(py::init(&options_of), "host"_a, "token"_a, "client_id"_a, "client_secret"_a,
           "profile"_a, "config_file"_a, "auth_type"_a, "autotermination_minutes"_a,
           "permanent_delete"_a);
  py::class_<Workspace> type(module, "Workspace");
  type.def(py::init<const WorkspaceOptions&>())
      .def_static("of",
                  [](const py::object& config, const WorkspaceOptions& options) {
                    return Workspace::of(ClusterConfig::parse(to_text(config, "config")), options);
                  })
      .def_static("is_configured", &Workspace::is_configured)
      .def_static("check_counts_for_milliseconds",
                  [] { return std::int64_t{Workspace::check_counts_for.count()}; })
      .def_property_readonly("host", &Workspace::host)
      .def_property_readonly(
          "credentials",
          [](const Workspace& workspace) { return std::string(workspace.credentials()); })
      .def_property_readonly("credentials_source", &Workspace::credentials_source);
  bind_calls(type);
}

}  // namespace dbcache::python
