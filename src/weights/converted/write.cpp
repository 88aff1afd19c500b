// A checkpoint written as a FasterTransformer folder.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "base/json_file.h"
#include "base/status.h"
#include "weights/bytes.h"
#include "weights/converted/checkpoint.h"
#include "weights/converted/write_config.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;

/// The source's tensors by the name of the bare model, whatever prefix its class put before them.
class Source {
 public:
  explicit Source(const WeightStore& store) : store_(store) {}

  const StoredTensor* find(std::string_view name) const {
    for (const std::string_view prefix : {"", "bert.", "transformer."}) {
      const std::string full = std::string(prefix) + std::string(name);
      const auto tensors = store_.tensors();
      const auto it = std::lower_bound(tensors.begin(), tensors.end(), full,
                                       [](const StoredTensor& a, const std::string& b) { return a.name < b; });
      if (it != tensors.end() && it->name == full) return &*it;
    }
    return nullptr;
  }
  /// Tensors that checkpoints keep under one of several names.
  const StoredTensor* find_any(std::string_view name) const {
    if (const StoredTensor* found = find(name)) return found;
    if (name == "shared.weight")
      for (const std::string_view other : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"})
        if (const StoredTensor* found = find(other)) return found;
    if (name == "cls.predictions.bias") return find("cls.predictions.decoder.bias");
    return nullptr;
  }
  Tensor read(const StoredTensor& tensor) const { return store_.find(tensor.name); }

  int64_t extent(std::string_view name, size_t axis) const {
    const StoredTensor* found = find_any(name);
    if (found == nullptr || found->shape.size() <= axis)
      throw fail(StatusCode::not_found, "the checkpoint has no tensor {} of {} axes or more", name, axis + 1);
    return found->shape[axis];
  }
  int64_t count_layers(std::string_view before, std::string_view after) const {
    int64_t count = 0;
    while (find(fmt::format("{}{}{}", before, count, after)) != nullptr) ++count;
    return count;
  }

 private:
  const WeightStore& store_;
};

ConvertedSizes sizes_of(const Source& source, const nlohmann::json& config) {
  ConvertedSizes out{.family = family_of(config)};
  if (out.family == ConvertedFamily::bert) {
    out.layers = source.count_layers("encoder.layer.", ".output.dense.weight");
    out.width = out.hidden = source.extent("encoder.layer.0.attention.output.dense.weight", 0);
    out.inner = source.extent("encoder.layer.0.intermediate.dense.weight", 0);
  } else if (out.family == ConvertedFamily::gpt) {
    out.layers = source.count_layers("h.", ".attn.c_attn.weight");
    out.vocab = source.extent("wte.weight", 0);
    out.width = out.hidden = source.extent("wte.weight", 1);
    out.positions = source.extent("wpe.weight", 0);
    out.inner = source.extent("h.0.mlp.c_fc.weight", 1);
  } else {
    const std::string first = "encoder.block.0.layer.";
    out.layers = source.count_layers("encoder.block.", ".layer.0.SelfAttention.q.weight");
    out.decoder_layers = source.count_layers("decoder.block.", ".layer.0.SelfAttention.q.weight");
    out.vocab = source.extent("shared.weight", 0);
    out.hidden = source.extent("shared.weight", 1);
    out.width = source.extent(first + "0.SelfAttention.q.weight", 0);
    out.gated = source.find(first + "1.DenseReluDense.wi_0.weight") != nullptr;
    out.inner = source.extent(first + (out.gated ? "1.DenseReluDense.wi_0.weight" : "1.DenseReluDense.wi.weight"), 0);
    out.buckets = source.extent(first + "0.SelfAttention.relative_attention_bias.weight", 0);
    out.heads = source.extent(first + "0.SelfAttention.relative_attention_bias.weight", 1);
  }
  if (out.family != ConvertedFamily::t5) out.heads = heads_of(config);
  if (out.layers == 0)
    throw fail(StatusCode::not_found, "the checkpoint has no layers under the names of its architecture");
  if (out.heads < 1 || out.width % out.heads != 0)
    throw fail(StatusCode::invalid, "config.json: {} heads do not divide the width {}", out.heads, out.width);
  return out;
}

float element(const Tensor& tensor, int64_t i) {
  if (tensor.dtype() == DType::f16) return to_float(tensor.as<Half>()[i]);
  if (tensor.dtype() == DType::bf16) return to_float(tensor.as<BFloat16>()[i]);
  return tensor.as<float>()[i];
}

/// The tensor's elements as `dtype`, rounded to nearest even; beyond the range they become infinite, and are counted.
std::vector<char> converted_to(DType dtype, const Tensor& tensor, int64_t& overflows) {
  std::vector<char> out(static_cast<size_t>(tensor.elements()) * size_of(dtype));
  if (tensor.dtype() == dtype) {
    std::memcpy(out.data(), tensor.data(), out.size());
    return out;
  }
  const auto put = [&](int64_t i, auto value) {
    std::memcpy(out.data() + i * static_cast<int64_t>(sizeof value), &value, sizeof value);
  };
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const float value = element(tensor, i);
    if (dtype == DType::f32) put(i, value);
    if (dtype == DType::bf16) put(i, to_bfloat16(value));
    if (dtype == DType::f16) {
      const Half half = to_half(value);
      overflows += std::isfinite(value) && !std::isfinite(to_float(half)) ? 1 : 0;
      put(i, half);
    }
  }
  return out;
}

