#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dbcache/cache_manager.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/export.hpp>
#include <dbcache/shared_clusters.hpp>
#include <dbcache/time.hpp>

/// Databricks itself: the lifecycle of a workspace's clusters, so that nobody writes `create`,
/// `check` and `terminate`. docs/workspace.md has the whole of it.
namespace dbcache::databricks {

/// What a workspace answered to a request that it refused. Empty if there was no answer.
struct Refusal {
  int http_status = 0;
  std::string error_code{};  ///< Such as `INVALID_STATE`; empty if the answer had none.
  std::string message{};     ///< The workspace's own words.
};

/// The base of the errors of a workspace.
class DBCACHE_EXPORT WorkspaceError : public LifecycleError {
 public:
  WorkspaceError(const std::string& message, Refusal refusal, bool may_succeed_again)
      : LifecycleError(message, may_succeed_again),
        refusal_(std::make_shared<const Refusal>(std::move(refusal))) {}

  /// What the workspace answered. Lives as long as the error or a copy of it. Never throws.
  [[nodiscard]] const Refusal& refusal() const noexcept { return *refusal_; }

 private:
  std::shared_ptr<const Refusal> refusal_;  // an error is copied, and that must not throw
};

/// There are no credentials for the workspace, or it does not accept them. Another try is useless.
class DBCACHE_EXPORT NotAuthenticated : public WorkspaceError {
 public:
  explicit NotAuthenticated(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), false) {}
};

/// The user of the credentials may not do this. Another try is useless.
class DBCACHE_EXPORT PermissionDenied : public WorkspaceError {
 public:
  explicit PermissionDenied(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), false) {}
};

/// The workspace cannot create a cluster of this configuration. Another try is useless.
class DBCACHE_EXPORT InvalidClusterConfig : public WorkspaceError {
 public:
  explicit InvalidClusterConfig(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), false) {}
};

/// A quota of the workspace, or of its account with the cloud, is used up. Another try is useless.
class DBCACHE_EXPORT QuotaExceeded : public WorkspaceError {
 public:
  explicit QuotaExceeded(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), false) {}
};

/// The cloud has no machines of this kind just now. Another try may help.
class DBCACHE_EXPORT CapacityUnavailable : public WorkspaceError {
 public:
  explicit CapacityUnavailable(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), true) {}
};

/// The cluster did not start, or ended while it started. Another try may help.
class DBCACHE_EXPORT ClusterFailed : public WorkspaceError {
 public:
  explicit ClusterFailed(const std::string& message, Refusal refusal = {})
      : WorkspaceError(message, std::move(refusal), true) {}
};

/// The workspace cannot be reached, or its answer makes no sense.
class DBCACHE_EXPORT WorkspaceUnavailable : public WorkspaceError {
 public:
  /// `may_succeed_again`: false for a certificate that is not accepted, say.
  WorkspaceUnavailable(const std::string& message, Refusal refusal, bool may_succeed_again)
      : WorkspaceError(message, std::move(refusal), may_succeed_again) {}
};

/// The state of a cluster, as the Clusters API 2.1 names it.
enum class ClusterState {
  pending,
  running,
  restarting,
  resizing,
  terminating,
  terminated,
  error,
  unknown,  ///< `UNKNOWN`, or a word that this version of dbcache does not know.
};

/// The word of the API, such as "RUNNING". Never throws. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string_view to_string(ClusterState state) noexcept;

/// Why a cluster ended. The codes are an open set.
struct TerminationReason {
  std::string code{};  ///< Such as `INACTIVITY`.
  std::string type{};  ///< `SUCCESS`, `CLIENT_ERROR`, `CLOUD_FAILURE`, `SERVICE_FAULT`, or empty.
  std::map<std::string, std::string> parameters{};
};

/// A cluster, as the workspace has it.
struct Cluster {
  std::string cluster_id{};
  std::string cluster_name{};
  ClusterState state = ClusterState::unknown;
  std::string state_message{};  ///< What it is doing, such as `Finding instances for new nodes`.
  std::optional<TerminationReason> termination_reason{};
  std::map<std::string, std::string> custom_tags{};
  std::string creator_user_name{};
  std::optional<Timestamp> start_time{};  ///< When it was created.
  std::optional<Timestamp> terminated_time{};
  std::optional<std::int64_t> autotermination_minutes{};
};

/// The user of the credentials, as the workspace has it.
struct User {
  std::string name{};
  /// Whether the user may create clusters of any kind: an administrator, or by the entitlement
  /// `allow-cluster-create`. Others may create those that a cluster policy allows them.
  bool may_create_clusters = false;
};

/// Which workspace, and how it is asked. What is empty comes from the environment: DATABRICKS_HOST,
/// DATABRICKS_TOKEN, DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET, DATABRICKS_CONFIG_PROFILE,
/// DATABRICKS_CONFIG_FILE, DATABRICKS_AUTH_TYPE, and those of the OIDC of CI; docs/workspace.md has
/// them all. A profile of ~/.databrickscfg is read if one is named, or if the environment has
/// neither a host nor credentials.
struct WorkspaceOptions {
  /// The address, as it may be pasted from a browser. Credentials go to their own host only: those
  /// of the environment to DATABRICKS_HOST, those of a profile to the profile's host.
  std::string host{};
  std::string token{};          ///< A personal access token.
  std::string client_id{};      ///< Of a service principal (OAuth).
  std::string client_secret{};  ///< Of a service principal.
  std::string profile{};
  std::string config_file{};
  std::string auth_type{};  ///< `pat`, `oauth-m2m`, `github-oidc`, `env-oidc` or `file-oidc`.

