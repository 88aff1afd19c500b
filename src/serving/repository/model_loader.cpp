#include "serving/repository/model_loader.h"

#include "base/json_file.h"
#include "base/log.h"
#include "serving/config/complete.h"
#include "serving/config/config_text.h"
#include "serving/repository/layout.h"

namespace inazuma {

namespace fs = std::filesystem;
using inference::ModelConfig;

namespace {

fs::path config_file(const fs::path& directory, const LoaderOptions& options) {
  if (!options.config_name.empty())
    if (fs::path named = directory / "configs" / (options.config_name + ".pbtxt"); fs::exists(named)) return named;
  return directory / "config.pbtxt";
}

ModelConfig read_file(const fs::path& directory, const std::string& name, const LoaderOptions& options) {
  const fs::path file = config_file(directory, options);
  if (fs::exists(file))
    return parse_config_text(read_text_file(file), name + "/" + file.lexically_relative(directory).string()).value();
  if (!options.auto_complete)
    throw fail(
        StatusCode::invalid,
        "model {} has no config.pbtxt, and completing configurations is switched off (--disable-auto-complete-config)",
        quoted(name));
  return {};
}

std::map<std::string, std::vector<std::string>> labels_of(const ModelConfig& config, const fs::path& directory) {
  std::map<std::string, std::vector<std::string>> out;
  for (const auto& output : config.output()) {
    if (output.label_filename().empty()) continue;
    if (fs::path(output.label_filename()).is_absolute() || output.label_filename().find("..") != std::string::npos)
      throw fail(StatusCode::invalid, "output {}: label_filename {} must lie in the model's directory",
                 quoted(output.name()), quoted(output.label_filename()));
    out[output.name()] = read_labels(directory / output.label_filename());
  }
  return out;
}

ServedVersion load_version(const fs::path& directory, const std::shared_ptr<const ModelConfig>& config, int64_t number,
                           const LoaderOptions& options) {
  const Clock::time_point begin = Clock::now();
  const BackendKind& kind = *find_backend_kind(config->backend(), config->platform()).value();
  auto model = std::make_shared<TensorModel>(make_tensor_model(config, number));
  const auto labels = labels_of(*config, directory);
  for (TensorSpec& output : model->outputs)
    if (const auto found = labels.find(output.name); found != labels.end()) output.labels = found->second;
  ProgramContext context{.model = model,
                         .model_directory = directory,
                         .version_directory = directory / std::to_string(number),
                         .options = options.backend,
                         .dialect = options.dialect,
                         .find_model = options.find_model,
                         .submit = options.submit};
  context.options.id = config->name();
  if (kind.prepare) kind.prepare(context, *model);
  std::shared_ptr<TensorProgram> program = kind.load(context);
  if (const Status warm = warm_up(*model, *program, directory); !warm.ok()) throw Error(warm);
  BackendInfo info;
  info.directory_name = directory.filename().string();
  info.device = "host";
  info.load_seconds = seconds(Clock::now() - begin);
  return {.number = number,
          .state = ModelState::ready,
          .reason = "",
          .backend = make_model_backend(model, std::move(program), options.cache, std::move(info), options.gate)};
}

}  // namespace

Result<ModelConfig> read_model_config(const fs::path& directory, const std::string& name,
                                      const std::string& config_override, const LoaderOptions& options) {
  return capture([&] {
    ModelConfig config =
        config_override.empty() ? read_file(directory, name, options) : parse_config_json(config_override).value();
    if (config.name().empty()) config.set_name(name);
    const std::vector<int64_t> versions = version_directories(directory);
    const fs::path first = versions.empty() ? fs::path() : directory / std::to_string(versions.front());
    if (options.auto_complete && config.backend().empty() && config.platform().empty() && !first.empty())
      config.set_backend(guess_backend(first));
    if (config.backend().empty()) {
      // Older files name the platform only.
      if (config.platform() == "pytorch_libtorch" || config.platform() == "torch_aoti")
        config.set_backend("pytorch");
      else if (config.platform() == "tensorrt_plan")
        config.set_backend("tensorrt");
      else if (config.platform() == "onnxruntime_onnx")
        config.set_backend("onnxruntime");
      else if (config.platform().starts_with("tensorflow"))
        config.set_backend("tensorflow");
    }
    if (config.backend().empty() && config.platform() != "ensemble")
      throw fail(StatusCode::invalid,
                 "model {}: backend is missing, and the files of its version directories do not tell it", quoted(name));
    const BackendKind& kind = *find_backend_kind(config.backend(), config.platform()).value();
    if (options.auto_complete && !first.empty() && kind.complete) {
      if (options.default_max_batch > 0 && config.max_batch_size() == 0 && config.input().empty())
        config.set_max_batch_size(options.default_max_batch);
      kind.complete(config, directory, first);
    }
    fill_defaults(config, options.gpus);
    if (const Status valid = validate(config, name, options.gpus); !valid.ok()) throw Error(valid);
    if (config.input().empty() || config.output().empty())
      throw fail(StatusCode::invalid, "model {}: input and output must be configured", quoted(name));
    if (const std::vector<std::string> idle = fields_without_effect(config); !idle.empty())
      log::warn("fields of the configuration have no effect here",
                {{"model", name}, {"fields", fmt::format("{}", fmt::join(idle, ", "))}});
    if (config.response_cache().enable() && !options.cache)
      log::warn(
          "response_cache is enabled in the configuration, but the server has no cache: give --cache-config "
          "local,size=BYTES",
          {{"model", name}});
    for (const auto& control : config.model_metrics().metric_control())
      if (const auto& known = bucketed_histograms();
          std::find(known.begin(), known.end(), control.metric_identifier().family()) == known.end())
        log::warn("model_metrics names a family whose buckets cannot be set",
                  {{"model", name},
                   {"family", control.metric_identifier().family()},
                   {"known", fmt::format("{}", fmt::join(known, ", "))}});
    return config;
  });
}

Result<std::vector<ServedVersion>> load_versions(const fs::path& directory, std::shared_ptr<const ModelConfig> config,
                                                 const LoaderOptions& options, int64_t& failed_version) {
  return adapt_versions(directory, std::move(config), options, {}, failed_version);
}

Result<std::vector<ServedVersion>> adapt_versions(const fs::path& directory, std::shared_ptr<const ModelConfig> config,
                                                  const LoaderOptions& options,
                                                  const std::vector<ServedVersion>& before, int64_t& failed_version) {
  failed_version = 0;
  return capture([&] {
    const std::vector<int64_t> chosen =
        choose_versions(config->version_policy(), version_directories(directory), config->name()).value();
    const auto loaded = [&](int64_t number) {
      const auto found = std::find_if(before.begin(), before.end(), [&](const ServedVersion& version) {
        return version.number == number && version.state == ModelState::ready;
      });
      return found == before.end() ? nullptr : found->backend;
    };
    std::vector<ServedVersion> out;
    // What may fail for long comes first: nothing of what serves has changed then.
    for (const int64_t number : chosen) {
      failed_version = number;
      if (!loaded(number)) out.push_back(load_version(directory, config, number, options));
    }
    std::vector<std::shared_ptr<Backend>> adapted;
    for (const int64_t number : chosen) {
      const std::shared_ptr<Backend> kept = loaded(number);
      if (!kept) continue;
      failed_version = number;
      Result<std::shared_ptr<Backend>> changed = with_config(kept, *config);
      if (!changed.ok()) {
        for (const auto& one : adapted) (void)with_config(one, *one->tensor_model()->config);
        throw Error(changed.status());
      }
      adapted.push_back(kept);
      out.push_back({.number = number, .state = ModelState::ready, .reason = "", .backend = std::move(*changed)});
    }
    return out;
  });
}

Result<std::shared_ptr<Backend>> load_text_model(const fs::path& directory, const LoaderOptions& options) {
  Result<std::shared_ptr<Backend>> text = load_backend(directory, options.backend);
  if (!text.ok()) return text;
  return capture([&]() -> std::shared_ptr<Backend> {
    auto config = std::make_shared<ModelConfig>();
    config->set_name((*text)->info().id);
    config->set_backend("inazuma");
    text_backend().complete(*config, directory, directory);
    fill_defaults(*config, options.gpus);
    auto model = std::make_shared<const TensorModel>(make_tensor_model(std::move(config), 1));
    std::shared_ptr<TensorProgram> program = make_text_program(model, *text, options.dialect);
    return make_model_backend(std::move(model), std::move(program), nullptr, {});
  });
}

}  // namespace inazuma
