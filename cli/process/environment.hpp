#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dbcache::cli {

/// The environment that a program is started with: this process's, but for what is set.
class Environment {
 public:
  Environment();

  /// Nothing: unset, also where this process has it.
  void set(const std::string& name, const std::optional<std::string>& value);
  [[nodiscard]] std::optional<std::string> get(const std::string& name) const;

  /// `NAME=value`, each.
  [[nodiscard]] std::vector<std::string> lines() const;

 private:
  std::map<std::string, std::string> variables_;
};

}  // namespace dbcache::cli
