#include "text/sha256.hpp"

#include <new>
#include <stdexcept>

#include <openssl/evp.h>

#include <dbcache/errors.hpp>

namespace dbcache::text {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using ContextPointer = std::unique_ptr<EVP_MD_CTX, FreeContext>;

ContextPointer new_context() {
  ContextPointer context(EVP_MD_CTX_new());
  if (!context) throw std::bad_alloc();
  return context;
}

/// OpenSSL's digest calls fail only for want of memory, or where SHA-256 was configured away.
void require(int result) {
  if (result != 1)
    throw Error("OpenSSL cannot compute SHA-256 on this system; check its configuration");
}

}  // namespace

struct Sha256::Context {
  ContextPointer evp = new_context();
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  require(EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr));
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size()));
  return *this;
}

Digest Sha256::digest() const {
  const ContextPointer copy = new_context();
  require(EVP_MD_CTX_copy_ex(copy.get(), context_->evp.get()));
  Digest digest;
  require(EVP_DigestFinal_ex(copy.get(), digest.data(), nullptr));
  return digest;
}

}  // namespace dbcache::text
