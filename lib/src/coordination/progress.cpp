#include "coordination/progress.hpp"

#include <utility>

#include "input/redact.hpp"
#include "system/environment.hpp"
#include "system/logger.hpp"
#include "text/utf8.hpp"

namespace dbcache::coordination {
namespace {

constexpr std::chrono::seconds show_every{1};
constexpr std::chrono::seconds write_every{5};
constexpr std::size_t most_progress_bytes = 200;

/// Valid UTF-8 with a space for each control character: U+0000 to U+001F, U+007F to U+009F.
std::string without_controls(std::string_view text) {
  std::string clean;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool is_c1 = byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0;
    if (is_c1) ++at;
    clean += byte < ' ' || byte == 0x7F || is_c1 ? ' ' : text[at];
  }
  return clean;
}

/// On one line, without secrets.
std::string clean_progress(std::string_view doing) {
  const input::Redactor redactor(system::Environment::read().databricks_token);
  const std::string clean = without_controls(text::to_valid_utf8(redactor.text(doing)));
  return std::string(text::cut_utf8(clean, most_progress_bytes));
}

}  // namespace

Progress::Progress(const Coordinator& coordinator, std::string config_hash, std::int64_t creation,
                   Holder creator, std::function<void(const WaitProgress&)> on_wait,
                   SteadyClock::time_point began)
    : coordinator_(coordinator),
      config_hash_(std::move(config_hash)),
      creation_(creation),
      creator_(std::move(creator)),
      on_wait_(std::move(on_wait)),
      began_(began),
      since_(coordinator.store().now()) {}

void Progress::tell(std::string_view given) {
  const std::string doing = clean_progress(given);
  const auto now = SteadyClock::now();
  tell_others(doing, now);
  tell_caller(doing, now);
}

void Progress::tell_caller(const std::string& doing, SteadyClock::time_point now) {
  if (!on_wait_) return;
  {
    const std::scoped_lock guard(mutex_);
    if (doing == shown_ && now < show_again_) return;
    shown_ = doing;
    show_again_ = now + show_every;
  }
  on_wait_({WaitProgress::For::cluster, describe(creator_, true), since_,
            std::chrono::duration_cast<std::chrono::milliseconds>(now - began_), doing});
}

void Progress::tell_others(const std::string& doing, SteadyClock::time_point now) {
  {
    const std::scoped_lock guard(mutex_);
    if (doing == written_ || now < write_again_) return;
    written_ = doing;
    write_again_ = now + write_every;
  }
  try {
    // The log of the creation may be gone, and telling must not make another.
    if (!coordinator_.store().engine().exists()) return;
    coordinator_.store().transact_in_steps(
        [&](store::Store::Transaction& transaction) {
          transaction.tell_progress(config_hash_, creation_, doing);
        },
        store::Engine::LockScope::streams);
  } catch (const std::exception& error) {
    {
      const std::scoped_lock guard(mutex_);
      written_.reset();
    }
    system::logger()->debug("what the cluster is doing could not be told to others: {}",
                            error.what());
  }
}

}  // namespace dbcache::coordination
