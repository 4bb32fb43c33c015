#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "rows/fields.hpp"
#include "text/json_text.hpp"

namespace dbcache::store::sql {

/// Reads the columns of a row in their documented order. Throws CorruptDatabase, which says how to
/// mend it, for a column that holds what dbcache never writes. Each engine has its own `Columns`:
/// is_null, integer and text (nothing if the column holds another type), and raw (as JSON, whatever
/// the column holds).
template <class Columns>
class RowReader {
 public:
  RowReader(const Columns& columns, std::string_view table) : columns_(columns), table_(table) {}

  template <class Row>
  Row read() {
    Row row;
    rows::for_each_member<Row>([&](auto member) {
      ++at_;
      name_ = member.name;
      read_into(row.*member.pointer);
    });
    return row;
  }

 private:
  template <class T>
  void read_into(std::optional<T>& field) {
    if (!columns_.is_null(at_)) read_into(field.emplace());
  }
  void read_into(std::int64_t& field) { field = integer(); }
  void read_into(bool& field) { field = integer() != 0; }
  void read_into(std::string& field) { field = text(); }
  void read_into(Timestamp& field) {
    try {
      field = parse_timestamp(text());
    } catch (const InvalidArgument&) {
      refuse();
    }
  }
  void read_into(RegistryStatus& field) {
    try {
      field = parse_registry_status(text());
    } catch (const InvalidArgument&) {
      refuse();
    }
  }

  /// A described enum's word; a struct or a list as JSON.
  template <class T>
  void read_into(T& field) {
    const std::string_view text = this->text();
    try {
      if constexpr (std::is_enum_v<T>) {
        rows::read_field(boost::json::string(text), field);
      } else {
        rows::read_field(text::parse_json(text, name_, text::max_stored_json_depth), field);
      }
    } catch (const std::exception&) {
      refuse();
    }
  }

  std::int64_t integer() {
    const auto value = columns_.integer(at_);
    if (!value) refuse();
    return *value;
  }
  std::string_view text() {
    const auto value = columns_.text(at_);
    if (!value) refuse();
    return *value;
  }

  [[noreturn]] void refuse() {
    throw CorruptDatabase(fmt::format(
        "{} of a row of {} has a value that dbcache never writes: {}; see what was changed "
        "with `dbcache replay --check`, rebuild the table with `dbcache replay`",
        name_, table_, boost::json::serialize(columns_.raw(at_))));
  }

  const Columns& columns_;
  std::string_view table_;
  std::string_view name_;
  int at_ = -1;
};

}  // namespace dbcache::store::sql
