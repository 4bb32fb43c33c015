#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dbcache::cli {

/// The environment of a child process: a copy of this process's, changed by set().
class Environment {
 public:
  Environment();

  /// Without a value it unsets the variable.
  void set(const std::string& name, const std::optional<std::string>& value);
  [[nodiscard]] std::optional<std::string> get(const std::string& name) const;

  /// Each as `NAME=value`.
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  std::map<std::string, std::string> variables_;
};

}  // namespace dbcache::cli
