#include "support/hosts.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <sched.h>
#include <stdexcept>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "support/throw_errno.hpp"

namespace dbcache::test {
namespace {

int open_current_network() {
  const int descriptor = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_errno("no network namespace to open");
  return descriptor;
}

void run_shell(const std::string& command) {
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

std::string port(int host) { return "port" + std::to_string(host); }

}  // namespace

Hosts::Visit::Visit(int network) : home_(open_current_network()) {
  if (::setns(network, CLONE_NEWNET) == 0) return;
  ::close(home_);
  throw_errno("a network namespace cannot be entered");
}

Hosts::Visit::~Visit() {
  ::setns(home_, CLONE_NEWNET);
  ::close(home_);
}

Hosts::Network::Network() {
  const int home = open_current_network();
  if (::unshare(CLONE_NEWNET) == 0) {
    descriptor_ = open_current_network();
    ::setns(home, CLONE_NEWNET);
  }
  ::close(home);
  if (descriptor_ < 0) throw_errno("no new network namespace");
}

Hosts::Network::~Network() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Hosts::Network::Network(Network&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

Hosts::Hosts(int count) : hosts_(static_cast<std::size_t>(count)) {
  const Visit at_bridge(bridge_.descriptor());
  run_shell("ip link add bridge type bridge && ip link set bridge up");
  for (int host = 0; host < count; ++host) {
    const int network = hosts_[static_cast<std::size_t>(host)].descriptor();
    const std::string path =
        "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(network);
    run_shell("ip link add " + port(host) + " type veth peer name eth0 netns " + path +
              " && ip link set " + port(host) + " master bridge up");
    const Visit there = visit(host);
    run_shell("ip link set lo up && ip link set eth0 up && ip address add " + address(host) +
              "/24 dev eth0");
  }
}

std::string Hosts::why_not() {
  try {
    const Network network;
    return "";
  } catch (const std::system_error& error) {
    return error.what();
  }
}

Hosts::Visit Hosts::visit(int host) const {
  return Visit(hosts_.at(static_cast<std::size_t>(host)).descriptor());
}

// Of a network that is nobody's (RFC 5737).
std::string Hosts::address(int host) { return "192.0.2." + std::to_string(host + 1); }

void Hosts::unplug(int host) const {
  const Visit at_bridge(bridge_.descriptor());
  run_shell("ip link set " + port(host) + " down");
}

void Hosts::plug_in(int host) const {
  const Visit at_bridge(bridge_.descriptor());
  run_shell("ip link set " + port(host) + " up");
}

}  // namespace dbcache::test
