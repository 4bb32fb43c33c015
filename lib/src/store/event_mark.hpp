#pragma once

#include <string>
#include <string_view>

namespace dbcache::store {

/// The part of an event's name that binds it to its log: 16 hex digits of the SHA-256 over the
/// log's incarnation and the event's hash. docs/log-format.md describes it, with test vectors.
std::string event_mark(std::string_view hash, std::string_view incarnation);

}  // namespace dbcache::store
