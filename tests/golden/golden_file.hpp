#pragma once

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <boost/json/array.hpp>

#include "text/json_text.hpp"

namespace dbcache::test {

inline std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(GOLDEN_DIRECTORY) / name;
}

inline std::string read_golden(const std::string& name) {
  const std::ifstream file(golden_path(name), std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  if (!file) throw std::runtime_error("the golden file " + name + " cannot be read");
  return content.str();
}

/// Whether golden files are to be recorded anew rather than compared with.
inline bool updates_golden_files() {
  const char* const flag = std::getenv("DBCACHE_UPDATE_GOLDEN");
  return flag != nullptr && std::string(flag) == "1";
}

inline void write_golden(const std::string& name, const std::string& content) {
  std::ofstream(golden_path(name), std::ios::binary) << content;
}

/// The vectors of a JSON file.
inline boost::json::array read_vectors(const std::string& name) {
  return text::parse_json(read_golden(name), name).as_array();
}

/// What a vector says, as the name of a test.
inline std::string test_name(const std::string& says) {
  std::string name;
  bool begins_word = true;
  for (const char c : says) {
    const bool letter_or_digit = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter_or_digit) {
      name += begins_word ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    }
    begins_word = !letter_or_digit;
  }
  return name;
}

}  // namespace dbcache::test
