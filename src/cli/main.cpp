// inazuma: text in, results out. One file per subcommand beside this one.

#include <cstdio>

#include "base/version.h"
#include "cli/command_line.h"
#include "cli/configuration.h"
#include "frontends/json.h"

namespace {

using namespace inazuma::cli;

// Option groups are nameless subcommands to CLI11.
void add_flags(const CLI::App& command, std::vector<std::string>& known) {
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const CLI::App* group : command.get_subcommands([](const CLI::App* sub) { return sub->get_name().empty(); }))
    add_flags(*group, known);
}

// CLI11 says that a word was not expected; people want to know which one they meant.
std::string with_suggestion(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands()) add_flags(*command, known);
  const bool command_given = !known.empty();
  if (known.empty())
    for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  std::string text = error.what();
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = std::string_view(argv[i]).substr(0, std::string_view(argv[i]).find('='));
    if (command_given && text.find(word) == std::string::npos) continue;
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    if (const auto near = inazuma::nearest(word, known)) return text + "; did you mean " + *near + "?";
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Inazuma serves Transformer text models: text in, results out."};
  app.name("inazuma");
  app.formatter(std::make_shared<CompactFormatter>());
  app.set_help_all_flag("--help-all", "Everything, with ranges and environment names");
  app.require_subcommand(1);
  app.set_version_flag("--version", inazuma::kVersion);
  app.footer(
      "Start: inazuma serve DIR...    One answer: inazuma run DIR \"text\"    What is wrong: inazuma inspect DIR");
  const std::vector<std::pair<std::string, Run>> commands{
      {"serve", add_serve(app)},     {"run", add_run(app)},     {"inspect", add_inspect(app)},
      {"convert", add_convert(app)}, {"check", add_check(app)}, {"completion", add_completion(app)},
      {"version", add_version(app)}};
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::map<std::string, Configuration> configurations;
  for (const char* name : {"serve", "run"}) configurations.try_emplace(name, *app.get_subcommand(name));
  const auto configuration = configurations.find(arguments.empty() ? "" : arguments.front());
  try {
    if (configuration != configurations.end())
      if (const inazuma::Result<int> read = inazuma::capture([&] { return configuration->second.apply(arguments), 0; });
          !read.ok())
        return complain(read.status(), kUsage);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    fmt::print(stderr, "inazuma: {}\nRun 'inazuma {}--help' for what there is.\n",
               with_suggestion(app, error, argc, argv),
               app.get_subcommands().empty() ? "" : app.get_subcommands().front()->get_name() + " ");
    return kUsage;
  }
  if (configuration != configurations.end() && configuration->second.print_wanted()) {
    configuration->second.print(arguments);
    return kOk;
  }
  for (const auto& [name, run] : commands) {
    if (!app.got_subcommand(name)) continue;
    inazuma::Result<int> code = inazuma::capture([&run = run] { return run(); });
    return code.ok() ? *code
                     : complain(code.status(), code.status().code() == inazuma::StatusCode::invalid ? kUsage : kFailed);
  }
  return kUsage;
}
