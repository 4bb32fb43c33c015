#include <optional>
#include <utility>
#include <vector>

#include <boost/algorithm/string/case_conv.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "store/chain.hpp"
#include "store/log_pass.hpp"
#include "store/store.hpp"

namespace dbcache::store {
namespace {

/// What a kept head says of the log, once it has been read to there.
std::optional<LogProblem> compare_heads(const LogHead& kept, const std::optional<LogHead>& found,
                                        std::int64_t events) {
  if (!found) {
    return LogProblem{0, "", 0,
                      fmt::format("the log has {} events, but the kept head covers {}: its tail "
                                  "was cut off",
                                  events, kept.events)};
  }
  if (found->hash != boost::algorithm::to_lower_copy(kept.hash)) {
    return LogProblem{0, "", 0,
                      fmt::format("the first {} events are not those of the kept head; their head "
                                  "is {}:{}",
                                  kept.events, found->events, found->hash)};
  }
  return std::nullopt;
}

}  // namespace

VerifyReport verify(const Store& store, const VerifyOptions& options) {
  if (options.kept_head && options.kept_head->events < 0) {
    throw InvalidArgument(
        "the kept head has a negative number of events; give it as `dbcache verify` printed it");
  }
  VerifyReport report;
  std::int64_t gaps_until = 0;
  store.read([&](const ReadSession& session) { gaps_until = session.log.gaps_until(); });
  ChainChecker checker(gaps_until);
  std::optional<LogHead> at_kept;
  const auto keep_head = [&] {
    if (options.kept_head && checker.events() == options.kept_head->events) {
      at_kept = checker.head();
    }
  };
  keep_head();
  LogPass pass([&](const std::vector<EventRecord>& page) {
    for (const EventRecord& record : page) {
      for (LogProblem& problem : checker.check(record)) {
        report.problems.push_back(std::move(problem));
      }
      keep_head();
    }
  });
  pass.run(store, options.on_progress);
  report.head = checker.head();
  report.streams = checker.streams();
  if (options.kept_head) {
    if (auto problem = compare_heads(*options.kept_head, at_kept, checker.events())) {
      report.problems.push_back(std::move(*problem));
    }
  }
  return report;
}

}  // namespace dbcache::store
