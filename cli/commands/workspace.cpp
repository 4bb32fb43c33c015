#include <boost/json/object.hpp>
#include <fmt/format.h>

#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>

#include "cli/commands/all.hpp"
#include "cli/print.hpp"
#include "cli/workspace_lifecycle.hpp"

namespace dbcache::cli {
namespace {

class WorkspaceCommand final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {.name = "workspace",
            .group = Group::leases,
            .summary = "Show which Databricks workspace is used, by whom, and what may be done",
            .example = "dbcache workspace",
            .notes =
                "Asks the workspace; changes nothing there. Exit code 1 if it does not answer as "
                "needed.\ndocs/workspace.md has the credentials that there may be."};
  }

  void declare(Arguments& arguments) override { arguments_.declare_profile(arguments); }

  ExitCode run(Context& context) override {
    arguments_.check(/*has_command=*/false);
    std::optional<databricks::Workspace> workspace;
    try {
      workspace.emplace(arguments_.options());
    } catch (const databricks::NotAuthenticated& error) {
      if (context.json()) context.print_json({{"host", nullptr}, {"error", error.what()}});
      print_diagnostic(context.terminal(), error.what());
      return ExitCode::no;
    }
    boost::json::object document{{"host", workspace->host()},
                                 {"credentials", workspace->credentials()},
                                 {"credentials_source", workspace->credentials_source()}};
    const bool well = look(*workspace, document);
    if (context.json()) {
      context.print_json(document);
    } else {
      print(context, document);
    }
    return well ? ExitCode::done : ExitCode::no;
  }

 private:
  /// Returns whether everything that dbcache needs is allowed.
  static bool look(const databricks::Workspace& workspace, boost::json::object& document) {
    // A person waits: not as long as a job would.
    databricks::CallBounds bounds;
    bounds.deadline = std::chrono::steady_clock::now() + std::chrono::minutes{1};
    bounds.patience = std::chrono::seconds{3};
    document["user"] = nullptr;
    document["may_create_clusters"] = nullptr;
    document["may_list_clusters"] = nullptr;
    document["error"] = nullptr;
    try {
      const databricks::User user = workspace.user(bounds);
      document["user"] = user.name;
      document["may_create_clusters"] = user.may_create_clusters;
      document["may_list_clusters"] = false;
      static_cast<void>(workspace.clusters({databricks::ClusterState::running}, bounds));
      document["may_list_clusters"] = true;
      return true;
    } catch (const Error& error) {
      document["error"] = error.what();
      return false;
    }
  }

  static void print(Context& context, const boost::json::object& document) {
    std::ostream& out = context.out();
    const auto text = [&document](const char* key) {
      return std::string(document.at(key).as_string());
    };
    print_title(out, "Databricks Workspace");
    print_field(out, "Host", text("host"));
    print_field(out, "Credentials",
                fmt::format("{} ({})", text("credentials"), text("credentials_source")));
    if (document.at("user").is_string()) print_field(out, "User", text("user"));
    if (document.at("may_list_clusters").is_bool()) {
      print_field(out, "May List Clusters",
                  document.at("may_list_clusters").as_bool() ? "Yes" : "No");
    }
    if (document.at("may_create_clusters").is_bool()) {
      print_field(
          out, "May Create Clusters",
          document.at("may_create_clusters").as_bool()
              ? "Yes"
              : "Only by a cluster policy: name it as policy_id in the configuration, or ask "
                "an administrator for the entitlement \"Unrestricted cluster creation\"");
    }
    if (document.at("error").is_string()) print_diagnostic(context.terminal(), text("error"));
  }

  WorkspaceArguments arguments_;
};

}  // namespace

CommandPointer make_workspace() { return std::make_unique<WorkspaceCommand>(); }

}  // namespace dbcache::cli
