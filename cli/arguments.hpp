#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dbcache::cli {

/// What a command takes, each with the variable that it goes to. A name with dashes is an option's,
/// one without a positional's; `placeholder` stands for the value in the help. The variables must
/// outlive the parsing.
///
/// A narrow face of CLI11: that takes seconds to compile, and so only parser.cpp includes it.
class Arguments {
 public:
  explicit Arguments(CLI::App& parser) : parser_(parser) {}

  void required(const std::string& name, std::string& value, const std::string& help);
  void required(const std::string& name, const std::string& placeholder, std::string& value,
                const std::string& help);
  void required(const std::string& name, std::int64_t& value, const std::string& help);
  void required(const std::string& name, const std::string& placeholder, std::int64_t& value,
                const std::string& help);
  void optional(const std::string& name, const std::string& placeholder,
                std::optional<std::string>& value, const std::string& help);
  void optional(const std::string& name, const std::string& placeholder,
                std::optional<std::int64_t>& value, const std::string& help);
  void optional(const std::string& name, const std::string& placeholder,
                std::optional<double>& value, const std::string& help);
  /// May be given several times, with one value each.
  void repeatable(const std::string& name, const std::string& placeholder,
                  std::vector<std::string>& values, const std::string& help);
  /// At least one word, and all that follow; after `--` they are taken as they are.
  void rest(const std::string& name, std::vector<std::string>& words, const std::string& help);
  void flag(const std::string& name, bool& value, const std::string& help);
  void one_of(const std::string& name, const std::vector<std::string>& words,
              const std::string& placeholder, std::string& value, const std::string& help);

 private:
  CLI::App& parser_;
};

}  // namespace dbcache::cli