  /// What a configuration without `autotermination_minutes` gets, so that a cluster ends by itself
  /// even if every machine that knows of it is gone: 10 to 10,000, or 0 for never.
  std::int64_t autotermination_minutes = 60;
  /// Whether a termination removes the cluster from the workspace's lists, too.
  bool permanent_delete = false;
};

/// What ends a call to a workspace early. The call then throws Cancelled or Timeout within a
/// second.
struct CallBounds {
  std::stop_token stop{};
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  /// Called about once a second while the call waits, on the caller's thread. An exception from it
  /// ends the call.
  std::function<void()> on_wait{};
  /// How long requests are repeated that fail because the workspace is busy or out of reach.
  std::chrono::milliseconds patience = std::chrono::minutes{5};
};

/// A Databricks workspace: the Clusters API 2.1 over HTTPS.
///
/// Requests that fail because the workspace is busy or out of reach are repeated, for up to
/// CallBounds::patience. Every call throws the errors of this header, Cancelled and Timeout.
/// Nothing secret is ever in them, nor in the log.
///
/// Thread-safe. A copy is the same workspace. A forked child may use it, unless another thread was
/// amid a request when it was forked: OpenSSL's locks do not survive that.
class DBCACHE_EXPORT Workspace {
 public:
  /// Finds the credentials, without any request. Throws NotAuthenticated if there are none for this
  /// host, or of two kinds; InvalidArgument for options that make no sense.
  explicit Workspace(const WorkspaceOptions& options = {});

  /// The workspace of a configuration: that of its `host`, else that of the options. If these are
  /// two, the credentials of the options are not used, but those that the environment or a profile
  /// has for this very host.
  static Workspace of(const ClusterConfig& config, WorkspaceOptions options = {});

  /// Whether the environment or a profile names a workspace with credentials, so that the
  /// constructor would find them. Throws nothing but std::bad_alloc.
  [[nodiscard]] static bool is_configured(const WorkspaceOptions& options = {});

  /// Scheme, host name and port, as in `config_hash`.
  [[nodiscard]] const std::string& host() const noexcept;
  /// The kind of the credentials: a word of WorkspaceOptions::auth_type.
  [[nodiscard]] std::string_view credentials() const noexcept;
  /// Where they are from, such as `DATABRICKS_TOKEN` or a profile. Never a secret.
  [[nodiscard]] const std::string& credentials_source() const noexcept;

  /// `create`, `check` and `terminate` for SharedClusters. `bounds` end its checks and
  /// terminations; a creation has those of its acquire. docs/workspace.md says what each does.
  [[nodiscard]] ClusterLifecycle lifecycle(const CallBounds& bounds = {}) const;

  /// ClusterLifecycle::check_counts_for of such a lifecycle.
  static constexpr std::chrono::milliseconds check_counts_for = std::chrono::seconds{30};

  /// The three functions, for lifecycles that add to them.
  [[nodiscard]] std::string create(const ClusterConfig& config, Creation& creation) const;
  [[nodiscard]] bool check(const std::string& cluster_id, const CallBounds& bounds = {}) const;
  void terminate(const Termination& termination, const CallBounds& bounds = {}) const;

  /// The user whose credentials these are.
  [[nodiscard]] User user(const CallBounds& bounds = {}) const;

  /// Nothing if the workspace has no such cluster (any more).
  [[nodiscard]] std::optional<Cluster> cluster(const std::string& cluster_id,
                                               const CallBounds& bounds = {}) const;

  /// All clusters in one of the states; in any if there are none. Those that ended are listed for
  /// 30 days.
  [[nodiscard]] std::vector<Cluster> clusters(const std::vector<ClusterState>& states = {},
                                              const CallBounds& bounds = {}) const;

 private:
  class Impl;
  std::shared_ptr<const Impl> impl_;
};

/// What `reconcile` found of the clusters that a database names.
struct ReconcileReport {
  std::vector<std::string> running;  ///< They run, or start.
  /// They have ended or are gone, and were taken out of the database as by
  /// CacheManager::remove_terminated_cluster: the leases on them are lost, and pending terminations
  /// of them are cancelled.
  std::vector<std::string> removed;
  struct Unknown {
    std::string cluster_id;
    std::string error;  ///< Why the workspace does not say. Nothing was changed.
  };
  std::vector<Unknown> unknown;
  std::vector<std::string> elsewhere;  ///< Of another workspace, or of none that is known.
};

/// Asks the workspace about every cluster that the rows of `clusters` or the pending terminations
/// name with its host, and takes out those that are gone. Throws where the clusters cannot be
/// listed, and then has changed nothing.
DBCACHE_EXPORT ReconcileReport reconcile(CacheManager& manager, const Workspace& workspace,
                                         const CallBounds& bounds = {});

/// What `find_orphans` found.
struct OrphanReport {
  std::vector<Cluster> orphans;
  /// Active clusters that dbcache made for other databases, or lately.
  std::size_t others = 0;
};

/// Finds active clusters that this database's log made (the token in their tag stands in one of its
/// creations) and that nothing in the database names any more, neither an entry, a lease, a
/// creation under way nor a pending termination. They are older than an hour. Changes nothing.
[[nodiscard]] DBCACHE_EXPORT OrphanReport find_orphans(CacheManager& manager,
                                                       const Workspace& workspace,
                                                       const CallBounds& bounds = {});

/// Terminates an orphan, unless another look finds that it is none any more. Returns whether it was
/// terminated.
DBCACHE_EXPORT bool terminate_orphan(CacheManager& manager, const Workspace& workspace,
                                     const Cluster& orphan, const CallBounds& bounds = {});

}  // namespace dbcache::databricks
