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

/// One transaction. To wait for an answer takes longer than anything that is asked here, so BEGIN,
/// the locks and the question for the present go with the first question of the work. That has
/// begun without knowing the time, then: it is stopped there, and runs again with the present. What
/// it asked first is not asked twice.
class Transaction {
 public:
  /// Stops work. No std::exception, so that no work takes it for an error of its own.
  struct PresentKnown {};

  /// `schema`: what the connection was opened with; it must still be so. `now`: in place of the
  /// server's clock.
  Transaction(Connection& connection, const SchemaVersion& schema, std::optional<Timestamp> now)
      : connection_(connection), schema_(schema), now_(now) {}

  /// Runs work, and again where it was stopped.
  template <class Work>
  auto run_work(const Work& work) {
    if (!now_) {
      try {
        work();
        run();  // it asked nothing, and may have used the time
      } catch (const PresentKnown&) {
        // Expected.
      } catch (const std::exception&) {
        if (asked_) throw;
        learn_present();  // an error of a time that is not so, perhaps
      }
    }
    return work();
  }

  /// Means nothing to work that is to be stopped.
  [[nodiscard]] Timestamp now() const { return now_.value_or(Timestamp{}); }

  /// Whether the log is closed, and why; as it was when this began.
  [[nodiscard]] const std::optional<ClosedLog>& closed();
  [[nodiscard]] const std::string& database() const { return schema_.database; }

  /// Goes with the next question, and its rows are not looked at. Changes nothing that stays.
  void queue(std::string_view sql, const Values& values = {}) { connection_.queue(sql, values); }
  /// The same, and changes something.
  void change(std::string_view sql, const Values& values);
  /// Goes with the next question, and its rows are put there.
  void expect(std::optional<Result>& answer, std::string_view sql, const Values& values = {});
  /// Waits for what is expected.
  void run();
  Result ask(std::string_view sql, const Values& values = {});

 private:
  void learn_present();

  Connection& connection_;
  const SchemaVersion& schema_;
  std::optional<Timestamp> now_;
  bool asked_ = false;
  std::optional<ClosedLog> closed_;
  std::vector<std::optional<Result>*> expected_;
  /// What work asked when it was stopped.
  std::string first_question_;
  std::optional<Result> first_answer_;
};

}  // namespace dbcache::store::postgres
