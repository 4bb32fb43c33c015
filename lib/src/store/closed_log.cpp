#include "store/closed_log.hpp"

#include <fmt/format.h>

namespace dbcache::store {

std::string refusal(const ClosedLog& closed, std::string_view database) {
  switch (closed.moving) {
    case Moving::away:
      return fmt::format(
          "the database {0} takes no changes: its log is being moved to {1}; run the move again to "
          "finish it, or cancel it with `dbcache move --from {0} --cancel`",
          database, closed.other);
    case Moving::gone:
      return fmt::format(
          "the database {0} takes no changes: its log was moved to {1}; use --database {1}",
          database, closed.other);
    case Moving::in:
      return fmt::format(
          "the database {0} takes no changes yet: a log is being moved into it from {1}; run the "
          "move again to finish it",
          database, closed.other);
  }
  return {};
}

}  // namespace dbcache::store
