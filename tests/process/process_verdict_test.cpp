// Whether a process lives, as far as /proc tells.

#include "store/process_verdict.hpp"

#include <csignal>
#include <pthread.h>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lease_scene.hpp"
#include "system/process.hpp"

namespace dbcache::store {
namespace {

using Verdict = rows::Liveness::Verdict;

std::string judged(const system::ProcessIdentity& process) {
  switch (judge_process(process, OtherBoot::dead)) {
    case Verdict::alive:
      return "alive";
    case Verdict::dead:
      return "dead";
    default:
      return "unknown";
  }
}

TEST(ProcessVerdict, AProcessOfAnotherUserThatProcHidesIsNotCalledDead) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can mount /proc and become another user";
  const system::ProcessIdentity here = system::own_process();
  const std::string verdict = test::in_child([&]() -> std::string {
    const std::string refused = test::enter_namespace(CLONE_NEWNS);
    if (!refused.empty()) return "refused: " + refused;
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (::mount("proc", "/proc", "proc", 0, "hidepid=2") != 0) return "refused: a mount of /proc";
    constexpr uid_t nobody = 65534;
    if (::setgid(nobody) != 0 || ::setuid(nobody) != 0) return "refused: another user";
    return judged(here);
  });
  if (verdict.starts_with("refused")) GTEST_SKIP() << verdict;
  EXPECT_EQ(verdict, "unknown");
}

TEST(ProcessVerdict, WithoutADescriptorNobodyIsCalledDead) {
  const system::ProcessIdentity here = system::own_process();
  EXPECT_EQ(test::in_child([&] {
              const rlimit none{0, 0};
              ::setrlimit(RLIMIT_NOFILE, &none);
              return judged(here);
            }),
            "unknown");
}

TEST(ProcessVerdict, AProcessLivesOnWithoutItsFirstThread) {
  test::Pipe ready;
  test::ChildProcess child([&] {
    static const test::Pipe* const up = &ready;
    pthread_t other{};
    ::pthread_create(
        &other, nullptr,
        [](void*) -> void* {
          const std::string stat = "/proc/" + std::to_string(::getpid()) + "/stat";
          while (test::read_bytes(stat).find(") Z ") == std::string::npos) ::usleep(1000);
          up->signal();
          for (;;) ::pause();
        },
        nullptr);
    ::syscall(SYS_exit, 0);  // of this thread alone
    return 0;
  });
  ready.close_write();
  ASSERT_TRUE(ready.wait());
  const system::ProcessIdentity identity = system::identify_process(child.pid());
  EXPECT_TRUE(identity.start_time);
  EXPECT_EQ(judged(identity), "alive");
  EXPECT_FALSE(system::has_ended(child.pid()));
  child.kill(SIGKILL);
  siginfo_t ended{};
  ::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT);
  EXPECT_TRUE(system::has_ended(child.pid()));  // though nobody has waited for it
  EXPECT_EQ(judged(identity), "dead");
  child.wait();
  EXPECT_EQ(judged(identity), "dead");
}

}  // namespace
}  // namespace dbcache::store
