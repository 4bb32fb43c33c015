#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine_contract.hpp"

namespace dbcache::store {

/// A test over the log of one engine.
class EngineLogContract : public EngineContract {
 protected:
  std::unique_ptr<Engine> engine_ = open();

  void append(const std::vector<EventRecord>& records) const {
    write(*engine_, [&](WriteSession& session) {
      for (const EventRecord& record : records) session.log.append(record);
    });
  }
  [[nodiscard]] std::vector<std::int64_t> positions(std::int64_t after = 0,
                                                    std::size_t limit = 100) const {
    std::vector<std::int64_t> found;
    engine_->read(std::nullopt, [&](const ReadSession& session) {
      for (const EventRecord& record : session.log.read(after, limit)) {
        found.push_back(record.position);
      }
    });
    return found;
  }
};

}  // namespace dbcache::store
