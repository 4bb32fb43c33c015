#pragma once

#include <string>
#include <string_view>

namespace dbcache::text {

/// A database as users name it, without the passwords of a URL, also in its query:
/// `postgresql://u:***@h/db`. Paths stay as they are, as valid UTF-8.
std::string redacted_url(std::string_view database);

}  // namespace dbcache::text
