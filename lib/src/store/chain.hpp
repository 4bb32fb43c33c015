#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <dbcache/replay.hpp>

#include "store/event_record.hpp"
#include "text/sha256.hpp"

// The hash chain. docs/log-format.md describes it, with test vectors; changing it breaks every log.
namespace dbcache::store {

/// The hash of an event that follows one with `previous_hash` in its stream (empty for the first).
/// Ignores `record.hash`.
std::string chain_hash(const EventRecord& record, std::string_view previous_hash);

/// The same for many events.
class ChainHasher {
 public:
  text::Digest hash(const EventRecord& record, std::string_view previous_hash);

 private:
  std::string bytes_;
  text::Sha256 hash_;
};

/// Checks a log in order of position. Reports the first problem of each stream, gaps, and the head.
/// Memory grows with the number of streams, not of events.
class ChainChecker {
 public:
  /// Does not report a gap that ends at `gaps_until` or before.
  explicit ChainChecker(std::int64_t gaps_until = 0) : gaps_until_(gaps_until) {}

  /// The gap before this event, if any, and what is wrong with the event. Reports nothing more of a
  /// stream that is known to be broken.
  std::vector<LogProblem> check(const EventRecord& record);

  /// Over the events checked so far.
  [[nodiscard]] LogHead head() const;
  [[nodiscard]] std::int64_t events() const { return events_; }
  [[nodiscard]] std::int64_t streams() const { return static_cast<std::int64_t>(streams_.size()); }

 private:
  struct Stream {
    std::int64_t version = 0;
    std::string hash;
    bool broken = false;
  };
  std::int64_t gaps_until_;
  std::unordered_map<std::string, Stream> streams_;
  ChainHasher hasher_;
  std::int64_t events_ = 0;
  std::int64_t last_position_ = 0;
  text::Sha256 head_;
};

}  // namespace dbcache::store
