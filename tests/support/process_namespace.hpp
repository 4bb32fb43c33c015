#pragma once

#include <string>

#include "support/child_process.hpp"

namespace dbcache::test {

/// Processes that others cannot judge by their pids, as those of another host: a PID namespace,
/// kept by a process that is its first. All in it are killed when this is destroyed. For root only.
class ProcessNamespace {
 public:
  ProcessNamespace();
  ~ProcessNamespace();
  ProcessNamespace(ProcessNamespace&&) noexcept;
  ProcessNamespace& operator=(ProcessNamespace&&) = delete;

  /// As /proc/PID/ns/pid has it.
  [[nodiscard]] const std::string& name() const { return name_; }

  /// While this lives, processes that its thread starts are in the namespace. The kernel lets that
  /// thread start no other threads meanwhile.
  class Visit {
   public:
    explicit Visit(int space);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    int home_;
  };
  [[nodiscard]] Visit visit() const { return Visit(descriptor_); }

  /// Gives this process, started in a namespace, a /proc that shows it. Before it has threads.
  static void mount_own_proc();

 private:
  int descriptor_ = -1;
  std::string name_;
  ChildProcess first_;
};

}  // namespace dbcache::test
