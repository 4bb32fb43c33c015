#include <algorithm>

#include "engine_contract.hpp"

// What a creation tells of its progress: rows beside the log.
namespace dbcache::store {
namespace {

class EngineProgress : public EngineContract {
 protected:
  void begin(const std::string& config_hash, std::int64_t creation) const {
    write(*engine_, [&](WriteSession& session) {
      rows::Share share;
      share.config_hash = config_hash;
      share.creation = creation;
      session.tables.put(share);
    });
  }
  void end(const std::string& config_hash) const {
    write(*engine_, [&](WriteSession& session) { session.tables.erase_share(config_hash); });
  }
  void tell(const std::string& config_hash, std::int64_t creation, const std::string& doing) const {
    write(*engine_, [&](WriteSession& session) {
      session.tables.tell_progress(config_hash, creation, doing);
    });
  }
  [[nodiscard]] std::string told(const std::string& config_hash, std::int64_t creation) const {
    std::string doing;
    engine_->read(std::nullopt, [&](const ReadSession& session) {
      doing = session.tables.progress(config_hash, creation).value_or("nothing");
    });
    return doing;
  }

  std::unique_ptr<Engine> engine_ = open();
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineProgress, engines(), engine_name);

TEST_P(EngineProgress, WhatACreationToldLastIsReadForThatCreationAlone) {
  begin("a", 7);
  begin("b", 8);

  EXPECT_EQ(told("a", 7), "nothing");
  tell("a", 7, "Finding instances");
  tell("a", 7, "Starting Spark \xE2\x82\xAC 'q'");
  tell("b", 8, "");

  EXPECT_EQ(told("a", 7), "Starting Spark \xE2\x82\xAC 'q'");
  EXPECT_EQ(told("b", 8), "");
  EXPECT_EQ(told("a", 8), "nothing");
  EXPECT_EQ(told("c", 7), "nothing");
}

TEST_P(EngineProgress, ACreationThatWasTakenOverReplacesNothing) {
  begin("a", 7);
  tell("a", 7, "Finding instances");
  begin("a", 9);

  tell("a", 9, "Starting Spark");
  tell("a", 7, "Finding instances still");

  EXPECT_EQ(told("a", 9), "Starting Spark");
  EXPECT_EQ(told("a", 7), "nothing");
}

TEST_P(EngineProgress, ACreationThatEndedLeavesNothingOnceAnotherTells) {
  begin("a", 7);
  begin("b", 8);
  tell("a", 7, "Finding instances");
  end("a");

  tell("b", 8, "Starting Spark");

  EXPECT_EQ(told("a", 7), "nothing");
  EXPECT_EQ(told("b", 8), "Starting Spark");
  tell("a", 7, "Finding instances still");
  EXPECT_EQ(told("a", 7), "nothing");
}

}  // namespace
}  // namespace dbcache::store
