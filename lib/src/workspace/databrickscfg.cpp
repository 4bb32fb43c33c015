#include "workspace/databrickscfg.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <pwd.h>
#include <system_error>
#include <unistd.h>

#include <boost/algorithm/string/case_conv.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>
#include <sys/stat.h>

#include <dbcache/databricks.hpp>

#include "system/environment.hpp"
#include "system/logger.hpp"

namespace dbcache::workspace {

using databricks::NotAuthenticated;

namespace {

constexpr std::string_view settings_section = "__settings__";
constexpr const char* usual_default_profile = "DEFAULT";
constexpr std::size_t most_config_bytes = std::size_t{1} << 20;

[[noreturn]] void refuse_config(const std::string& path, std::size_t line, const char* why) {
  throw NotAuthenticated(fmt::format("{}:{}: {}", path, line, why));
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_comment_mark(char c) { return c == '#' || c == ';'; }

std::string trimmed(std::string_view text) {
  return boost::algorithm::trim_copy_if(std::string(text), is_blank);
}

/// A line without its comment, and without blanks around it.
std::string without_comment(std::string_view line) {
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (is_comment_mark(line[at]) && (at == 0 || is_blank(line[at - 1]))) {
      line = line.substr(0, at);
    }
  }
  return trimmed(line);
}

std::string without_quotes(std::string value) {
  constexpr std::string_view quotes = "\"'";
  if (value.size() >= 2 && value.front() == value.back() &&
      quotes.find(value.front()) != std::string_view::npos) {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

/// Reads line after line into a DatabricksConfig.
class ConfigReader {
 public:
  explicit ConfigReader(std::string path) { config_.path = std::move(path); }

  void read(const std::string& line) {
    ++number_;
    if (std::any_of(line.begin(), line.end(),
                    [](unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7f; })) {
      refuse("there is a control character; save the file as UTF-8 text");
    }
    const std::string text = without_comment(line);
    if (text.empty()) return;
    if (text.front() == '[') {
      begin_section(text);
    } else {
      read_value(text);
    }
  }

  DatabricksConfig finish() {
    config_.exists = true;
    config_.default_profile = settings_.value("default_profile");
    if (config_.default_profile.empty()) config_.default_profile = usual_default_profile;
    return std::move(config_);
  }

 private:
  [[noreturn]] void refuse(const char* why) const { refuse_config(config_.path, number_, why); }

  void begin_section(const std::string& text) {
    const std::string name = trimmed(std::string_view(text).substr(1, text.size() - 2));
    if (text.back() != ']' || name.empty()) refuse("a section is written [NAME]");
    if (name == settings_section) {
      if (in_settings_ || !settings_.name.empty()) refuse("this section is there twice");
      settings_.name = name;
      in_settings_ = true;
      return;
    }
    in_settings_ = false;
    if (config_.find(name) != nullptr) refuse("this profile is there twice; remove one");
    config_.profiles.push_back({name});
  }

  void read_value(const std::string& text) {
    const std::size_t mark = text.find_first_of("=:");
    if (mark == std::string::npos) refuse("this is neither [NAME] nor KEY = VALUE");
    const std::string key =
        boost::algorithm::to_lower_copy(trimmed(std::string_view(text).substr(0, mark)));
    if (key.empty()) refuse("there is no key in front of the value");
    if (!in_settings_ && config_.profiles.empty()) {
      config_.profiles.push_back({usual_default_profile});
    }
    Profile& section = in_settings_ ? settings_ : config_.profiles.back();
    const bool is_new =
        section.values
            .emplace(key, without_quotes(trimmed(std::string_view(text).substr(mark + 1))))
            .second;
    if (!is_new) refuse("this key is there twice in its profile; remove one");
  }

  DatabricksConfig config_;
  Profile settings_;
  bool in_settings_ = false;
  std::size_t number_ = 0;
};

std::string home_directory() {
  std::string home = system::environment_variable("HOME");
  if (!home.empty()) return home;
  passwd entry{};
  passwd* found = nullptr;
  std::string space(std::size_t{16} << 10, '\0');
  ::getpwuid_r(::getuid(), &entry, space.data(), space.size(), &found);
  return found == nullptr ? "" : found->pw_dir;
}

std::string expand_home(const std::string& path) {
  return path.starts_with("~/") ? home_directory() + path.substr(1) : path;
}

[[noreturn]] void refuse_file(const std::string& path, const std::string& why) {
  throw NotAuthenticated(
      fmt::format("the config file {} cannot be read: {}; name another in DATABRICKS_CONFIG_FILE, "
                  "or set DATABRICKS_HOST and DATABRICKS_TOKEN",
                  path, why));
}

class ConfigDescriptor {
 public:
  // Not a pipe that nobody writes: to open one would block.
  explicit ConfigDescriptor(const std::string& path)
      : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~ConfigDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  ConfigDescriptor(const ConfigDescriptor&) = delete;
  ConfigDescriptor& operator=(const ConfigDescriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

void warn_of_readers(const std::string& path, const struct stat& status) {
  static std::atomic<bool> warned = false;
  constexpr mode_t others = 077;
  if ((status.st_mode & others) == 0 || warned.exchange(true)) return;
  system::logger()->warn(
      "{} may have secrets, and other users may read it or write to it; run: chmod 600 {}", path,
      path);
}

std::string read_all(const std::string& path, int descriptor) {
  std::string text;
  std::string piece(std::size_t{16} << 10, '\0');
  for (;;) {
    const ssize_t got = ::read(descriptor, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse_file(path, std::system_category().message(errno));
    if (got == 0) return text;
    text.append(piece, 0, static_cast<std::size_t>(got));
    if (text.size() > most_config_bytes) refuse_file(path, "it has more than 1 MiB");
  }
}

}  // namespace

std::string Profile::value(const std::string& key) const {
  const auto found = values.find(key);
  return found == values.end() ? "" : found->second;
}

const Profile* DatabricksConfig::find(std::string_view name) const {
  const auto found = std::find_if(profiles.begin(), profiles.end(),
                                  [&](const Profile& profile) { return profile.name == name; });
  return found == profiles.end() ? nullptr : &*found;
}

DatabricksConfig parse_databrickscfg(std::string_view text, std::string path) {
  constexpr std::string_view utf8_mark = "\xEF\xBB\xBF";
  if (text.starts_with(utf8_mark)) text.remove_prefix(utf8_mark.size());
  ConfigReader reader(std::move(path));
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    reader.read(std::string(line));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return reader.finish();
}

DatabricksConfig load_databrickscfg(const std::string& path) {
  std::string given = path.empty() ? system::environment_variable("DATABRICKS_CONFIG_FILE") : path;
  const bool must_exist = !given.empty();
  given = expand_home(must_exist ? given : "~/.databrickscfg");
  const ConfigDescriptor file(given);
  if (file.number() < 0) {
    const int error = errno;
    if (!must_exist && (error == ENOENT || error == ENOTDIR)) {
      DatabricksConfig none;
      none.path = given;
      none.default_profile = usual_default_profile;
      return none;
    }
    refuse_file(given, std::system_category().message(error));
  }
  struct stat status {};
  if (::fstat(file.number(), &status) != 0 || !S_ISREG(status.st_mode)) {
    refuse_file(given, "it is not a file");
  }
  warn_of_readers(given, status);
  return parse_databrickscfg(read_all(given, file.number()), given);
}

}  // namespace dbcache::workspace
