#include "workspace/libcurl.hpp"

#include <atomic>
#include <dlfcn.h>
#include <memory>

#include <fmt/format.h>

#include <dbcache/databricks.hpp>

namespace dbcache::workspace {
namespace {

/// The name promises a stable interface (https://curl.se/libcurl/abi.html).
constexpr const char* library = "libcurl.so.4";

[[noreturn]] void refuse_libcurl(const char* reason) {
  throw databricks::WorkspaceUnavailable(
      fmt::format("the workspace cannot be asked: {} cannot be used ({}); install it (libcurl4)",
                  library, reason),
      databricks::Refusal{}, /*may_succeed_again=*/false);
}

template <class Function>
void find_in_libcurl(void* from, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(from, name));
  if (function == nullptr) refuse_libcurl(::dlerror());
}

Libcurl load_libcurl() {
  void* const from = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (from == nullptr) refuse_libcurl(::dlerror());
  Libcurl curl{};
  find_in_libcurl(from, "curl_easy_init", curl.easy_init);
  find_in_libcurl(from, "curl_easy_setopt", curl.easy_setopt);
  find_in_libcurl(from, "curl_easy_perform", curl.easy_perform);
  find_in_libcurl(from, "curl_easy_getinfo", curl.easy_getinfo);
  find_in_libcurl(from, "curl_easy_cleanup", curl.easy_cleanup);
  find_in_libcurl(from, "curl_easy_reset", curl.easy_reset);
  find_in_libcurl(from, "curl_easy_strerror", curl.easy_strerror);
  find_in_libcurl(from, "curl_slist_append", curl.slist_append);
  find_in_libcurl(from, "curl_slist_free_all", curl.slist_free_all);
  CURLcode (*global_init)(long) = nullptr;
  find_in_libcurl(from, "curl_global_init", global_init);
  // Not thread-safe beside another user of libcurl in the program before its version 7.84
  // (https://curl.se/libcurl/c/curl_global_init.html).
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) refuse_libcurl("curl_global_init failed");
  return curl;
}

}  // namespace

const Libcurl& Libcurl::load() {
  // No local static: a fork while another thread makes it would leave its guard taken for ever. Two
  // threads that come at once load the same library.
  static std::atomic<const Libcurl*> loaded{nullptr};
  if (const Libcurl* const curl = loaded.load()) return *curl;
  auto made = std::make_unique<const Libcurl>(load_libcurl());
  const Libcurl* none = nullptr;
  return loaded.compare_exchange_strong(none, made.get()) ? *made.release() : *none;
}

}  // namespace dbcache::workspace
