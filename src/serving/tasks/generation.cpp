#include "serving/tasks/generation.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace inazuma {

namespace {

constexpr size_t kMaxStops = 16;
constexpr int kMaxBestOf = 16;

void check(const Generation& work) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  if (work.stream && work.inputs.size() > 1)
    throw fail(StatusCode::invalid, "a stream takes one input, got {}", work.inputs.size());
  const GenerationParameters& p = work.parameters;
  if (p.best_of < 1 || p.best_of > kMaxBestOf)
    throw fail(StatusCode::invalid, "best_of is {}, must be in [1, {}]", p.best_of, kMaxBestOf);
  if (p.best_of > 1 && work.stream)
    throw fail(StatusCode::invalid, "best_of is {}: a stream shows one sample, set best_of to 1", p.best_of);
  if (p.stop.size() > kMaxStops)
    throw fail(StatusCode::invalid, "stop has {} strings, at most {} are allowed", p.stop.size(), kMaxStops);
  for (const std::string& stop : p.stop)
    if (stop.empty())
      throw fail(StatusCode::invalid, "stop holds an empty string; every stop string needs a character");
}

// A stop string that ends with the newest token: in the text of the last tokens, and not yet without that one. The
// engine holds rows that keep the tokenizer alive through their sink.
HypothesisEnd ends_with_stop(const Tokenizer& tokenizer, const std::vector<std::string>& stops) {
  if (stops.empty()) return {};
  constexpr size_t kBeside =
      8;  // tokens before a stop string: what decodes differently at the start of a text is none of it
  size_t longest = 0;
  for (const std::string& stop : stops) longest = std::max(longest, stop.size());
  return [&tokenizer, stops, window = longest + kBeside](std::span<const int32_t> ids, int prompt) {
    const std::span<const int32_t> generated = ids.subspan(static_cast<size_t>(prompt));
    const std::string text = tokenizer.decode(generated.last(std::min(window, generated.size())));
    return std::any_of(stops.begin(), stops.end(),
                       [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
  };
}

}  // namespace

GenerationJob::GenerationJob(const Request& request, GenerationContext context, std::shared_ptr<const void> owner,
                             Receiver receiver, Done done)
    : context_(context),
      owner_(std::move(owner)),
      receiver_(std::move(receiver)),
      done_(std::move(done)),
      request_cancelled_(request.cancelled) {
  const auto& work = std::get<Generation>(request.work);
  check(work);
  stream_ = work.stream;
  watched_ = stream_ || !work.parameters.stop.empty();
  return_full_text_ = work.return_full_text;
  const GenerationConfig& directory = defaults(work);
  const bool beams = work.parameters.num_beams.value_or(directory.options.num_beams) > 1;
  samples_ = beams ? 1 : std::max(work.parameters.best_of, work.parameters.num_return_sequences.value_or(1));
  ranked_ = work.parameters.best_of > 1;
  for (const Input& input : work.inputs) {
    characters_ += code_points(input.text);
    for (int sample = 0; sample < samples_; ++sample) add_row(request, input, work, sample);
  }
  open_ = rows_.size();
}

const GenerationConfig& GenerationJob::defaults(const Generation& work) const {
  const auto found = context_.by_pipeline.find(work.pipeline);
  return found == context_.by_pipeline.end() ? context_.defaults : found->second;
}

// As the pipelines: the task's own prefix, else the model's, else none. A translation between languages that the model
// does not name is refused, for its answer would be a guess.
std::string GenerationJob::prefix(const std::string& pipeline) const {
  const auto tasks = context_.config.find("task_specific_params");
  if (!pipeline.empty() && tasks != context_.config.end() && tasks->is_object()) {
    if (const auto task = tasks->find(pipeline); task != tasks->end() && task->is_object())
      if (const auto found = task->find("prefix"); found != task->end() && found->is_string())
        return found->get<std::string>();
    if (pipeline.starts_with("translation_") && !tasks->empty()) {
      std::string known;
      for (const auto& [name, settings] : tasks->items()) known += (known.empty() ? "" : ", ") + name;
      throw fail(StatusCode::invalid, "src_lang and tgt_lang ask for {}, which this model does not name; it names: {}",
                 quoted(pipeline), known);
    }
  }
  const auto own = context_.config.find("prefix");
  return own != context_.config.end() && own->is_string() ? own->get<std::string>() : "";
}

std::vector<int32_t> GenerationJob::encode_prompt(const Input& input, const Generation& work) const {
  std::vector<int32_t> ids;
  if (input.ids) {
    ids = *input.ids;
  } else {
    const Encoding encoding = context_.tokenizer.encode(prefix(work.pipeline) + input.text).value();
    ids = encoding.ids;
    // A prompt is to be continued: whatever the tokenizer class appends to finished text ("</s>", "[SEP]") does not
    // belong there.
    if (!context_.model.has_encoder)
      for (size_t i = encoding.size(); i > 0 && encoding.special[i - 1] && i > 1; --i) ids.pop_back();
    if (!context_.model.has_encoder && encoding.size() == 1 && encoding.special[0] &&
        ids.front() != context_.defaults.bos)
      ids.clear();
  }
  if (work.parameters.truncate && ids.size() > static_cast<size_t>(*work.parameters.truncate))
    ids.erase(ids.begin(), ids.end() - *work.parameters.truncate);
  if (ids.empty() && !context_.model.has_encoder && context_.defaults.bos) ids.push_back(*context_.defaults.bos);
  if (ids.empty())
    throw fail(StatusCode::empty, "the prompt is empty and the model has no start token; give at least one character");
  return ids;
}

void GenerationJob::add_row(const Request& request, const Input& input, const Generation& work, int sample) {
  SequenceRequest row;
  row.ids = encode_prompt(input, work);
  int prompt = static_cast<int>(row.ids.size());
  if (context_.model.has_encoder) {
    row.decoder_ids = {context_.defaults.decoder_start.value_or(context_.model.decoder_start)};
    prompt = 1;
  }
  row.generation =
      resolve(work.parameters, defaults(work), prompt, context_.max_context, context_.model.has_encoder).value();
  if (row.generation.num_beams > 1 && work.stream)
    throw fail(StatusCode::invalid,
               "num_beams is {}: a search knows its text only at its end, set num_beams to 1 to stream",
               row.generation.num_beams);
  if (row.generation.num_beams > 1) row.hypothesis_end = ends_with_stop(context_.tokenizer, work.parameters.stop);
  for (const std::string& word : work.parameters.bad_words)
    row.generation.bad_words.push_back(context_.tokenizer.encode(word, {.add_special_tokens = false}).value().ids);
  row.generation.seed += static_cast<uint64_t>(sample);
  row.generation.prompt_logprobs = work.prompt_logprobs && !context_.model.has_encoder;
  row.index = static_cast<int32_t>(rows_.size());
  row.priority = request.priority;
  row.deadline = request.deadline;
  const bool alone = work.inputs.size() == 1 && samples_ == 1;
  row.cancelled = alone ? request.cancelled : std::make_shared<std::atomic<bool>>(false);

  Row state{.options = row.generation,
            .detokenizer = Detokenizer(context_.tokenizer),
            .stop = StopMatcher(work.parameters.stop),
            .cancelled = row.cancelled,
            .result = {},
            .prompt_text = input.ids ? context_.tokenizer.decode(*input.ids) : input.text};
  if (!context_.model.has_encoder)
    state.detokenizer.prime(row.ids);  // generated text is what decoding adds to the decoded prompt
  state.result.input_length = static_cast<int>(row.ids.size());
  if (row.generation.sample) state.result.seed = row.generation.seed;
  usage_.prompt_tokens += state.result.input_length;
  rows_.push_back(std::move(state));
  requests_.push_back(std::move(row));
}

std::vector<SequenceRequest> GenerationJob::take_rows() {
  for (SequenceRequest& row : requests_) row.sink = shared_from_this();
  return std::move(requests_);
}

void GenerationJob::on_event(SequenceEvent event) {
  const bool end = event.kind == SequenceEvent::Kind::finished || event.kind == SequenceEvent::Kind::failed;
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  if (end || watched_) receiver_.post([self = shared_from_this()] { self->drain_events(); });
}

void GenerationJob::drain_events() {
  std::vector<SequenceEvent> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
  }
  for (SequenceEvent& event : events) handle(event);
}

