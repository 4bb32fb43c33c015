#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/registry.hpp>

namespace dbcache {

std::string_view to_string(RegistryStatus status) noexcept {
  switch (status) {
    case RegistryStatus::creating:
      return "creating";
    case RegistryStatus::ready:
      return "ready";
    case RegistryStatus::failed:
      return "failed";
  }
  return "unknown";
}

RegistryStatus parse_registry_status(std::string_view word) {
  for (const RegistryStatus status :
       {RegistryStatus::creating, RegistryStatus::ready, RegistryStatus::failed}) {
    if (word == to_string(status)) return status;
  }
  throw InvalidArgument(
      fmt::format("'{}' is not a status; give creating, ready or failed", word.substr(0, 64)));
}

}  // namespace dbcache
