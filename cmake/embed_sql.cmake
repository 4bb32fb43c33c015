# Writes OUTPUT, a C++ file that holds the SQL files of SOURCE_DIR in order of their names.
# Run as: cmake -DSOURCE_DIR=... -DOUTPUT=... -DNAME=... -P embed_sql.cmake
file(GLOB files ${SOURCE_DIR}/[0-9][0-9][0-9][0-9]_*.sql)
list(SORT files)
set(rows "")
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME_WE)
  string(SUBSTRING ${name} 0 4 number)
  math(EXPR number "1${number} - 10000")
  file(READ ${file} sql)
  string(APPEND rows "    {${number}, \"${name}\", R\"dbcache_sql(${sql})dbcache_sql\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"store/migration.hpp\"

namespace dbcache::store {

const std::vector<Migration>& ${NAME}() {
  static const std::vector<Migration> migrations{
${rows}  };
  return migrations;
}

}  // namespace dbcache::store
")
