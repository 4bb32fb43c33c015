#pragma once

#include <curl/curl.h>

namespace dbcache::workspace {

/// The functions of libcurl. It is loaded when first asked for, since most processes make no
/// request, and never unloaded: threads of its own may still run at the end of the process.
struct Libcurl {
  CURL* (*easy_init)();
  CURLcode (*easy_setopt)(CURL*, CURLoption, ...);
  CURLcode (*easy_perform)(CURL*);
  CURLcode (*easy_getinfo)(CURL*, CURLINFO, ...);
  void (*easy_cleanup)(CURL*);
  void (*easy_reset)(CURL*);
  const char* (*easy_strerror)(CURLcode);
  curl_slist* (*slist_append)(curl_slist*, const char*);
  void (*slist_free_all)(curl_slist*);

  /// Throws databricks::WorkspaceUnavailable where it cannot be loaded. Thread-safe.
  static const Libcurl& load();
};

}  // namespace dbcache::workspace
