// `backend: "fastertransformer"`: the tensors of its BERT, GPT and T5 models, answered by our engine. One request is
// one job; its rows join whatever else the engine runs and leave on their own.

#include "serving/fastertransformer/program.h"

#include <model_config.pb.h>

#include <mutex>

#include "base/log.h"
#include "serving/engine_backend.h"
#include "serving/fastertransformer/configuration.h"
#include "serving/fastertransformer/tensors.h"

namespace inazuma {

namespace {

namespace fs = std::filesystem;
using namespace fastertransformer;

struct Places {
  fs::path checkpoint;         ///< N-gpu
  std::optional<fs::path> hf;  ///< configuration, tokenizer and perhaps the original weights
};

std::string parameter_of(const inference::ModelConfig& config, const std::string& key) {
  const auto found = config.parameters().find(key);
  return found == config.parameters().end() ? "" : found->second.string_value();
}

/// As the original looks for it: the parameter (from the server's working directory; from the model's folder too), else
/// the version's folder.
fs::path checkpoint_of(const inference::ModelConfig& config, const fs::path& model_directory,
                       const fs::path& version_directory) {
  if (const fs::path named = parameter_of(config, "model_checkpoint_path"); !named.empty()) {
    const fs::path there = fs::exists(named) || named.is_absolute() ? named : model_directory / named;
    if (const auto found = find_converted(there)) return *found;
    throw fail(StatusCode::not_found, "parameters model_checkpoint_path is {}: no config.ini there",
               quoted(named.string(), 400));
  }
  if (!config.default_model_filename().empty()) {
    const fs::path named = version_directory / config.default_model_filename();
    if (const auto found = find_converted(named)) return *found;
    throw fail(StatusCode::not_found, "default_model_filename is {}: no config.ini there",
               quoted(config.default_model_filename()));
  }
  const std::string ranks = parameter_of(config, "tensor_para_size");
  if (!ranks.empty() && fs::exists(version_directory / (ranks + "-gpu") / "config.ini"))
    return version_directory / (ranks + "-gpu");
  if (const auto found = find_converted(version_directory)) return *found;
  throw fail(StatusCode::not_found,
             "{}: no FasterTransformer checkpoint (looked for N-gpu/config.ini; parameters model_checkpoint_path names "
             "another place)",
             quoted(version_directory.filename().string()));
}

Places places_of(const inference::ModelConfig& config, const fs::path& model_directory,
                 const fs::path& version_directory) {
  Places out{.checkpoint = checkpoint_of(config, model_directory, version_directory), .hf = std::nullopt};
  if (const fs::path named = parameter_of(config, "hf_model"); !named.empty()) {
    out.hf = named.is_absolute() || fs::exists(named) ? named : model_directory / named;
    if (!fs::exists(*out.hf / "config.json"))
      throw fail(StatusCode::not_found, "parameters hf_model is {}: no config.json there", quoted(named.string(), 400));
    return out;
  }
  for (const fs::path& place : {version_directory, model_directory, out.checkpoint})
    if (!out.hf && fs::exists(place / "config.json")) out.hf = place;
  return out;
}

void check_model_type(const inference::ModelConfig& config, ConvertedFamily family) {
  const std::string type = parameter_of(config, "model_type");
  if (type.empty()) return;
  const std::string_view expected = family == ConvertedFamily::bert  ? "bert"
                                    : family == ConvertedFamily::gpt ? "GPT"
                                                                     : "T5";
  if (type == expected) return;
  if (type == "GPT-J" || type == "GPT-NeoX" || type == "T5-Encoder")
    throw fail(StatusCode::unsupported, "parameters model_type {} is not supported; bert, GPT and T5 are",
               quoted(type));
  throw fail(StatusCode::invalid, "parameters model_type is {}, the checkpoint is of type {}", quoted(type), expected);
}

BackendOptions compute_options(const ProgramContext& context) {
  BackendOptions out = context.options;
  const std::string type = context.parameter("data_type");
  if (!type.empty()) {
    const DType parsed = parse_dtype(type).value();
    if (!out.device.is_cpu()) out.dtype = parsed;  // the CPU computes in float32 whatever the files and the tensors are
  }
  if (const std::string mode = context.parameter("int8_mode"); !mode.empty() && mode != "0")
    throw fail(StatusCode::unsupported, "parameters int8_mode is {}, only 0 is supported", quoted(mode));
  if (const std::string sparse = context.parameter("is_sparse"); !sparse.empty() && sparse != "0")
    throw fail(StatusCode::unsupported, "parameters is_sparse is {}, only 0 is supported", quoted(sparse));
  return out;
}

std::unique_ptr<Engine> start_engine(const fs::path& directory, const BackendOptions& options,
                                     const LoadOptions& load) {
  std::unique_ptr<Ops> ops = std::move(make_ops(options)).value();
  const LoadedModel model = load_model(directory, *ops, load, options.progress).value();
  return std::move(Engine::start(model.model, std::move(ops), options.engine)).value();
}

/// One job and its rows on their way; the last row to end answers. Events come from the engine's thread only, but rows
/// may be refused while they are handed over.
template <class State>
class JobSink : public SequenceSink {
 public:
  JobSink(std::unique_ptr<TensorJob> job, State state)
      : job_(std::move(job)), state_(std::move(state)), open_(state_.count()) {}

