#include "projections/rows.hpp"

#include "events/fields.hpp"

namespace json = boost::json;

namespace dbcache::projections {
namespace {

template <class Row>
json::object columns_of(const Row& row) {
  json::object columns;
  events::write_fields(row, columns);
  for (auto& column : columns) {
    if (column.value().is_bool()) column.value() = column.value().get_bool() ? 1 : 0;
  }
  return columns;
}

}  // namespace

json::object stored_columns(const CachedCluster& row) { return columns_of(row); }
json::object stored_columns(const RegistryEntry& row) { return columns_of(row); }

}  // namespace dbcache::projections
