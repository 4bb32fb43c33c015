#pragma once

#include <string>
#include <string_view>

#include <dbcache/databricks.hpp>

#include "workspace/http.hpp"

// What a workspace's answers mean. Pure.
namespace dbcache::workspace {

/// An answer that refuses a request, in any of the forms that Databricks has:
/// `{"error_code", "message"}`, `{"error"}`, `CODE: text`, HTML, nothing. The message is cut at
/// 1 KiB, on one line, and has no known secret.
databricks::Refusal read_refusal(const HttpResponse& response);

/// Whether the workspace asks for another try: too many requests, unavailable, or one of the texts
/// that the official SDKs take for that.
bool is_transient(const databricks::Refusal& refusal);

/// Whether a cluster that was asked for does not exist (any more).
bool is_gone(const databricks::Refusal& refusal);

/// Whether a 404 came without a code of the API's own: from a proxy, or a host that is no
/// workspace.
bool is_bare_not_found(const databricks::Refusal& refusal);

/// What the refused request was about.
enum class Purpose { creation, other };

/// `what` begins the message, as in "the cluster cannot be created". Throws the error that fits.
[[noreturn]] void throw_refusal(const std::string& what, const databricks::Refusal& refusal,
                                Purpose purpose);

/// Why a cluster ended, in words: the code, the type and the parameters.
std::string describe(const databricks::TerminationReason& reason);

/// Throws the error for a cluster that ended while it started.
[[noreturn]] void throw_failed_start(const databricks::Cluster& cluster);

}  // namespace dbcache::workspace
