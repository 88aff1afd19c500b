#include "weights/converted/checkpoint.h"

#include <charconv>

#include "base/json_file.h"
#include "base/log.h"
#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxLayers = 1000;
constexpr int kMaxExtent = 1 << 26;
constexpr int kMaxRanks = 1024;

/// N of "N-gpu".
std::optional<int> ranks_of_name(const std::string& name) {
  int ranks = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), ranks);
  const std::string_view rest(end, static_cast<size_t>(name.data() + name.size() - end));
  if (error != std::errc() || rest != "-gpu" || ranks < 1 || ranks > kMaxRanks) return std::nullopt;
  return ranks;
}

/// Without a trailing slash, so that the last component is the folder's name.
fs::path tidy(const fs::path& folder) {
  const fs::path path = folder.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

std::string_view main_section(const ConfigIni& ini) {
  for (const std::string_view section : {"bert", "gpt", "encoder"})
    if (ini.has_section(section)) return section;
  throw fail(StatusCode::unsupported, "{}: has none of the sections [bert], [gpt] and [encoder] (T5)", ini.origin());
}

DType stored_type(const ConfigIni& ini, std::string_view section) {
  const std::optional<std::string> text = ini.text(section, "weight_data_type");
  if (!text) {
    log::warn("no weight_data_type, fp32 is assumed", {{"file", ini.origin()}, {"section", section}});
    return DType::f32;
  }
  if (text->find("fp32") != std::string::npos) return DType::f32;
  if (text->find("fp16") != std::string::npos) return DType::f16;
  if (text->find("bf16") != std::string::npos) return DType::bf16;
  throw fail(StatusCode::invalid, "{}: weight_data_type of [{}] is {}, must be fp32, fp16 or bf16", ini.origin(),
             section, inazuma::quoted(*text));
}

/// Counts the shards of a tensor that every layer has; the folder's name must agree.
int count_ranks(const fs::path& folder, const std::string& probe) {
  int count = 0;
  while (count < kMaxRanks && file_size_of(folder, fmt::format("{}.{}.bin", probe, count))) ++count;
  const std::optional<int> named = ranks_of_name(tidy(folder).filename().string());
  if (count == 0 || (named && count < *named))
    throw fail(StatusCode::not_found, "{}.{}.bin is missing{}", probe, count,
               named ? fmt::format("; the folder's name says {} shard{}", *named, *named == 1 ? "" : "s") : "");
  if (named && count > *named)
    throw fail(StatusCode::invalid, "the folder's name says {} shard{}, but {}.{}.bin is there too", *named,
               *named == 1 ? "" : "s", probe, *named);
  return count;
}

void refuse(const ConfigIni& ini, bool present, std::string_view key, std::string_view what) {
  if (present) throw fail(StatusCode::unsupported, "{}: {} ({}) is not supported", ini.origin(), key, what);
}

ConvertedSizes bert_sizes(const ConfigIni& ini) {
  const std::string_view at = "bert";
  const double scaling = ini.positive(at, "q_scaling").value_or(1.0);
  refuse(ini, scaling != 1.0, "q_scaling", "attention scores divided by another number");
  ConvertedSizes out{.family = ConvertedFamily::bert};
  out.layers = ini.required_integer(at, "num_layer", 1, kMaxLayers);
  out.heads = ini.required_integer(at, "head_num", 1, kMaxExtent);
  out.width = out.hidden = out.heads * ini.required_integer(at, "size_per_head", 1, 1 << 16);
  out.inner = ini.required_integer(at, "inter_size", 1, kMaxExtent);
  return out;
}

ConvertedSizes gpt_sizes(const ConfigIni& ini) {
  const std::string_view at = "gpt";
  refuse(ini, ini.flag(at, "use_attention_linear_bias").value_or(false), "use_attention_linear_bias", "ALiBi, BLOOM");
  refuse(ini, ini.flag(at, "has_pre_decoder_layernorm").value_or(false), "has_pre_decoder_layernorm", "BLOOM");
  refuse(ini, !ini.flag(at, "has_post_decoder_layernorm").value_or(true), "has_post_decoder_layernorm = false",
         "no ln_f");
  refuse(ini, !ini.flag(at, "has_positional_encoding").value_or(true), "has_positional_encoding = false", "no wpe");
  refuse(ini, ini.flag(at, "has_adapters").value_or(false), "has_adapters", "adapter layers");
  const std::string norm = ini.text(at, "layernorm_type").value_or("pre_layernorm");
  refuse(ini, norm != "pre_layernorm", "layernorm_type", norm);
  ConvertedSizes out{.family = ConvertedFamily::gpt};
  out.layers = ini.required_integer(at, "num_layer", 1, kMaxLayers);
  out.heads = ini.required_integer(at, "head_num", 1, kMaxExtent);
  out.width = out.hidden = out.heads * ini.required_integer(at, "size_per_head", 1, 1 << 16);
  out.inner = ini.required_integer(at, "inter_size", 1, kMaxExtent);
  out.vocab = ini.required_integer(at, "vocab_size", 1, kMaxExtent);
  out.positions = ini.required_integer(at, "max_pos_seq_len", 1, kMaxExtent);
  return out;
}

ConvertedSizes t5_sizes(const ConfigIni& ini, const fs::path& folder) {
  refuse(ini, ini.flag("structure", "t5_with_bias").value_or(false), "t5_with_bias", "Megatron's T5");
  const std::string positions = ini.text("structure", "position_embedding_type").value_or("relative");
  refuse(ini, positions != "relative", "position_embedding_type", positions);
  const auto stack = [&](std::string_view at, std::string_view key, int high) {
    return ini.required_integer(at, key, 1, high);
  };
  for (const std::string_view key : {"num_heads", "d_kv", "d_model", "d_ff", "vocab_size"}) {
    if (!ini.has_section("decoder")) break;
    const int of_encoder = stack("encoder", key, kMaxExtent), of_decoder = stack("decoder", key, kMaxExtent);
    refuse(ini, of_encoder != of_decoder, key,
           fmt::format("{} in the encoder, {} in the decoder", of_encoder, of_decoder));
  }
  for (const std::string_view at : {"encoder", "decoder"})
    refuse(ini, ini.integer(at, "adapter_inter_size", 0, kMaxExtent).value_or(0) > 0, "adapter_inter_size",
           "adapter layers");
  ConvertedSizes out{.family = ConvertedFamily::t5};
  out.layers = stack("encoder", "num_layers", kMaxLayers);
  if (ini.has_section("decoder")) out.decoder_layers = stack("decoder", "num_layers", kMaxLayers);
  out.heads = stack("encoder", "num_heads", kMaxExtent);
  out.width = out.heads * stack("encoder", "d_kv", 1 << 16);
  out.hidden = stack("encoder", "d_model", kMaxExtent);
  out.inner = stack("encoder", "d_ff", kMaxExtent);
  out.vocab = stack("encoder", "vocab_size", kMaxExtent);
  out.buckets = ini.integer("encoder", "relative_attention_num_buckets_or_max_pos_seq_len", 1, 1 << 16)
                    .value_or(ini.integer("encoder", "relative_attention_num_buckets", 1, 1 << 16).value_or(32));
  // The text of feed_forward_proj alone is not to be trusted: some Flan-T5 say "gelu" and are gated.
  out.gated = file_size_of(folder, "encoder.block.0.layer.1.DenseReluDense.wi2.weight.0.bin").has_value();
  return out;
}

std::string probe_of(ConvertedFamily family) {
  if (family == ConvertedFamily::bert) return "model.encoder.layer.0.attention.self.query.weight";
  if (family == ConvertedFamily::gpt) return "model.layers.0.attention.query_key_value.weight";
  return "encoder.block.0.layer.0.SelfAttention.q.weight";
}

/// Some converters write 4 · hidden whatever the model has: the files know better.
void correct_inner(Checkpoint& checkpoint) {
  const std::optional<uintmax_t> bytes = file_size_of(checkpoint.folder, "model.layers.0.mlp.dense_h_to_4h.bias.0.bin");
  if (!bytes || *bytes == 0 || *bytes % size_of(checkpoint.dtype) != 0) return;
  const auto inner = static_cast<int64_t>(*bytes / size_of(checkpoint.dtype)) * checkpoint.ranks;
  if (inner == checkpoint.sizes.inner) return;
  const std::optional<uintmax_t> weight =
      file_size_of(checkpoint.folder, "model.layers.0.mlp.dense_h_to_4h.weight.0.bin");
  if (!weight || *weight != *bytes * static_cast<uintmax_t>(checkpoint.sizes.hidden)) return;
  log::warn("inter_size is not that of the files",
            {{"file", checkpoint.ini.origin()}, {"inter_size", checkpoint.sizes.inner}, {"files", inner}});
  checkpoint.sizes.inner = inner;
}

void check_division(const Checkpoint& checkpoint) {
  for (const ConvertedTensor& tensor : converted_layout(checkpoint.sizes))
    if (tensor.split >= 0 && tensor.shape[static_cast<size_t>(tensor.split)] % checkpoint.ranks != 0)
      throw fail(StatusCode::invalid, "{} of shape {} cannot have been divided over {} ranks", tensor.file,
                 format_extents(tensor.shape), checkpoint.ranks);
}

}  // namespace

