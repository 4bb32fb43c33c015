#include "rows/rows.hpp"

#include "rows/fields.hpp"
#include "text/json_text.hpp"

namespace json = boost::json;

namespace dbcache::rows {
namespace {

template <class Row>
json::object columns_of(const Row& row) {
  json::object columns;
  write_fields(row, columns);
  for (auto& column : columns) {
    json::value& value = column.value();
    if (value.is_bool()) {
      value = value.get_bool() ? 1 : 0;
    } else if (value.is_structured()) {
      value = json::string(text::json_text(value));
    }
  }
  return columns;
}

}  // namespace

json::object stored_columns(const CachedCluster& row) { return columns_of(row); }
json::object stored_columns(const RegistryEntry& row) { return columns_of(row); }
json::object stored_columns(const Share& row) { return columns_of(row); }
json::object stored_columns(const Lease& row) { return columns_of(row); }
json::object stored_columns(const Debt& row) { return columns_of(row); }
json::object stored_columns(const Participant& row) { return columns_of(row); }

}  // namespace dbcache::rows
