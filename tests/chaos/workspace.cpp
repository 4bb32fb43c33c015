#include "chaos/workspace.hpp"

#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include <sys/file.h>

namespace dbcache::chaos {
namespace {

constexpr char separator = '.';  // neither ids' numbers nor tokens have it

std::string target_of(const std::filesystem::path& link) {
  char target[PATH_MAX];
  const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
  return size < 0 ? "" : std::string(target, static_cast<std::size_t>(size));
}

std::string token_of(std::string_view cluster_id) {
  const auto at = cluster_id.find(separator);
  return at == std::string_view::npos ? "" : std::string(cluster_id.substr(at + 1));
}

}  // namespace

/// A call's marks in the journal.
class Workspace::Call {
 public:
  Call(Workspace& workspace, boost::json::object record)
      : journal_(workspace.journal_), record_(std::move(record)) {
    record_["caller"] = workspace.caller_;
    record_["call"] = ++workspace.calls_;
    put("begin");
  }
  ~Call() { put("end"); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void add(std::string_view key, std::string_view value) { record_[key] = value; }

 private:
  void put(std::string_view mark) {
    boost::json::object marked = record_;
    marked["mark"] = mark;
    journal_.write(std::move(marked));
  }

  Journal& journal_;
  boost::json::object record_;
};

/// One change at a time. The kernel lets go of a killed process's lock.
class Workspace::FileLock {
 public:
  explicit FileLock(const Workspace& workspace)
      : file_(::open(workspace.lock_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    while (::flock(file_, LOCK_EX) != 0) {
      if (errno != EINTR) throw std::runtime_error("the workspace could not be locked");
    }
  }
  ~FileLock() { ::close(file_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_;
};

Workspace::Workspace(const std::filesystem::path& directory, std::int64_t caller)
    : running_((std::filesystem::create_directories(directory / "running"), directory / "running")),
      lock_(directory / "lock"),
      journal_(directory / "journal"),
      caller_(caller) {}

std::string Workspace::create(std::string_view idempotency_token, std::string_view config_hash,
                              std::chrono::milliseconds takes) {
  Call call(*this,
            {{"what", "create"}, {"token", idempotency_token}, {"config_hash", config_hash}});
  spend(takes);
  const auto link = link_of(idempotency_token);
  const FileLock locked(*this);
  std::string id = target_of(link);
  if (id.empty()) {
    id = "c" + std::to_string(monotonic_now()) + separator + std::string(idempotency_token);
    if (::symlink(id.c_str(), link.c_str()) != 0) {
      throw std::runtime_error("the workspace could not create " + id);
    }
  }
  call.add("cluster_id", id);
  return id;
}

bool Workspace::runs(std::string_view cluster_id) const {
  return target_of(link_of(token_of(cluster_id))) == cluster_id;
}

bool Workspace::runs_with(std::string_view idempotency_token) const {
  return !target_of(link_of(idempotency_token)).empty();
}

void Workspace::remove(std::string_view cluster_id, std::chrono::milliseconds takes) {
  const Call call(
      *this, {{"what", "remove"}, {"cluster_id", cluster_id}, {"token", token_of(cluster_id)}});
  spend(takes);
  end(link_of(token_of(cluster_id)), cluster_id);
}

void Workspace::remove_created_with(std::string_view idempotency_token,
                                    std::chrono::milliseconds takes) {
  const auto link = link_of(idempotency_token);
  const std::string id = target_of(link);
  const Call call(*this, {{"what", "remove"}, {"cluster_id", id}, {"token", idempotency_token}});
  spend(takes);
  end(link, id);
}

void Workspace::die(std::string_view cluster_id) {
  const Call call(*this, {{"what", "die"}, {"cluster_id", cluster_id}});
  end(link_of(token_of(cluster_id)), cluster_id);
}

std::vector<std::string> Workspace::running() const {
  std::vector<std::string> ids;
  for (const auto& entry : std::filesystem::directory_iterator(running_)) {
    ids.push_back(target_of(entry.path()));
  }
  return ids;
}

std::filesystem::path Workspace::link_of(std::string_view idempotency_token) const {
  return running_ / std::string(idempotency_token);
}

void Workspace::end(const std::filesystem::path& link, std::string_view cluster_id) const {
  const FileLock locked(*this);
  if (target_of(link) == cluster_id) ::unlink(link.c_str());
}

}  // namespace dbcache::chaos
