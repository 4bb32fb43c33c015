#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "store/engine.hpp"
#include "store/fork_gate.hpp"
#include "store/sqlite/connection.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/turn.hpp"
#include "store/sqlite/writer_queue.hpp"

namespace dbcache::store::sqlite {

/// The embedded engine: one writing connection and a few reading ones, opened when first needed.
class SqliteEngine final : public Engine, private ForkAware {
 public:
  explicit SqliteEngine(EngineOptions options);
  ~SqliteEngine() override;

  void write(std::optional<Timestamp> now, const WriteWork& work) override;
  bool read(std::optional<Timestamp> now, const ReadWork& work) override;
  bool exists() override;
  Timestamp now() override;
  void optimize(Vacuum vacuum) override;
  DatabaseInfo info() override;
  std::int64_t schema_version() const override;
  std::optional<AdoptionReport> adoption() const override;

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Session;
  class Loan;
  using SessionPointer = std::unique_ptr<Session>;

  void before_fork(Users users) override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  /// Runs `attempt` holding a pass and the turn to write, until it is not stopped by a lock.
  void with_turn(const std::function<void()>& attempt);
  /// `with_turn`, with the writing connection; nothing where there is no database.
  void with_writer(const std::function<void(Connection&)>& work);
  void write_once(std::optional<Timestamp> now, const WriteWork& work);
  /// Nothing where a lock stood in the way.
  std::optional<bool> try_read(std::optional<Timestamp> now, const ReadWork& work);
  bool read_once(std::optional<Timestamp> now, const ReadWork& work);

  /// An idle session on the file that the path leads to now, or a new one; nothing where there is
  /// no database. `create` makes and migrates one.
  enum class Missing { leave, create };
  SessionPointer take(std::vector<SessionPointer>& idle, Missing missing,
                      std::optional<Timestamp> now);
  /// Lets go of the file that the path led to before. Throws StorageFailure where its WAL stands
  /// beside the new one.
  void forget_replaced(const std::optional<FileIdentity>& file);
  SessionPointer open(Missing missing, std::optional<Timestamp> now);
  void give_back(std::vector<SessionPointer>& idle, SessionPointer session);

  [[nodiscard]] Deadline deadline() const;
  void wait_for_lock(Deadline deadline, int attempt) const;

  const EngineOptions options_;
  WriterQueue queue_;
  Turn turn_;
  mutable std::mutex mutex_;  // guards what follows
  struct Opened {
    FileIdentity database;
    std::optional<FileIdentity> wal;
  };
  std::optional<Opened> opened_;  ///< Kept while nothing is open: over a fork, say.
  std::vector<SessionPointer> idle_writers_;
  std::vector<SessionPointer> idle_readers_;
  std::optional<AdoptionReport> adoption_;
};

}  // namespace dbcache::store::sqlite
