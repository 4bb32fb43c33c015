#include "shared.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <pybind11/stl.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "creation.hpp"
#include "gil.hpp"
#include "values.hpp"

namespace json = boost::json;
namespace py = pybind11;

namespace dbcache::python {
namespace {

HandBackPolicy policy_of(const std::string& word) {
  for (const HandBackPolicy policy : {HandBackPolicy::keep, HandBackPolicy::hand_back}) {
    if (word == to_string(policy)) return policy;
  }
  throw InvalidArgument("policy must be 'keep' or 'hand_back', not '" + word + "'");
}

OnCreateFailure on_create_failure_of(const std::string& word) {
  if (word == "try_again") return OnCreateFailure::try_again;
  if (word == "fail") return OnCreateFailure::fail;
  throw InvalidArgument("on_create_failure must be 'try_again' or 'fail', not '" + word + "'");
}

py::object holder_to_python(const HolderInfo& holder) {
  py::dict told;
  told["host"] = to_python(json::value(json::string(holder.host)));
  told["pid"] = holder.pid;
  told["label"] = holder.label ? to_python(json::value(json::string(*holder.label))) : py::none();
  told["until"] = holder.until ? py::cast(format_timestamp(*holder.until)) : py::none();
  told["alive"] = holder.alive;
  return told;
}

const char* word_of(WaitProgress::For waits_for) {
  switch (waits_for) {
    case WaitProgress::For::creator:
      return "creator";
    case WaitProgress::For::checker:
      return "checker";
    case WaitProgress::For::cluster:
      return "cluster";
  }
  return "";
}

py::object progress_to_python(const WaitProgress& progress) {
  py::dict told;
  told["waits_for"] = word_of(progress.waits_for);
  told["holder"] = holder_to_python(progress.holder);
  told["since"] = format_timestamp(progress.since);
  told["waited"] = std::chrono::duration<double>(progress.waited).count();
  told["doing"] = to_python(json::value(json::string(progress.doing)));
  return told;
}

py::object termination_to_python(const Termination& termination) {
  py::object told = to_python(to_json(termination.owed));
  told["now"] = format_timestamp(termination.now);
  told["lock_descriptor"] = termination.lock_descriptor;
  return told;
}

std::function<void(const Termination&)> terminator(const py::object& function) {
  if (function.is_none()) return {};
  return [call = SharedObject(function)](const Termination& termination) {
    locked([&] { call.get()(termination_to_python(termination)); });
  };
}

ClusterLifecycle lifecycle_of(const py::object& create, const py::object& check,
                              const py::object& terminate) {
  ClusterLifecycle lifecycle;
  if (!create.is_none()) {
    lifecycle.create = [call = SharedObject(create)](const ClusterConfig&, Creation& creation) {
      return locked([&] {
        const auto under_way = std::make_shared<CreationUnderWay>(creation);
        struct End {
          CreationUnderWay& of;
          ~End() { of.end(); }
        } const end{*under_way};
        return to_text(call.get()(under_way), "the cluster id that create returned");
      });
    };
  }
  if (!check.is_none()) {
    lifecycle.check = [call = SharedObject(check)](const std::string& cluster_id) {
      return locked([&] {
        const int answer = PyObject_IsTrue(call.get()(cluster_id).ptr());
        if (answer < 0) throw py::error_already_set();
        return answer == 1;
      });
    };
  }
  lifecycle.terminate = terminator(terminate);
  return lifecycle;
}

/// A callback for a wait, which the library calls about once a second. It ends the wait on Ctrl-C,
/// delivers what the library logged, and calls the caller's `on_wait`.
std::function<void(const WaitProgress&)> interruptible(const py::object& on_wait) {
  return [call = SharedObject(on_wait)](const WaitProgress& progress) {
    locked([&] {
      const LogDelivery delivery;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!call.get().is_none()) call.get()(progress_to_python(progress));
    });
  };
}

std::optional<std::string> optional_text(const py::object& value, const char* what) {
  return value.is_none() ? std::nullopt : std::optional(to_text(value, what));
}

using LeaseHolder = std::unique_ptr<ClusterLease, DeleteUnlocked>;
using MembershipHolder = std::unique_ptr<RunMembership, DeleteUnlocked>;
using SharedHolder = std::unique_ptr<SharedClusters, DeleteUnlocked>;
using SharedClass = py::class_<SharedClusters, SharedHolder>;

void bind_stop_source(py::module_& module) {
  py::class_<std::stop_source>(module, "StopSource")
      .def(py::init<>())
      .def("request_stop",
           [](std::stop_source& source) { unlocked([&] { source.request_stop(); }); })
      .def("stop_requested", &std::stop_source::stop_requested);
}

void bind_creation(py::module_& module) {
  py::class_<CreationUnderWay, std::shared_ptr<CreationUnderWay>>(
      module, "Creation",
      "A creation under way: the second argument of create(). It ends when create() returns; "
      "after\n"
      "that, its members raise LeaseLost.")
      .def_property_readonly(
          "config_hash",
          [](const CreationUnderWay& creation) { return creation.get().config_hash(); },
          "The hash of the configuration.")
      .def_property_readonly(
          "idempotency_token",
          [](const CreationUnderWay& creation) { return creation.get().idempotency_token(); },
          "At most 64 characters, the same in every retry and takeover of this creation. Give it\n"
          "to Databricks as idempotency_token.")
      .def_property_readonly(
          "fencing_token",
          [](const CreationUnderWay& creation) { return creation.get().fencing_token(); },
          "The number of this creation: its position in the log. A takeover has a larger one.")
      .def_property_readonly(
          "name", [](const CreationUnderWay& creation) { return creation.get().name(); },
          "The name of this creation, which no creation of another log has: for creation_started.")
      .def_property_readonly(
          "started_cluster_id",
          [](const CreationUnderWay& creation) { return creation.get().started_cluster_id(); },
          "The id of the cluster that an earlier creator had started when it died, or None. Wait\n"
          "for that cluster and return its id. If create() returns another id, that cluster gets "
          "a\n"
          "pending termination.")
      .def_property_readonly(
          "deadline",
          [](const CreationUnderWay& creation) {
            return std::chrono::duration<double>(creation.get().deadline().time_since_epoch())
                .count();
          },
          "When the acquire times out, in seconds as time.monotonic() counts them. Raise\n"
          "dbcache.Timeout then.")
      .def_property_readonly(
          "cancelled",
          [](const CreationUnderWay& creation) {
            return creation.get().stop_token().stop_requested();
          },
          "Whether the acquire was cancelled. Raise dbcache.Cancelled then.")
      .def_property_readonly(
          "lock_descriptor",
          [](const CreationUnderWay& creation) { return creation.get().lock_descriptor(); },
          "The file descriptor of the creation's lock, or -1. A program that inherits it\n"
          "(pass_fds) keeps this creation alive.")
      .def(
          "progress",
          [](CreationUnderWay& creation, const py::object& doing) {
            creation.progress(to_readable_text(doing, "doing"));
          },
          py::arg("doing"),
          "Tells what the cluster is doing while it starts: to on_wait of this acquire, and of "
          "those\n"
          "that wait for it.")
      .def_property_readonly(
          "owner", [](const CreationUnderWay& creation) { return creation.get().owner(); },
          "Names the log that has this creation: 32 hex digits. Worth tagging the cluster with.")
      .def(
          "started",
          [](CreationUnderWay& creation, const py::object& cluster_id) {
            creation.started(to_text(cluster_id, "cluster_id"));
          },
          py::arg("cluster_id"),
          "Records the id of the cluster while it starts, so that it is found if this process\n"
          "dies. Raises LeaseLost if another creator took over: stop then, the cluster gets a\n"
          "pending termination.");
}

void bind_lease(py::module_& module) {
  py::class_<ClusterLease, LeaseHolder>(module, "Lease")
      .def_property_readonly("cluster_id", &ClusterLease::cluster_id)
      .def_property_readonly("config_hash", &ClusterLease::config_hash)
      .def_property_readonly("created_here", &ClusterLease::created_here)
      .def_property_readonly("fencing_token", &ClusterLease::fencing_token)
      .def_property_readonly("name", &ClusterLease::name)
      .def_property_readonly("lock_descriptor", &ClusterLease::lock_descriptor)
      .def("lost", [](const ClusterLease& lease) { return unlocked([&] { return lease.lost(); }); })
      .def("note_use",
           [](ClusterLease& lease, const py::object& by) {
             const std::string name = to_readable_text(by, "by");
             unlocked([&] { lease.note_use(name); });
           })
      .def("report_dead",
           [](ClusterLease& lease) { return unlocked([&] { return lease.report_dead(); }); })
      .def("release",
           [](ClusterLease& lease, const std::stop_source& stop) {
             return to_python(to_json(unlocked([&] { return lease.release(stop.get_token()); })));
           })
      .def("hold_for", [](ClusterLease& lease, std::int64_t microseconds) {
        unlocked([&] { lease.hold_for(std::chrono::microseconds(microseconds)); });
      });
}

void bind_membership(py::module_& module) {
  py::class_<RunMembership, MembershipHolder>(module, "Membership")
      .def_property_readonly("id", &RunMembership::id)
      .def_property_readonly("name", &RunMembership::name)
      .def_property_readonly("run", &RunMembership::run)
      .def("leave",
           [](RunMembership& membership) { return unlocked([&] { return membership.leave(); }); });
}

SharedHolder shared_of(const CacheManager& manager) {
  return unlocked([&] { return SharedHolder(new SharedClusters(manager)); });
}

LeaseHolder acquire_lease(SharedClusters& shared, const py::str& config, const py::object& create,
                          const py::object& check, const py::object& terminate,
                          std::int64_t timeout_milliseconds, const std::string& policy,
                          const std::string& on_create_failure, const py::object& run,
                          std::vector<std::string> leave_out, const std::stop_source& stop,
                          const py::object& on_wait, const std::string& host,
                          std::int64_t check_counts_for_milliseconds) {
  const std::string text = to_text(config, "config");
  ClusterLifecycle lifecycle = lifecycle_of(create, check, terminate);
  lifecycle.host = host;
  lifecycle.check_counts_for = std::chrono::milliseconds(check_counts_for_milliseconds);
  AcquireOptions options;
  options.timeout = std::chrono::milliseconds(timeout_milliseconds);
  options.policy = policy_of(policy);
  options.on_create_failure = on_create_failure_of(on_create_failure);
  options.run = optional_text(run, "run");
  options.hash.leave_out = std::move(leave_out);
  options.stop = stop.get_token();
  options.on_wait = interruptible(on_wait);
  return unlocked([&] {
    return LeaseHolder(
        new ClusterLease(shared.acquire(ClusterConfig::parse(text), lifecycle, options)));
  });
}

MembershipHolder join_run(SharedClusters& shared, const py::object& run, const py::object& kind,
                          const py::object& name) {
  const std::string of = to_text(run, "run");
  const std::string as = to_text(kind, "kind");
  const auto named = name.is_none() ? std::nullopt : std::optional(to_readable_text(name, "name"));
  return unlocked(
      [&] { return MembershipHolder(new RunMembership(shared.join_run(of, as, named))); });
}

void bind_acquire(SharedClass& type) {
  using namespace py::literals;
  type.def(py::init(&shared_of))
      .def("acquire", &acquire_lease, "config"_a, "create"_a, "check"_a, "terminate"_a,
           "timeout_milliseconds"_a, "policy"_a, "on_create_failure"_a, "run"_a, "leave_out"_a,
           "stop"_a, "on_wait"_a, "host"_a, "check_counts_for_milliseconds"_a)
      .def("join_run", &join_run);
}

// A lease or creation is given by its name, or by its number.

template <class Name>
void renew_lease(SharedClusters& shared, const Name& lease, std::int64_t microseconds) {
  unlocked([&] { shared.renew_lease(lease, std::chrono::microseconds(microseconds)); });
}

template <class Name>
py::object release_lease(SharedClusters& shared, const Name& lease, const py::object& terminate,
                         const std::stop_source& stop) {
  const ClusterLifecycle lifecycle = lifecycle_of(py::none(), py::none(), terminate);
  return to_python(
      to_json(unlocked([&] { return shared.release_lease(lease, lifecycle, stop.get_token()); })));
}

template <class Name>
void creation_started(SharedClusters& shared, const py::object& config_hash, const Name& creation,
                      const py::object& cluster_id) {
  const std::string hash = to_text(config_hash, "config_hash");
  const std::string id = to_text(cluster_id, "cluster_id");
  unlocked([&] { shared.creation_started(hash, creation, id); });
}

void bind_leases_and_terminations(SharedClass& type) {
  type.def("leases",
           [](const SharedClusters& shared) {
             return to_python(to_json(unlocked([&] { return shared.leases(); })));
           })
      .def("owed",
           [](SharedClusters& shared) {
             py::list list;
             for (const auto& owed : unlocked([&] { return shared.owed(); })) {
               list.append(to_python(to_json(owed)));
             }
             return list;
           })
      .def("settle",
           [](SharedClusters& shared, const py::object& terminate, const py::object& host,
              const std::stop_source& stop) {
             const auto function = terminator(terminate);
             const auto of = optional_text(host, "host");
             return to_python(
                 to_json(unlocked([&] { return shared.settle(function, of, stop.get_token()); })));
           })
      .def("renew_lease", &renew_lease<std::int64_t>)
      .def("renew_lease", &renew_lease<std::string>)
      .def("release_lease", &release_lease<std::int64_t>)
      .def("release_lease", &release_lease<std::string>)
      .def("creation_started", &creation_started<std::int64_t>)
      .def("creation_started", &creation_started<std::string>);
}

}  // namespace

void bind_shared(py::module_& module) {
  bind_stop_source(module);
  bind_creation(module);
  bind_lease(module);
  bind_membership(module);
  SharedClass type(module, "Shared");
  bind_acquire(type);
  bind_leases_and_terminations(type);
}

}  // namespace dbcache::python
