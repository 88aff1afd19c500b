// inazuma convert SRC DST: a Hugging Face directory written as a FasterTransformer checkpoint.

#include <cstdio>

#include "cli/command_line.h"
#include "weights/converted/fastertransformer.h"

namespace inazuma::cli {

namespace {

namespace fs = std::filesystem;

struct ConvertFlags {
  std::string source, destination;
  std::string format = "fastertransformer";
  std::string dtype = "fp32";
  int ranks = 1;
  bool quiet = false;
  bool no_progress = false;
};

/// What a text model needs besides weights. Beside the folder it makes the result a directory that can be served.
constexpr const char* kSiblings[] = {"config.json",
                                     "generation_config.json",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "tokenizer.json",
                                     "vocab.txt",
                                     "vocab.json",
                                     "merges.txt",
                                     "spiece.model",
                                     "modules.json",
                                     "sentence_bert_config.json",
                                     "config_sentence_transformers.json"};

int copy_siblings(const fs::path& source, const fs::path& destination) {
  int copied = 0;
  for (const char* file : kSiblings) {
    if (!fs::exists(source / file) || fs::exists(destination / file)) continue;
    fs::create_directories((destination / file).parent_path());
    fs::copy_file(source / file, destination / file);
    ++copied;
  }
  // 1_Pooling, 2_Dense: what stands behind the encoder of a sentence-transformers directory.
  for (const fs::directory_entry& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory() || name.size() < 3 || name[0] < '0' || name[0] > '9' || name[1] != '_') continue;
    if (fs::exists(destination / name)) continue;
    fs::copy(entry.path(), destination / name, fs::copy_options::recursive);
    ++copied;
  }
  return copied;
}

int convert_directory(const ConvertFlags& flags) {
  const fs::path source = flags.source, destination = flags.destination;
  ConvertOptions options;
  options.ranks = flags.ranks;
  options.dtype = parse_dtype(flags.dtype).value();
  ProgressBar bar("Converting", !flags.quiet && !flags.no_progress);
  const Result<Conversion> done = capture([&] {
    const std::shared_ptr<const WeightStore> store = WeightStore::open(source).value();
    return convert(*store, model_config(source), destination, options, bar.callback());
  });
  bar.finish();
  if (!done.ok()) return complain(done.status(), done.status().code() == StatusCode::invalid ? kUsage : kFailed);
  const int siblings = copy_siblings(source, destination);
  for (const std::string& note : done->notes) fmt::print(stderr, "inazuma: warning: {}\n", note);
  if (!flags.quiet)
    fmt::print("{}: {} files, {:.1f} MB, read back and compared with the source{}\n", done->folder.string(),
               done->files, static_cast<double>(done->bytes) / 1e6,
               siblings > 0 ? fmt::format("; configuration and tokenizer ({} files) lie beside", siblings) : "");
  return kOk;
}

}  // namespace

Run add_convert(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command =
      app.add_subcommand("convert", "Write a model directory in another format, and verify what was written");
  command->add_option("SRC", flags->source, "Model directory")->required();
  command->add_option("DST", flags->destination, "Where the folder N-gpu is made")->required();
  command->add_option("--format", flags->format, "Format to write")
      ->check(CLI::IsMember({"fastertransformer"}))
      ->capture_default_str();
  command->add_option("--infer-tensor-para-size", flags->ranks, "Ranks that tensors are divided over")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--weight-data-type", flags->dtype, "Element type of the files")
      ->check(CLI::IsMember({"fp32", "fp16", "bf16"}))
      ->capture_default_str();
  command->add_flag("--quiet", flags->quiet, "Say nothing but errors");
  command->add_flag("--no-progress", flags->no_progress, "No progress bar");
  return [flags] { return convert_directory(*flags); };
}

}  // namespace inazuma::cli
