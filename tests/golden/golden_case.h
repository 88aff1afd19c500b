#pragma once
// A folder of tests/golden/cases as tools/golden/make_golden.py wrote it, and the homes it is run on.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/model.h"

namespace inazuma::golden {

/// One sequence: BERT has ids and types, GPT-2 ids, T5 ids of the source and targets.
struct Sequence {
  std::vector<int> ids, types, targets;
};

/// A greedy run of generate().
struct Generation {
  int prompt = 0;  ///< index of the sequence it starts from
  int max_new_tokens = 0;
  int min_new_tokens = 0;
  float repetition_penalty = 1.0f;
  std::vector<int> eos;
  std::vector<int> tokens;
};

/// What transformers answered, [rows, cols], and how far another implementation may be off.
struct Expected {
  std::vector<float> values;
  int64_t rows = 0;
  int64_t cols = 0;
  double tolerance = 0;
  double noise = 0;  ///< of transformers in fp32, seen from fp64
};

struct GoldenCase {
  std::string name;
  std::filesystem::path directory;
  std::string kind;
  nlohmann::json facts;  ///< all of golden.json
  LoadOptions options;
  std::vector<Sequence> sequences;
  std::vector<Generation> generations;
  std::map<std::string, Expected> expected;
};

/// Names of the folders that hold a golden.json, sorted.
std::vector<std::string> case_names();
std::filesystem::path case_directory(const std::string& name);
const GoldenCase& golden_case(const std::string& name);  ///< read once

/// "reference", "cpu_avx512", ..., "cuda", "cuda_f16", "cuda_bf16" where there is a GPU.
std::vector<std::string> home_names();
Ops& home(const std::string& name);  ///< made once
std::shared_ptr<const Model> load(const GoldenCase& golden, Ops& ops);

/// GoogleTest's idea of a name.
std::string printable(std::string text);

/// How far a home that computes in `dtype` may be off.
double tolerance_in(const Expected& expected, DType dtype);
/// Fails the running test unless every value is within the tolerance of `dtype`; says where the worst is.
void expect_near(const std::vector<float>& actual, const Expected& expected, const std::string& what,
                 DType dtype = DType::f32);

}  // namespace inazuma::golden
