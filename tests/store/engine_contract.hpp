#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/engine.hpp"
#include "store/store.hpp"
#include "support/postgres_fixture.hpp"
#include "support/temporary_directory.hpp"

// What every engine promises, run over each of them: an engine is added by a line in `engines()`.
namespace dbcache::store {

/// Somewhere for one new database of an engine, gone with this.
class Place {
 public:
  Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  virtual ~Place() = default;

  /// As users name it in Options::database. Nothing is there yet.
  [[nodiscard]] virtual std::string database() const = 0;
  /// As in Options::schema.
  [[nodiscard]] virtual std::string schema() const { return ""; }
  /// Whether anything is there by now.
  [[nodiscard]] virtual bool is_untouched() const = 0;

  /// Whether a lock that is gone is as good as a death; else its holder has a while to show up.
  [[nodiscard]] virtual bool locks_tell_all() const { return true; }
  /// Brings that while to its end.
  virtual void end_grace() {}

  /// Whether one who waits for commits to a configuration sleeps on after others.
  [[nodiscard]] virtual bool tells_configurations_apart() const { return false; }
};

class SqlitePlace final : public Place {
 public:
  [[nodiscard]] std::string database() const override {
    return (directory_.path() / "deep" / "cache.db").string();
  }
  [[nodiscard]] bool is_untouched() const override {
    return std::filesystem::is_empty(directory_.path());
  }

 private:
  test::TemporaryDirectory directory_;
};

class PostgresPlace final : public Place {
 public:
  [[nodiscard]] std::string database() const override { return schema_.url(); }
  [[nodiscard]] std::string schema() const override { return schema_.name(); }
  [[nodiscard]] bool is_untouched() const override { return !schema_.exists(); }
  [[nodiscard]] bool locks_tell_all() const override { return false; }
  [[nodiscard]] bool tells_configurations_apart() const override { return true; }
  void end_grace() override {
    schema_.execute("UPDATE suspects SET since = since - interval '1 hour'");
  }

 private:
  test::PostgresSchema schema_;
};

struct EngineKind {
  std::string name;
  std::function<std::unique_ptr<Place>()> new_place;

  friend std::ostream& operator<<(std::ostream& out, const EngineKind& kind) {
    return out << kind.name;
  }
};

inline EngineKind on_sqlite() {
  return {"SQLite", [] { return std::make_unique<SqlitePlace>(); }};
}
inline EngineKind on_postgres() {
  return {"PostgreSQL", [] { return std::make_unique<PostgresPlace>(); }};
}

inline auto engines() { return ::testing::Values(on_sqlite(), on_postgres()); }
inline auto engines_whose_locks_tell_all() { return ::testing::Values(on_sqlite()); }

inline std::string engine_name(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param.name;
}

/// A test over one engine, with an empty place for its database.
class EngineContract : public ::testing::TestWithParam<EngineKind> {
 protected:
  [[nodiscard]] Options options() const {
    Options options;
    options.database = place_->database();
    options.schema = place_->schema();
    return options;
  }
  /// Another engine on the same database.
  [[nodiscard]] std::unique_ptr<Engine> open() const { return open(options()); }
  [[nodiscard]] static std::unique_ptr<Engine> open(const Options& options) {
    return open_engine(options,
                       [](WriteSession&, const rows::DocumentedRows&) { return AdoptionReport{}; });
  }

  std::unique_ptr<Place> place_ = GetParam().new_place();
};

/// An event that fits nothing but the log's columns.
inline EventRecord record(std::int64_t position, std::string stream, std::int64_t version) {
  EventRecord record;
  record.position = position;
  record.stream = std::move(stream);
  record.version = version;
  record.type = "UsageIncremented";
  record.payload = R"({"schema":1})";
  record.metadata = "{}";
  record.recorded_at = 1'700'000'000'000'000 + position;
  record.command_id = std::string(16 - sizeof position, 'c');
  record.command_id.append(reinterpret_cast<const char*>(&position), sizeof position);
  record.hash = std::string(32, 'h');
  return record;
}

inline void write(Engine& engine, const std::function<void(WriteSession&)>& work) {
  engine.write(std::nullopt, [&](WriteSession& session) {
    work(session);
    return Sync::as_configured;
  });
}

}  // namespace dbcache::store
