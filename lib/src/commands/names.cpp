#include "commands/names.hpp"

#include <charconv>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "text/utf8.hpp"

namespace dbcache::commands {

Fit fit_of(const Named& named, const rows::Present& present) {
  const auto events = present.names.events_at({named.name.position});
  if (events.empty()) return Fit::nothing;
  if (!named.name.mark.empty() && events.front().name.mark != named.name.mark) {
    return Fit::another_log;
  }
  return events.front().type == named.type ? Fit::ours : Fit::other_kind;
}

EventName read_name(std::string_view text, std::string_view what) {
  constexpr std::size_t digits = 16;
  EventName name;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), name.position);
  const std::string_view rest = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc() && name.position > 0 && text.front() != '0') {
    if (rest.empty()) return name;
    const bool is_whole = rest.size() == digits + 1 && rest.front() == '-' &&
                          rest.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
    if (is_whole) {
      name.mark = rest.substr(1);
      return name;
    }
  }
  constexpr std::size_t most_shown = 60;
  throw InvalidArgument(
      fmt::format("'{}{}' is not the name of a {}: a name is a number, '-' and 16 hex digits in "
                  "lower case, such as 17-0123456789abcdef; give it whole, as `dbcache acquire` "
                  "prints it and `dbcache leases` "
                  "shows it",
                  text::to_valid_utf8(text.substr(0, most_shown)),
                  text.size() > most_shown ? "..." : "", what));
}

std::string to_string(const EventName& name) {
  return name.mark.empty() ? std::to_string(name.position)
                           : fmt::format("{}-{}", name.position, name.mark);
}

std::string log_gone_text(std::string_view what, const EventName& name, Fit fit) {
  const std::string why = fit == Fit::nothing ? fmt::format("has no event {}", name.position)
                          : fit == Fit::another_log
                              ? fmt::format("has another event {}", name.position)
                              : fmt::format("has an event {} of another kind", name.position);
  return fmt::format(
      "{} {} is not of the log of this database, which {}: the database was made anew, restored "
      "or exchanged since, or is another one; nothing was changed in it",
      what, to_string(name), why);
}

}  // namespace dbcache::commands
