#include "store/closure.hpp"

#include <fmt/format.h>

namespace dbcache::store {

std::string refusal(const Closure& closure, std::string_view database) {
  switch (closure.moving) {
    case Moving::away:
      return fmt::format(
          "the database {0} takes no changes: its log is being moved to {1}; run the move again to "
          "finish it, or go on here with `dbcache move --from {0} --cancel`",
          database, closure.other);
    case Moving::gone:
      return fmt::format(
          "the database {0} takes no changes: its log was moved to {1}; use --database {1}",
          database, closure.other);
    case Moving::in:
      return fmt::format(
          "the database {0} takes no changes yet: a log is being moved into it from {1}; run the "
          "move again to finish it",
          database, closure.other);
  }
  return {};
}

}  // namespace dbcache::store
