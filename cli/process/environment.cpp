#include "cli/process/environment.hpp"

#include <unistd.h>

#include <fmt/format.h>

namespace dbcache::cli {

Environment::Environment() {
  for (char** at = ::environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view line = *at;
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    variables_.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
}

void Environment::set(const std::string& name, const std::optional<std::string>& value) {
  if (value) {
    variables_.insert_or_assign(name, *value);
  } else {
    variables_.erase(name);
  }
}

std::optional<std::string> Environment::get(const std::string& name) const {
  const auto found = variables_.find(name);
  if (found == variables_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string> Environment::lines() const {
  std::vector<std::string> lines;
  lines.reserve(variables_.size());
  for (const auto& [name, value] : variables_) lines.push_back(fmt::format("{}={}", name, value));
  return lines;
}

}  // namespace dbcache::cli
