#include <optional>

#include <dbcache/cache_manager.hpp>

// A manager that is used and destroyed after main has returned, as those of fixtures often are. It
// is made first, before whatever the library makes when it is first used.
namespace {

class Fixture {
 public:
  explicit Fixture(const char* database) : manager_({.database = database}) {
    manager_.register_shared_cluster_creation("hash-1", 1);
  }
  ~Fixture() { manager_.decrement_shared_cluster_usage("hash-1"); }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

 private:
  dbcache::CacheManager manager_;
};

std::optional<Fixture> fixture;

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  fixture.emplace(arguments[1]);
  return 0;
}
