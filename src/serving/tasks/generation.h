#pragma once
// Generation, causal and encoder-decoder alike: rows for the engine, and the sink that turns their tokens into text.

#include <memory>
#include <mutex>
#include <vector>

#include "serving/generation_config.h"
#include "serving/response.h"
#include "serving/tasks/task.h"
#include "text/detokenizer.h"

namespace inazuma {

struct GenerationContext {
  const Tokenizer& tokenizer;
  const ModelInfo& model;
  const GenerationConfig& defaults;
  const std::map<std::string, GenerationConfig>& by_pipeline;  ///< in place of `defaults` where the pipeline is named
  const nlohmann::json& config;                                ///< config.json
  int max_context = 0;                                         ///< decoder ids the engine takes
};

/// One request's generation. Engine events are queued by `on_event` (engine thread) and worked on the receiver's
/// thread; token events are posted one by one only where somebody looks at them (a stream, stop strings).
class GenerationJob : public SequenceSink, public std::enable_shared_from_this<GenerationJob> {
 public:
  /// Called once, on the receiver's thread, when every row has ended.
  using Done = std::function<void(Response)>;

  /// `owner` keeps everything `context` refers to alive. Throws Error.
  GenerationJob(const Request& request, GenerationContext context, std::shared_ptr<const void> owner, Receiver receiver,
                Done done);

  /// The rows, once; each holds this job as its sink.
  std::vector<SequenceRequest> take_rows();
  int characters() const { return characters_; }

  void on_event(SequenceEvent event) override;

 private:
  struct Row {
    GenerationOptions options;
    Detokenizer detokenizer;
    StopMatcher stop;
    CancelFlag cancelled;
    GeneratedText result;
    std::string prompt_text;
    bool ended = false;                 // the engine said so
    bool settled = false;               // no further token counts (last one seen, or a stop string matched)
    std::vector<GeneratedText> others;  // a beam search's hypotheses after the first
  };

  void add_row(const Request& request, const Input& input, const Generation& work, int sample);
  std::vector<int32_t> encode_prompt(const Input& input, const Generation& work) const;
  std::string prefix(const std::string& pipeline) const;
  void drain_events();
  void handle(SequenceEvent& event);
  const GenerationConfig& defaults(const Generation& work) const;
  void take_token(Row& row, const SequenceEvent& event);
  void take_hypotheses(Row& row, const std::vector<Hypothesis>& hypotheses);
  void take_text(Row& row, const Hypothesis& hypothesis);
  std::string show(Row& row, int32_t id, bool last);
  GeneratedToken plain_token(const TokenLogprob& token) const;
  void finish();
  GenerationResult result();

  GenerationContext context_;
  std::shared_ptr<const void> owner_;
  Receiver receiver_;
  Done done_;
  CancelFlag request_cancelled_;
  bool stream_ = false;
  bool watched_ = false;  // token events are posted as they come
  bool return_full_text_ = false;
  int samples_ = 1;      // rows of an input
  bool ranked_ = false;  // best_of: the most probable sample first
  int characters_ = 0;
  std::vector<Row> rows_;
  std::vector<SequenceRequest> requests_;
  size_t open_ = 0;
  Status status_;
  Usage usage_;

  std::mutex mutex_;
  std::vector<SequenceEvent> events_;
};

}  // namespace inazuma
