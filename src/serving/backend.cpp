#include "serving/backend.h"

#include <algorithm>

#include "base/log.h"
#include "models/config.h"
#include "serving/engine_backend.h"
#include "serving/tasks/generation.h"
#include "serving/tasks/rows.h"
#include "serving/tasks/task.h"

namespace inazuma {

namespace {

using nlohmann::json;

json read_optional(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? read_json_file(file) : json::object();
}

int smallest_bound(std::initializer_list<int> bounds) {
  int least = 0;
  for (int bound : bounds)
    if (bound > 0 && (least == 0 || bound < least)) least = bound;
  return least;
}

// Everything of a loaded directory that requests read; shared with running requests, so that a reload never pulls it
// away.
struct Loaded {
  BackendInfo info;
  json config;
  std::shared_ptr<const Tokenizer> tokenizer;
  GenerationConfigs generation;
  std::map<std::string, std::string> prompts;
  std::string default_prompt;
  bool lower_case = false;
  bool auto_truncate = true;

  TaskContext task_context() const {
    return {*tokenizer, info.model, config, info.max_input_length, auto_truncate, prompts, default_prompt, lower_case};
  }
  GenerationContext generation_context() const {
    return {*tokenizer, info.model, generation.general, generation.by_pipeline, config, info.engine.max_context};
  }
};

class EngineBackend : public Backend {
 public:
  EngineBackend(std::shared_ptr<Loaded> loaded, std::unique_ptr<Engine> engine)
      : loaded_(std::move(loaded)), engine_(std::move(engine)) {}

  const BackendInfo& info() const override { return loaded_->info; }
  EngineStats stats() const override { return engine_->stats(); }
  Engine& engine() { return *engine_; }
  bool drain(Clock::time_point until) override { return engine_->drain(until); }

  void submit(Request request, Receiver receiver) override {
    Usage usage;
    usage.model = info().id;
    usage.device = info().on_gpu ? "gpu" : "cpu";
    usage.text = !std::holds_alternative<Tokenize>(request.work) && !std::holds_alternative<Decode>(request.work);
    usage.generation = std::holds_alternative<Generation>(request.work);
    const auto refuse = [&](Status status) {
      usage.total = Clock::now() - request.arrival;
      receiver.on_event(Response{std::move(status), {}, usage});
    };
    if (!can_do(info().model.task, request.work))
      return refuse(Status(StatusCode::wrong_task, fmt::format("model {} does {}, not {}", quoted(info().id),
                                                               name(info().model.task), work_name(request.work))));
    const Status status = capture([&] { start(request, receiver, usage); });
    if (!status.ok()) refuse(status);
  }

 private:
  // The last steps of every request: complete the bill, hand over.
  static std::function<void(Response)> completer(const Receiver& receiver, Usage usage, Clock::time_point arrival) {
    return [receiver, usage = std::move(usage), arrival](Response response) {
      response.usage.model = usage.model;
      response.usage.device = usage.device;
      response.usage.text = usage.text;
      response.usage.generation = usage.generation;
      response.usage.characters = usage.characters;
      response.usage.validation = usage.validation;
      response.usage.tokenization = usage.tokenization;
      response.usage.total = Clock::now() - arrival;
      receiver.on_event(std::move(response));
    };
  }

  void start(Request& request, Receiver& receiver, Usage& usage) {
    const Clock::time_point begin = Clock::now();
    usage.validation = begin - request.arrival;
    if (request.deadline <= begin)
      throw fail(StatusCode::deadline_exceeded, "the deadline passed before the request was read");
    if (const auto* work = std::get_if<Tokenize>(&request.work))
      return answer(receiver, usage, request, tokenize(*work));
    if (const auto* work = std::get_if<Decode>(&request.work)) return answer(receiver, usage, request, decode(*work));

    std::vector<SequenceRequest> rows;
    if (std::holds_alternative<Generation>(request.work)) {
      auto done = std::make_shared<std::function<void(Response)>>();
      const auto job = std::make_shared<GenerationJob>(request, loaded_->generation_context(), loaded_, receiver,
                                                       [done](Response r) { (*done)(std::move(r)); });
      rows = job->take_rows();
      usage.characters = job->characters();
      usage.tokenization = Clock::now() - begin;
      *done = completer(receiver, usage, request.arrival);
    } else {
      PreparedTask task = prepare_encoder_task(request.work);
      usage.characters = task.characters;
      usage.tokenization = Clock::now() - begin;
      const auto collector = std::make_shared<RowCollector>(std::move(task), loaded_, receiver,
                                                            completer(receiver, usage, request.arrival));
      rows = collector->take_rows(request);
    }
    if (const Status accepted = engine_->submit(std::move(rows)); !accepted.ok()) throw Error(accepted);
  }

