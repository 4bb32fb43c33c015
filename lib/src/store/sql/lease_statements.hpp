#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "store/sql/statements.hpp"

// The statements by which a step of a lease, and a sweep, find rows by index. Each text keeps its
// address, as those of statements.hpp do. A `Dialect` says, in addition to what that file asks,
//
//   static constexpr std::string_view entry_clusters;
//     a table with the columns cluster_id and config_hash, indexed by cluster_id, of all entries
//   static constexpr std::string_view is_active;
//     a condition on a row of clusters, which an index serves
namespace dbcache::store::sql {

template <class Dialect>
class LeaseStatements {
 public:
  // Parameters: the value, the id after which, the most rows.
  static const std::string& leases_of() {
    static const std::string& text = page<rows::Lease>("config_hash");
    return text;
  }
  static const std::string& leases_on() {
    static const std::string& text = page<rows::Lease>("cluster_id");
    return text;
  }
  static const std::string& participants_of() {
    static const std::string& text = page<rows::Participant>("run");
    return text;
  }

  // Parameters: the id after which, the most rows.
  static const std::string& leases_after() {
    static const std::string& text = page_of_all<rows::Lease>();
    return text;
  }
  static const std::string& participants_after() {
    static const std::string& text = page_of_all<rows::Participant>();
    return text;
  }

  /// Parameter: a config hash.
  static const std::string& count_leases_of() {
    static const std::string& text =
        keep(fmt::format("SELECT count(*) FROM leases WHERE config_hash = {}", p(1)));
    return text;
  }

  // Parameter: a cluster id. Both in order of config_hash.
  static const std::string& entries_naming() {
    static const std::string& text =
        keep(fmt::format("{} WHERE config_hash IN ({}) AND cluster_id = {} ORDER BY config_hash",
                         all<RegistryEntry>(), hashes_naming(), p(1)));
    return text;
  }
  static const std::string& shares_naming() {
    static const std::string& text = keep(fmt::format(
        "{} WHERE config_hash IN ({}) ORDER BY config_hash", all<rows::Share>(), hashes_naming()));
    return text;
  }

  static const std::string& active_clusters() {
    static const std::string& text = keep(
        fmt::format("{} WHERE {} ORDER BY +id DESC", all<CachedCluster>(), Dialect::is_active));
    return text;
  }

  /// Parameter: the time. `+id`, so that SQLite looks among the active rows, not among all.
  static const std::string& active_cluster() {
    static const std::string& text =
        keep(fmt::format("{} WHERE {} AND expiry_time > {} ORDER BY +id DESC LIMIT 1",
                         all<CachedCluster>(), Dialect::is_active, p(1)));
    return text;
  }

  /// Parameter: a config hash.
  static const std::string& terminations_of() {
    static const std::string& text = keep(fmt::format("{} WHERE config_hash = {} ORDER BY subject",
                                                      all<rows::PendingTermination>(), p(1)));
    return text;
  }
  static const std::string& running_terminations() {
    static const std::string& text = keep(fmt::format(
        "{} WHERE termination IS NOT NULL ORDER BY subject", all<rows::PendingTermination>()));
    return text;
  }
  // Parameters: how many to leave out, the most rows, the time by which they are due or NULL, and a
  // host.
  static const std::string& waiting_terminations() {
    static const std::string& text = waiting("");
    return text;
  }
  static const std::string& waiting_terminations_of_host() {
    static const std::string& text = waiting(fmt::format("AND host = {}", p(4, "text")));
    return text;
  }
  static const std::string& waiting_terminations_without_host() {
    static const std::string& text = waiting("AND host IS NULL");
    return text;
  }

  /// Parameters: the config hash after which, the most rows.
  static const std::string& busy_shares_after() {
    static const std::string& text = keep(
        fmt::format("{} WHERE (creation IS NOT NULL OR \"check\" IS NOT NULL) AND config_hash > {} "
                    "ORDER BY config_hash LIMIT {}",
                    all<rows::Share>(), p(1), p(2)));
    return text;
  }

  /// Parameters: the time, the config hash after which, the most rows.
  static const std::string& expired_configurations() {
    static const std::string& text =
        keep(fmt::format("SELECT shares.config_hash FROM clusters JOIN {} AS named "
                         "ON named.cluster_id = clusters.cluster_id "
                         "JOIN shares ON shares.config_hash = named.config_hash "
                         "WHERE clusters.expiry_time <= {} AND shares.origin = 'acquired' "
                         "AND shares.config_hash > {} AND NOT EXISTS "
                         "(SELECT 1 FROM leases WHERE leases.cluster_id = clusters.cluster_id) "
                         "ORDER BY shares.config_hash LIMIT {}",
                         Dialect::entry_clusters, p(1, "text"), p(2, "text"), p(3, "bigint")));
    return text;
  }

 private:
  // On the heap for ever: a thread may still use a text while the process exits.
  static const std::string& keep(std::string text) { return *new std::string(std::move(text)); }
  static std::string p(int number, std::string_view type = {}) {
    return Dialect::parameter(number, type);
  }
  template <class Row>
  static const std::string& all() {
    return Statements<Dialect, Row>::select();
  }
  template <class Row>
  static const std::string& page(std::string_view column) {
    return keep(fmt::format("{} WHERE {} = {} AND id > {} ORDER BY id LIMIT {}", all<Row>(), column,
                            p(1), p(2), p(3)));
  }
  template <class Row>
  static const std::string& page_of_all() {
    return keep(fmt::format("{} WHERE id > {} ORDER BY id LIMIT {}", all<Row>(), p(1), p(2)));
  }
  static std::string hashes_naming() {
    return fmt::format("SELECT config_hash FROM {} WHERE cluster_id = {}", Dialect::entry_clusters,
                       p(1));
  }
  static const std::string& waiting(std::string_view condition) {
    return keep(fmt::format(
        "{0} WHERE termination IS NULL {1} "
        "AND ({2} IS NULL OR retry_at IS NULL OR retry_at <= {2}) "
        "ORDER BY owed_at, subject LIMIT {3} OFFSET {4}",
        all<rows::PendingTermination>(), condition, p(3, "text"), p(2, "bigint"), p(1, "bigint")));
  }
};

}  // namespace dbcache::store::sql
