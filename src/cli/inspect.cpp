// inazuma inspect DIR: what would be loaded, from which tensors, and what is wrong. Packs nothing.

#include <iostream>
#include <map>

#include "cli/command_line.h"
#include "frontends/json.h"
#include "serving/generation_config.h"

namespace inazuma::cli {

namespace {

struct InspectFlags {
  ModelFlags model;
  std::string directory;
  bool json = false;
};

struct Findings {
  Result<LoadedModel> model = Status(StatusCode::internal, "not looked at");
  Result<std::shared_ptr<const WeightStore>> store = Status(StatusCode::internal, "not looked at");
  Result<std::shared_ptr<const Tokenizer>> tokenizer = Status(StatusCode::internal, "not looked at");
  std::vector<std::string> problems;
};

Findings look(const InspectFlags& flags) {
  const std::filesystem::path directory = flags.directory;
  const BackendOptions options = flags.model.options();
  Findings out;
  require_model_directory(directory);
  const std::unique_ptr<Ops> ops = make_reference_ops();  // only asked for facts: a dry run packs nothing
  out.model = load_model(directory, *ops, {.task = options.task, .pooling = options.pooling, .dry_run = true});
  out.store = WeightStore::open(directory);
  out.tokenizer = load_tokenizer(directory, options.tokenizer);
  if (!out.model.ok())
    out.problems.push_back("model: " + out.model.status().message());
  else {
    for (const std::string& line : out.model->report.missing) out.problems.push_back("missing tensor: " + line);
    for (const std::string& line : out.model->report.misshapen) out.problems.push_back("misshapen tensor: " + line);
  }
  if (out.model.ok()) {
    const nlohmann::json config = model_config(directory);
    const Status generation = read_generation_configs(directory, config).status();
    if (!generation.ok()) out.problems.push_back("generation: " + generation.message());
  }
  if (!out.store.ok() && out.model.ok()) out.problems.push_back("weights: " + out.store.status().message());
  if (!out.tokenizer.ok()) out.problems.push_back("tokenizer: " + out.tokenizer.status().message());
  if (out.model.ok() && out.tokenizer.ok() && (*out.tokenizer)->vocab_size() > out.model->model->info().vocab)
    out.problems.push_back(fmt::format("the tokenizer has {} ids, the model only {}", (*out.tokenizer)->vocab_size(),
                                       out.model->model->info().vocab));
  return out;
}

void print_text(const Findings& found) {
  if (found.model.ok()) {
    const ModelInfo& info = found.model->model->info();
    fmt::print("Model      {} ({})\n", info.architecture, name(info.task));
    fmt::print("Sizes      {} parameters, hidden {}, vocabulary {}, positions {}\n", info.parameters, info.hidden,
               info.vocab, info.max_positions == 0 ? std::string("unbounded") : std::to_string(info.max_positions));
    fmt::print("Stored as  {}\n", name(info.stored_dtype));
    if (!info.labels.empty()) fmt::print("Labels     {}\n", fmt::join(info.labels, ", "));
  }
  if (found.tokenizer.ok()) {
    const Tokenizer& tokenizer = **found.tokenizer;
    fmt::print("Tokenizer  {}, {} ids\n", tokenizer.description(), tokenizer.vocab_size());
  }
  if (found.store.ok()) {
    size_t bytes = 0;
    for (const StoredTensor& tensor : (*found.store)->tensors()) bytes += tensor.bytes;
    fmt::print("Weights    {}: {} tensors, {:.1f} MB\n", (*found.store)->format(), (*found.store)->tensors().size(),
               static_cast<double>(bytes) / 1e6);
    for (const StoredTensor& tensor : (*found.store)->tensors())
      fmt::print("  {:<72} {:<9} [{}]  {}\n", tensor.name, name(tensor.dtype), fmt::join(tensor.shape, ", "),
                 tensor.file);
  }
  if (found.model.ok() && !found.model->report.unused.empty()) {
    fmt::print("Not used   {} tensors\n", found.model->report.unused.size());
    for (const std::string& line : found.model->report.unused) fmt::print("  {}\n", line);
  }
  if (found.problems.empty()) return fmt::print("Problems   none: this directory can be served\n");
  fmt::print("Problems   {}\n", found.problems.size());
  for (const std::string& problem : found.problems) fmt::print("  {}\n", problem);
}

void write_list(JsonWriter& json, const char* key, const std::vector<std::string>& lines) {
  json.key(key).begin_array();
  for (const std::string& line : lines) json.text(line);
  json.end_array();
}

void print_json(const Findings& found) {
  JsonWriter json;
  json.begin_object().key("loadable").boolean(found.problems.empty());
  if (found.model.ok()) {
    const ModelInfo& info = found.model->model->info();
    json.key("architecture")
        .text(info.architecture)
        .key("task")
        .text(name(info.task))
        .key("parameters")
        .number(info.parameters);
    json.key("hidden").number(static_cast<int64_t>(info.hidden)).key("vocab").number(static_cast<int64_t>(info.vocab));
    json.key("max_positions")
        .number(static_cast<int64_t>(info.max_positions))
        .key("dtype")
        .text(name(info.stored_dtype));
    write_list(json, "labels", info.labels);
    write_list(json, "unused", found.model->report.unused);
    write_list(json, "missing", found.model->report.missing);
    write_list(json, "misshapen", found.model->report.misshapen);
  }
  if (found.tokenizer.ok()) json.key("tokenizer").text((*found.tokenizer)->description());
  if (found.store.ok()) {
    json.key("format").text((*found.store)->format()).key("tensors").begin_array();
    for (const StoredTensor& tensor : (*found.store)->tensors()) {
      json.begin_object()
          .key("name")
          .text(tensor.name)
          .key("dtype")
          .text(name(tensor.dtype))
          .key("shape")
          .begin_array();
      for (const int64_t extent : tensor.shape) json.number(extent);
      json.end_array().key("file").text(tensor.file).end_object();
    }
    json.end_array();
  }
  write_list(json, "problems", found.problems);
  json.end_object();
  std::cout << std::move(json).take() << '\n';
}

}  // namespace

Run add_inspect(CLI::App& app) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* command = app.add_subcommand("inspect", "What a directory holds, what would be loaded, and what is wrong");
  command->add_option("DIR", flags->directory, "Model directory")->required();
  command->add_flag("--json", flags->json, "Machine-readable output");
  flags->model.add_to(*command);
  return [flags] {
    const Result<Findings> found = capture([&] { return look(*flags); });
    if (!found.ok())
      return complain(found.status(), found.status().code() == StatusCode::invalid ? kUsage : kNotLoaded);
    flags->json ? print_json(*found) : print_text(*found);
    return found->problems.empty() ? static_cast<int>(kOk) : static_cast<int>(kNotLoaded);
  };
}

}  // namespace inazuma::cli
