#pragma once
// The Hugging Face Inference shape, out. `single`: one string came in, so the array around the inputs is left away.

#include <string>

#include "serving/response.h"

namespace inazuma::task_api {

std::string format_entities(const TokenClassificationResult& result, bool single, bool raw, bool spans);
std::string format_labels(const TextClassificationResult& result);
std::string format_fills(const FillMaskResult& result, bool single);
std::string format_answers(const QuestionAnsweringResult& result, bool single, bool list);
std::string format_vectors(const FeatureExtractionResult& result, bool all_tokens);
std::string format_similarities(const SentenceSimilarityResult& result);
std::string format_zero_shot(const ZeroShotResult& result, bool single, bool legacy);
std::string format_texts(const GenerationResult& result, const char* field, bool single, bool all);

}  // namespace inazuma::task_api
