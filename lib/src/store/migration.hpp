#pragma once

#include <string_view>
#include <vector>

namespace dbcache::store {

/// A file of migrations/, embedded at build time.
struct Migration {
  int number = 0;
  std::string_view name;
  const char* sql = nullptr;
};

/// In order of their numbers, which are 1, 2, 3, ...
const std::vector<Migration>& sqlite_migrations();
const std::vector<Migration>& postgres_migrations();

}  // namespace dbcache::store
