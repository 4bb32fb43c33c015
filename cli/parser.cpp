#include "cli/parser.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <dbcache/version.hpp>

#include "cli/print.hpp"

namespace dbcache::cli {
namespace {

constexpr std::size_t help_column = 28;
constexpr double most_busy_seconds = 1e9;
constexpr int most_words = CLI::detail::expected_max_vector_size;

std::string group_title(Group group) {
  switch (group) {
    case Group::cache:
      return "The cache";
    case Group::log:
      return "The log of all changes";
    case Group::leases:
      return "Leases of shared clusters";
    case Group::shells:
      return "For shell fixtures";
  }
  return "";
}

/// CLI11's help, without its remark on the required number of commands.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() {
    column_width(help_column);
    label("SUBCOMMAND", "COMMAND");
    label("Positionals", "Arguments");
    label("REQUIRED", "(required)");
  }
  std::string make_description(const CLI::App* app) const override {
    return app->get_description() + "\n\n";
  }
};

template <class Number>
Number read_number(const std::string& name, const std::string& text, const char* kind) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) {
    throw CLI::ValidationError(name, fmt::format("'{}' is not {}", text, kind));
  }
  return number;
}

/// CLI11 splits a word such as `[a,b]` into a list where an argument takes several words. The words
/// after `--` must stay literal, so they get a final byte that no word of a command line can have.
constexpr char literal_mark = '\0';

std::vector<std::string> mark_literal_words(std::vector<std::string> words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  for (auto word = dashes; word != words.end(); ++word) {
    if (word->starts_with('[')) *word += literal_mark;
  }
  return words;
}

std::string without_mark(std::string word) {
  if (!word.empty() && word.back() == literal_mark) word.pop_back();
  return word;
}

CLI::Option* add_option(CLI::App& parser, const std::string& name, const std::string& placeholder,
                        const std::string& help,
                        const std::function<void(const std::string&)>& take) {
  return parser
      .add_option(
          name,
          [take](const CLI::results_t& results) {
            take(without_mark(results.at(0)));
            return true;
          },
          help)
      ->type_name(placeholder);
}

void declare_globals(CLI::App& app, Globals& globals) {
  app.set_help_flag("-h,--help", "Print this help, or the help of a command, and exit");
  app.set_version_flag("--version", "dbcache " DBCACHE_VERSION, "Print the version and exit");
  add_option(app, "--database", "PATH|URL",
             "The database: a SQLite file, or the URL of a PostgreSQL server; default:\n"
             "$DBCACHE_DATABASE, else Environment/Databricks/cluster_cache.db",
             [&globals](const std::string& path) {
               // An unset variable in a script must not select another database.
               if (path.empty()) {
                 throw CLI::ValidationError("--database",
                                            "the path is empty; give one, or leave the option out");
               }
               globals.options.database = path;
             });
  add_option(app, "--schema", "NAME",
             "The schema in PostgreSQL; default: $DBCACHE_SCHEMA, else dbcache",
             [&globals](const std::string& schema) {
               if (schema.empty()) {
                 throw CLI::ValidationError("--schema",
                                            "the name is empty; give one, or leave the option out");
               }
               globals.options.schema = schema;
             });
  app.add_flag("--json", globals.json, "Print one JSON document instead of text");
  add_option(app, "--label", "TEXT",
             "The caller's label in the log; default: $DBCACHE_LABEL, else\n$PYTEST_CURRENT_TEST",
             [&globals](const std::string& label) { globals.options.label = label; });
  add_option(
      app, "--busy-timeout", "SECONDS", "How long to wait for a locked database; default: 30",
      [&globals](const std::string& text) {
        const auto seconds = read_number<double>("--busy-timeout", text, "a number of seconds");
        if (!(seconds >= 0 && seconds <= most_busy_seconds)) {
          throw CLI::ValidationError("--busy-timeout",
                                     text + " is out of range; give 0 to 1e9 seconds");
        }
        globals.options.busy_timeout =
            std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double>(seconds));
      });
  add_option(app, "--adopt-timezone", "ZONE",
             "Time zone of a Python system's database; default: this machine's",
             [&globals](const std::string& zone) { globals.options.adoption_timezone = zone; });
  Arguments(app).one_of("--log-level", {"trace", "debug", "info", "warn", "error", "off"}, "LEVEL",
                        globals.log_level,
                        "Log to stderr: trace, debug, info, warn, error or off; default: warn");
  for (CLI::Option* option : app.get_options()) option->group("Options of every command");
}

/// The command of each parser, to find the one that was called.
using Parsers = std::map<const CLI::App*, Command*>;

Parsers declare_commands(CLI::App& app, const std::vector<CommandPointer>& commands) {
  Parsers parsers;
  for (const CommandPointer& command : commands) {
    const Description description = command->describe();
    CLI::App* const parser = app.add_subcommand(description.name, description.summary);
    parser->group(group_title(description.group));
    parser->footer(fmt::format(
        "For the options of every command, such as --database and --json, see dbcache --help."
        "\n\n{}Example:\n  {}",
        description.notes.empty() ? "" : description.notes + "\n\n", description.example));
    Arguments arguments(*parser);
    command->declare(arguments);
    parsers.emplace(parser, command.get());
  }
  return parsers;
}

