#include "support/interleaving.hpp"

#include <chrono>
#include <exception>
#include <stdexcept>
#include <utility>

namespace dbcache::test {
namespace {

using Place = StatementProxy::Place;
using std::chrono::steady_clock;

/// Far more than any step takes: a client that needs so long is stuck.
constexpr std::chrono::seconds longest_turn{60};

/// A statement without an answer after this time may wait for a lock: the server is asked.
constexpr std::chrono::milliseconds before_asking{2};

}  // namespace

std::string Interleaving::Schedule::describe() const {
  const std::string second = of_second == to_its_end ? "all" : std::to_string(of_second);
  return std::string(first == 0 ? "A" : "B") + " runs " + std::to_string(of_first) +
         " statements, then the other " + second;
}

Interleaving::Interleaving(const std::string& server_url)
    : monitor_(server_url),
      clients_{Client(*this, "A", server_url), Client(*this, "B", server_url)} {}

/// The threads of the clients' work. Whatever happens, they come to their end.
class Interleaving::Running {
 public:
  explicit Running(std::array<Client, 2>& clients) : clients_(clients) {}
  ~Running() {
    for (Client& client : clients_) client.proxy.let_go();
    for (std::thread& thread : threads_) thread.join();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  void start(Client& client, const Work& work) {
    client.error.clear();
    client.proxy.hold();
    threads_.emplace_back([&] {
      try {
        work();
      } catch (const std::exception& error) {
        client.error = error.what();
      }
      client.proxy.end();
    });
  }

 private:
  std::array<Client, 2>& clients_;
  std::vector<std::thread> threads_;
};

Interleaving::Course Interleaving::run(const Schedule& schedule, const std::array<Work, 2>& works) {
  {
    const std::lock_guard lock(mutex_);
    trace_.clear();
  }
  Client& first = clients_.at(schedule.first);
  Client& second = other_than(first);
  Course course;
  {
    Running running(clients_);
    for (const std::size_t at : {schedule.first, 1 - schedule.first}) {
      running.start(clients_.at(at), works.at(at));
      if (await_halt(clients_.at(at)) != Halt::at_statement) {
        throw std::runtime_error("a client does not come to its transaction\n" + describe());
      }
    }
    course.first_was_over = advance(first, schedule.of_first);
    if (schedule.of_second == to_its_end) {
      const bool is_blocked = go_on(second) == Halt::blocked;
      second.proxy.revoke();
      course.for_second = second.proxy.passed() - (is_blocked ? 1 : 0);
    } else {
      advance(second, schedule.of_second);
    }
    run_to_end(first);
    run_to_end(second);
  }
  for (const Client& client : clients_) {
    if (!client.error.empty()) {
      throw std::runtime_error(schedule.describe() + ": client " + client.name + " threw " +
                               client.error + "\n" + trace());
    }
  }
  return course;
}

int Interleaving::run_all(const std::function<std::array<Work, 2>()>& prepare,
                          const std::function<void(const Schedule&)>& check, int stride) {
  int count = 0;
  const auto run_one = [&](const Schedule& schedule) {
    const Course course = run(schedule, prepare());
    check(schedule);
    ++count;
    return course;
  };
  int with_two_switches = 0;
  for (const std::size_t first : {0U, 1U}) {
    bool is_over = false;
    for (int of_first = 0; !is_over; ++of_first) {
      const Course course = run_one({first, of_first});
      is_over = course.first_was_over;
      if (of_first == 0 || is_over) continue;  // with two switches, these are no others
      for (int of_second = 1; of_second <= course.for_second; ++of_second) {
        if (with_two_switches++ % stride == 0) run_one({first, of_first, of_second});
      }
    }
  }
  return count;
}

Interleaving::Client& Interleaving::other_than(const Client& client) {
  return clients_.at(&client == &clients_.front() ? 1 : 0);
}

// ---- One client, while the other stands still

Interleaving::Halt Interleaving::await_halt(Client& client) {
  const auto until = steady_clock::now() + longest_turn;
  while (steady_clock::now() < until) {
    switch (client.proxy.await_halt(before_asking)) {
      case Place::before_statement:
        return Halt::at_statement;
      case Place::after_commit:
        return Halt::committed;
      case Place::at_end:
        return Halt::ended;
      case Place::on_its_way:
        break;
    }
    if (!is_blocked(client)) continue;
    note(client.name, "    waits for the other");
    return Halt::blocked;
  }
  throw std::runtime_error("client " + client.name + " is stuck\n" + describe());
}

/// Whether it was stopped before, or just then.
bool Interleaving::advance(Client& client, int statements) {
  client.proxy.grant(statements);
  const Halt halt = await_halt(client);
  client.proxy.revoke();
  return halt != Halt::at_statement;
}

/// Until it ends, or is blocked; it then goes on by itself as soon as it may.
Interleaving::Halt Interleaving::go_on(Client& client) {
  client.proxy.grant(to_its_end);
  Halt halt = await_halt(client);
  if (halt == Halt::committed) {
    client.proxy.let_go();
    halt = await_halt(client);
  }
  return halt;
}

void Interleaving::run_to_end(Client& client) {
  Client& other = other_than(client);
  while (go_on(client) != Halt::ended) {
    do {
      other.proxy.grant(1);
      Halt halt = await_halt(other);
      if (halt == Halt::committed && is_blocked(client)) halt = go_on(other);
      if (halt == Halt::blocked || (halt == Halt::ended && is_blocked(client))) {
        throw std::runtime_error("the clients wait for each other\n" + describe());
      }
    } while (is_blocked(client));
  }
}

/// What the server says here stays so: the other is held, too.
bool Interleaving::is_blocked(const Client& client) {
  const auto list = [](const Client& of) {
    std::string sessions;
    for (const std::int32_t session : of.proxy.sessions()) {
      sessions += (sessions.empty() ? "" : ",") + std::to_string(session);
    }
    return sessions;
  };
  return monitor_.query("SELECT true FROM unnest('{" + list(client) +
                        "}'::int[]) AS session WHERE pg_blocking_pids(session) && '{" +
                        list(other_than(client)) + "}'::int[] LIMIT 1") == "t";
}

// ---- Words

void Interleaving::note(const std::string& name, const std::string& what) {
  const std::lock_guard lock(mutex_);
  trace_ += name + "  " + what + "\n";
}

std::string Interleaving::trace() const {
  const std::lock_guard lock(mutex_);
  return trace_;
}

std::string Interleaving::describe() const {
  std::string words;
  for (const Client& client : clients_) {
    words += "client " + client.name + " " + client.proxy.describe() + "\n";
  }
  return words + trace();
}

}  // namespace dbcache::test
