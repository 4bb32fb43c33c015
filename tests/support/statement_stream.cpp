#include "support/statement_stream.hpp"

#include <utility>

namespace dbcache::test {
namespace {

constexpr std::size_t size_of_number = 4;

constexpr std::int32_t ssl_request = 80877103;
constexpr std::int32_t gss_request = 80877104;

/// The text up to the next zero byte, which is taken away with it.
std::string take_text(std::string_view& bytes) {
  const auto end = bytes.find('\0');
  std::string text(bytes.substr(0, end));
  bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  return text;
}

}  // namespace

std::int32_t read_number(std::string_view bytes) {
  std::uint32_t number = 0;
  for (const char byte : bytes.substr(0, size_of_number)) {
    number = (number << 8U) | static_cast<unsigned char>(byte);
  }
  return static_cast<std::int32_t>(number);
}

std::optional<std::size_t> ClientStream::size_of_next() const {
  // Only the packets that open a connection have no type in front.
  const std::size_t type = open_ ? 1 : 0;
  if (left_.size() < type + size_of_number) return std::nullopt;
  const auto size =
      type + static_cast<std::size_t>(read_number(std::string_view(left_).substr(type)));
  return left_.size() < size ? std::nullopt : std::optional(size);
}

std::vector<ClientUnit> ClientStream::take(std::string_view bytes) {
  left_ += bytes;
  std::vector<ClientUnit> units;
  while (const auto size = size_of_next()) {
    std::string message = left_.substr(0, *size);
    left_.erase(0, *size);
    if (open_) {
      take_message(std::move(message), units);
    } else {
      take_opening(std::move(message), units);
    }
  }
  return units;
}

bool ClientStream::take_encryption_request() { return std::exchange(asks_for_encryption_, false); }

void ClientStream::take_opening(std::string message, std::vector<ClientUnit>& units) {
  const std::int32_t code = read_number(std::string_view(message).substr(size_of_number));
  if (code == ssl_request || code == gss_request) {
    asks_for_encryption_ = true;
    return;
  }
  open_ = true;
  units.push_back({ClientUnit::Kind::other, std::move(message), {}});
}

void ClientStream::take_message(std::string message, std::vector<ClientUnit>& units) {
  std::string_view body = std::string_view(message).substr(1 + size_of_number);
  ClientUnit::Kind kind = ClientUnit::Kind::other;
  switch (message.front()) {
    case 'P': {  // Parse: a name and a statement
      const std::string name = take_text(body);
      prepared_[name] = take_text(body);
      next_.bytes += message;
      return;
    }
    case 'B':  // Bind: a portal, and a statement's name
      take_text(body);
      bound_ = prepared_[take_text(body)];
      next_.bytes += message;
      return;
    case 'D':  // Describe
    case 'C':  // Close
      next_.bytes += message;
      return;
    case 'E':  // Execute
      kind = ClientUnit::Kind::statement;
      next_.sql = bound_;
      break;
    case 'S':
      kind = ClientUnit::Kind::sync;
      next_.sql = "(the end of a transaction without BEGIN)";
      break;
    case 'Q':
      kind = ClientUnit::Kind::query;
      next_.sql = take_text(body);
      break;
    default:
      break;
  }
  next_.kind = kind;
  next_.bytes += message;
  units.push_back(std::exchange(next_, {}));
}

std::vector<ServerStream::Message> ServerStream::take(std::string_view bytes) {
  left_ += bytes;
  std::vector<Message> messages;
  std::size_t at = 0;
  while (left_.size() - at > size_of_number) {
    const auto size =
        1 + static_cast<std::size_t>(read_number(std::string_view(left_).substr(at + 1)));
    if (left_.size() - at < size) break;
    messages.push_back(
        {left_[at], left_.substr(at + 1 + size_of_number, size - 1 - size_of_number)});
    at += size;
  }
  left_.erase(0, at);
  return messages;
}

std::string ServerStream::Message::words() const {
  std::string_view rest = body;
  if (type != 'E') return take_text(rest);
  std::string words = "ERROR";
  while (!rest.empty() && rest.front() != '\0') {
    const char field = rest.front();
    rest.remove_prefix(1);
    const std::string text = take_text(rest);
    if (field == 'C' || field == 'M') words += " " + text;
  }
  return words;
}

}  // namespace dbcache::test
