#include "cli/config_file.hpp"

#include <cerrno>
#include <fstream>
#include <istream>
#include <system_error>

#include <dbcache/errors.hpp>

namespace dbcache::cli {
namespace {

/// One byte more than a configuration may have, so that the library refuses it: the stream may be
/// endless.
constexpr std::size_t most_bytes = ClusterConfig::max_bytes + 1;

std::string read_text(std::istream& in) {
  std::string text(most_bytes, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

}  // namespace

ClusterConfig read_config(Terminal& terminal, const std::string& path) {
  if (path == "-") return ClusterConfig::parse(read_text(terminal.in));
  std::ifstream file(path, std::ios::binary);
  const std::string text = file.is_open() ? read_text(file) : "";
  const int reason = errno;
  // Opening a directory succeeds; reading it fails.
  if (!file.is_open() || file.bad()) {
    throw InvalidArgument("the configuration " + path +
                          " cannot be read: " + std::generic_category().message(reason));
  }
  return ClusterConfig::parse(text);
}

}  // namespace dbcache::cli