class Writer {
 public:
  Writer(const WeightStore& store, const nlohmann::json& config, const ConvertOptions& options)
      : source_(store), options_(options), sizes_(sizes_of(source_, config)), tied_(head_is_tied(config)) {
    if (sizes_.heads % options.ranks != 0)
      throw fail(StatusCode::invalid, "{} attention heads cannot be divided over {} ranks", sizes_.heads,
                 options.ranks);
    for (ConvertedTensor& tensor : converted_layout(sizes_)) plan(std::move(tensor));
    if (sizes_.family == ConvertedFamily::t5)  // a second copy, which the original writes though nobody reads it
      plan({.file = "shared.weight",
            .names = {"shared.weight"},
            .shape = {sizes_.hidden, sizes_.vocab},
            .source = {sizes_.vocab, sizes_.hidden},
            .transposed = true});
  }

  const ConvertedSizes& sizes() const { return sizes_; }
  size_t total_bytes() const {
    size_t total = 0;
    for (const Item& item : items_) total += static_cast<size_t>(item.tensor.elements()) * size_of(options_.dtype);
    return total;
  }

  void write(const fs::path& folder, const std::function<void(size_t)>& passed, Conversion& out) const {
    for (const Item& item : items_) {
      int64_t overflows = 0;
      const std::vector<std::vector<char>> wholes = read(item, overflows);
      if (overflows > 0)
        out.notes.push_back(fmt::format("{}: {} value{} beyond the range of {} became infinite", item.tensor.file,
                                        overflows, overflows == 1 ? "" : "s", name(options_.dtype)));
      for (int rank = 0; rank < parts(item.tensor); ++rank) {
        const std::vector<char> part = part_of(item.tensor, wholes, rank);
        write_file(folder / item.tensor.file_of(rank), part);
        ++out.files;
        out.bytes += part.size();
        passed(part.size());
      }
    }
  }

  /// Joins the files again, read from the disk, and compares with the source.
  void verify(const fs::path& folder, const std::function<void(size_t)>& passed) const {
    for (const Item& item : items_) {
      int64_t ignored = 0;
      const std::vector<std::vector<char>> wholes = read(item, ignored);
      std::vector<std::vector<char>> joined(wholes.size());
      for (size_t which = 0; which < wholes.size(); ++which) joined[which].resize(wholes[which].size());
      for (int rank = 0; rank < parts(item.tensor); ++rank) {
        const fs::path path = folder / item.tensor.file_of(rank);
        const std::string part = read_text_file(path);
        const size_t expected =
            static_cast<size_t>(item.tensor.elements() / parts(item.tensor)) * size_of(options_.dtype);
        if (part.size() != expected)
          throw fail(StatusCode::internal, "{}: {} bytes were written, {} are there", path.filename().string(),
                     expected, part.size());
        for (size_t which = 0; which < wholes.size(); ++which)
          join_part(item.tensor, which, rank, parts(item.tensor), size_of(options_.dtype), part.data(),
                    joined[which].data());
        passed(part.size());
      }
      if (joined != wholes)
        throw fail(StatusCode::internal,
                   "{}: what was read back differs from the checkpoint; is the disk full or failing?",
                   item.tensor.file_of(0));
    }
  }

 private:
  struct Item {
    ConvertedTensor tensor;
    std::vector<const StoredTensor*> sources;
  };

  int parts(const ConvertedTensor& tensor) const { return tensor.split < 0 ? 1 : options_.ranks; }