  PreparedTask prepare_encoder_task(const Work& work) const {
    const TaskContext context = loaded_->task_context();
    return std::visit(
        [&](const auto& typed) -> PreparedTask {
          using T = std::decay_t<decltype(typed)>;
          if constexpr (std::is_same_v<T, Generation> || std::is_same_v<T, Tokenize> || std::is_same_v<T, Decode> ||
                        std::is_same_v<T, TensorInference>)
            throw fail(StatusCode::internal, "{} is not an encoder task", work_name(typed));
          else
            return prepare(typed, context);
        },
        work);
  }

  void answer(Receiver& receiver, const Usage& usage, const Request& request, Outcome outcome) const {
    Response response;
    response.outcome = std::move(outcome);
    completer(receiver, usage, request.arrival)(std::move(response));
  }

  TokenizeResult tokenize(const Tokenize& work) const {
    TokenizeResult out;
    for (const std::string& text : work.inputs) {
      const Encoding encoding =
          loaded_->tokenizer->encode(text, {.add_special_tokens = work.add_special_tokens}).value();
      std::vector<TokenText>& tokens = out.tokens.emplace_back();
      for (size_t i = 0; i < encoding.size(); ++i)
        tokens.push_back({encoding.ids[i], loaded_->tokenizer->token(encoding.ids[i]).value_or(""),
                          encoding.special[i] != 0, encoding.offsets[i]});
    }
    return out;
  }

  DecodeResult decode(const Decode& work) const {
    DecodeResult out;
    for (const std::vector<int32_t>& ids : work.ids) {
      for (int32_t id : ids)
        if (id < 0 || id >= loaded_->tokenizer->vocab_size())
          throw fail(StatusCode::invalid, "ids holds {}, must be in [0, {})", id, loaded_->tokenizer->vocab_size());
      out.texts.push_back(loaded_->tokenizer->decode(ids, work.skip_special_tokens));
    }
    return out;
  }

