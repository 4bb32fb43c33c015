#include "store/process_verdict.hpp"

#include "system/process.hpp"

namespace dbcache::store {

rows::Liveness::Verdict judge_process(const system::ProcessIdentity& process, OtherBoot other) {
  using Verdict = rows::Liveness::Verdict;
  if (process.pid < 1 || process.boot_id.empty()) return Verdict::unknown;
  const system::ProcessIdentity now = system::identify_process(process.pid);
  if (now.boot_id.empty()) return Verdict::unknown;  // no file can be opened, for example
  if (now.boot_id != process.boot_id) {
    return other == OtherBoot::dead ? Verdict::dead : Verdict::unknown;
  }
  if (!process.start_time || process.pid_namespace.empty() ||
      process.pid_namespace != system::own_pid_namespace() ||
      !system::proc_shows_own_pid_namespace()) {
    return Verdict::unknown;
  }
  if (now.start_time == process.start_time) return Verdict::alive;
  return now.start_time || system::has_ended(process.pid) ? Verdict::dead : Verdict::unknown;
}

}  // namespace dbcache::store