void GenerationJob::handle(SequenceEvent& event) {
  Row& row = rows_[static_cast<size_t>(event.index)];
  if (request_cancelled_->load() && !row.cancelled->load()) row.cancelled->store(true);
  switch (event.kind) {
    case SequenceEvent::Kind::prompt:
      for (const TokenLogprob& token : event.prompt) row.result.prompt.push_back(plain_token(token));
      return;
    case SequenceEvent::Kind::token:
      if (!row.settled) take_token(row, event);
      return;
    case SequenceEvent::Kind::failed:
      if (!row.settled && status_.ok()) status_ = event.status;
      for (Row& other : rows_) other.cancelled->store(true);
      break;
    case SequenceEvent::Kind::finished:
      if (event.reason == FinishReason::cancelled && !row.settled && status_.ok())
        status_ = Status(StatusCode::cancelled, "the request was cancelled");
      if (!event.hypotheses.empty()) take_hypotheses(row, event.hypotheses);
      usage_.queue = std::max(usage_.queue, event.times.queued);
      usage_.inference = std::max(usage_.inference, event.times.prefill + event.times.decode);
      usage_.prefill = std::max(usage_.prefill, event.times.prefill);
      if (row.result.tokens.size() > 1)
        usage_.token_gap =
            std::max(usage_.token_gap, event.times.decode / static_cast<int64_t>(row.result.tokens.size() - 1));
      break;
  }
  row.ended = true;
  if (--open_ == 0) finish();
}

