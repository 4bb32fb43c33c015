#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// As much of PostgreSQL's protocol as it takes to tell one statement from the next
// (https://www.postgresql.org/docs/15/protocol-message-formats.html).
namespace dbcache::test {

/// Messages that are sent to the server together.
struct ClientUnit {
  enum class Kind {
    statement,  ///< up to an Execute
    query,      ///< of the simple protocol
    sync,
    other,  ///< answered by nothing that anybody waits for
  } kind = Kind::other;
  std::string bytes{};
  std::string sql{};
};

/// Cuts what a client sends into units.
class ClientStream {
 public:
  /// The units that these bytes complete.
  std::vector<ClientUnit> take(std::string_view bytes);

  /// Whether the client asked for encryption since the last call: it waits for one byte.
  bool take_encryption_request();

 private:
  [[nodiscard]] std::optional<std::size_t> size_of_next() const;
  void take_opening(std::string message, std::vector<ClientUnit>& units);
  void take_message(std::string message, std::vector<ClientUnit>& units);

  std::string left_;  ///< The beginning of a message.
  bool open_ = false;
  bool asks_for_encryption_ = false;
  ClientUnit next_;
  std::map<std::string, std::string> prepared_;  ///< Statements by name.
  std::string bound_;
};

/// Follows what the server sends.
class ServerStream {
 public:
  struct Message {
    char type = 0;
    std::string body{};

    /// The command tag of a CommandComplete, or the code and text of an ErrorResponse.
    [[nodiscard]] std::string words() const;
  };
  std::vector<Message> take(std::string_view bytes);

 private:
  std::string left_;
};

/// A number as the protocol has it.
std::int32_t read_number(std::string_view bytes);

}  // namespace dbcache::test
