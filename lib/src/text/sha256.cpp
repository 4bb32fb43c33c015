#include "text/sha256.hpp"

#include <new>
#include <stdexcept>

#include <openssl/evp.h>

#include <dbcache/errors.hpp>

namespace dbcache::text {
namespace {

using ContextPointer = std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)>;

ContextPointer new_context() {
  ContextPointer context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  if (!context) throw std::bad_alloc();
  return context;
}

/// A digest call of OpenSSL fails only without memory, or if SHA-256 is disabled by configuration.
void require(int result) {
  if (result != 1)
    throw Error("OpenSSL cannot compute SHA-256 here; check whether openssl.cnf disables it");
}

/// Fetched once, since OpenSSL would search its providers for each new digest. Never freed, since
/// destructors of the program's statics may still compute hashes.
const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}

void begin(EVP_MD_CTX* context) {
  require(algorithm() == nullptr ? 0 : EVP_DigestInit_ex(context, algorithm(), nullptr));
}

}  // namespace

Digest sha256_of(std::string_view bytes) {
  Digest digest;
  require(algorithm() == nullptr ? 0
                                 : EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr,
                                              algorithm(), nullptr));
  return digest;
}

struct Sha256::Context {
  ContextPointer evp = new_context();
};

Sha256::Sha256() : context_(std::make_unique<Context>()) { begin(context_->evp.get()); }
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

Digest Sha256::finish() {
  Digest digest;
  require(EVP_DigestFinal_ex(context_->evp.get(), digest.data(), nullptr));
  begin(context_->evp.get());
  return digest;
}

}  // namespace dbcache::text
