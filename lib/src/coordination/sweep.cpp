#include "coordination/sweep.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <dbcache/errors.hpp>

#include "commands/reach.hpp"
#include "coordination/transact.hpp"
#include "system/logger.hpp"

namespace dbcache::coordination {
namespace {

constexpr std::size_t page = 500;

using rows::TableReader;

/// For each of them, though one has a row that cannot be read, or is kept locked by a process that
/// hangs: the others must not wait for it.
template <class Found, class Use>
void for_each_of(const Found& found, const Use& use) {
  for (const auto& one : found) {
    try {
      use(one);
    } catch (const CorruptDatabase& error) {
      system::logger()->warn("a sweep left out what it could not read: {}", error.what());
    } catch (const Busy& error) {
      system::logger()->warn("a sweep left out what it could not change: {}", error.what());
    }
  }
}

/// Reads a table of numbered rows in pages, each in a transaction of its own.
template <class ReadPage>
void look_through(const store::Store& store, const ReadPage& read_page, commands::Dead& dead) {
  TableReader::Page next{TableReader::from_the_first, page};
  for (bool more = true; more;) {
    more = false;
    store.read([&](const store::ReadSession& session) {
      session.liveness.expect_many();
      const auto rows = read_page(session.tables, next);
      commands::find_dead(rows, store::present(session), dead);
      more = rows.size() == page;
      if (more) next.after = rows.back().id;
    });
  }
}

/// The same for configurations, which are in the order of their hashes.
template <class ReadPage>
void look_through_configurations(const store::Store& store, const ReadPage& read_page) {
  std::string after;
  for (bool more = true; more;) {
    more = false;
    store.read([&](const store::ReadSession& session) {
      const std::vector<std::string> read = read_page(session, after);
      more = read.size() == page;
      if (more) after = read.back();
    });
  }
}

bool is_closed(const store::Store& store, store::Engine::Patience patience) {
  bool closed = true;
  store.read([&](const store::ReadSession& session) { closed = session.log.closed().has_value(); },
             patience);
  return closed;
}

commands::Dead look(const store::Store& store) {
  commands::Dead dead;
  look_through(
      store,
      [](const TableReader& rows, TableReader::Page next) { return rows.leases_after(next); },
      dead);
  look_through(
      store,
      [](const TableReader& rows, TableReader::Page next) { return rows.participants_after(next); },
      dead);
  look_through_configurations(store,
                              [&](const store::ReadSession& session, const std::string& after) {
                                session.liveness.expect_many();
                                const auto shares = session.tables.busy_shares_after(after, page);
                                for_each_of(shares, [&](const rows::Share& share) {
                                  commands::find_dead({share}, store::present(session), dead);
                                });
                                std::vector<std::string> read;
                                read.reserve(shares.size());
                                for (const rows::Share& share : shares)
                                  read.push_back(share.config_hash);
                                return read;
                              });
  look_through_configurations(
      store, [&](const store::ReadSession& session, const std::string& after) {
        auto expired = session.tables.expired_configurations(session.now, after, page);
        for_each_of(expired, [&](const std::string& config_hash) {
          const commands::HandBack command{config_hash};
          if (!decide(command, store::present(session)).events.empty()) {
            dead.configurations.insert(config_hash);
          }
        });
        return expired;
      });
  store.read([&](const store::ReadSession& session) {
    session.liveness.expect_many();
    commands::find_dead(session.tables.running_terminations(), store::present(session), dead);
  });
  return dead;
}

/// Reaps a few leases of a configuration, and hands back what they leave.
void reap_leases(store::Store& store, const std::string& config_hash,
                 const std::set<std::int64_t>& suspects) {
  auto next = suspects.begin();
  while (next != suspects.end()) {
    commands::Reach reach;
    reach.config_hash = config_hash;
    for (; next != suspects.end() && reach.suspects.size() < commands::most_reaped; ++next) {
      reach.suspects.insert(*next);
    }
    transact(store, [&](const TableReader&) { return reach; }, {});
  }
}

}  // namespace

std::size_t sweep(store::Store& store, store::Engine::Patience patience) {
  if (is_closed(store, patience)) return 0;
  const commands::Dead dead = look(store);
  for_each_of(dead.terminations, [&](const std::string& subject) {
    commit(store, commands::LoseTermination{subject});
  });
  for_each_of(dead.participants, [&](std::int64_t participant) {
    commit(store, commands::LoseParticipant{participant});
  });
  for_each_of(dead.leases,
              [&](const auto& leases) { reap_leases(store, leases.first, leases.second); });
  for_each_of(dead.configurations, [&](const std::string& config_hash) {
    commit(store, commands::HandBack{config_hash});
  });
  return dead.looked_at;
}

}  // namespace dbcache::coordination
