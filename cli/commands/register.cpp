#include <fmt/format.h>

#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

std::string outcome(const Registration& registration) {
  const RegistryEntry& entry = registration.entry;
  if (registration.created) return "created: create the cluster, then mark the entry ready";
  if (!registration.joinable) return "failed: " + entry.error_message.value_or("no reason given");
  std::string text = fmt::format("joined: {}", to_string(entry.status));
  if (entry.cluster_id) text += ", cluster " + *entry.cluster_id;
  if (entry.worker_pid) text += fmt::format(", created by pid {}", *entry.worker_pid);
  return text;
}

class Register final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"register", Group::shells,
            "Announce the creation of a configuration's cluster, or join it",
            "dbcache register 5f70bf18a086007016e948b04aed3b82"};
  }

  void declare(Arguments& arguments) override {
    arguments.required("HASH", hash_, "The config_hash, as dbcache hash prints it");
    arguments.optional("--pid", "N", pid_,
                       "The process that creates it; default: the parent; inside $(...) give $$");
  }

  ExitCode run(Context& context) override {
    const Registration registration = context.manager().register_or_join_shared_cluster(
        hash_, pid_.value_or(context.terminal().parent_pid));
    if (context.json()) {
      context.print_json({{"created", registration.created},
                          {"joinable", registration.joinable},
                          {"entry", to_json(registration.entry)}});
    } else {
      context.out() << escape(outcome(registration)) << '\n';
    }
    if (registration.created || registration.joinable) return ExitCode::done;
    return context.answer_no("the creation of '" + hash_ + "' failed; run dbcache cleanup-shared " +
                             hash_ + ", then register again");
  }

 private:
  std::string hash_;
  std::optional<std::int64_t> pid_;
};

}  // namespace

CommandPointer make_register() { return std::make_unique<Register>(); }

}  // namespace dbcache::cli