  void plan(ConvertedTensor tensor) {
    Item item;
    for (const std::string& name : tensor.names) {
      const StoredTensor* found = source_.find_any(name);
      // A tied head is in the state dictionary of T5, though not in its file; that of GPT-2 is left out.
      if (name == "lm_head.weight" && tied_)
        found = sizes_.family == ConvertedFamily::t5 ? source_.find_any("shared.weight") : nullptr;
      if (found == nullptr && tensor.optional) return;
      if (found == nullptr) throw fail(StatusCode::not_found, "the checkpoint has no tensor {}", name);
      if (found->dtype != DType::f32 && found->dtype != DType::f16 && found->dtype != DType::bf16)
        throw fail(StatusCode::unsupported, "{} is of type {}; float32, float16 and bfloat16 can be written",
                   found->name, inazuma::name(found->dtype));
      if (tensor.shape[0] == 0 && !found->shape.empty()) tensor.shape[0] = tensor.source[0] = found->shape[0];
      if (found->shape != tensor.source)
        throw fail(StatusCode::invalid, "{} has the shape {}, expected {}", found->name, format_extents(found->shape),
                   format_extents(tensor.source));
      item.sources.push_back(found);
    }
    if (tensor.split >= 0 && tensor.shape[static_cast<size_t>(tensor.split)] % options_.ranks != 0)
      throw fail(StatusCode::invalid, "{} of {} cannot be divided over {} ranks; choose a divisor of {}", tensor.file,
                 format_extents(tensor.shape), options_.ranks, tensor.shape[static_cast<size_t>(tensor.split)]);
    item.tensor = std::move(tensor);
    items_.push_back(std::move(item));
  }

  std::vector<std::vector<char>> read(const Item& item, int64_t& overflows) const {
    std::vector<std::vector<char>> out;
    for (const StoredTensor* stored : item.sources)
      out.push_back(converted_to(options_.dtype, source_.read(*stored), overflows));
    return out;
  }

  std::vector<char> part_of(const ConvertedTensor& tensor, const std::vector<std::vector<char>>& wholes,
                            int rank) const {
    std::vector<char> part(static_cast<size_t>(tensor.elements() / parts(tensor)) * size_of(options_.dtype));
    for (size_t which = 0; which < wholes.size(); ++which)
      split_part(tensor, which, rank, parts(tensor), size_of(options_.dtype), wholes[which].data(), part.data());
    return part;
  }

  static void write_file(const fs::path& path, const std::vector<char>& bytes) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file)
      throw fail(StatusCode::unavailable, "{}: cannot be written; is the disk full?",
                 inazuma::quoted(path.string(), 400));
  }

  Source source_;
  ConvertOptions options_;
  ConvertedSizes sizes_;
  bool tied_;
  std::vector<Item> items_;
};

/// Removed at the end unless it was kept under its real name.
class Scratch {
 public:
  explicit Scratch(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }
  void keep_as(const fs::path& name) {
    fs::rename(path_, name);
    path_.clear();
  }

 private:
  fs::path path_;
};

}  // namespace

Conversion convert(const WeightStore& source, const nlohmann::json& config, const fs::path& destination,
                   const ConvertOptions& options, const LoadProgress& progress) {
  if (options.ranks < 1 || options.ranks > 1024)
    throw fail(StatusCode::invalid, "{} ranks, must be in [1, 1024]", options.ranks);
  Conversion out;
  out.folder = destination / fmt::format("{}-gpu", options.ranks);
  if (fs::exists(out.folder))
    throw fail(StatusCode::invalid, "{} exists; remove it or write elsewhere",
               inazuma::quoted(out.folder.string(), 400));
  const Writer writer(source, config, options);
  const size_t total = 2 * writer.total_bytes();
  size_t done = 0;
  const auto passed = [&](size_t bytes) {
    done += bytes;
    if (progress) progress(done, total);
  };
  try {
    Scratch scratch(out.folder.string() + ".partial");
    writer.write(scratch.path(), passed, out);
    std::ofstream ini(scratch.path() / "config.ini", std::ios::binary);
    ini << config_ini(config, writer.sizes(), options, out.notes);
    ini.close();
    if (!ini) throw fail(StatusCode::unavailable, "config.ini cannot be written; is the disk full?");
    writer.verify(scratch.path(), passed);
    scratch.keep_as(out.folder);
  } catch (const fs::filesystem_error& error) {
    throw fail(StatusCode::unavailable, "{}: {}", inazuma::quoted(out.folder.string(), 400), error.code().message());
  }
  (void)open_converted(out.folder);  // the loader's own opinion
  return out;
}

}  // namespace inazuma
