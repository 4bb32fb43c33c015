#pragma once

#include <memory>

#include <dbcache/time.hpp>

namespace dbcache::test {

/// A clock that stands still until it is moved. Not for use from several threads at once.
class ManualClock {
 public:
  explicit ManualClock(std::string_view start = "2026-01-15T10:30:00")
      : now_(std::make_shared<Timestamp>(parse_timestamp(start))) {}

  /// What to pass as Options::clock.
  [[nodiscard]] Clock clock() const {
    return [now = now_] { return *now; };
  }
  [[nodiscard]] Timestamp now() const { return *now_; }
  void advance(std::chrono::microseconds by) { *now_ += by; }
  void set(std::string_view time) { *now_ = parse_timestamp(time); }

 private:
  std::shared_ptr<Timestamp> now_;
};

}  // namespace dbcache::test
