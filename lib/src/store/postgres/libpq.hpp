#pragma once

#include <libpq-fe.h>
#include <string>

namespace dbcache::store::postgres {

/// PostgreSQL's client library, loaded when it is first needed: linked, it would cost each command
/// and each test worker its load time, even on SQLite.
struct Libpq {
  /// Throws StorageFailure if it is not installed.
  static const Libpq& load();

  decltype(&::PQconnectStartParams) connect_start;
  decltype(&::PQconnectPoll) connect_poll;
  decltype(&::PQsetErrorVerbosity) set_error_verbosity;
  decltype(&::PQconninfo) conninfo;
  decltype(&::PQhost) host;
  decltype(&::PQhostaddr) host_address;
  decltype(&::PQport) port;
  decltype(&::PQconninfoParse) parse_conninfo;
  decltype(&::PQconninfoFree) free_conninfo;
  decltype(&::PQfinish) finish;
  decltype(&::PQstatus) status;
  decltype(&::PQerrorMessage) error_message;
  decltype(&::PQsocket) socket;
  decltype(&::PQbackendPID) backend_pid;
  decltype(&::PQsendQuery) send_query;
  decltype(&::PQenterPipelineMode) enter_pipeline;
  decltype(&::PQexitPipelineMode) exit_pipeline;
  decltype(&::PQpipelineSync) pipeline_sync;
  decltype(&::PQsendPrepare) send_prepare;
  decltype(&::PQsendQueryPrepared) send_query_prepared;
  decltype(&::PQgetResult) get_result;
  decltype(&::PQisBusy) is_busy;
  decltype(&::PQconsumeInput) consume_input;
  decltype(&::PQnotifies) notifies;
  decltype(&::PQfreemem) free_memory;
  decltype(&::PQsetNoticeReceiver) set_notice_receiver;
  decltype(&::PQgetCancel) get_cancel;
  decltype(&::PQcancel) cancel;
  decltype(&::PQfreeCancel) free_cancel;
  decltype(&::PQresultStatus) result_status;
  decltype(&::PQresultErrorField) result_error_field;
  decltype(&::PQclear) clear;
  decltype(&::PQntuples) rows;
  decltype(&::PQnfields) columns;
  decltype(&::PQfname) column_name;
  decltype(&::PQftype) column_type;
  decltype(&::PQgetisnull) is_null;
  decltype(&::PQgetvalue) value;
  decltype(&::PQgetlength) length;
};

/// A message of libpq without the line end, empty for null.
std::string trimmed_message(const char* message);

}  // namespace dbcache::store::postgres
