#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dbcache::cli {

/// The arguments of a command, each with the variable that parsing sets. A name with dashes is an
/// option, a name without is positional; `placeholder` stands for the value in the help. The
/// variables must outlive the parsing.
///
/// Hides CLI11, which takes seconds to compile: only parser.cpp includes it.
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
  /// An option that may be given several times, with one value each.
  void repeatable(const std::string& name, const std::string& placeholder,
                  std::vector<std::string>& values, const std::string& help);
  /// All remaining words, at least one. After `--` they are taken literally.
  void remaining(const std::string& name, std::vector<std::string>& words, const std::string& help);
  void flag(const std::string& name, bool& value, const std::string& help);
  void one_of(const std::string& name, const std::vector<std::string>& words,
              const std::string& placeholder, std::string& value, const std::string& help);

 private:
  CLI::App& parser_;
};

}  // namespace dbcache::cli