  std::shared_ptr<Loaded> loaded_;
  // Not part of Loaded: rows hold that, the engine's thread may drop the last of them, and no thread can join itself.
  std::unique_ptr<Engine> engine_;
};

std::string served_name(const std::filesystem::path& directory, const BackendOptions& options) {
  if (!options.id.empty()) return options.id;
  const std::filesystem::path absolute = std::filesystem::absolute(directory).lexically_normal();
  return (absolute.has_filename() ? absolute : absolute.parent_path()).filename().string();
}

void read_sentence_transformers(const std::filesystem::path& directory, Loaded& loaded, int& max_length) {
  const json sentence = read_optional(directory / "sentence_bert_config.json");
  if (const auto found = sentence.find("max_seq_length"); found != sentence.end() && found->is_number_integer())
    max_length = found->get<int>();
  if (const auto found = sentence.find("do_lower_case"); found != sentence.end() && found->is_boolean())
    loaded.lower_case = found->get<bool>();
  const json settings = read_optional(directory / "config_sentence_transformers.json");
  if (const auto found = settings.find("prompts"); found != settings.end() && found->is_object())
    for (const auto& [key, value] : found->items())
      if (value.is_string()) loaded.prompts[key] = value.get<std::string>();
  if (const auto found = settings.find("default_prompt_name"); found != settings.end() && found->is_string()) {
    const auto prompt = loaded.prompts.find(found->get<std::string>());
    if (prompt == loaded.prompts.end())
      throw fail(StatusCode::invalid, "config_sentence_transformers.json: default_prompt_name {} is not among prompts",
                 quoted(found->get<std::string>()));
    loaded.default_prompt = prompt->second;
  }
}

// A checkpoint and a tokenizer that do not belong together give wrong answers, not errors: refuse.
void check_vocabulary(const Tokenizer& tokenizer, const ModelInfo& model, std::vector<std::string>& warnings) {
  if (tokenizer.vocab_size() > model.vocab)
    warnings.push_back(
        fmt::format("the tokenizer has {} ids but the model only {}: texts that need the higher ones are refused",
                    tokenizer.vocab_size(), model.vocab));
}

// Ids that the model cannot produce end nothing and forbid nothing: left-over defaults of the checkpoint this one was
// made from ("eos_token_id": 50256 with a vocabulary of 32000). The engine would rightly refuse them in a request.
void drop_foreign_ids(GenerationOptions& options, const ModelInfo& model, std::vector<std::string>& warnings) {
  const auto foreign = [&](int32_t id) { return id < 0 || id >= model.vocab; };
  for (const int32_t id : options.eos)
    if (foreign(id))
      warnings.push_back(fmt::format("eos_token_id {} is outside the model's vocabulary of {} and never ends a text",
                                     id, model.vocab));
  std::erase_if(options.eos, foreign);
  std::erase_if(options.suppress, foreign);
  std::erase_if(options.bad_words, [&](const std::vector<int32_t>& word) {
    return word.empty() || std::any_of(word.begin(), word.end(), foreign);
  });
}

// Requests that say nothing of beams get the directory's: better to hear at load that none of them can be answered.
void check_beams(const Loaded& loaded, std::vector<std::string>& warnings) {
  const auto check = [&](const std::string& of, const GenerationConfig& settings) {
    const int beams = settings.options.num_beams, most = loaded.info.engine.max_sequences;
    if (beams > most)
      warnings.push_back(
          fmt::format("{} asks for num_beams {}, but {} sequences run at once: requests are refused unless they name "
                      "fewer (--max-batch-requests raises it)",
                      of, beams, most));
  };
  if (!loaded.info.model.has_decoder) return;
  check("the directory", loaded.generation.general);
  for (const auto& [pipeline, settings] : loaded.generation.by_pipeline) check(pipeline, settings);
}

std::shared_ptr<EngineBackend> load(const std::filesystem::path& directory, const BackendOptions& options,
                                    const std::string& id, const std::optional<std::filesystem::path>& converted) {
  const Clock::time_point begin = Clock::now();
  require_model_directory(directory);
  auto loaded = std::make_shared<Loaded>();
  loaded->config = model_config(directory, converted);
  loaded->auto_truncate = options.auto_truncate;
  loaded->generation = read_generation_configs(directory, loaded->config).value();
  loaded->tokenizer = load_tokenizer(directory, options.tokenizer).value();

  std::unique_ptr<Ops> ops = std::move(make_ops(options)).value();
  BackendInfo& info = loaded->info;
  info.device = ops->description();
  const LoadedModel model =
      load_model(directory, *ops, {.task = options.task, .pooling = options.pooling, .converted = converted},
                 options.progress)
          .value();
  for (const std::string& unused : model.report.unused)
    log::debug("unused tensor", {{"model", id}, {"tensor", unused}});

  int sentence_length = 0;
  read_sentence_transformers(directory, *loaded, sentence_length);
  info.id = id;
  info.directory_name = served_name(directory, {});
  info.model = model.model->info();
  info.tokenizer = loaded->tokenizer->description();
  info.on_gpu = !options.device.is_cpu();
  info.max_input_length =
      smallest_bound({info.model.max_positions, info.model.has_decoder ? 0 : loaded->tokenizer->model_max_length(),
                      sentence_length, options.max_input_length});
  info.warnings = loaded->generation.general.warnings;
  if (!options.task && class_of(loaded->config).empty() && !model.report.unused.empty())
    info.warnings.push_back(
        fmt::format("config.json names no class (architectures): {} is assumed, and {} of the file is not used; --task "
                    "names another task",
                    name(info.model.task), model.report.unused.front()));
  drop_foreign_ids(loaded->generation.general.options, info.model, info.warnings);
  std::vector<std::string> said;  // of the same ids
  for (auto& [pipeline, settings] : loaded->generation.by_pipeline)
    drop_foreign_ids(settings.options, info.model, said);
  check_vocabulary(*loaded->tokenizer, info.model, info.warnings);

  std::unique_ptr<Engine> engine = std::move(Engine::start(model.model, std::move(ops), options.engine)).value();
  info.engine = engine->options();
  check_beams(*loaded, info.warnings);
  info.load_seconds = seconds(Clock::now() - begin);
  return std::make_shared<EngineBackend>(std::move(loaded), std::move(engine));
}

}  // namespace

Result<std::unique_ptr<Ops>> make_ops(const BackendOptions& options) {
  if (options.device.is_cpu()) return make_cpu_ops({.threads = options.threads, .isa = ""});
  return make_cuda_ops({.index = options.device.index, .dtype = options.dtype, .invariant = options.batch_invariant});
}

Result<EngineBackendAccess> load_engine_backend(const std::filesystem::path& directory, const BackendOptions& options,
                                                const std::optional<std::filesystem::path>& converted) {
  const std::string id = served_name(directory, options);
  Result<EngineBackendAccess> loaded = capture([&]() -> EngineBackendAccess {
    const std::shared_ptr<EngineBackend> backend = load(directory, options, id, converted);
    return {backend, &backend->engine()};
  });
  if (!loaded.ok()) return loaded.status().in(fmt::format("cannot load model {}", quoted(id)));
  return loaded;
}

Result<std::shared_ptr<Backend>> load_backend(const std::filesystem::path& directory, const BackendOptions& options) {
  Result<EngineBackendAccess> loaded = load_engine_backend(directory, options, std::nullopt);
  if (!loaded.ok()) return loaded.status();
  return loaded->backend;
}

}  // namespace inazuma
