#pragma once

#include <string>
#include <string_view>

#include <boost/describe/enum.hpp>

namespace dbcache::store {

/// How far a closed log has moved between two databases. They are never both open.
enum class Moving {
  away,  ///< It is being moved to another database.
  gone,  ///< It was moved to another database.
  in,    ///< It is being moved in from another database, and may be incomplete.
};
BOOST_DESCRIBE_ENUM(Moving, away, gone, in)

/// Why nobody may append to a log.
struct ClosedLog {
  Moving moving = Moving::away;
  std::string other;  ///< The other database, as users name it, without its password.

  bool operator==(const ClosedLog&) const = default;
};

/// The error for a caller that wants to append: why it cannot, and what to do. `database` is the
/// closed one.
std::string refusal(const ClosedLog& closed, std::string_view database);

}  // namespace dbcache::store
