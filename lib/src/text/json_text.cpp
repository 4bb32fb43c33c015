#include "text/json_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <vector>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_stack.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "text/utf8.hpp"

namespace json = boost::json;

namespace dbcache::text {
namespace {

/// Where UTF-16 orders a code point: surrogate pairs (U+10000 and up) come before U+E000 to U+FFFF.
constexpr char32_t utf16_rank(char32_t point) {
  if (point >= 0x10000) return point - 0x10000 + 0xD800;
  return point >= 0xE000 ? point + 0x110000 : point;
}

bool utf16_less(std::string_view left, std::string_view right) {
  while (!left.empty() && !right.empty()) {
    const auto a = first_code_point(left);
    const auto b = first_code_point(right);
    if (!a || !b) throw InvalidArgument("a JSON key is not valid UTF-8; encode it as UTF-8");
    if (a->value != b->value) return utf16_rank(a->value) < utf16_rank(b->value);
    left.remove_prefix(a->size);
    right.remove_prefix(b->size);
  }
  return left.size() < right.size();
}

/// Doubles hold every integer up to 2^53, and of the larger ones only some.
bool is_exact_double(std::int64_t number) {
  constexpr std::int64_t most = std::int64_t{1} << 53;
  return number >= -most && number <= most;
}
bool is_exact_double(std::uint64_t number) { return number <= (std::uint64_t{1} << 53); }

/// Whether a string stands in JSON as it is: printable ASCII but for the quotation mark and the
/// backslash.
bool is_plain(std::string_view string) {
  return std::all_of(string.begin(), string.end(),
                     [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; });
}

class Writer {
 public:
  Writer(KeyOrder order, bool doubles_only) : order_(order), doubles_only_(doubles_only) {
    text_.reserve(256);  // what most events take
  }

  void write(const json::value& value, int depth) {
    if (depth > max_stored_json_depth) {
      throw InvalidArgument(
          fmt::format("JSON nests deeper than {} levels; flatten it", max_stored_json_depth));
    }
    switch (value.kind()) {
      case json::kind::null:
        text_ += "null";
        break;
      case json::kind::bool_:
        text_ += value.get_bool() ? "true" : "false";
        break;
      case json::kind::int64:
        write_integer(value.get_int64());
        break;
      case json::kind::uint64:
        write_integer(value.get_uint64());
        break;
      case json::kind::double_:
        write_double(value.get_double());
        break;
      case json::kind::string:
        write_string(value.get_string());
        break;
      case json::kind::array:
        write_array(value.get_array(), depth);
        break;
      case json::kind::object:
        write_object(value.get_object(), depth);
        break;
    }
  }

  std::string take() && { return std::move(text_); }

 private:
  template <class Integer>
  void write_integer(Integer number) {
    if (doubles_only_ && !is_exact_double(number)) {
      throw InvalidArgument(fmt::format(
          "{} has no canonical form: an IEEE 754 double cannot hold it; give it as a string",
          number));
    }
    std::array<char, 20> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text_.append(digits.data(), end);
  }

  void write_double(double number) {
    if (!std::isfinite(number)) {
      throw InvalidArgument("JSON has no infinite numbers; give a finite one or a string");
    }
    text_ += ecmascript_number(number);
  }

  void write_string(const std::string_view string) {
    if (is_plain(string)) {
      text_ += '"';
      text_ += string;
      text_ += '"';
      return;
    }
    if (!is_utf8(string))
      throw InvalidArgument("a JSON string is not valid UTF-8; encode it as UTF-8");
    // Boost.JSON escapes exactly as RFC 8785 has it: the short escapes, \u00xx in lower case for
    // other controls, everything else as it is.
    text_ += json::serialize(json::string_view(string));
  }

  void write_array(const json::array& array, int depth) {
    char separator = '[';
    for (const json::value& element : array) {
      text_ += separator;
      write(element, depth + 1);
      separator = ',';
    }
    text_ += array.empty() ? "[]" : "]";
  }

  void write_object(const json::object& object, int depth) {
    text_ += '{';
    const std::size_t begin = text_.size();
    const auto write_member = [&](const json::key_value_pair& member) {
      if (text_.size() > begin) text_ += ',';
      write_string(member.key());
      text_ += ':';
      write(member.value(), depth + 1);
    };
    if (order_ == KeyOrder::as_given) {
      std::for_each(object.begin(), object.end(), write_member);
    } else {
      std::vector<const json::key_value_pair*> members;
      members.reserve(object.size());
      for (const json::key_value_pair& member : object) members.push_back(&member);
      std::sort(members.begin(), members.end(),
                [](const auto* a, const auto* b) { return utf16_less(a->key(), b->key()); });
      for (const json::key_value_pair* member : members) write_member(*member);
    }
    text_ += '}';
  }

