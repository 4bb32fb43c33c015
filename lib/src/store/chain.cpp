#include "store/chain.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include <fmt/format.h>

#include "text/hex.hpp"

namespace dbcache::store {
namespace {

constexpr std::uint64_t format_number = 1;

std::array<char, 8> big_endian(std::uint64_t number) {
  std::array<char, 8> bytes{};
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    bytes[at] = static_cast<char>(number >> (56 - 8 * at));
  }
  return bytes;
}

class FieldHasher {
 public:
  FieldHasher() { number(format_number); }

  void field(std::string_view bytes) {
    number(bytes.size());
    hash_.update(bytes);
  }
  void field(std::int64_t value) {
    const auto bytes = big_endian(static_cast<std::uint64_t>(value));
    field({bytes.data(), bytes.size()});
  }
  [[nodiscard]] std::string digest() const {
    const text::Digest digest = hash_.digest();
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
  }

 private:
  void number(std::uint64_t value) {
    const auto bytes = big_endian(value);
    hash_.update({bytes.data(), bytes.size()});
  }

  text::Sha256 hash_;
};

}  // namespace

std::string chain_hash(const EventRecord& record, std::string_view previous_hash) {
  FieldHasher hasher;
  hasher.field(record.position);
  hasher.field(record.stream);
  hasher.field(record.version);
  hasher.field(record.type);
  hasher.field(record.payload);
  hasher.field(record.metadata);
  hasher.field(record.recorded_at);
  hasher.field(record.command_id);
  hasher.field(previous_hash);
  return hasher.digest();
}

std::vector<LogProblem> ChainChecker::check(const EventRecord& record) {
  std::vector<LogProblem> problems;
  const std::int64_t expected_position = last_position_ + 1;
  if (record.position != expected_position) {
    if (record.position < 1) {
      problems.push_back({record.position, record.stream, record.version,
                          "its position is below 1: it was put before the first event"});
      streams_[record.stream].broken = true;
    } else if (record.position - expected_position == 1) {
      problems.push_back({expected_position, "", 0,
                          fmt::format("the event at position {} is missing", expected_position)});
    } else {
      problems.push_back({expected_position, "", 0,
                          fmt::format("the events at positions {} to {} are missing",
                                      expected_position, record.position - 1)});
    }
  }
  last_position_ = std::max<std::int64_t>(record.position, 0);
  ++events_;
  head_.update(record.hash);

  Stream& stream = streams_[record.stream];
  if (!stream.broken) {
    std::string what;
    if (record.version != stream.version + 1) {
      what =
          fmt::format("its version is {}, and {} was to come", record.version, stream.version + 1);
    } else if (record.hash != chain_hash(record, stream.hash)) {
      what = stream.version == 0
                 ? "its hash does not fit it: it was altered or replaced"
                 : fmt::format(
                       "its hash does not fit it and version {} before it: one of the two "
                       "was altered or replaced",
                       stream.version);
    }
    if (!what.empty()) {
      stream.broken = true;
      problems.push_back({record.position, record.stream, record.version, what});
    }
  }
  stream.version = record.version;
  stream.hash = record.hash;
  return problems;
}

LogHead ChainChecker::head() const { return {events_, text::to_hex(head_.digest())}; }

}  // namespace dbcache::store
