#pragma once

#include <string>

#include "support/raw_database.hpp"

namespace dbcache::store {

/// SQLite's lock to write, held by a program that knows nothing of turns.
class ForeignWriter {
 public:
  explicit ForeignWriter(const std::string& path) : database_(test::open_raw(path)) {
    database_.exec("BEGIN IMMEDIATE");
  }
  void let_go() { database_.exec("ROLLBACK"); }

 private:
  SQLite::Database database_;
};

}  // namespace dbcache::store