/// The parser of the command that was called, or null.
const CLI::App* called(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? nullptr : parsed.front();
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* const command = called(app);
  const std::string help =
      command == nullptr ? "dbcache --help" : fmt::format("dbcache {} --help", command->get_name());
  const std::vector<std::string> extras = app.remaining();
  if (command == nullptr && !extras.empty() && !extras.front().starts_with('-')) {
    return fmt::format("there is no command '{}'; see {}", extras.front(), help);
  }
  return fmt::format("{}; see {}", error.what(), help);
}

}  // namespace

void Arguments::required(const std::string& name, std::string& value, const std::string& help) {
  required(name, "", value, help);
}

void Arguments::required(const std::string& name, const std::string& placeholder,
                         std::string& value, const std::string& help) {
  add_option(parser_, name, placeholder, help, [&value](const std::string& text) {
    value = text;
  })->required();
}

void Arguments::required(const std::string& name, std::int64_t& value, const std::string& help) {
  required(name, "", value, help);
}

void Arguments::required(const std::string& name, const std::string& placeholder,
                         std::int64_t& value, const std::string& help) {
  add_option(parser_, name, placeholder, help, [&value, name](const std::string& text) {
    value = read_number<std::int64_t>(name, text, "a whole number");
  })->required();
}

void Arguments::remaining(const std::string& name, std::vector<std::string>& words,
                          const std::string& help) {
  parser_
      .add_option(
          name,
          [&words](const CLI::results_t& results) {
            words.clear();
            for (const std::string& result : results) words.push_back(without_mark(result));
            return true;
          },
          help)
      ->type_name("")
      ->expected(1, most_words)
      ->allow_extra_args()
      ->required();
}

void Arguments::optional(const std::string& name, const std::string& placeholder,
                         std::optional<std::string>& value, const std::string& help) {
  add_option(parser_, name, placeholder, help, [&value](const std::string& text) { value = text; });
}

void Arguments::optional(const std::string& name, const std::string& placeholder,
                         std::optional<std::int64_t>& value, const std::string& help) {
  add_option(parser_, name, placeholder, help, [&value, name](const std::string& text) {
    value = read_number<std::int64_t>(name, text, "a whole number");
  });
}

void Arguments::optional(const std::string& name, const std::string& placeholder,
                         std::optional<double>& value, const std::string& help) {
  add_option(parser_, name, placeholder, help, [&value, name](const std::string& text) {
    value = read_number<double>(name, text, "a number");
  });
}

void Arguments::repeatable(const std::string& name, const std::string& placeholder,
                           std::vector<std::string>& values, const std::string& help) {
  parser_
      .add_option(
          name,
          [&values](const CLI::results_t& results) {
            values = results;
            return true;
          },
          help)
      ->type_name(placeholder)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void Arguments::flag(const std::string& name, bool& value, const std::string& help) {
  parser_.add_flag(name, value, help);
}

void Arguments::one_of(const std::string& name, const std::vector<std::string>& words,
                       const std::string& placeholder, std::string& value,
                       const std::string& help) {
  add_option(parser_, name, "", help, [&value](const std::string& word) { value = word; })
      ->check(CLI::IsMember(words))
      ->option_text(placeholder);
}

Parsed parse(const std::vector<std::string>& arguments, const std::vector<CommandPointer>& commands,
             Globals& globals, Terminal& terminal) {
  CLI::App app(
      "Shares one Databricks cluster per configuration between test workers, and keeps\n"
      "the history of every cluster in an append-only log.",
      "dbcache");
  app.formatter(std::make_shared<HelpFormatter>());
  app.fallthrough();
  app.require_subcommand(0, 1);
  declare_globals(app, globals);
  const Parsers parsers = declare_commands(app, commands);
  app.footer(
      "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 failed.\n\n"
      "Examples:\n"
      "  dbcache status\n"
      "  dbcache run --config cluster.json --create ./create.sh -- pytest -n 8\n"
      "  dbcache run --help");
  try {
    std::vector<std::string> words = mark_literal_words(arguments);
    std::reverse(words.begin(), words.end());  // CLI11 expects them so
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {
    terminal.out << app.help();
    return {nullptr, ExitCode::done};
  } catch (const CLI::CallForVersion& version) {
    terminal.out << version.what() << '\n';
    return {nullptr, ExitCode::done};
  } catch (const CLI::ParseError& error) {
    print_diagnostic(terminal, usage_error(app, error));
    return {nullptr, ExitCode::usage};
  }
  const CLI::App* const parser = called(app);
  if (parser == nullptr) {
    terminal.err << app.help();
    return {nullptr, ExitCode::usage};
  }
  return {parsers.at(parser), ExitCode::done};
}

}  // namespace dbcache::cli
