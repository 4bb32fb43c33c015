#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The config file of Databricks' tools, `~/.databrickscfg`.
namespace dbcache::workspace {

/// A section of the file.
struct Profile {
  std::string name;
  std::map<std::string, std::string> values{};  ///< By key in lower case.

  /// Empty if there is no such key.
  [[nodiscard]] std::string value(const std::string& key) const;
};

struct DatabricksConfig {
  std::string path;                 ///< As messages name it.
  bool exists = false;              ///< Whether the file is there.
  std::vector<Profile> profiles{};  ///< Without `__settings__`.
  std::string default_profile{};    ///< `default_profile` of `[__settings__]`, else `DEFAULT`.

  [[nodiscard]] const Profile* find(std::string_view name) const;
};

/// Reads the text of the file: `[profile]`, `key = value` or `key: value`, lines of comment that
/// begin with `#` or `;`, and comments behind a blank and one of them. What stands in front of the
/// first section is of DEFAULT. Throws NotAuthenticated, with file and line and never with what the
/// line says, for anything else, and for a profile or a key of it that is there twice: one could
/// have the host of the other's token.
DatabricksConfig parse_databrickscfg(std::string_view text, std::string path);

/// Reads the file `path`, which may begin with `~/`, or else that of the environment:
/// DATABRICKS_CONFIG_FILE, else `~/.databrickscfg`. Only the last need not exist. Warns, once in a
/// process, of a file that others may read.
DatabricksConfig load_databrickscfg(const std::string& path);

}  // namespace dbcache::workspace
