#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "store/postgres/libpq.hpp"

namespace dbcache::store::postgres {

/// The rows that a statement returned. Copies share them.
class Result {
 public:
  explicit Result(PGresult* result);

  [[nodiscard]] int rows() const;
  [[nodiscard]] int columns() const;
  [[nodiscard]] std::string_view name(int column) const;
  [[nodiscard]] bool is_null(int row, int column) const;
  [[nodiscard]] std::string_view text(int row, int column) const;
  /// Throws CorruptDatabase if the column holds anything else.
  [[nodiscard]] std::int64_t integer(int row, int column) const;
  [[nodiscard]] bool is_true(int row, int column) const { return text(row, column) == "t"; }
  /// Of a bytea.
  [[nodiscard]] std::string bytes(int row, int column) const;
  [[nodiscard]] bool is_integer(int column) const;
  [[nodiscard]] bool is_boolean(int column) const;

 private:
  std::shared_ptr<PGresult> result_;
};

}  // namespace dbcache::store::postgres
