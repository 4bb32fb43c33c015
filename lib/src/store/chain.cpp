#include "store/chain.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

#include <boost/endian/conversion.hpp>
#include <fmt/format.h>

#include "text/hex.hpp"

namespace dbcache::store {
namespace {

constexpr std::uint64_t format_number = 1;

void add_number(std::string& bytes, std::uint64_t number) {
  const std::uint64_t big_endian = boost::endian::native_to_big(number);
  bytes.append(reinterpret_cast<const char*>(&big_endian), sizeof big_endian);
}

void add_field(std::string& bytes, std::string_view field) {
  add_number(bytes, field.size());
  bytes += field;
}
void add_field(std::string& bytes, std::int64_t value) {
  add_number(bytes, sizeof value);
  add_number(bytes, static_cast<std::uint64_t>(value));
}

std::string_view as_text(const text::Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

/// What is hashed, in one piece: OpenSSL takes longer over being called than over a few bytes.
void lay_out(std::string& bytes, const EventRecord& record, std::string_view previous_hash) {
  constexpr std::size_t numbers = 13 * sizeof(std::uint64_t);
  bytes.clear();
  bytes.reserve(numbers + record.stream.size() + record.type.size() + record.payload.size() +
                record.metadata.size() + record.command_id.size() + previous_hash.size());
  add_number(bytes, format_number);
  add_field(bytes, record.position);
  add_field(bytes, record.stream);
  add_field(bytes, record.version);
  add_field(bytes, record.type);
  add_field(bytes, record.payload);
  add_field(bytes, record.metadata);
  add_field(bytes, record.recorded_at);
  add_field(bytes, record.command_id);
  add_field(bytes, previous_hash);
}

}  // namespace

std::string chain_hash(const EventRecord& record, std::string_view previous_hash) {
  std::string bytes;
  lay_out(bytes, record, previous_hash);
  return std::string(as_text(text::sha256_of(bytes)));
}

text::Digest ChainHasher::hash(const EventRecord& record, std::string_view previous_hash) {
  lay_out(bytes_, record, previous_hash);
  return hash_.update(bytes_).finish();
}

std::vector<LogProblem> ChainChecker::check(const EventRecord& record) {
  std::vector<LogProblem> problems;
  const std::int64_t expected_position = last_position_ + 1;
  if (record.position != expected_position) {
    if (record.position < 1) {
      problems.push_back({record.position, record.stream, record.version,
                          "its position is below 1: it was inserted before the first event"});
      streams_[record.stream].broken = true;
    } else if (record.position <= gaps_until_) {
      // Numbers that were drawn and never used.
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
          fmt::format("its version is {}, but {} was expected", record.version, stream.version + 1);
    } else if (record.hash != as_text(hasher_.hash(record, stream.hash))) {
      what = stream.version == 0
                 ? "its hash does not match its content: it was altered or replaced"
                 : fmt::format(
                       "its hash does not match its content and version {} before it: one "
                       "of the two was altered or replaced",
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
