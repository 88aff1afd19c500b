#include "cli/configuration.h"

#include <cstdlib>

#include "base/json_file.h"
#include "frontends/json.h"

namespace inazuma::cli {

namespace {

constexpr const char* kVariable = "INAZUMA_CONFIG";

// --config FILE or --config=FILE, the last one given; "" for none. CLI11 would tell too late: defaults come before
// parsing.
std::string named_file(const std::vector<std::string>& arguments) {
  std::string file;
  if (const char* value = std::getenv(kVariable)) file = value;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config" && i + 1 < arguments.size()) file = arguments[i + 1];
    if (arguments[i].starts_with("--config=")) file = arguments[i].substr(9);
  }
  return file;
}

bool given(const CLI::Option& option, const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    const std::string word = argument.substr(0, argument.find('='));
    for (const std::string& name : option.get_lnames())
      if (word == "--" + name) return true;
    for (const std::string& name : option.get_snames())
      if (argument.starts_with("-" + name) && !argument.starts_with("--")) return true;
  }
  return false;
}

// One value as the command line would have it.
std::string word_of(const nlohmann::json& value, const std::string& place) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number()) return value.dump();
  throw fail(StatusCode::invalid, "{}: must be a string, a number, true or false", place);
}

std::string default_of(const nlohmann::json& value, const std::string& place) {
  if (!value.is_array()) return word_of(value, place);
  std::string list = "[";  // the form in which CLI11 takes several values at once
  for (const nlohmann::json& item : value) {
    const std::string word = word_of(item, place);
    if (word.find(',') != std::string::npos)
      throw fail(StatusCode::invalid, "{}: {} holds a comma; give such values as flags", place, quoted(word));
    list += (list.size() > 1 ? "," : "") + word;
  }
  return list + "]";
}

std::string shown(const CLI::Option& option) {
  if (option.count() == 0) {
    if (option.get_items_expected_max() == 0 && option.get_default_str().empty()) return "false";
    return option.get_default_str();
  }
  std::string out;
  for (const std::string& value : option.results()) out += (out.empty() ? "" : " ") + value;
  return out;
}

bool secret(const CLI::Option& option) {
  return option.check_lname("api-key");
}

}  // namespace

std::vector<CLI::Option*> options_of(CLI::App& command) {
  std::vector<CLI::Option*> out = command.get_options();
  for (CLI::App* group : command.get_subcommands([](CLI::App* sub) { return sub->get_name().empty(); }))
    for (CLI::Option* option : options_of(*group)) out.push_back(option);
  return out;
}

Configuration::Configuration(CLI::App& command) : command_(command) {
  command.add_option("--config", file_, "JSON file with a key for each flag; flags and environment win over it")
      ->envname(kVariable);
  command.add_flag("--print-config", print_, "Show each flag's value and where it came from, and end");
}

void Configuration::apply(const std::vector<std::string>& arguments) {
  const std::string file = named_file(arguments);
  if (file.empty()) return;
  const nlohmann::json values = read_json_file(file);
  if (!values.is_object())
    throw fail(StatusCode::malformed, "--config {}: must be a JSON object with a key for each flag", quoted(file));
  std::vector<std::string> known;
  for (const CLI::Option* option : options_of(command_))
    for (const std::string& name : option->get_lnames())
      if (name != "config" && name != "print-config" && name != "help" && name != "help-all") known.push_back(name);
  for (const auto& [key, value] : values.items()) {
    const std::string place = fmt::format("--config {}, key {}", quoted(file), quoted(key));
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      const auto near = nearest(key, known);
      throw fail(StatusCode::invalid, "{}: there is no such flag{}", place,
                 near ? "; did you mean " + *near + "?" : "");
    }
    for (CLI::Option* option : options_of(command_)) {
      if (!option->check_lname(key)) continue;
      try {
        option->default_val(default_of(value, place));
      } catch (const CLI::Error& error) {
        throw fail(StatusCode::invalid, "{}: {}", place, error.what());
      }
      set_by_file_.insert(option);
    }
  }
}

void Configuration::print(const std::vector<std::string>& arguments) const {
  for (const CLI::Option* option : options_of(command_)) {
    if (option->get_lnames().empty() || option->check_lname("help") || option->check_lname("help-all") ||
        option->check_lname("print-config"))
      continue;
    const char* variable = option->get_envname().empty() ? nullptr : std::getenv(option->get_envname().c_str());
    const std::string_view source = given(*option, arguments)                    ? "flag"
                                    : variable != nullptr && option->count() > 0 ? "environment"
                                    : set_by_file_.contains(option)              ? "file"
                                                                                 : "default";
    const std::string value = shown(*option);
    fmt::print("{:<28} {:<32} {}\n", "--" + option->get_lnames().front(),
               secret(*option) && !value.empty() ? "(hidden)" : value, source);
  }
}

}  // namespace inazuma::cli
