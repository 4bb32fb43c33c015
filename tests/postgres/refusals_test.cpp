#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <dbcache/cache_manager.hpp>

#include "store/postgres/connect.hpp"
#include "store/postgres/server_error.hpp"
#include "support/errors.hpp"
#include "support/listener.hpp"
#include "support/scoped_variable.hpp"

// Servers that let nobody in, and say so in a language that is not English.
namespace dbcache::test {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Answers each client with an error, as the protocol has it before a session begins
/// (https://www.postgresql.org/docs/15/protocol-flow.html).
class RefusingServer {
 public:
  explicit RefusingServer(const std::string& state, const std::string& more = "")
      : answer_(error(state, more)), thread_([this] { serve(); }) {}
  ~RefusingServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  RefusingServer(const RefusingServer&) = delete;
  RefusingServer& operator=(const RefusingServer&) = delete;

  [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(listener_.port()); }
  [[nodiscard]] int refused() const { return refused_; }

 private:
  static std::string error(const std::string& state, const std::string& more) {
    using std::string_literals::operator""s;
    const std::string fields = "SSCHWERWIEGEND\0VFATAL\0"s + "C" + state + "\0"s +
                               "MKein Zutritt\0"s + more + "Fauth.c\0L334\0Rauth_failed\0\0"s;
    const auto size = static_cast<std::uint32_t>(fields.size() + 4);
    std::string message = "E";
    for (int shift = 24; shift >= 0; shift -= 8) {
      message += static_cast<char>(size >> static_cast<unsigned>(shift));
    }
    return message + fields;
  }

  void serve() {
    for (int client = 0; (client = ::accept(listener_.get(), nullptr, nullptr)) >= 0;
         ::close(client)) {
      char request[1024];
      constexpr ssize_t request_for_tls = 8;
      while (::recv(client, request, sizeof request, 0) == request_for_tls) {
        static_cast<void>(::send(client, "N", 1, MSG_NOSIGNAL));
      }
      ++refused_;
      static_cast<void>(::send(client, answer_.data(), answer_.size(), MSG_NOSIGNAL));
    }
  }

  const std::string answer_;
  const Listener listener_;
  std::atomic<int> refused_ = 0;
  std::thread thread_;
};

/// What a command says of servers that it is given half a second for.
std::string error_at(const std::string& hosts) {
  const BareEnvironment environment;
  return error_of([&] {
    return CacheManager(Options{.database = "postgresql://ci:secret@" + hosts + "/ci",
                                .busy_timeout = milliseconds{500}})
        .get_all_clusters();
  });
}

TEST(PostgresRefusal, AnErrorThatLastsIsKnownByItsCode) {
  for (const char* const state : {"28P01", "28000", "3D000", "42501", "42704", "22023", "0A000"}) {
    const RefusingServer server(state);

    EXPECT_THAT(error_at(server.host()),
                AllOf(StartsWith("StorageFailure: no connection"),
                      HasSubstr("SCHWERWIEGEND:  Kein Zutritt (" + std::string(state) + ");")));
    EXPECT_EQ(server.refused(), 1) << state;
  }
}

TEST(PostgresRefusal, AnErrorThatMayPassIsKnownByItsCode) {
  for (const char* const state : {"53300", "57P03", "57P01", "XX000"}) {
    const RefusingServer server(state);

    EXPECT_THAT(error_at(server.host()), AllOf(HasSubstr("could not be used in time"),
                                               HasSubstr("Kein Zutritt (" + std::string(state))));
    EXPECT_GT(server.refused(), 1) << state;
  }
}

TEST(PostgresRefusal, WhatElseTheServerSaysBelongsToItsError) {
  using std::string_literals::operator""s;
  const RefusingServer server("28000", "DEinzelheiten\nim Protokoll\0HAnderswo\0"s);

  EXPECT_THAT(error_at(server.host()),
              AllOf(StartsWith("StorageFailure: no connection"), HasSubstr("im Protokoll")));
  EXPECT_EQ(server.refused(), 1);
}

TEST(PostgresRefusal, AHostThatStartsIsWaitedForBesideOneThatRefuses) {
  const RefusingServer starts("57P03");
  const RefusingServer refuses("28P01");

  EXPECT_THAT(error_at(starts.host() + "," + refuses.host()),
              AllOf(HasSubstr("could not be used in time"), HasSubstr("(57P03); connection to"),
                    HasSubstr("(28P01)")));
  EXPECT_GT(refuses.refused(), 1);
}

TEST(PostgresRefusal, BytesThatAreNoTextDoNotHideTheReason) {
  const RefusingServer server("28P01", std::string("DBenutzer \xbb"
                                                   "ci\xab\0",
                                                   15));

  EXPECT_THAT(error_at(server.host()), HasSubstr("Benutzer \xEF\xBF\xBD"
                                                 "ci\xEF\xBF\xBD"));
}

TEST(PostgresServerError, AFullTableOfLocksIsKnownByTheSettingThatTheHintNames) {
  const store::postgres::Target target{"postgresql://h/d", "dbcache", {}};
  const auto told = [&](const std::string& hint) {
    return error_of([&]() -> int {
      store::postgres::throw_typed({"53200", "Speicher aufgebraucht", hint}, target);
    });
  };
  EXPECT_THAT(told("Sie muessen max_locks_per_transaction erhoehen."),
              AllOf(StartsWith("StorageFailure: "), HasSubstr("no room for more locks"),
                    HasSubstr("raise max_locks_per_transaction")));
  EXPECT_THAT(told(""), AllOf(StartsWith("StorageFailure: "), HasSubstr("(53200)")));
}

}  // namespace
}  // namespace dbcache::test
