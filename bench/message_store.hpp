#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "support/postgres_connection.hpp"

namespace dbcache::bench {

/// What a fleet is compared with: an event store as plain as PostgreSQL makes it. Its
/// `write_message` does what the function of that name of message-db does
/// (https://github.com/message-db/message-db), written for this comparison: it locks the stream's
/// category, takes the version after the stream's last, checks that it is the one expected, and
/// inserts the message, in a table with the same indexes. No row besides, no hash, no news to
/// others.
class MessageStore {
 public:
  /// Makes the table and the functions.
  static void create(const std::string& url);

  /// One client, which writes to one stream. Its category is what stands before the first `-`.
  /// Each message has this payload and these metadata.
  MessageStore(const std::string& url, std::string stream, std::string payload,
               std::string metadata);

  /// One call of the prepared statement, which commits by itself.
  void write();

 private:
  test::PostgresConnection connection_;
  std::string stream_;
  std::string payload_;
  std::string metadata_;
  std::mt19937_64 random_{std::random_device{}()};
  std::int64_t version_ = -1;
};

}  // namespace dbcache::bench
