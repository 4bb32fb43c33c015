#pragma once

#include <string>
#include <string_view>

namespace dbcache::text {

/// A database as users name it, without the password that a URL may hold:
/// `postgresql://u:***@h/db`. In the query too. Paths are given back as they are, as UTF-8.
std::string redacted_url(std::string_view database);

}  // namespace dbcache::text
