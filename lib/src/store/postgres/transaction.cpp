#include "store/postgres/transaction.hpp"

#include <utility>

#include <boost/describe/enum_from_string.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::store::postgres {
namespace {

/// The present, and which database this is.
constexpr std::string_view select_present =
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, number, log, "
    "closed, other, incarnation FROM schema_version";

/// It differs if the schema was created again, or migrated by a newer dbcache, after the connection
/// was opened.
void require_same(const SchemaVersion& schema, const Result& present) {
  if (present.rows() == 1 && present.integer(0, 1) == schema.number &&
      present.text(0, 2) == schema.log) {
    return;
  }
  throw ConnectionLost("another session has replaced or migrated the schema");
}

}  // namespace

const std::optional<ClosedLog>& Transaction::closed() {
  if (!asked_) run();
  return closed_;
}

const std::string& Transaction::incarnation() {
  if (!asked_) run();
  return incarnation_;
}

void Transaction::change(std::string_view sql, const Values& values) {
  if (!asked_) run();  // in the run that will be stopped, nothing is changed
  first_answer_.reset();
  connection_.queue(sql, values);
}

void Transaction::expect(std::optional<Result>& answer, std::string_view sql,
                         const Values& values) {
  connection_.want(sql, values);
  expected_.push_back(&answer);
}

void Transaction::run() {
  if (!asked_) {
    const bool stops = !now_;
    learn_present();
    if (stops) throw PresentKnown{};
    return;
  }
  if (expected_.empty()) return;
  const auto expected = std::exchange(expected_, {});
  const std::vector<Result> answers = connection_.run();
  for (std::size_t at = 0; at < answers.size(); ++at) *expected[at] = answers[at];
}

/// The last of the queued statements, so that the time is read when the locks are held.
void Transaction::learn_present() {
  std::optional<Result> present;
  expect(present, select_present);
  asked_ = true;
  run();
  require_same(schema_, *present);
  if (!present->is_null(0, 3)) {
    const std::string word(present->text(0, 3));
    if (!boost::describe::enum_from_string(word.c_str(), closed_.emplace().moving)) {
      throw CorruptDatabase(fmt::format(
          "the database {} holds a row that dbcache did not write (schema_version: closed is "
          "'{}'); restore it from a copy",
          schema_.database, word));
    }
    closed_->other = present->text(0, 4);
  }
  incarnation_ = present->text(0, 5);
  if (!now_) now_ = Timestamp(std::chrono::microseconds(present->integer(0, 0)));
}

Result Transaction::ask(std::string_view sql, const Values& values) {
  const std::string question = first_answer_ || !asked_ ? values.described(sql) : std::string();
  if (const auto known = std::exchange(first_answer_, {})) {
    if (question == first_question_) return *known;
  }
  std::optional<Result> answer;
  expect(answer, sql, values);
  try {
    run();
  } catch (const PresentKnown&) {
    first_question_ = question;
    first_answer_ = answer;
    throw;
  }
  return *answer;
}

}  // namespace dbcache::store::postgres
