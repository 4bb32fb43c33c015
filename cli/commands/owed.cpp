#include <utility>

#include <boost/json/array.hpp>

#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/print_lease.hpp"

namespace dbcache::cli {
namespace {

void print_owed(std::ostream& out, const OwedTermination& owed) {
  if (owed.cluster_id) print_field(out, "Cluster ID", *owed.cluster_id);
  if (owed.idempotency_token) print_field(out, "Creation Token", *owed.idempotency_token);
  if (owed.config_hash) print_field(out, "Config Hash", *owed.config_hash);
  if (owed.host) print_field(out, "Host", *owed.host);
  print_field(out, "Reason", owed.reason);
  print_field(out, "Pending Since", format_seconds(owed.owed_at));
  print_field(out, "Attempts", owed.attempts);
  if (owed.error) print_field(out, "Last Error", *owed.error);
  if (owed.terminator) print_holder(out, "Being Terminated By", *owed.terminator);
}

class Owed final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"owed", Group::leases, "Show pending terminations, which cleanup can carry out",
            "dbcache owed"};
  }

  ExitCode run(Context& context) override {
    const auto owed = SharedClusters(context.manager()).owed();
    if (context.json()) {
      boost::json::array rows;
      for (const OwedTermination& termination : owed) rows.push_back(to_json(termination));
      context.print_json(std::move(rows));
      return ExitCode::done;
    }
    print_title(context.out(), "Pending Terminations");
    for (const OwedTermination& termination : owed) {
      if (&termination != &owed.front()) context.out() << '\n';
      print_owed(context.out(), termination);
    }
    if (owed.empty()) {
      context.out() << "  None\n";
      print_database_note(context);
    }
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_owed() { return std::make_unique<Owed>(); }

}  // namespace dbcache::cli
