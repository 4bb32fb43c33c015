#include "workspace/auto_values.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace json = boost::json;

namespace dbcache::workspace {
namespace {

using databricks::InvalidClusterConfig;

constexpr std::string_view auto_mark = "auto:";

const json::array* list_at(const json::object& answer, const char* key) {
  const json::value* const value = answer.if_contains(key);
  return value != nullptr && value->is_array() ? &value->get_array() : nullptr;
}

std::string_view word_at(const json::object& object, const char* key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string())
                                                : std::string_view();
}

bool is_true_at(const json::object& object, const char* key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

double amount_at(const json::object& object, const char* key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0;
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// 15.4 of `15.4.x-scala2.12`.
std::optional<std::pair<int, int>> version_of(std::string_view key) {
  std::array<int, 2> numbers{};
  for (int& number : numbers) {
    const std::size_t digits = std::min(key.find_first_not_of("0123456789"), key.size());
    constexpr std::size_t most_digits = 4;
    if (digits == 0 || digits > most_digits) return std::nullopt;
    for (const char digit : key.substr(0, digits)) number = number * 10 + (digit - '0');
    key.remove_prefix(digits);
    if (!key.starts_with('.')) return std::nullopt;
    key.remove_prefix(1);
  }
  return std::pair(numbers[0], numbers[1]);
}

/// The value of a key that asks for one, without the mark.
std::optional<std::string> asked_for(const json::object& spec, const char* key) {
  const std::string_view value = word_at(spec, key);
  if (!value.starts_with(auto_mark)) return std::nullopt;
  return std::string(value.substr(auto_mark.size()));
}

std::string spark_version_for(const std::string& word, const ClustersApi& clusters,
                              const Bounds& bounds) {
  if (word != "latest" && word != "latest-lts" && word != "latest-lts-ml") {
    throw InvalidClusterConfig(
        fmt::format("spark_version is auto:{}; dbcache knows auto:latest, auto:latest-lts and "
                    "auto:latest-lts-ml",
                    word));
  }
  const auto answer = clusters.api().get("/api/2.1/clusters/spark-versions", bounds,
                                         "the Spark versions cannot be listed");
  return latest_spark_version(answer, word != "latest", word == "latest-lts-ml");
}

std::string node_type_for(const std::string& word, const ClustersApi& clusters,
                          const Bounds& bounds) {
  if (word != "smallest") {
    throw InvalidClusterConfig(
        fmt::format("node_type_id is auto:{}; dbcache knows auto:smallest", word));
  }
  return smallest_node_type(clusters.api().get("/api/2.1/clusters/list-node-types", bounds,
                                               "the node types cannot be listed"));
}

void replace(json::object& spec, const char* key, const std::string& value,
             const ClustersApi& clusters) {
  if (value.empty()) {
    throw InvalidClusterConfig(
        fmt::format("{} has no {} that fits {}", clusters.api().host(), key, word_at(spec, key)));
  }
  spec[key] = value;
}

}  // namespace

std::string latest_spark_version(const json::object& answer, bool long_term, bool ml) {
  std::string found;
  std::tuple<std::pair<int, int>, std::string> best;
  const json::array* const versions = list_at(answer, "versions");
  if (versions == nullptr) return found;
  for (const json::value& one : *versions) {
    if (!one.is_object()) continue;
    const std::string_view key = word_at(one.get_object(), "key");
    const std::string_view name = word_at(one.get_object(), "name");
    const auto version = version_of(key);
    const bool fits = version && !has(name, "Beta") && has(key, "-ml-") == ml &&
                      !has(key, "-gpu-") && !has(key, "-photon-") && !has(key, "-aarch64-") &&
                      !has(key, "-hls-") && (!long_term || has(name, "LTS"));
    if (!fits) continue;
    const bool better = found.empty() || *version > std::get<0>(best) ||
                        (*version == std::get<0>(best) && key < std::get<1>(best));
    if (!better) continue;
    found = key;
    best = {*version, found};
  }
  return found;
}

namespace {

/// Whether the cloud's account can have nodes of this type at all, as the official SDKs see it.
bool is_available(const json::object& type) {
  const json::value* const info = type.if_contains("node_info");
  if (info == nullptr || !info->is_object()) return true;
  const json::array* const status = list_at(info->get_object(), "status");
  return status == nullptr || std::none_of(status->begin(), status->end(), [](const auto& word) {
           return word == "NotAvailableInRegion" || word == "NotEnabledOnSubscription";
         });
}

}  // namespace

std::string smallest_node_type(const json::object& answer) {
  std::string found;
  std::tuple<double, double, std::string> least;
  const json::array* const types = list_at(answer, "node_types");
  if (types == nullptr) return found;
  for (const json::value& one : *types) {
    if (!one.is_object()) continue;
    const json::object& type = one.get_object();
    const std::string id(word_at(type, "node_type_id"));
    if (id.empty() || !is_available(type) || is_true_at(type, "is_deprecated") ||
        is_true_at(type, "is_hidden") || is_true_at(type, "is_graviton") ||
        amount_at(type, "num_gpus") > 0) {
      continue;
    }
    std::tuple<double, double, std::string> size{amount_at(type, "num_cores"),
                                                 amount_at(type, "memory_mb"), id};
    if (!found.empty() && size >= least) continue;
    least = std::move(size);
    found = id;
  }
  return found;
}

void resolve_auto(json::object& spec, const ClustersApi& clusters, const Bounds& bounds) {
  if (const auto word = asked_for(spec, "spark_version")) {
    replace(spec, "spark_version", spark_version_for(*word, clusters, bounds), clusters);
  }
  for (const char* const key : {"node_type_id", "driver_node_type_id"}) {
    if (const auto word = asked_for(spec, key)) {
      replace(spec, key, node_type_for(*word, clusters, bounds), clusters);
    }
  }
}

}  // namespace dbcache::workspace
