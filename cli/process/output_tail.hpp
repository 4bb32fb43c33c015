#pragma once

#include <string>
#include <string_view>

namespace dbcache::cli {

/// The last bytes of an output of any length.
class OutputTail {
 public:
  void add(std::string_view bytes);
  /// Without the white space around it; empty if the output is blank.
  [[nodiscard]] std::string last_line() const;
  /// The last lines that are not blank, joined: `first | second`.
  [[nodiscard]] std::string last_lines() const;
  [[nodiscard]] bool is_blank() const { return last_line().empty(); }

 private:
  [[nodiscard]] std::string_view whole_lines() const;

  std::string bytes_;
  bool cut_ = false;
};

}  // namespace dbcache::cli
