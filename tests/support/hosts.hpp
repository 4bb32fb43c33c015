#pragma once

#include <string>
#include <vector>

namespace dbcache::test {

/// Hosts on one machine: network namespaces, each with a link to a bridge. They have no names, so
/// the kernel removes them with the last process that uses them, however it ends. For root only.
class Hosts {
 public:
  explicit Hosts(int count);

  /// Why this process cannot make any; empty where it can.
  static std::string why_not();

  /// While this lives, what its thread starts (threads, processes, sockets) is on the host. Files
  /// and sockets that are files are everywhere.
  class Visit {
   public:
    explicit Visit(int network);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    int home_;
  };
  [[nodiscard]] Visit visit(int host) const;

  [[nodiscard]] static std::string address(int host);

  /// As if its cable were pulled: nothing arrives, and nobody is told.
  void unplug(int host) const;
  void plug_in(int host) const;

 private:
  /// A network namespace, by a descriptor.
  class Network {
   public:
    Network();
    ~Network();
    Network(Network&& other) noexcept;
    Network& operator=(Network&&) = delete;
    [[nodiscard]] int descriptor() const { return descriptor_; }

   private:
    int descriptor_ = -1;
  };

  Network bridge_;
  std::vector<Network> hosts_;
};

}  // namespace dbcache::test
