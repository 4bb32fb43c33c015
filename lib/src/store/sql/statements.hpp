#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include <boost/describe.hpp>
#include <boost/mp11/list.hpp>
#include <fmt/format.h>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "rows/fields.hpp"

// The statements over the projected tables, once for all engines. Columns come from the described
// rows, in their order. A `Dialect` says what differs between engines:
//
//   static std::string parameter(int number, std::string_view type = {});
//     a parameter, counted from 1; with a type where the statement does not imply one
//   static std::string is_true(std::string_view column);
//     a condition: whether a column of truth values holds a true one
//
// Each text is built once and keeps its address, because connections find a prepared statement by
// its text or by the text's address.
namespace dbcache::store::sql {

/// The name of a row's table, and the column that identifies a row: the first one, except in the
/// documented tables.
template <class Row>
struct Table {
  static constexpr std::string_view name = Row::table;
  static constexpr std::string_view key = boost::mp11::mp_front<
      boost::describe::describe_members<Row, boost::describe::mod_public>>::name;
};
template <>
struct Table<CachedCluster> {
  static constexpr std::string_view name = rows::clusters_table;
  static constexpr std::string_view key = "cluster_id";
};
template <>
struct Table<RegistryEntry> {
  static constexpr std::string_view name = rows::registry_table;
  static constexpr std::string_view key = "config_hash";
};

/// A column as statements name it. Only the name that is a keyword is quoted: SQLite takes a quoted
/// name for a string if there is no such column.
inline std::string column(std::string_view name) {
  return name == "check" ? R"("check")" : std::string(name);
}

template <class Row>
std::string column_list() {
  std::string names;
  rows::for_each_member<Row>([&](auto member) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", column(member.name));
  });
  return names;
}

template <class Dialect, class Row>
class Statements {
 public:
  /// All rows, in no order.
  static const std::string& select() {
    static const std::string& text = keep(selection());
    return text;
  }
  static const std::string& select_in_key_order() {
    static const std::string& text = keep(fmt::format("{} ORDER BY {}", selection(), key()));
    return text;
  }
  static const std::string& select_newest_first() {
    static const std::string& text = keep(selection() + " ORDER BY id DESC");
    return text;
  }
  /// Parameter: the key.
  static const std::string& select_one() {
    static const std::string& text = keep(fmt::format("{} {}", selection(), where_key(1)));
    return text;
  }
  /// Parameters: every column. Puts a row in, in place of the one with the same key.
  static const std::string& upsert() {
    static const std::string& text = keep(upsert_text());
    return text;
  }
  /// Parameters: the columns whose bits are set in `changed` (the first column's is the lowest),
  /// then the key. Few sets of columns ever change together, so the texts stay few.
  static const std::string& update(std::uint32_t changed) {
    static std::mutex& mutex = *new std::mutex;
    static auto& texts = *new std::map<std::uint32_t, std::string>;
    const std::lock_guard lock(mutex);
    std::string& text = texts[changed];
    if (text.empty()) text = update_text(changed);
    return text;
  }
  /// Parameter: the key.
  static const std::string& erase() {
    static const std::string& text =
        keep(fmt::format("DELETE FROM {} {}", Table<Row>::name, where_key(1)));
    return text;
  }
  static const std::string& clear() {
    static const std::string& text = keep(fmt::format("DELETE FROM {}", Table<Row>::name));
    return text;
  }

 private:
  // On the heap for ever: a thread may still use a text while the process exits.
  static const std::string& keep(std::string text) { return *new std::string(std::move(text)); }

  static std::string key() { return column(Table<Row>::key); }
  static std::string selection() {
    return fmt::format("SELECT {} FROM {}", column_list<Row>(), Table<Row>::name);
  }
  static std::string where_key(int number) {
    return fmt::format("WHERE {} = {}", key(), Dialect::parameter(number));
  }

  static std::string upsert_text() {
    std::string marks;
    std::string changes;
    int number = 0;
    rows::for_each_member<Row>([&](auto member) {
      marks += fmt::format("{}{}", marks.empty() ? "" : ", ", Dialect::parameter(++number));
      if (member.name == Table<Row>::key) return;
      const std::string name = column(member.name);
      changes += fmt::format("{}{} = excluded.{}", changes.empty() ? "" : ", ", name, name);
    });
    return fmt::format("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
                       Table<Row>::name, column_list<Row>(), marks, key(), changes);
  }

  static std::string update_text(std::uint32_t changed) {
    std::string changes;
    int number = 0;
    rows::for_each_member<Row>([&, bit = std::uint32_t{1}](auto member) mutable {
      if ((changed & bit) != 0) {
        changes += fmt::format("{}{} = {}", changes.empty() ? "" : ", ", column(member.name),
                               Dialect::parameter(++number));
      }
      bit <<= 1U;
    });
    return fmt::format("UPDATE {} SET {} {}", Table<Row>::name, changes, where_key(number + 1));
  }
};

/// Clusters by a filter, newest first. Parameters: 1 to 3 the filter's is_active, is_shared and
/// is_expired, each NULL if it does not matter; 4 the time; 5 the most rows that are wanted.
template <class Dialect>
const std::string& select_clusters() {
  static const std::string& text = *new std::string([] {
    const auto flag = [](int number) { return Dialect::parameter(number, "boolean"); };
    return fmt::format(
        "{select} WHERE ({active} IS NULL OR {is_active} = {active}) "
        "AND ({shared} IS NULL OR {is_shared} = {shared}) "
        "AND ({expired} IS NULL OR (expiry_time <= {now}) = {expired}) "
        "ORDER BY id DESC LIMIT {limit}",
        fmt::arg("select", Statements<Dialect, CachedCluster>::select()),
        fmt::arg("is_active", Dialect::is_true("is_active")),
        fmt::arg("is_shared", Dialect::is_true("is_shared")), fmt::arg("active", flag(1)),
        fmt::arg("shared", flag(2)), fmt::arg("expired", flag(3)),
        fmt::arg("now", Dialect::parameter(4, "text")),
        fmt::arg("limit", Dialect::parameter(5, "bigint")));
  }());
  return text;
}

}  // namespace dbcache::store::sql