  KeyOrder order_;
  bool doubles_only_;
  std::string text_;
};

/// Builds the document as json::parser does, but for doubles: Boost.JSON 1.81 reads those of more
/// than 15 digits up to one unit in the last place off, which would change what they hash to.
class DocumentBuilder {
 public:
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  explicit DocumentBuilder(json::storage_ptr storage)
      : stack_({}, scratch_.data(), scratch_.size()) {
    stack_.reset(std::move(storage));
  }
  json::value release() { return stack_.release(); }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return true; }
  bool on_object_end(std::size_t size, json::error_code&) { return stack_.push_object(size), true; }
  bool on_array_begin(json::error_code&) { return true; }
  bool on_array_end(std::size_t size, json::error_code&) { return stack_.push_array(size), true; }
  bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
    return stack_.push_chars(part), true;
  }
  bool on_key(json::string_view part, std::size_t, json::error_code&) {
    return stack_.push_key(part), true;
  }
  bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
    return stack_.push_chars(part), true;
  }
  bool on_string(json::string_view part, std::size_t, json::error_code&) {
    return stack_.push_string(part), true;
  }
  bool on_number_part(json::string_view part, json::error_code&) { return number_ += part, true; }
  bool on_int64(std::int64_t number, json::string_view, json::error_code&) {
    number_.clear();
    return stack_.push_int64(number), true;
  }
  bool on_uint64(std::uint64_t number, json::string_view, json::error_code&) {
    number_.clear();
    return stack_.push_uint64(number), true;
  }
  bool on_double(double estimate, json::string_view part, json::error_code& error) {
    number_ += part;
    double number = 0;
    const auto [end, code] =
        std::from_chars(number_.data(), number_.data() + number_.size(), number);
    if (code != std::errc()) {
      // An underflow reads as 0, as everywhere; what is too large has no value to give. The
      // parser's own estimate is good enough to tell the two apart.
      if (std::fabs(estimate) > 1) {
        error = json::error::exponent_overflow;
        return false;
      }
      number = 0;
    }
    number_.clear();
    return stack_.push_double(number), true;
  }
  bool on_bool(bool value, json::error_code&) { return stack_.push_bool(value), true; }
  bool on_null(json::error_code&) { return stack_.push_null(), true; }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  std::array<unsigned char, 1024> scratch_{};  // Enough for what most documents need.
  json::value_stack stack_;
  std::string number_;
};

std::string write(const json::value& value, KeyOrder order, bool doubles_only) {
  Writer writer(order, doubles_only);
  writer.write(value, 1);
  return std::move(writer).take();
}

}  // namespace

std::string json_text(const json::value& value, KeyOrder order) {
  return write(value, order, false);
}

std::string canonical_json(const json::value& value) {
  return write(value, KeyOrder::canonical, true);
}

std::string ecmascript_number(double number) {
  if (number == 0) return "0";  // -0 too
  // The shortest digits that read back as the same double, as d.ddde±xx.
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(number),
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view scientific(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t mark = scientific.find('e');
  std::string digits(scientific.substr(0, mark));
  std::erase(digits, '.');
  int exponent = 0;
  const char* from = buffer.data() + mark + (scientific[mark + 1] == '+' ? 2 : 1);
  std::from_chars(from, end, exponent);

  const int count = static_cast<int>(digits.size());  // k in ECMA-262
  const int point = exponent + 1;                     // n in ECMA-262
  std::string text = number < 0 ? "-" : "";
  if (count <= point && point <= 21) {
    text += digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    const auto whole = static_cast<std::size_t>(point);
    text += digits.substr(0, whole) + '.' + digits.substr(whole);
  } else if (-6 < point && point <= 0) {
    text += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else {
    text += digits.substr(0, 1);
    if (count > 1) text += '.' + digits.substr(1);
    text += fmt::format("e{:+}", point - 1);
  }
  return text;
}

json::value parse_json(std::string_view json_text, std::string_view what, int max_depth,
                       json::storage_ptr storage) {
  json::basic_parser<DocumentBuilder> parser(
      json::parse_options{.max_depth = static_cast<std::size_t>(max_depth)}, std::move(storage));
  json::error_code error;
  const std::size_t read =
      parser.write_some(/*more=*/false, json_text.data(), json_text.size(), error);
  if (!error && read < json_text.size()) error = json::error::extra_data;
  if (error) {
    const std::string limit =
        error == json::error::too_deep ? fmt::format(" (the limit is {} levels)", max_depth) : "";
    throw InvalidArgument(fmt::format("{} cannot be read as JSON: {}{} at byte {}", what,
                                      error.message(), limit, read));
  }
  return parser.handler().release();
}

}  // namespace dbcache::text