// The text that a token adds, cut at a stop string.
std::string GenerationJob::show(Row& row, int32_t id, bool last) {
  std::string piece = row.detokenizer.push(id);
  if (last) piece += row.detokenizer.finish();
  std::string shown = row.stop.push(piece);
  if (last && !row.stop.matched()) shown += row.stop.finish();
  row.result.text += shown;
  return shown;
}

void GenerationJob::take_hypotheses(Row& row, const std::vector<Hypothesis>& hypotheses) {
  const Row blank = row;
  for (const Hypothesis& hypothesis : hypotheses) {
    Row one = blank;
    take_text(one, hypothesis);
    if (&hypothesis == hypotheses.data())
      row.result = std::move(one.result);
    else
      row.others.push_back(std::move(one.result));
  }
}

void GenerationJob::take_text(Row& row, const Hypothesis& hypothesis) {
  const bool stopped = hypothesis.reason == FinishReason::stopped;
  row.result.cause = stopped                                  ? StopCause::stop_sequence
                     : hypothesis.reason == FinishReason::eos ? StopCause::eos
                                                              : StopCause::length;
  for (size_t i = 0; i < hypothesis.ids.size() && !row.stop.matched(); ++i) {
    std::string shown = show(row, hypothesis.ids[i], i + 1 == hypothesis.ids.size());
    GeneratedToken token = plain_token({hypothesis.ids[i], hypothesis.logprobs[i]});
    if (!token.special) token.text = std::move(shown);
    row.result.tokens.push_back(std::move(token));
    ++usage_.generated_tokens;
  }
}

void GenerationJob::take_token(Row& row, const SequenceEvent& event) {
  const int32_t id = event.token.id;
  const bool eos =
      !row.options.ignore_eos && std::find(row.options.eos.begin(), row.options.eos.end(), id) != row.options.eos.end();
  const bool last = eos || static_cast<int>(row.result.tokens.size()) + 1 >= row.options.max_new_tokens;

  std::string shown = show(row, id, last);
  GeneratedToken token = plain_token(event.token);
  if (!token.special) token.text = std::move(shown);
  row.result.tokens.push_back(token);
  std::vector<GeneratedToken> top;
  for (const TokenLogprob& candidate : event.top) top.push_back(plain_token(candidate));
  if (row.options.top_tokens > 0) row.result.top_tokens.push_back(top);
  ++usage_.generated_tokens;

  if (row.stop.matched()) {
    row.result.cause = StopCause::stop_sequence;
    row.cancelled->store(true);  // the one signal against the stream
  } else {
    row.result.cause = eos ? StopCause::eos : StopCause::length;
  }
  row.settled = last || row.stop.matched();
  // The last token travels with the final event, which carries the whole text.
  if (stream_ && !row.settled)
    receiver_.on_event(StreamToken{
        .index = static_cast<int>(row.result.tokens.size()), .token = std::move(token), .top_tokens = std::move(top)});
}

GeneratedToken GenerationJob::plain_token(const TokenLogprob& token) const {
  const bool special = context_.tokenizer.is_special(token.id);
  std::string text =
      special ? context_.tokenizer.token(token.id).value_or("") : context_.tokenizer.decode(std::span(&token.id, 1));
  return {.id = token.id, .text = std::move(text), .logprob = token.logprob, .special = special};
}

void GenerationJob::finish() {
  for (const Row& row : rows_) {
    ++(row.result.cause == StopCause::length ? usage_.full_rows : usage_.stopped_rows);
    usage_.max_new_tokens = std::max(usage_.max_new_tokens, row.options.max_new_tokens);
  }
  Response response;
  response.status = status_;
  if (status_.ok()) response.outcome = result();
  response.usage = usage_;
  done_(std::move(response));
}

GenerationResult GenerationJob::result() {
  const auto mean_logprob = [](const GeneratedText& text) {
    const float sum = std::accumulate(text.tokens.begin(), text.tokens.end(), 0.0f,
                                      [](float total, const GeneratedToken& t) { return total + t.logprob; });
    return text.tokens.empty() ? -std::numeric_limits<float>::infinity() : sum / static_cast<float>(text.tokens.size());
  };
  GenerationResult out;
  for (size_t begin = 0; begin < rows_.size(); begin += static_cast<size_t>(samples_)) {
    std::vector<GeneratedText> samples;
    for (size_t i = begin; i < begin + static_cast<size_t>(samples_); ++i) {
      samples.push_back(std::move(rows_[i].result));
      for (GeneratedText& other : rows_[i].others) samples.push_back(std::move(other));
      if (!return_full_text_) continue;
      for (size_t k = samples.size() - 1 - rows_[i].others.size(); k < samples.size(); ++k)
        samples[k].text = rows_[i].prompt_text + samples[k].text;
    }
    if (ranked_)
      std::stable_sort(samples.begin(), samples.end(),
                       [&](const auto& a, const auto& b) { return mean_logprob(a) > mean_logprob(b); });
    GeneratedText best = std::move(samples.front());
    best.others.assign(std::make_move_iterator(samples.begin() + 1), std::make_move_iterator(samples.end()));
    out.texts.push_back(std::move(best));
  }
  return out;
}

}  // namespace inazuma