  void on_event(SequenceEvent event) override {
    const std::lock_guard lock(mutex_);
    if (!job_) return;
    const Status status = capture([&] {
      if (!state_.hear(event, *job_)) return;
      if (--open_ > 0) return;
      job_->compute_output_start = Clock::now();
      TensorResult result = state_.result();
      std::exchange(job_, nullptr)->finish(std::move(result));
    });
    if (!status.ok()) fail_all(status);
  }
  /// The engine took none of the rows.
  void refuse(const Status& status) {
    const std::lock_guard lock(mutex_);
    fail_all(status);
  }
  State& state() { return state_; }
  const TensorJob& job() const { return *job_; }

 private:
  void fail_all(const Status& status) {
    if (job_) std::exchange(job_, nullptr)->fail(status);
    state_.stop();
  }
  std::mutex mutex_;
  std::unique_ptr<TensorJob> job_;
  State state_;
  size_t open_;
};

/// Hidden states in, hidden states out.
struct HiddenState {
  std::shared_ptr<const TensorModel> model;
  int padded = 0;
  int width = 0;
  std::vector<Rows> rows;

  size_t count() const { return rows.size(); }
  void stop() {}
  bool hear(SequenceEvent& event, TensorJob&) {
    if (event.kind == SequenceEvent::Kind::failed) throw Error(event.status);
    if (event.kind != SequenceEvent::Kind::finished) return false;
    rows[static_cast<size_t>(event.index)] = std::move(event.rows);
    return true;
  }
  TensorResult result() const { return pack_hidden(rows, padded, width, *model); }
};

/// Ids in, ids out.
struct DecodingState {
  std::shared_ptr<const TensorModel> model;
  bool encoder_decoder = false;
  Decoding decoding;
  std::vector<std::vector<Generated>> answers;  ///< the beams of each row
  std::vector<CancelFlag> flags;                ///< one a row: a matched stop word ends a row alone
  std::vector<bool> ended;
  size_t told = 0;  ///< tokens that every row still running has been answered with

  size_t count() const { return answers.size(); }
  void stop() {
    for (const CancelFlag& flag : flags) flag->store(true, std::memory_order_relaxed);
  }

