#include "cli/process/lifecycle.hpp"

#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/process/shell_command.hpp"

namespace dbcache::cli {
namespace {

/// This process's environment, without the variables of a CMD that dbcache itself may run in.
Environment bare_environment(const LifecycleContext& context) {
  Environment environment;
  for (const char* const name :
       {"DBCACHE_CONFIG_HASH", "DBCACHE_IDEMPOTENCY_TOKEN", "DBCACHE_CREATION",
        "DBCACHE_CREATION_NAME", "DBCACHE_STARTED_CLUSTER_ID", "DBCACHE_CLUSTER_ID"}) {
    environment.set(name, std::nullopt);
  }
  set_database_variables(context.database, environment);
  return environment;
}

}  // namespace

void set_database_variables(const DatabaseLocation& database, Environment& environment) {
  environment.set("DBCACHE_DATABASE", database.name);
  if (!database.schema.empty()) environment.set("DBCACHE_SCHEMA", database.schema);
}

namespace {

ShellOutcome run(const ShellCommand& command, LifecycleContext& context) {
  if (context.before_command) context.before_command();
  return run_shell(command, context.signals, context.terminal.err);
}

bool succeeded(const ShellOutcome& outcome) {
  return outcome.status.signal == 0 && outcome.status.code == 0;
}

std::string create(const std::string& line, LifecycleContext& context, const ClusterConfig& config,
                   const Creation& creation) {
  ShellCommand command{.role = "create",
                       .line = line,
                       .environment = bare_environment(context),
                       .input = write_json(config.values()) + '\n',
                       .lock_descriptor = creation.lock_descriptor(),
                       .deadline = creation.deadline(),
                       .stop = creation.stop_token()};
  command.environment.set("DBCACHE_CONFIG_HASH", creation.config_hash());
  command.environment.set("DBCACHE_IDEMPOTENCY_TOKEN", creation.idempotency_token());
  command.environment.set("DBCACHE_CREATION", std::to_string(creation.fencing_token()));
  command.environment.set("DBCACHE_CREATION_NAME", creation.name());
  command.environment.set("DBCACHE_STARTED_CLUSTER_ID", creation.started_cluster_id());
  const ShellOutcome outcome = run(command, context);
  if (!succeeded(outcome)) throw Error(failure_text(command, outcome));
  if (outcome.out.is_blank()) {
    throw Error(
        fmt::format("the create command '{}' printed no cluster id; it must print the id as the "
                    "last line of its standard output",
                    line));
  }
  std::string id = outcome.out.last_line();
  try {
    check_cluster_id(id);
  } catch (const InvalidArgument& error) {
    throw Error(fmt::format(
        "the create command '{}' printed '{}'. The last line of its standard output must be the "
        "cluster id alone, but {}",
        line, outcome.out.last_lines(), error.what()));
  }
  return id;
}

bool check(const std::string& line, LifecycleContext& context, const std::string& cluster_id) {
  ShellCommand command{.role = "check",
                       .line = line,
                       .environment = bare_environment(context),
                       .deadline = context.deadline,
                       .stop = context.stop};
  command.environment.set("DBCACHE_CLUSTER_ID", cluster_id);
  const ShellOutcome outcome = run(command, context);
  if (succeeded(outcome)) return true;
  if (outcome.status.signal == 0 && outcome.status.code == 1) return false;
  throw Error(failure_text(command, outcome) +
              "; it must exit with 0 if the cluster runs, and with 1 if it does not");
}

void terminate(const std::string& line, LifecycleContext& context, const Termination& termination) {
  const OwedTermination& owed = termination.owed;
  ShellCommand command{.role = "terminate",
                       .line = line,
                       .environment = bare_environment(context),
                       .lock_descriptor = termination.lock_descriptor,
                       .deadline = context.deadline,
                       .stop = context.stop};
  command.environment.set("DBCACHE_CLUSTER_ID", owed.cluster_id);
  command.environment.set("DBCACHE_IDEMPOTENCY_TOKEN", owed.idempotency_token);
  command.environment.set("DBCACHE_CONFIG_HASH", owed.config_hash);
  // Without a known host, the one of this process stays.
  if (owed.host) command.environment.set("DATABRICKS_HOST", owed.host);
  const ShellOutcome outcome = run(command, context);
  if (!succeeded(outcome)) throw Error(failure_text(command, outcome));
}

}  // namespace

std::function<void(const Termination&)> make_terminate(
    const std::string& command, const std::shared_ptr<LifecycleContext>& context) {
  return [command, context](const Termination& termination) {
    terminate(command, *context, termination);
  };
}

ClusterLifecycle make_lifecycle(const LifecycleCommands& commands,
                                const std::shared_ptr<LifecycleContext>& context) {
  ClusterLifecycle lifecycle;
  if (commands.create) {
    lifecycle.create = [line = *commands.create, context](const ClusterConfig& config,
                                                          Creation& creation) {
      return create(line, *context, config, creation);
    };
  }
  if (commands.check) {
    lifecycle.check = [line = *commands.check, context](const std::string& cluster_id) {
      return check(line, *context, cluster_id);
    };
  }
  if (commands.terminate) lifecycle.terminate = make_terminate(*commands.terminate, context);
  return lifecycle;
}

}  // namespace dbcache::cli