std::optional<uintmax_t> file_size_of(const fs::path& folder, const std::string& file) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(folder / file, error);
  return error ? std::nullopt : std::optional(bytes);
}

Checkpoint read_checkpoint(const fs::path& folder) {
  const std::string origin = printable(tidy(folder).filename().string()) + "/config.ini";
  std::error_code ignored;
  if (!fs::exists(folder / "config.ini", ignored))
    throw fail(StatusCode::not_found, "{}: no such file; a FasterTransformer checkpoint is a folder such as 1-gpu",
               inazuma::quoted((folder / "config.ini").string(), 400));
  Checkpoint out{.folder = folder, .ini = ConfigIni(origin, read_text_file(folder / "config.ini")), .sizes = {}};
  const std::string_view section = main_section(out.ini);
  out.dtype = stored_type(out.ini, section);
  out.sizes = section == "bert"  ? bert_sizes(out.ini)
              : section == "gpt" ? gpt_sizes(out.ini)
                                 : t5_sizes(out.ini, folder);
  out.ranks = count_ranks(folder, probe_of(out.sizes.family));
  if (out.sizes.family == ConvertedFamily::gpt) correct_inner(out);
  check_division(out);
  return out;
}

std::optional<fs::path> find_converted(const fs::path& directory) {
  std::error_code error;
  if (fs::is_regular_file(directory / "config.ini", error)) return directory;
  std::optional<fs::path> found;
  int fewest = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::optional<int> ranks = ranks_of_name(entry.path().filename().string());
    if (!ranks || (found && *ranks >= fewest) || !fs::is_regular_file(entry.path() / "config.ini", error)) continue;
    found = entry.path();
    fewest = *ranks;
  }
  return found;
}

}  // namespace inazuma
