#pragma once
// One step as flat arrays. The engine fills it, a model's forward reads it. Integer arrays are i32 on the model's
// device.

#include <vector>

#include "tensor/tensor.h"

namespace inazuma {

/// Texts that are read whole and at once: every sequence of an encoder-only model, the source of an encoder-decoder.
struct EncoderLane {
  int tokens = 0;
  int sequences = 0;
  int max_length = 0;  ///< longest sequence
  Tensor ids;          ///< [tokens]
  Tensor type_ids;     ///< [tokens]; models without types ignore it
  Tensor positions;    ///< [tokens]: 0, 1, ... within each sequence
  Tensor offsets;      ///< [sequences + 1]
  Tensor
      cross_slots;  ///< [tokens]: where encoder-decoders keep cross keys and values (pool slots); undefined otherwise
  Tensor rows;      ///< [n]: token rows whose output is wanted (Output::rows); undefined for none
  Tensor pooled;    ///< [p]: sequences whose pooled output is wanted (Output::pooled); undefined for none
  Tensor inputs;    ///< [tokens, hidden], compute dtype: what the embedding layer (its norm included) would give, from
                    ///< the caller; else undefined
};

/// Texts that grow: prompts being prefilled (whole or in chunks) and sequences decoding one token, side by side.
struct DecoderLane {
  int tokens = 0;
  int sequences = 0;
  int max_query = 0;  ///< most rows of one sequence in this step
  int max_context = 0;
  int max_cross_context = 0;
  Tensor ids;                    ///< [tokens]
  Tensor positions;              ///< [tokens]
  Tensor offsets;                ///< [sequences + 1]
  Tensor slots;                  ///< [tokens]: pool slots of this step's keys and values
  Tensor context_lengths;        ///< [sequences], this step's rows included
  Tensor block_tables;           ///< [sequences, max_blocks]
  Tensor cross_context_lengths;  ///< [sequences], encoder-decoders only
  Tensor cross_block_tables;     ///< [sequences, max_cross_blocks]
  Tensor rows;                   ///< [n]: token rows that want logits; undefined for none
};

/// Lanes are worked in this order, so that a source encoded in a step can be decoded from in the same step.
struct Batch {
  EncoderLane encoder;
  DecoderLane decoder;
};

/// The pool's memory as a model sees it: per decoder layer one tensor for keys and one for values,
/// [blocks, heads, block_tokens, head_dim]. Cross-attention blocks are blocks of the same pool.
struct KvView {
  int block_tokens = 0;
  std::vector<Tensor> keys;
  std::vector<Tensor> values;
};

/// Views into the step's arena; undefined where nothing was wanted. All f32.
struct Output {
  Tensor rows;    ///< [n, EncoderOutput::row_width]
  Tensor pooled;  ///< [p, EncoderOutput::pooled_width]
  Tensor logits;  ///< [n, vocab]
};

}  // namespace inazuma
