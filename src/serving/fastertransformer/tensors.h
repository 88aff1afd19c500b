#pragma once
// FasterTransformer's padded tensors unpacked into rows, and rows packed into its tensors again. Padding ends here: no
// row beyond this folder has any.

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/sequence.h"
#include "models/model.h"
#include "serving/config/tensor_model.h"

namespace inazuma::fastertransformer {

/// What one row of a request asks for.
struct Row {
  std::vector<int32_t> ids;          ///< GPT: the prompt; T5: the source
  std::vector<int32_t> decoder_ids;  ///< T5: the start token
  GenerationOptions generation;
  std::vector<std::vector<int32_t>> stop_words;
  int32_t end_id = 0;
  bool log_probs = false;
  bool beams() const { return generation.num_beams > 1; }
};

struct Decoding {
  std::vector<Row> rows;
  int padded = 0;   ///< S of input_ids
  int longest = 0;  ///< the most new tokens of any row: the last extent of the outputs
  int beams = 1;    ///< the largest beam_width: the second extent of the outputs
};

/// start_id and end_id where the request has none; -1 = none known.
struct Defaults {
  int32_t start_id = -1;
  int32_t end_id = -1;
};

/// The rows of a GPT or T5 request. Throws Error(invalid) naming tensor, row, value and range; unsupported for what is
/// not built in (prompt tables, decaying top-p).
Decoding read_decoding(const TensorInference& inference, int batch, const ModelInfo& model, const Defaults& defaults);

/// What one beam of a row has been given so far.
struct Generated {
  std::vector<int32_t> tokens;   ///< generated, end_id included
  std::vector<float> log_probs;  ///< of each
};

/// Whether `ids` end with one of the words.
bool ends_with_word(const std::vector<std::vector<int32_t>>& words, std::span<const int32_t> ids);

/// The outputs that the model declares, from the first `most` tokens of each row's beams, best first. A row with fewer
/// beams than the widest has beams of length 0 behind its own.
TensorResult pack_decoding(const Decoding& decoding, const std::vector<std::vector<Generated>>& answers, size_t most,
                           const TensorModel& model, bool encoder_decoder);

/// BERT: each row's valid hidden states as f32. Throws Error(invalid).
std::vector<std::vector<float>> read_hidden(const TensorInference& inference, int batch, int width);
/// output_hidden_state [B, S, H] in the declared type; rows beyond a length are zero.
TensorResult pack_hidden(const std::vector<Rows>& rows, int padded, int width, const TensorModel& model);
/// S of a tensor [B, S, ...].
int padded_length(const TensorInference& inference, std::string_view name);

}  // namespace inazuma::fastertransformer
