// Names of activations and poolings as configuration files spell them.

#include <array>
#include <utility>

#include "kernels/ops.h"

namespace inazuma {

namespace {

constexpr std::array kActivations = {
    std::pair{std::string_view("linear"), Activation::none},
    std::pair{std::string_view("relu"), Activation::relu},
    std::pair{std::string_view("relu2"), Activation::relu2},
    std::pair{std::string_view("gelu"), Activation::gelu},
    std::pair{std::string_view("gelu_new"), Activation::gelu_tanh},
    std::pair{std::string_view("gelu_fast"), Activation::gelu_fast},
    std::pair{std::string_view("gelu_10"), Activation::gelu_10},
    std::pair{std::string_view("quick_gelu"), Activation::quick_gelu},
    std::pair{std::string_view("silu"), Activation::silu},
    std::pair{std::string_view("mish"), Activation::mish},
    std::pair{std::string_view("tanh"), Activation::tanh},
    std::pair{std::string_view("sigmoid"), Activation::sigmoid},
    // Other spellings of the same functions; `name` gives the spelling above.
    std::pair{std::string_view("none"), Activation::none},
    std::pair{std::string_view("gelu_python"), Activation::gelu},
    std::pair{std::string_view("gelu_pytorch_tanh"), Activation::gelu_tanh},
    std::pair{std::string_view("gelu_python_tanh"), Activation::gelu_tanh},
    std::pair{std::string_view("gelu_accurate"), Activation::gelu_tanh},
    std::pair{std::string_view("swish"), Activation::silu},
};

constexpr std::array kPoolings = {
    std::pair{std::string_view("mean"), Pooling::mean},
    std::pair{std::string_view("cls"), Pooling::cls},
    std::pair{std::string_view("max"), Pooling::max},
    std::pair{std::string_view("mean_sqrt_len"), Pooling::mean_sqrt_len},
    std::pair{std::string_view("weighted_mean"), Pooling::weighted_mean},
    std::pair{std::string_view("last"), Pooling::last},
    // Other spellings (sentence-transformers' pooling_mode values).
    std::pair{std::string_view("mean_sqrt_len_tokens"), Pooling::mean_sqrt_len},
    std::pair{std::string_view("weightedmean"), Pooling::weighted_mean},
    std::pair{std::string_view("lasttoken"), Pooling::last},
};

template <class Table, class Value = typename Table::value_type::second_type>
Result<Value> parse(const Table& table, std::string_view what, std::string_view text) {
  std::string known;
  for (const auto& [spelling, value] : table) {
    if (spelling == text) return value;
    known += known.empty() ? "" : ", ";
    known += spelling;
  }
  return Status(StatusCode::invalid, fmt::format("{} {} is not known; use one of {}", what, quoted(text), known));
}

template <class Table, class Value>
std::string_view spelling_of(const Table& table, Value value) {
  for (const auto& [spelling, entry] : table)
    if (entry == value) return spelling;
  return "unknown";
}

}  // namespace

Result<Activation> parse_activation(std::string_view text) {
  return parse(kActivations, "activation", text);
}
std::string_view name(Activation activation) {
  return spelling_of(kActivations, activation);
}
Result<Pooling> parse_pooling(std::string_view text) {
  return parse(kPoolings, "pooling", text);
}
std::string_view name(Pooling pooling) {
  return spelling_of(kPoolings, pooling);
}

}  // namespace inazuma
