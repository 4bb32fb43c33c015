#include "store/postgres/libpq.hpp"

#include <dlfcn.h>

#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::postgres {
namespace {

/// The name promises a stable interface (https://www.postgresql.org/docs/15/libpq.html). Pipelines
/// exist since version 14.
constexpr const char* library = "libpq.so.5";

[[noreturn]] void refuse(const char* reason) {
  throw StorageFailure(fmt::format(
      "PostgreSQL's client library {} cannot be used ({}); install it (libpq5), version "
      "14 or later, or give the path of a SQLite database",
      library, reason));
}

template <class Function>
void find(void* from, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(from, name));
  if (function == nullptr) refuse(::dlerror());
}

Libpq load_library() {
  void* const from = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (from == nullptr) refuse(::dlerror());
  Libpq pq{};
  find(from, "PQconnectStartParams", pq.connect_start);
  find(from, "PQconnectPoll", pq.connect_poll);
  find(from, "PQsetErrorVerbosity", pq.set_error_verbosity);
  find(from, "PQconninfo", pq.conninfo);
  find(from, "PQhost", pq.host);
  find(from, "PQhostaddr", pq.host_address);
  find(from, "PQport", pq.port);
  find(from, "PQconninfoParse", pq.parse_conninfo);
  find(from, "PQconninfoFree", pq.free_conninfo);
  find(from, "PQfinish", pq.finish);
  find(from, "PQstatus", pq.status);
  find(from, "PQerrorMessage", pq.error_message);
  find(from, "PQsocket", pq.socket);
  find(from, "PQbackendPID", pq.backend_pid);
  find(from, "PQsendQuery", pq.send_query);
  find(from, "PQenterPipelineMode", pq.enter_pipeline);
  find(from, "PQexitPipelineMode", pq.exit_pipeline);
  find(from, "PQpipelineSync", pq.pipeline_sync);
  find(from, "PQsendPrepare", pq.send_prepare);
  find(from, "PQsendQueryPrepared", pq.send_query_prepared);
  find(from, "PQgetResult", pq.get_result);
  find(from, "PQisBusy", pq.is_busy);
  find(from, "PQconsumeInput", pq.consume_input);
  find(from, "PQnotifies", pq.notifies);
  find(from, "PQfreemem", pq.free_memory);
  find(from, "PQsetNoticeReceiver", pq.set_notice_receiver);
  find(from, "PQgetCancel", pq.get_cancel);
  find(from, "PQcancel", pq.cancel);
  find(from, "PQfreeCancel", pq.free_cancel);
  find(from, "PQresultStatus", pq.result_status);
  find(from, "PQresultErrorField", pq.result_error_field);
  find(from, "PQclear", pq.clear);
  find(from, "PQntuples", pq.rows);
  find(from, "PQnfields", pq.columns);
  find(from, "PQfname", pq.column_name);
  find(from, "PQftype", pq.column_type);
  find(from, "PQgetisnull", pq.is_null);
  find(from, "PQgetvalue", pq.value);
  find(from, "PQgetlength", pq.length);
  return pq;
}

}  // namespace

const Libpq& Libpq::load() {
  static const Libpq& pq = *new Libpq(load_library());  // never unloaded
  return pq;
}

std::string trimmed_message(const char* message) {
  std::string text = message == nullptr ? "" : message;
  boost::algorithm::trim(text);
  return text;
}

}  // namespace dbcache::store::postgres
