#pragma once
// What an ensemble's configuration says of its steps, checked against the models they name: pure.

#include <map>
#include <string>
#include <vector>

#include "serving/backends/program.h"

namespace inazuma {

/// Every answer of a decoupled step is a wave of its own: the steps behind it run once for each. Wave 0 holds the
/// request's tensors, wave i + 1 those of one answer of the decoupled step i.
struct EnsembleStep {
  std::string model;
  int64_t version = -1;
  std::vector<std::pair<std::string, std::string>> inputs;  ///< the model's name, the ensemble's
  std::vector<std::pair<std::string, std::string>> outputs;
  bool decoupled = false;
  size_t wave = 0;  ///< that its inputs belong to
};

struct EnsembleGraph {
  std::vector<EnsembleStep> steps;
  size_t answer_wave = 0;         ///< that the ensemble's outputs belong to; 0: it answers once
  std::vector<bool> leads_there;  ///< by wave: its steps lead to the answers, or it holds them
  bool single_answer = true;      ///< no more than one answer for a request, whatever the waves
  std::map<std::string, std::vector<std::string>> labels;  ///< by ensemble tensor, of the model that makes it
};

/// Throws Error: invalid, naming step and tensor (missing models, foreign names, types and shapes that do not fit,
/// circles, tensors from nowhere, tensors of different decoupled steps that meet).
EnsembleGraph check_ensemble(const TensorModel& ensemble, const FindModel& find_model);

}  // namespace inazuma
