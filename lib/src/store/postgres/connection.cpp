#include "store/postgres/connection.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>

#include <fmt/format.h>

namespace dbcache::store::postgres {

Connection::Connection(Handle handle, std::chrono::milliseconds answers_within)
    : pq_(Libpq::load()),
      handle_(std::move(handle)),
      socket_(std::in_place, pq_.socket(handle_.get())),
      answers_by_(Moment::clock::now() + answers_within) {
  pq_.set_notice_receiver(handle_.get(), on_notice, this);
}

Connection::~Connection() {
  // In a forked child the copy of the socket is closed already; PQfinish would end the parent's
  // session.
  if (!socket_ || !socket_->is_open()) {
    static_cast<void>(handle_.release());
    return;
  }
  try {
    // Closing before the answers came would abort what was posted.
    if (!sent_.empty() && !is_lost()) run();
  } catch (const std::exception&) {
    // There is nobody left to tell.
  }
  socket_.reset();
}

void Connection::queue(std::string_view sql, const Values& values) {
  send(sql, values, Sent::Kind::dropped);
}

void Connection::want(std::string_view sql, const Values& values) {
  send(sql, values, Sent::Kind::wanted);
}

void Connection::send(std::string_view sql, const Values& values, Sent::Kind kind) {
  if (is_lost()) lose();
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    found = prepared_.emplace(sql, fmt::format("dbcache_{}", ++names_)).first;
    sent_.push_back({Sent::Kind::preparation, sql});
    if (pq_.send_prepare(handle_.get(), found->second.c_str(), std::string(sql).c_str(), 0,
                         nullptr) != 1) {
      lose();
    }
  }
  sent_.push_back({kind});
  if (pq_.send_query_prepared(handle_.get(), found->second.c_str(), static_cast<int>(values.count_),
                              values.pointers_.data(), values.lengths_.data(),
                              values.formats_.data(), 0) != 1) {
    lose();
  }
}

void Connection::end(Sent::Kind kind) {
  sent_.push_back({kind});
  if (is_lost() || pq_.pipeline_sync(handle_.get()) != 1) lose();
}

std::vector<Result> Connection::run() {
  end(Sent::Kind::end);
  return receive();
}

std::vector<Result> Connection::run_and_post(std::string_view sql, const Values& values) {
  end(Sent::Kind::end);
  queue(sql, values);
  end(Sent::Kind::posted_end);
  return receive();
}

/// The results up to the first end that was not posted.
std::vector<Result> Connection::receive() {
  const auto waited_for = std::find_if(
      sent_.begin(), sent_.end(), [](const Sent& sent) { return sent.kind == Sent::Kind::end; });
  auto posted = std::count_if(sent_.begin(), waited_for,
                              [](const Sent& sent) { return sent.kind == Sent::Kind::posted_end; });
  std::vector<Result> wanted;
  std::optional<ServerError> failed;
  for (bool over = false; !over;) {
    const Sent::Kind kind = sent_.front().kind;
    const bool ours = posted == 0;  // results of what was posted before are dropped
    if (auto result = take_answer(!ours, failed)) wanted.push_back(*std::move(result));
    if (kind == Sent::Kind::end || kind == Sent::Kind::posted_end) {
      over = ours;
      if (!ours) --posted;
    }
  }
  if (failed) throw ServerError(*failed);
  return wanted;
}

/// The answer to the oldest statement or end; its rows if they are wanted.
std::optional<Result> Connection::take_answer(bool is_dropped, std::optional<ServerError>& failed) {
  const Sent sent = sent_.front();
  sent_.pop_front();
  std::unique_ptr<PGresult, decltype(Libpq::clear)> result(next_result(), pq_.clear);
  if (!result) lose();
  const ExecStatusType status = pq_.result_status(result.get());
  if (sent.kind == Sent::Kind::end || sent.kind == Sent::Kind::posted_end) {
    if (status != PGRES_PIPELINE_SYNC) lose();
    return std::nullopt;
  }
  std::optional<Result> wanted;
  if (status == PGRES_FATAL_ERROR || status == PGRES_PIPELINE_ABORTED) {
    if (sent.kind == Sent::Kind::preparation) prepared_.erase(sent.statement);
    if (status == PGRES_FATAL_ERROR) {
      const auto field = [&](int which) {
        return trimmed_message(pq_.result_error_field(result.get(), which));
      };
      const std::string severity = field(PG_DIAG_SEVERITY_NONLOCALIZED);
      if (severity == "FATAL" || severity == "PANIC" || field(PG_DIAG_SQLSTATE).empty()) lose();
      if (!is_dropped && !failed) {
        failed.emplace(field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY),
                       field(PG_DIAG_MESSAGE_HINT));
      }
    }
  } else if (!is_dropped && sent.kind == Sent::Kind::wanted) {
    wanted.emplace(result.release());
  }
  wake();
  // The end of one statement's results.
  if (PGresult* const more = next_result()) {
    pq_.clear(more);
    lose();
  }
  return wanted;
}

