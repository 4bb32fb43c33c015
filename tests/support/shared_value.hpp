#pragma once

#include <new>
#include <stdexcept>

#include <sys/mman.h>

namespace dbcache::test {

/// A value that processes forked after it share.
template <class Value>
class SharedValue {
 public:
  SharedValue() {
    void* const memory =
        ::mmap(nullptr, sizeof(Value), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
    value_ = new (memory) Value{};
  }
  ~SharedValue() { ::munmap(value_, sizeof(Value)); }
  SharedValue(const SharedValue&) = delete;
  SharedValue& operator=(const SharedValue&) = delete;

  Value& operator*() const { return *value_; }
  Value* operator->() const { return value_; }

 private:
  Value* value_;
};

}  // namespace dbcache::test
