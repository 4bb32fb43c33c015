#include "text/redacted_url.hpp"

#include <algorithm>

#include <boost/algorithm/string/predicate.hpp>

#include "text/utf8.hpp"

namespace dbcache::text {
namespace {

constexpr std::string_view mark = "***";
constexpr auto none = std::string_view::npos;

/// Where user and password end. Allows for passwords with `/`, `?` or `@` that are not escaped.
std::size_t end_of_user(std::string_view rest) {
  const auto last_before = [rest](char end) { return rest.substr(0, rest.find(end)).rfind('@'); };
  const auto path = last_before('/');
  const auto query = last_before('?');
  if (path == none || query == none) return std::min(path, query);
  return std::max(path, query);
}

/// A name with %XX counts as secret, since it is not decoded.
bool may_be_secret(std::string_view parameter) {
  return boost::algorithm::icontains(parameter, "password") ||
         boost::algorithm::icontains(parameter, "secret") || parameter.find('%') != none;
}

std::string redacted_query(std::string_view query) {
  std::string shown;
  for (bool more = true; more;) {
    const auto end = query.find('&');
    const std::string_view parameter = query.substr(0, end);
    const auto equals = parameter.find('=');
    if (equals != none && may_be_secret(parameter.substr(0, equals))) {
      shown.append(parameter.substr(0, equals + 1)).append(mark);
    } else {
      shown += parameter;
    }
    more = end != none;
    if (more) shown += '&';
    query.remove_prefix(more ? end + 1 : query.size());
  }
  return shown;
}

}  // namespace

std::string redacted_url(std::string_view database) {
  if (!database.starts_with("postgresql://") && !database.starts_with("postgres://")) {
    return to_valid_utf8(database);
  }
  const auto begin = database.find("://") + 3;
  std::string shown(database.substr(0, begin));
  std::string_view rest = database.substr(begin);
  if (const auto end = end_of_user(rest); end != none) {
    const auto colon = rest.substr(0, end).find(':');
    shown += rest.substr(0, std::min(colon, end));
    if (colon != none) shown.append(":").append(mark);
    rest.remove_prefix(end);
  }
  const auto query = rest.find('?');
  shown += rest.substr(0, query);
  if (query != none) shown.append("?").append(redacted_query(rest.substr(query + 1)));
  return to_valid_utf8(shown);
}

}  // namespace dbcache::text