Result Connection::ask(std::string_view sql, const Values& values) {
  want(sql, values);
  return run().back();
}

void Connection::post() noexcept {
  try {
    end(Sent::Kind::posted_end);
  } catch (const std::exception&) {
    // The next use throws.
  }
}

Result Connection::execute_script(const std::string& sql) {
  if (!sent_.empty()) run();
  if (pq_.exit_pipeline(handle_.get()) != 1) lose();
  if (pq_.send_query(handle_.get(), sql.c_str()) != 1) lose();
  std::unique_ptr<PGresult, decltype(Libpq::clear)> last(next_result(), pq_.clear);
  while (PGresult* const more = next_result()) last.reset(more);
  if (!last) lose();
  PGresult* const result = last.get();
  Result answer(last.release());
  const ExecStatusType status = pq_.result_status(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    const std::string state = trimmed_message(pq_.result_error_field(result, PG_DIAG_SQLSTATE));
    if (is_lost() || state.empty()) lose();
    const ServerError error(
        state, trimmed_message(pq_.result_error_field(result, PG_DIAG_MESSAGE_PRIMARY)),
        trimmed_message(pq_.result_error_field(result, PG_DIAG_MESSAGE_HINT)));
    if (pq_.enter_pipeline(handle_.get()) != 1) lose();
    throw ServerError(error);
  }
  if (pq_.enter_pipeline(handle_.get()) != 1) lose();
  return answer;
}

PGresult* Connection::next_result() {
  while (pq_.is_busy(handle_.get()) != 0) {
    pollfd waiting{pq_.socket(handle_.get()), POLLIN, 0};
    constexpr std::chrono::milliseconds longest = std::chrono::seconds{1};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(answers_by_ - Moment::clock::now());
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp(left, {}, longest).count()));
    if (ready < 0 && errno != EINTR) lose();
    if (ready == 0 && left <= longest) {
      lost_ = true;
      throw ConnectionLost("the server does not answer");
    }
    if (ready == 0) wake();
    if (pq_.consume_input(handle_.get()) != 1) lose();
  }
  return pq_.get_result(handle_.get());
}

std::vector<std::string> Connection::take_notifications() {
  if (is_lost() || pq_.consume_input(handle_.get()) != 1) lose();
  // libpq does not look past an answer that nobody takes.
  std::optional<ServerError> dropped;
  while (!sent_.empty() && pq_.is_busy(handle_.get()) == 0) take_answer(true, dropped);
  std::vector<std::string> channels;
  while (PGnotify* const notification = pq_.notifies(handle_.get())) {
    channels.emplace_back(notification->relname);
    pq_.free_memory(notification);
  }
  // The end of the session arrives as a message too, and shows only in the status.
  if (pq_.status(handle_.get()) != CONNECTION_OK) lose();
  return channels;
}

int Connection::descriptor() const {
  return socket_ && socket_->is_open() && !lost_ ? pq_.socket(handle_.get()) : -1;
}

bool Connection::is_lost() const {
  return lost_ || !socket_ || !socket_->is_open() || pq_.status(handle_.get()) != CONNECTION_OK;
}

void Connection::lose() {
  lost_ = true;
  const bool here = !socket_ || socket_->is_open();
  const std::string reason = here ? trimmed_message(pq_.error_message(handle_.get())) : "";
  throw ConnectionLost(reason.empty() ? "the connection was closed" : reason);
}

void Connection::on_notice(void* self, const PGresult* result) {
  auto& connection = *static_cast<Connection*>(self);
  const Libpq& pq = connection.pq_;
  const std::string severity =
      trimmed_message(pq.result_error_field(result, PG_DIAG_SEVERITY_NONLOCALIZED));
  if (severity == "WARNING") connection.warned_ = true;
}

}  // namespace dbcache::store::postgres
