#include "golden/golden_case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>

#include "models/config.h"
#include "source_dir.h"
#include "weights/weight_store.h"

namespace inazuma::golden {
namespace {

namespace fs = std::filesystem;

const fs::path& root() {
  static const fs::path path = source_dir() / "tests" / "golden" / "cases";
  return path;
}

/// `noise` is how far the reference in fp32 is from itself in fp64. Another order of summation is about as far from the
/// exact value, on the other side at worst; 8 times that covers the luck of a few elements, and the floor of 8 units in
/// the last place of the largest value covers a noise that happened to be tiny. Never above the project's bound of
/// 1e-4.
double tolerance_of(double noise, double largest) {
  const double scale = std::max(1.0, largest);
  return std::min(1e-4 * scale, 8 * noise + scale * 0x1p-20);
}

Expected read_expected(const Tensor& tensor, double noise) {
  Expected out;
  const float* data = tensor.as<float>();
  out.values.assign(data, data + tensor.elements());
  out.rows = tensor.rows();
  out.cols = tensor.cols();
  double largest = 0;
  for (const float value : out.values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  out.tolerance = tolerance_of(noise, largest);
  out.noise = noise;
  return out;
}

LoadOptions read_options(const nlohmann::json& json, const fs::path& directory) {
  LoadOptions out;
  if (json.contains("converted")) out.converted = directory / json["converted"].get<std::string>();
  if (json.contains("task")) out.task = parse_task(json["task"].get<std::string>()).value();
  if (json.contains("pooling")) out.pooling = parse_pooling(json["pooling"].get<std::string>()).value();
  return out;
}

Generation read_generation(const nlohmann::json& json) {
  return {.prompt = json.at("prompt"),
          .max_new_tokens = json.at("max_new_tokens"),
          .min_new_tokens = json.value("min_new_tokens", 0),
          .repetition_penalty = json.value("repetition_penalty", 1.0f),
          .eos = json.value("eos_token_id", std::vector<int>()),
          .tokens = json.at("tokens")};
}

GoldenCase read_case(const std::string& name) {
  GoldenCase out;
  out.name = name;
  out.directory = case_directory(name);
  out.facts = read_json_file(out.directory / "golden.json");
  out.kind = out.facts.at("kind");
  out.options = read_options(out.facts.at("options"), out.directory);
  for (const auto& item : out.facts.at("sequences")) {
    out.sequences.push_back({.ids = item.at("ids"),
                             .types = item.value("types", std::vector<int>()),
                             .targets = item.value("targets", std::vector<int>())});
  }
  if (out.facts.contains("generations")) {
    for (const auto& item : out.facts["generations"]) out.generations.push_back(read_generation(item));
  }
  const auto store = WeightStore::open(out.directory / "expected").value();
  for (const auto& [tensor, noise] : out.facts.at("noise").items()) {
    out.expected[tensor] = read_expected(store->find(tensor), noise);
  }
  return out;
}

std::unique_ptr<Ops> make_home(const std::string& name) {
  if (name == "reference") return make_reference_ops();
  if (name == "cuda") return make_cuda_ops({.dtype = DType::f32}).value();
  if (name.starts_with("cuda_")) return make_cuda_ops({.dtype = parse_dtype(name.substr(5)).value()}).value();
  return make_cpu_ops({.threads = 2, .isa = name.substr(name.find('_') + 1)}).value();
}

}  // namespace

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(root(), none)) {
    if (fs::exists(entry.path() / "golden.json")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path case_directory(const std::string& name) {
  return root() / name;
}

const GoldenCase& golden_case(const std::string& name) {
  static std::map<std::string, GoldenCase> cases;
  const auto found = cases.find(name);
  if (found != cases.end()) return found->second;
  return cases[name] = read_case(name);
}

std::vector<std::string> home_names() {
  std::vector<std::string> names{"reference"};
  for (const std::string_view isa : available_cpu_isas()) names.push_back("cpu_" + std::string(isa));
  if (make_cuda_ops({.dtype = DType::f32}).ok())
    for (const char* gpu : {"cuda", "cuda_f16", "cuda_bf16"}) names.emplace_back(gpu);
  return names;
}

Ops& home(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Ops>> homes;
  std::unique_ptr<Ops>& ops = homes[name];
  if (!ops) ops = make_home(name);
  return *ops;
}

std::shared_ptr<const Model> load(const GoldenCase& golden, Ops& ops) {
  return load_model(golden.directory, ops, golden.options).value().model;
}

std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return text;
}

double tolerance_in(const Expected& expected, DType dtype) {
  if (dtype == DType::f32) return expected.tolerance;
  double largest = 1.0;
  for (const float value : expected.values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  const double rounding = dtype == DType::f16 ? 0x1p-11 : 0x1p-8;
  constexpr double kRoundings = 24;  // weights once, and each of a layer's six intermediate results, in 2 to 4 layers
  // How a model multiplies what it is off by (sharp attention, small variances) shows in what fp32's rounding does to
  // it.
  return expected.tolerance + rounding * (kRoundings * largest + 4 * expected.noise / 0x1p-24);
}

void expect_near(const std::vector<float>& actual, const Expected& expected, const std::string& what, DType dtype) {
  ASSERT_EQ(actual.size(), expected.values.size()) << what;
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double distance = std::abs(static_cast<double>(actual[i]) - expected.values[i]);
    ASSERT_TRUE(std::isfinite(actual[i])) << what << " is " << actual[i] << " at " << i;
    if (distance <= worst) continue;
    worst = distance;
    at = i;
  }
  EXPECT_LE(worst, tolerance_in(expected, dtype))
      << what << ": " << actual[at] << " instead of " << expected.values[at] << " at row "
      << at / static_cast<size_t>(expected.cols) << ", column " << at % static_cast<size_t>(expected.cols);
}

}  // namespace inazuma::golden
