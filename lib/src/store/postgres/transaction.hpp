#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/time.hpp>

#include "store/closed_log.hpp"
#include "store/postgres/connection.hpp"
#include "store/postgres/migrate.hpp"

namespace dbcache::store::postgres {

/// One transaction. A round trip takes longer than any statement here, so BEGIN, the locks and the
/// query for the present are sent with the work's first query. The work began without the time, so
/// it is stopped there and runs again with the present. Its first query is not sent twice.
class Transaction {
 public:
  /// Stops work. Not a std::exception, so that no work mistakes it for its own error.
  struct PresentKnown {};

  /// `schema`: what the connection found when it was opened; it must not have changed since. `now`:
  /// replaces the server's clock.
  Transaction(Connection& connection, const SchemaVersion& schema, std::optional<Timestamp> now)
      : connection_(connection), schema_(schema), now_(now) {}

  /// Runs work, and runs it again if it was stopped.
  template <class Work>
  auto run_work(const Work& work) {
    if (!now_) {
      try {
        work();
        run();  // it sent no query, but may have used the time
      } catch (const PresentKnown&) {
        // Expected.
      } catch (const std::exception&) {
        if (asked_) throw;
        learn_present();  // the error may come from the wrong time
      }
    }
    return work();
  }

  /// Not meaningful in the run that will be stopped.
  [[nodiscard]] Timestamp now() const { return now_.value_or(Timestamp{}); }

  /// Why the log was closed when this began; nothing if it was open.
  [[nodiscard]] const std::optional<ClosedLog>& closed();
  /// Of the log, when this began.
  [[nodiscard]] const std::string& incarnation();
  [[nodiscard]] const std::string& database() const { return schema_.database; }

  /// Sends a statement with the next query, and ignores its rows. It must not change any row.
  void queue(std::string_view sql, const Values& values = {}) { connection_.queue(sql, values); }
  /// The same for a statement that changes rows.
  void change(std::string_view sql, const Values& values);
  /// Sends a query with the next one, and puts its rows into `answer`.
  void expect(std::optional<Result>& answer, std::string_view sql, const Values& values = {});
  /// Whether the session has sent this statement before, so that the server has its plan.
  [[nodiscard]] bool has_plan(std::string_view sql) const { return connection_.has_prepared(sql); }
  /// Waits for the answers that are expected.
  void run();
  Result ask(std::string_view sql, const Values& values = {});

 private:
  void learn_present();

  Connection& connection_;
  const SchemaVersion& schema_;
  std::optional<Timestamp> now_;
  bool asked_ = false;
  std::optional<ClosedLog> closed_;
  std::string incarnation_;
  std::vector<std::optional<Result>*> expected_;
  /// The query at which work was stopped.
  std::string first_question_;
  std::optional<Result> first_answer_;
};

}  // namespace dbcache::store::postgres
