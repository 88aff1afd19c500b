// inazuma completion bash|zsh|fish: what a shell needs to complete commands and flags, made from the program's own
// table of them.

#include "cli/command_line.h"
#include "cli/configuration.h"

namespace inazuma::cli {

namespace {

struct Command {
  std::string name, description;
  std::vector<std::pair<std::string, std::string>> flags;  // "--port", what it does
};

std::vector<Command> commands_of(CLI::App& app) {
  std::vector<Command> out;
  for (CLI::App* sub : app.get_subcommands([](CLI::App* one) { return !one->get_name().empty(); })) {
    Command command{sub->get_name(), sub->get_description(), {}};
    for (const CLI::Option* option : options_of(*sub))
      for (const std::string& name : option->get_lnames())
        command.flags.emplace_back("--" + name, option->get_description());
    out.push_back(std::move(command));
  }
  return out;
}

// Single quotes of all three shells: what is inside stands for itself, a quote is left and entered again.
std::string in_quotes(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

void print_bash(const std::vector<Command>& commands) {
  std::string names;
  for (const Command& command : commands) names += (names.empty() ? "" : " ") + command.name;
  fmt::print(
      "_inazuma() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}} flags=\n  if [[ $COMP_CWORD -eq 1 ]]; then\n    "
      "COMPREPLY=($(compgen -W '{}' -- \"$word\"))\n    return\n  fi\n  case ${{COMP_WORDS[1]}} in\n",
      names);
  for (const Command& command : commands) {
    std::string flags;
    for (const auto& [flag, what] : command.flags) flags += (flags.empty() ? "" : " ") + flag;
    fmt::print("    {}) flags='{}' ;;\n", command.name, flags);
  }
  fmt::print(
      "  esac\n  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$flags\" -- \"$word\")); else "
      "COMPREPLY=($(compgen -f -- \"$word\")); fi\n}}\ncomplete -o filenames -F _inazuma inazuma\n");
}

void print_zsh(const std::vector<Command>& commands) {
  // A colon divides word and explanation.
  const auto item = [](const std::string& name, const std::string& what) { return in_quotes(name + ":" + what); };
  fmt::print("#compdef inazuma\n_inazuma() {{\n  local -a items\n  if (( CURRENT == 2 )); then\n    items=(");
  for (const Command& command : commands) fmt::print("{} ", item(command.name, command.description));
  fmt::print(")\n    _describe command items\n    return\n  fi\n  case $words[2] in\n");
  for (const Command& command : commands) {
    fmt::print("    {}) items=(", command.name);
    for (const auto& [flag, what] : command.flags) fmt::print("{} ", item(flag, what));
    fmt::print(") ;;\n");
  }
  fmt::print(
      "  esac\n  if [[ $words[CURRENT] == -* ]]; then _describe flag items; else _files; fi\n}}\ncompdef _inazuma "
      "inazuma\n");
}

void print_fish(const std::vector<Command>& commands) {
  for (const Command& command : commands) {
    fmt::print("complete -c inazuma -n __fish_use_subcommand -f -a {} -d {}\n", command.name,
               in_quotes(command.description));
    for (const auto& [flag, what] : command.flags)
      fmt::print("complete -c inazuma -n '__fish_seen_subcommand_from {}' -l {} -d {}\n", command.name, flag.substr(2),
                 in_quotes(what));
  }
}

}  // namespace

Run add_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print completions for a shell: source <(inazuma completion bash)");
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [&app, shell] {
    const std::vector<Command> commands = commands_of(app);
    if (*shell == "bash") print_bash(commands);
    if (*shell == "zsh") print_zsh(commands);
    if (*shell == "fish") print_fish(commands);
    return kOk;
  };
}

}  // namespace inazuma::cli
