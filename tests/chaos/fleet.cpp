#include "chaos/fleet.hpp"

#include <cstring>
#include <spawn.h>
#include <stdexcept>
#include <unistd.h>

namespace dbcache::chaos {
namespace {

using test::Hosts;
using test::PostgresServer;

constexpr int of_server = 0;

}  // namespace

pid_t spawn(const std::vector<std::string>& arguments, int standard_input) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, standard_input, STDIN_FILENO);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error(std::string("posix_spawn: ") + std::strerror(error));
  return pid;
}

Fleet::Fleet(int hosts, Standby standby) {
  if (hosts == 0) {
    server_ = std::make_unique<PostgresServer>();
    url_ = server_->url();
    if (standby == Standby::yes) {
      standby_ = server_->make_standby();
      url_ = "postgresql:///postgres?host=" + server_->directory().string() + "," +
             standby_->directory().string() + "&port=" + std::to_string(server_->port()) +
             "&user=postgres&target_session_attrs=read-write";
    }
    workers_url_ = url_;
    return;
  }
  network_ = std::make_unique<Hosts>(hosts + 1);
  for (int host = 0; host < hosts; ++host) processes_.emplace_back();
  const std::string address = Hosts::address(of_server);
  const Hosts::Visit there = network_->visit(of_server);
  server_ = std::make_unique<PostgresServer>(test::PostgresSettings{.listen_addresses = address});
  url_ = server_->url();
  workers_url_ = server_->tcp_url(address);
}

pid_t Fleet::spawn_on(int host, const std::vector<std::string>& arguments,
                      int standard_input) const {
  if (hosts() == 0) return spawn(arguments, standard_input);
  const Hosts::Visit network = network_->visit(host + 1);
  const test::ProcessNamespace::Visit processes =
      processes_.at(static_cast<std::size_t>(host)).visit();
  return spawn(arguments, standard_input);
}

const std::string& Fleet::processes_of(int host) const {
  return processes_.at(static_cast<std::size_t>(host)).name();
}

void Fleet::start_server() const {
  if (!network_) return server_->start();
  const Hosts::Visit there = network_->visit(of_server);
  server_->start();
}

void Fleet::promote_standby() {
  standby_->promote();
  server_ = std::move(standby_);
}

}  // namespace dbcache::chaos
