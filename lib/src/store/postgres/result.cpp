#include "store/postgres/result.hpp"

#include <charconv>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "text/hex.hpp"

namespace dbcache::store::postgres {
namespace {

constexpr unsigned boolean_type = 16;  // pg_type's, which never change
constexpr unsigned bigint_type = 20;

}  // namespace

Result::Result(PGresult* result) : result_(result, Libpq::load().clear) {}

int Result::rows() const { return Libpq::load().rows(result_.get()); }
int Result::columns() const { return Libpq::load().columns(result_.get()); }
std::string_view Result::name(int column) const {
  return Libpq::load().column_name(result_.get(), column);
}
bool Result::is_null(int row, int column) const {
  return Libpq::load().is_null(result_.get(), row, column) != 0;
}
std::string_view Result::text(int row, int column) const {
  const Libpq& pq = Libpq::load();
  return {pq.value(result_.get(), row, column),
          static_cast<std::size_t>(pq.length(result_.get(), row, column))};
}
std::int64_t Result::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw CorruptDatabase(fmt::format("the server returned '{}' instead of an integer", digits));
  }
  return number;
}
std::string Result::bytes(int row, int column) const {
  // bytea_output is hex: \x and the digits.
  return text::from_hex(text(row, column).substr(2));
}
bool Result::is_integer(int column) const {
  return Libpq::load().column_type(result_.get(), column) == bigint_type;
}
bool Result::is_boolean(int column) const {
  return Libpq::load().column_type(result_.get(), column) == boolean_type;
}

}  // namespace dbcache::store::postgres