  bool hear(SequenceEvent& event, TensorJob& job) {
    const auto row = static_cast<size_t>(event.index);
    if (job.cancelled()) throw fail(StatusCode::cancelled, "the request was cancelled");
    if (ended[row]) return false;  // its stop word came before the engine knew
    if (event.kind == SequenceEvent::Kind::failed) throw Error(event.status);
    if (event.kind == SequenceEvent::Kind::finished) {
      if (!event.hypotheses.empty()) answers[row].clear();
      for (Hypothesis& found : event.hypotheses)
        answers[row].push_back({std::move(found.ids), std::move(found.logprobs)});
      ended[row] = true;
      return true;
    }
    if (event.kind != SequenceEvent::Kind::token) return false;
    Generated& answer = answers[row].front();
    answer.tokens.push_back(event.token.id);
    answer.log_probs.push_back(event.token.logprob);
    if (stopped(row)) {
      ended[row] = true;
      flags[row]->store(true, std::memory_order_relaxed);
    }
    if (model->decoupled && decoding.beams == 1) stream(job);  // beams are known at their end
    return ended[row];
  }

  TensorResult result() const { return pack_decoding(decoding, answers, SIZE_MAX, *model, encoder_decoder); }

 private:
  /// The newest ids are a stop word; those of the prompt count for GPT.
  bool stopped(size_t row) const {
    const Row& asked = decoding.rows[row];
    if (asked.stop_words.empty()) return false;
    std::vector<int32_t> ids = encoder_decoder ? asked.decoder_ids : asked.ids;
    const std::vector<int32_t>& tokens = answers[row].front().tokens;
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    return ends_with_word(asked.stop_words, ids);
  }

  /// One answer for each token that all rows have reached.
  void stream(TensorJob& job) {
    size_t reached = SIZE_MAX;
    size_t longest = 0;
    for (size_t i = 0; i < answers.size(); ++i) {
      const size_t tokens = answers[i].front().tokens.size();
      if (!ended[i]) reached = std::min(reached, tokens);
      longest = std::max(longest, tokens);
    }
    reached = std::min(reached, longest);
    for (; told < reached; ++told) job.answer(pack_decoding(decoding, answers, told + 1, *model, encoder_decoder));
  }
};

class FasterTransformer : public TensorProgram {
 public:
  FasterTransformer(const ProgramContext& context, const Places& places) : model_(context.model) {
    const nlohmann::json config = converted_config(places.checkpoint);
    const ConvertedFamily family = converted_family(places.checkpoint);
    check_model_type(*model_->config, family);
    hidden_ = family == ConvertedFamily::bert;
    BackendOptions options = compute_options(context);
    if (places.hf) load_text(places, options);
    if (hidden_) {
      if (model_->output("output_hidden_state") == nullptr ||
          model_->output("output_hidden_state")->type == DataType::bytes)
        throw fail(StatusCode::invalid,
                   "BERT has the output output_hidden_state, of a floating-point type; leave input and output out and "
                   "they are filled in");
      own_ = start_engine(places.checkpoint, options, {.encoder_only = true});
    } else if (!text_) {
      own_ = start_engine(places.checkpoint, options, {});
    }
    if (own_) engine_ = own_.get();
    const char* const start = engine_->info().has_encoder ? "decoder_start_token_id" : "bos_token_id";
    defaults_.start_id = id_of(config, start, engine_->info().decoder_start);
    defaults_.end_id = id_of(config, "eos_token_id", -1);
  }

  bool quick() const override { return true; }
  std::shared_ptr<Backend> text() const override { return text_; }

  void execute(TensorJobs& jobs) override {
    for (auto& job : jobs) {
      const Status status = capture([&] { hidden_ ? start_hidden(job) : start_decoding(job); });
      if (!status.ok() && job) std::exchange(job, nullptr)->fail(status);
    }
  }

 private:
  int32_t id_of(const nlohmann::json& config, const char* key, int32_t fallback) const {
    const int64_t id = config.contains(key) && config[key].is_number_integer() ? config[key].get<int64_t>() : -1;
    return id >= 0 && id < engine_->info().vocab ? static_cast<int32_t>(id) : fallback;
  }

