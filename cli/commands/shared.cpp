#include <utility>

#include <boost/json/array.hpp>

#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

class Shared final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"shared", Group::cache, "Show shared cluster registry: every entry, or one",
            "dbcache shared"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("HASH", "", hash_, "Only the entry of this configuration");
  }

  ExitCode run(Context& context) override {
    return hash_ ? show_one(context, *hash_) : show_all(context);
  }

 private:
  static ExitCode show_one(Context& context, const std::string& hash) {
    const auto entry = context.manager().get_shared_cluster_info(hash);
    if (context.json()) {
      context.print_json(entry ? boost::json::value(to_json(*entry)) : nullptr);
    } else if (entry) {
      print_title(context.out(), "Shared Cluster");
      print_entry(context.out(), *entry);
    }
    if (entry) return ExitCode::done;
    return context.answer_no("the registry has no entry '" + hash +
                             "'; dbcache shared lists all entries");
  }

  static ExitCode show_all(Context& context) {
    const auto entries = context.manager().get_all_shared_clusters();
    if (context.json()) {
      boost::json::array rows;
      for (const RegistryEntry& entry : entries) rows.push_back(to_json(entry));
      context.print_json(std::move(rows));
      return ExitCode::done;
    }
    print_title(context.out(), "Shared Cluster Registry");
    for (const RegistryEntry& entry : entries) {
      if (&entry != &entries.front()) context.out() << '\n';
      print_entry(context.out(), entry);
    }
    if (entries.empty()) {
      context.out() << "  None\n";
      print_database_note(context);
    }
    return ExitCode::done;
  }

  std::optional<std::string> hash_;
};

}  // namespace

CommandPointer make_shared() { return std::make_unique<Shared>(); }

}  // namespace dbcache::cli
