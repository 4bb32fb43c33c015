#pragma once

#include <memory>

#include "store/engine.hpp"
#include "store/sqlite/group_commit.hpp"
#include "store/sqlite/lock_file.hpp"
#include "store/sqlite/session_pool.hpp"
#include "system/fork_gate.hpp"
#include "text/utf8.hpp"

namespace dbcache::store::sqlite {

/// The embedded engine: reads through the session pool, writes through group commit.
class SqliteEngine final : public Engine, private system::ForkAware {
 public:
  explicit SqliteEngine(EngineOptions options);
  ~SqliteEngine() override;

  void write(std::optional<Timestamp> now, const WriteWork& work, Grouping grouping,
             LockScope scope) override;
  bool read(std::optional<Timestamp> now, const ReadWork& work,
            Patience patience = std::nullopt) override;
  std::optional<StateId> state() override;
  bool exists() override;
  std::string name() const override { return text::to_valid_utf8(options_.database); }
  std::optional<std::string> identity() override;
  Timestamp now() override;
  std::unique_ptr<LifeLock> take_lock() override;
  std::unique_ptr<Wakeup> watch_holder(const rows::Holder& holder) override;
  std::unique_ptr<Wakeup> watch_commits(std::optional<std::string_view> config_hash) override;
  bool is_crowded() override { return false; }
  bool close_idle() override { return false; }
  bool claim_sweep(std::chrono::nanoseconds overdue) override;
  void swept(std::chrono::nanoseconds pause, std::size_t holders) override;
  void optimize(Vacuum vacuum) override;
  DatabaseInfo info() override;
  [[nodiscard]] DatabaseLocation location() const override;
  std::int64_t schema_version() const override;
  std::optional<AdoptionReport> adoption() const override;

 private:
  /// Nothing where there is no database.
  std::shared_ptr<SharedState> shared_state();

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  /// Nothing where a lock stood in the way.
  std::optional<bool> try_read(std::optional<Timestamp> now, const ReadWork& work);
  bool read_once(std::optional<Timestamp> now, const ReadWork& work);

  const EngineOptions options_;
  LockFile locks_;
  SessionPool pool_;
  GroupCommit commits_;
};

}  // namespace dbcache::store::sqlite