  /// The text model of the same weights. BERT's tensors are served without it too, as the original did.
  void load_text(const Places& places, const BackendOptions& options) {
    Result<EngineBackendAccess> loaded = load_engine_backend(*places.hf, options, places.checkpoint);
    if (!loaded.ok() && !hidden_) throw Error(loaded.status());
    if (loaded.ok()) {
      text_ = loaded->backend;
      engine_ = loaded->engine;
    } else {
      log::warn("tensors only: the text model beside the checkpoint cannot be loaded",
                {{"model", model_->name}, {"why", loaded.status().message()}});
    }
  }

  template <class State>
  void submit(std::unique_ptr<TensorJob>& job, State state, std::vector<SequenceRequest> rows) {
    for (SequenceRequest& row : rows) {
      row.index = static_cast<int32_t>(&row - rows.data());
      row.priority = job->engine_priority;
      row.deadline = job->deadline;
      if (!row.cancelled) row.cancelled = job->cancel;
    }
    job->compute_input_end = Clock::now();
    const auto sink = std::make_shared<JobSink<State>>(std::move(job), std::move(state));
    for (SequenceRequest& row : rows) row.sink = sink;
    if (const Status accepted = engine_->submit(std::move(rows)); !accepted.ok()) sink->refuse(accepted);
  }

  void start_hidden(std::unique_ptr<TensorJob>& job) {
    const int width = engine_->info().hidden;
    std::vector<SequenceRequest> rows;
    for (std::vector<float>& values : read_hidden(job->inference, job->batch, width)) {
      SequenceRequest& row = rows.emplace_back();
      row.hidden = std::move(values);
      row.rows = SequenceRequest::Wanted::all;
    }
    HiddenState state{.model = model_,
                      .padded = padded_length(job->inference, "input_hidden_state"),
                      .width = width,
                      .rows = std::vector<Rows>(rows.size())};
    submit(job, std::move(state), std::move(rows));
  }

  void start_decoding(std::unique_ptr<TensorJob>& job) {
    DecodingState state{.model = model_,
                        .encoder_decoder = engine_->info().has_encoder,
                        .decoding = {},
                        .answers = {},
                        .flags = {},
                        .ended = {}};
    state.decoding = read_decoding(job->inference, job->batch, engine_->info(), defaults_);
    state.answers.resize(state.decoding.rows.size(), std::vector<Generated>(1));
    state.ended.resize(state.decoding.rows.size());
    std::vector<SequenceRequest> rows;
    for (const Row& asked : state.decoding.rows) {
      SequenceRequest& row = rows.emplace_back();
      row.ids = asked.ids;
      row.decoder_ids = asked.decoder_ids;
      row.generation = asked.generation;
      if (asked.beams() && !asked.stop_words.empty())
        row.hypothesis_end = [words = asked.stop_words](std::span<const int32_t> ids, int) {
          return ends_with_word(words, ids);
        };
      // Without stop words the client's own flag does; with them a row must be able to end alone.
      row.cancelled = asked.stop_words.empty() ? job->cancel : std::make_shared<std::atomic<bool>>(false);
      state.flags.push_back(row.cancelled);
    }
    submit(job, std::move(state), std::move(rows));
  }

  std::shared_ptr<const TensorModel> model_;
  bool hidden_ = false;
  Defaults defaults_;
  std::shared_ptr<Backend> text_;
  std::unique_ptr<Engine> own_;
  Engine* engine_ = nullptr;  ///< own_, or that of text_
};

}  // namespace

BackendKind fastertransformer_backend() {
  return {.name = "fastertransformer",
          .complete =
              [](inference::ModelConfig& config, const fs::path& model_directory, const fs::path& version_directory) {
                complete(config, converted_family(checkpoint_of(config, model_directory, version_directory)));
              },
          .load = [](const ProgramContext& context) -> std::shared_ptr<TensorProgram> {
            return std::make_shared<FasterTransformer>(
                context, places_of(*context.model->config, context.model_directory, context.version_directory));
          },
          .prepare = nullptr};
}

}  // namespace inazuma
