#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/engine.hpp"
#include "store/postgres/connect.hpp"
#include "store/postgres/session_keeper.hpp"
#include "store/postgres/stream_locks.hpp"

namespace dbcache::store::postgres {

/// The engine for processes on many hosts. It has one session, which runs one transaction at a time
/// and shows other processes that this one lives.
class PostgresEngine final : public Engine {
 public:
  explicit PostgresEngine(EngineOptions options);
  ~PostgresEngine() override;

  void write(std::optional<Timestamp> now, const WriteWork& work, Grouping grouping,
             LockScope scope) override;
  bool read(std::optional<Timestamp> now, const ReadWork& work,
            Patience patience = std::nullopt) override;
  std::optional<StateId> state() override { return std::nullopt; }
  bool exists() override;
  std::string name() const override;
  std::optional<std::string> identity() override;
  Timestamp now() override;
  std::unique_ptr<LifeLock> take_lock() override;
  std::unique_ptr<Wakeup> watch_holder(const rows::Holder& holder) override;
  std::unique_ptr<Wakeup> watch_commits(std::optional<std::string_view> config_hash) override;
  bool is_crowded() override;
  bool close_idle() override { return keeper_->close_idle(); }
  bool claim_sweep(std::chrono::nanoseconds overdue) override;
  void swept(std::chrono::nanoseconds pause, std::size_t holders) override;
  void optimize(Vacuum vacuum) override;
  DatabaseInfo info() override;
  [[nodiscard]] DatabaseLocation location() const override;
  std::int64_t schema_version() const override;
  std::optional<AdoptionReport> adoption() const override { return std::nullopt; }

 private:
  using Moment = std::chrono::steady_clock::time_point;
  struct Session;
  struct Unknown;

  /// Runs `use` with the session, and again until `until` if the session is lost meanwhile. Throws
  /// typed errors.
  enum class Missing { leave, create };
  void with_session(Moment until, Missing missing, const std::function<void(Session&)>& use);
  void open(Session& session, Missing missing) const;
  /// Learns which database this is, and the numbers of its locks.
  void look_at_schema(Session& session) const;
  void commit_with_locks(Session& session, std::optional<Timestamp> now, const WriteWork& work,
                         LockScope& scope);
  void commit(Session& session, std::optional<Timestamp> now, const WriteWork& work,
              LockScope scope, const LockNames& first);
  void read_once(Session& session, std::optional<Timestamp> now, const ReadWork& work);
  /// Whether a commit succeeded whose answer was lost.
  [[nodiscard]] bool resolve_outcome(Session& session, const Unknown& unknown) const;
  [[nodiscard]] Moment deadline(Patience patience = std::nullopt) const;

  const EngineOptions options_;
  const Target target_;
  const std::shared_ptr<SessionKeeper> keeper_;
  std::atomic<Moment::rep> sweep_due_ = 0;  ///< Before that the server is not even asked.
  const std::unique_ptr<Session> session_;  ///< For one who has the keeper's loan.
};

}  // namespace dbcache::store::postgres
