#include <dbcache/json.hpp>
#include <dbcache/shared_clusters.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/print_lease.hpp"

namespace dbcache::cli {
namespace {

std::string_view key_of(LeaseInfo::Kind kind) {
  switch (kind) {
    case LeaseInfo::Kind::lease:
      return "Lease";
    case LeaseInfo::Kind::creation:
      return "Creation";
    case LeaseInfo::Kind::check:
      return "Check";
  }
  return "";
}

void print_lease(std::ostream& out, const LeaseInfo& lease) {
  print_field(out, key_of(lease.kind), lease.name);
  if (lease.cluster_id) print_field(out, "Cluster ID", *lease.cluster_id);
  print_field(out, "Config Hash", lease.config_hash);
  print_holder(out, "Held By", lease.holder);
  print_field(out, "Since", format_seconds(lease.since));
  print_field(out, "Policy", to_string(lease.policy));
  if (lease.run) print_field(out, "Run", *lease.run);
}

void print_uses(std::ostream& out, const DocumentedUses& uses) {
  print_field(out, "Config Hash", uses.config_hash);
  if (uses.cluster_id) print_field(out, "Cluster ID", *uses.cluster_id);
  print_field(out, "Uses", uses.count);
}

void print_participant(std::ostream& out, const ParticipantInfo& participant) {
  print_field(out, "Participant", participant.participant_name);
  print_field(out, "Run", participant.run);
  print_field(out, "Kind", participant.kind);
  if (participant.name) print_field(out, "Name", *participant.name);
  print_holder(out, "Held By", participant.holder);
  print_field(out, "Since", format_seconds(participant.since));
}

/// Prints a title and the rows under it, with blank lines between them.
template <class Row>
void print_all(std::ostream& out, std::string_view title, const std::vector<Row>& rows,
               void (*print)(std::ostream&, const Row&)) {
  print_title(out, title);
  for (const Row& row : rows) {
    if (&row != &rows.front()) out << '\n';
    print(out, row);
  }
}

class Leases final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"leases", Group::leases,
            "Show the leases and their holders, since when, and who is alive", "dbcache leases"};
  }

  ExitCode run(Context& context) override {
    const LeaseReport report = SharedClusters(context.manager()).leases();
    if (context.json()) {
      context.print_json(to_json(report));
      return ExitCode::done;
    }
    std::ostream& out = context.out();
    print_all(out, "Leases", report.leases, print_lease);
    if (report.leases.empty()) {
      out << "  None\n";
      print_database_note(context);
    }
    if (!report.documented_uses.empty()) {
      print_all(out, "Uses Counted Without a Lease", report.documented_uses, print_uses);
    }
    if (!report.participants.empty()) {
      print_all(out, "Participants of Runs", report.participants, print_participant);
    }
    return ExitCode::done;
  }
};

}  // namespace

CommandPointer make_leases() { return std::make_unique<Leases>(); }

}  // namespace dbcache::cli
