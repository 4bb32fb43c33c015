#pragma once

#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "support/hosts.hpp"
#include "support/postgres_server.hpp"
#include "support/process_namespace.hpp"

namespace dbcache::chaos {

/// Starts a program beside this one: no process is forked with threads or connections open.
pid_t spawn(const std::vector<std::string>& arguments, int standard_input);

/// A PostgreSQL server that is the run's own, and what befalls it; and the hosts that use it, if
/// they are to be several: each with a network and processes of its own.
class Fleet {
 public:
  enum class Standby { no, yes };
  Fleet(int hosts, Standby standby);

  /// 0: workers are on the machine itself.
  [[nodiscard]] int hosts() const { return static_cast<int>(processes_.size()); }
  /// As this process reaches it, whatever becomes of the hosts' links.
  [[nodiscard]] const std::string& url() const { return url_; }
  /// As workers reach it.
  [[nodiscard]] const std::string& workers_url() const { return workers_url_; }

  /// `spawn` on a host.
  pid_t spawn_on(int host, const std::vector<std::string>& arguments, int standard_input) const;
  /// By which its processes are told apart.
  [[nodiscard]] const std::string& processes_of(int host) const;

  void kill_server() const { server_->kill(); }
  void start_server() const;
  /// The standby takes over from the server that was killed.
  void promote_standby();
  void unplug(int host) const { network_->unplug(host + 1); }
  void plug_in(int host) const { network_->plug_in(host + 1); }

 private:
  std::unique_ptr<test::Hosts> network_;  // of the server, and then of the others
  std::vector<test::ProcessNamespace> processes_;
  std::unique_ptr<test::PostgresServer> server_;
  std::unique_ptr<test::PostgresServer> standby_;
  std::string url_;
  std::string workers_url_;
};

}  // namespace dbcache::chaos
