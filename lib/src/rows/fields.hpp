#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/describe.hpp>
#include <boost/json/value.hpp>
#include <boost/mp11/algorithm.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "rows/lease_rows.hpp"
#include "rows/rows.hpp"

// Converts described structs to JSON and back, one key a member. A member that is a row has no key
// of its own: its members stand beside the others. Its `id` is left out, since that is the position
// of the event.
namespace dbcache::rows {

template <class Struct, class Visit>
void for_each_member(Visit&& visit) {
  using Members = boost::describe::describe_members<Struct, boost::describe::mod_public>;
  boost::mp11::mp_for_each<Members>(std::forward<Visit>(visit));
}

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
struct IsList : std::false_type {};
template <class T>
struct IsList<std::vector<T>> : std::true_type {};

/// A member whose key is left out where it is empty: older versions know no such key.
template <class Struct, class T>
inline constexpr bool is_left_out_if_empty =
    std::is_same_v<Struct, Holder>&& std::is_same_v<T, std::optional<Deadline>>;

template <class Struct>
void write_fields(const Struct& from, boost::json::object& to);

/// The value lives in `storage`, so a parent in the same storage takes it without a copy.
template <class T>
boost::json::value write_field(const T& field, const boost::json::storage_ptr& storage) {
  if constexpr (IsOptional<T>::value) {
    if (!field) return nullptr;
    return write_field(*field, storage);
  } else if constexpr (std::is_same_v<T, Timestamp>) {
    return boost::json::string(format_timestamp(field), storage);
  } else if constexpr (boost::describe::has_describe_enumerators<T>::value) {
    return boost::json::string(boost::describe::enum_to_string(field, "unknown"), storage);
  } else if constexpr (std::is_enum_v<T>) {
    return boost::json::string(to_string(field), storage);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return boost::json::string(field, storage);
  } else if constexpr (IsList<T>::value) {
    boost::json::array array(storage);
    array.reserve(field.size());
    for (const auto& element : field) array.push_back(write_field(element, storage));
    return array;
  } else if constexpr (boost::describe::has_describe_members<T>::value) {
    boost::json::object object(storage);
    write_fields(field, object);
    return object;
  } else {
    return boost::json::value(field, storage);
  }
}

template <class Struct>
void write_fields(const Struct& from, boost::json::object& to) {
  using Members = boost::describe::describe_members<Struct, boost::describe::mod_public>;
  to.reserve(to.size() + boost::mp11::mp_size<Members>::value);
  for_each_member<Struct>([&](auto member) {
    const auto& field = from.*member.pointer;
    if constexpr (is_row<std::remove_cvref_t<decltype(field)>>) {
      write_fields(field, to);
      to.stable_erase("id");
    } else if constexpr (is_left_out_if_empty<Struct, std::remove_cvref_t<decltype(field)>>) {
      if (field) to.insert_or_assign(member.name, write_field(field, to.storage()));
    } else {
      to.insert_or_assign(member.name, write_field(field, to.storage()));
    }
  });
}

template <class Struct>
void read_fields(const boost::json::object& from, Struct& to);

template <class T>
void read_field(const boost::json::value& from, T& field) {
  if constexpr (IsOptional<T>::value) {
    if (from.is_null()) {
      field.reset();
    } else {
      read_field(from, field.emplace());
    }
  } else if constexpr (std::is_same_v<T, Timestamp>) {
    field = parse_timestamp(from.as_string());
  } else if constexpr (boost::describe::has_describe_enumerators<T>::value) {
    const std::string word(from.as_string());
    if (!boost::describe::enum_from_string(word.c_str(), field)) {
      throw InvalidArgument(fmt::format("'{}' is not a known value", word));
    }
  } else if constexpr (std::is_enum_v<T>) {
    from_string(from.as_string(), field);
  } else if constexpr (std::is_same_v<T, std::string>) {
    field = from.as_string();
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    field.clear();
    for (const boost::json::value& element : from.as_array())
      field.emplace_back(element.as_string());
  } else if constexpr (std::is_same_v<T, bool>) {
    field = from.as_bool();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    field = from.to_number<std::int64_t>();
  } else if constexpr (std::is_same_v<T, boost::json::object>) {
    field = from.as_object();
  } else {
    read_fields(from.as_object(), field);
  }
}

/// Throws a std::exception if a key is missing or has a value of the wrong type.
template <class Struct>
void read_fields(const boost::json::object& from, Struct& to) {
  for_each_member<Struct>([&](auto member) {
    auto& field = to.*member.pointer;
    if constexpr (is_row<std::remove_cvref_t<decltype(field)>>) {
      read_fields(from, field);
    } else {
      if constexpr (is_row<Struct>) {
        if (std::string_view(member.name) == "id") {
          to.id = 0;
          return;
        }
      }
      if constexpr (is_left_out_if_empty<Struct, std::remove_cvref_t<decltype(field)>>) {
        field.reset();
        if (!from.contains(member.name)) return;
      }
      read_field(from.at(member.name), field);
    }
  });
}

}  // namespace dbcache::rows
