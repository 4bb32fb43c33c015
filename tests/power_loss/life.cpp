#include "power_loss/life.hpp"

#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <list>
#include <map>
#include <optional>
#include <poll.h>
#include <set>
#include <stdexcept>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "power_loss/shim.hpp"
#include "support/child_process.hpp"

namespace dbcache::power_loss {
namespace {

constexpr int ticks_a_kill = 12;

/// A process that runs.
class Running {
 public:
  Running(Journal& journal, const Part& part)
      : may_be_killed_(part.may_be_killed),
        child_([&] {
          watch(journal);
          try {
            part.body();
          } catch (const std::exception& error) {
            complain(error.what());
          }
          return 0;
        }),
        end_(static_cast<int>(::syscall(SYS_pidfd_open, child_.pid(), 0))) {
    if (end_ < 0) throw std::runtime_error("pidfd_open failed");
  }
  ~Running() { ::close(end_); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  [[nodiscard]] bool may_be_killed() const { return may_be_killed_; }
  /// Readable once it has ended.
  [[nodiscard]] int end() const { return end_; }

  /// Under the journal's lock, and until it is gone: nobody dies within an operation.
  void kill() {
    child_.kill(SIGKILL);
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(child_.pid()), &ended, WEXITED | WNOWAIT);
    killed_ = true;
  }

  /// What is wrong with how it ended.
  std::string wait() {
    const int status = child_.wait();
    if (status == 0 || (killed_ && status == -SIGKILL)) return "";
    return fmt::format("a process ended with {}", status);
  }

 private:
  bool may_be_killed_;
  bool killed_ = false;
  test::ChildProcess child_;
  int end_;
};

/// The mapped files as they are at moments.
class Snapshots {
 public:
  explicit Snapshots(Journal& journal) : journal_(journal) {}

  /// Under the journal's lock.
  void take() {
    look_for_files();
    for (const std::string& path : mapped_) {
      const std::string whole = std::string(journal_.directory()) + "/" + path;
      struct stat status {};
      if (::stat(whole.c_str(), &status) != 0) continue;
      std::ifstream file(whole, std::ios::binary);
      const std::string content(std::istreambuf_iterator<char>(file), {});
      if (content == last_[path]) continue;
      last_[path] = content;
      journal_.append({What::snapshot, status.st_ino, 0, content});
    }
  }

 private:
  void look_for_files() {
    const std::string_view bytes = journal_.bytes();
    for (const Record& record : records_of(bytes.substr(looked_at_))) {
      if (record.what == What::found || record.what == What::create) {
        path_of_inode_[record.inode] = record.bytes;
      } else if (record.what == What::map) {
        mapped_.insert(path_of_inode_.at(record.inode));
      }
    }
    looked_at_ = bytes.size();
  }

  Journal& journal_;
  std::size_t looked_at_ = 0;
  std::map<std::uint64_t, std::string> path_of_inode_;
  std::set<std::string> mapped_;
  std::map<std::string, std::string> last_;
};

class Machine {
 public:
  Machine(Journal& journal, std::mt19937_64& random)
      : journal_(journal), snapshots_(journal), random_(random) {}

  void run(const Shift& shift) {
    auto next = shift.parts.begin();
    while (next != shift.parts.end() || !running_.empty()) {
      while (next != shift.parts.end() && running_.size() < shift.at_once) {
        running_.emplace_back(journal_, *next++);
      }
      wait();
    }
  }

 private:
  /// Until somebody ends, or some records more were written.
  void wait() {
    std::vector<pollfd> events{{.fd = journal_.ticks(), .events = POLLIN, .revents = 0}};
    for (const Running& process : running_) {
      events.push_back({.fd = process.end(), .events = POLLIN, .revents = 0});
    }
    ::poll(events.data(), events.size(), -1);
    eventfd_t ticks = 0;
    if (::eventfd_read(journal_.ticks(), &ticks) == 0) tick();
    auto event = std::next(events.begin());
    for (auto process = running_.begin(); process != running_.end(); ++event) {
      if (event->revents == 0) {
        ++process;
        continue;
      }
      if (const std::string wrong = process->wait(); !wrong.empty()) complain_here(wrong);
      process = running_.erase(process);
    }
  }

  void tick() {
    const Journal::Lock lock(journal_);
    snapshots_.take();
    if (std::uniform_int_distribution(1, ticks_a_kill)(random_) > 1 || running_.empty()) return;
    auto victim = running_.begin();
    std::advance(victim, std::uniform_int_distribution<std::ptrdiff_t>(
                             0, std::ssize(running_) - 1)(random_));
    if (victim->may_be_killed()) victim->kill();
  }

  void complain_here(const std::string& what) {
    const Journal::Lock lock(journal_);
    journal_.append({What::complain, 0, 0, what});
  }

  Journal& journal_;
  Snapshots snapshots_;
  std::mt19937_64& random_;
  std::list<Running> running_;
};

}  // namespace

std::string live(Journal& journal, const std::string& directory, const std::string& boot_id_file,
                 const std::vector<Shift>& shifts, std::mt19937_64& random) {
  std::ofstream(boot_id_file) << fmt::format("{:08x}-0000-4000-8000-{:012x}\n",
                                             random() & 0xFFFFFFFFU, random() >> 16);
  journal.begin(directory, boot_id_file);
  Machine machine(journal, random);
  for (const Shift& shift : shifts) machine.run(shift);
  const Journal::Lock lock(journal);
  return std::string(journal.bytes());
}

}  // namespace dbcache::power_loss
