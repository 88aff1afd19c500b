// Models behind the door: the repository's states, the demo models under hostile texts and many threads, bad
// directories.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>
#include <thread>

#include "serving/core.h"
#include "serving/fakes.h"
#include "serving/tasks/task.h"

namespace inazuma {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

const fs::path kDemo = fs::path(INAZUMA_SOURCE_DIR) / "models/demo";

BackendOptions options() {
  BackendOptions out;
  out.threads = 1;
  out.tokenizer.mecab_dictionaries["ipadic"] = fs::path(INAZUMA_BINARY_DIR) / "share/inazuma/mecab/ipadic";
  return out;
}

Request request_of(Work work, std::string model = "") {
  Request request;
  request.model = std::move(model);
  request.work = std::move(work);
  return request;
}

/// The asker's thread is the receiver's own: what is posted waits until it looks.
class Waiting {
 public:
  Receiver receiver() {
    return {[state = state_](std::function<void()> task) {
              const std::lock_guard lock(state->mutex);
              state->tasks.push_back(std::move(task));
              state->changed.notify_one();
            },
            [state = state_](Event event) {
              if (auto* response = std::get_if<Response>(&event)) state->responses.push_back(std::move(*response));
            }};
  }
  /// Works until `count` requests have been answered.
  std::vector<Response> wait(size_t count) {
    while (state_->responses.size() < count) {
      std::unique_lock lock(state_->mutex);
      if (!state_->changed.wait_for(lock, std::chrono::seconds(120), [&] { return !state_->tasks.empty(); }))
        throw std::runtime_error("no answer");
      const auto task = std::move(state_->tasks.front());
      state_->tasks.pop_front();
      lock.unlock();
      task();
    }
    return state_->responses;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> tasks;
    std::vector<Response> responses;  // the asker's thread only
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

template <class Submit>
Response ask(Submit&& submit) {
  Waiting waiting;
  submit(waiting.receiver());
  return waiting.wait(1).at(0);
}
Response ask(Backend& backend, Work work) {
  return ask([&](Receiver receiver) { backend.submit(request_of(std::move(work)), std::move(receiver)); });
}

TEST(Repository, UnknownLoadingFailed) {
  Core core;
  EXPECT_FALSE(core.ready()) << "nothing is served";
  ASSERT_TRUE(core.repository().announce({"a", "b"}).ok());
  EXPECT_EQ(core.repository().announce({"b"}).code(), StatusCode::invalid);
  core.repository().set_failed("b", "the weights are cut short");
  const auto status = [&](const char* model) {
    return ask([&](Receiver receiver) { core.submit(request_of(Tokenize{{"x"}}, model), std::move(receiver)); }).status;
  };
  EXPECT_EQ(status("c").code(), StatusCode::not_found);
  EXPECT_THAT(status("c").message(), HasSubstr("'a', 'b'"));
  EXPECT_EQ(status("").code(), StatusCode::unavailable);
  EXPECT_THAT(status("a").message(), HasSubstr("loading"));
  EXPECT_THAT(status("b").message(), HasSubstr("cut short"));
  EXPECT_EQ(core.inflight(), 0);
  const auto before = core.repository().snapshot();
  core.repository().clear();
  EXPECT_EQ(before->models.size(), 2u) << "a snapshot never changes";
  EXPECT_EQ(status("a").code(), StatusCode::not_found);
}

class Demo : public testing::Test {
 protected:
  static std::shared_ptr<Backend> load(const char* name) { return load_backend(kDemo / name, options()).value(); }
};

const std::vector<std::string>& texts() {
  static const std::vector<std::string> kTexts = {"ジョー・バイデンはアメリカの大統領です。",
                                                  "John Smith visited Tokyo in 1999.",
                                                  "👩‍👩‍👧は東京🗼へ行きました。",
                                                  "ﾄｳｷｮｳ ﾃﾞ ﾊﾟﾝ ｦ ﾀﾍﾞﾏｼﾀ｡",
                                                  "か\u3099き\u3099ぐげ e\u0301",
                                                  "\xff\xfe\xe3\x81"
                                                  "東京\xf0\x9f",
                                                  std::string("nul\0byte", 8),
                                                  "１２３４５年ＡＢＣ株式会社",
                                                  std::string(500, 'a'),
                                                  "\u202e逆\u200b\u00a0空白\u3000です。",
                                                  " ",
                                                  "です"};
  return kTexts;
}

std::string show(const Response& response) {
  if (!response.status.ok()) return std::string(name(response.status.code())) + ": " + response.status.message();
  std::string out;
  if (const auto* found = std::get_if<TokenClassificationResult>(&response.outcome))
    for (const auto& list : found->entities)
      for (const Entity& e : list)
        out += fmt::format("{}|{}|{}-{}|{};", e.label, e.word, e.span.start, e.span.end, e.score);
  if (const auto* made = std::get_if<GenerationResult>(&response.outcome))
    for (const GeneratedText& text : made->texts) {
      out += text.text + ";";
      for (const GeneratedToken& token : text.tokens) out += fmt::format("{}:{},", token.id, token.logprob);
    }
  return out;
}

// Sixteen threads ask at once what one asked alone; every answer must be the same to the last bit.
void compare_crowd(Backend& backend, const std::function<Work(const std::string&)>& work) {
  std::vector<std::string> alone;
  for (const std::string& text : texts()) alone.push_back(show(ask(backend, work(text))));
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 16; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts().size(); ++i) {
        const size_t which = (i + t) % texts().size();
        const std::string got = show(ask(backend, work(texts()[which])));
        if (got != alone[which] && ++wrong == 1)
          ADD_FAILURE() << "text " << which << "\nalone: " << alone[which] << "\ncrowd: " << got;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(Demo, EntitiesAreTheSameInACrowd) {
  const auto backend = load("ner-ja");
  compare_crowd(*backend, [](const std::string& text) { return TokenClassification{.inputs = {text}}; });
  EXPECT_TRUE(backend->drain(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(ask(*backend, TokenClassification{.inputs = {"x"}}).status.code(), StatusCode::unavailable);
}

TEST_F(Demo, RewritingIsTheSameInACrowd) {
  for (const char* name : {"style-ja-gpt2", "style-ja-t5"}) {
    const auto backend = load(name);
    compare_crowd(*backend, [](const std::string& text) {
      Generation work;
      work.inputs = {{text, std::nullopt}};
      work.parameters.max_new_tokens = 6;
      return work;
    });
  }
}

TEST_F(Demo, TheArticlesExample) {
  const auto backend = load("ner-ja");
  const Response response = ask(*backend, TokenClassification{.inputs = {texts().front()}, .spans = true});
  ASSERT_TRUE(response.status.ok()) << response.status.message();
  const auto& found = std::get<TokenClassificationResult>(response.outcome).entities.at(0);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].word, "ジョー・バイデン");
  EXPECT_EQ(found[0].label, "PERSON");
  EXPECT_EQ(found[0].span, (TextSpan{0, 8}));
  EXPECT_EQ(found[1].word, "アメリカ");
  EXPECT_EQ(found[1].label, "GPE");
  EXPECT_EQ(found[1].span, (TextSpan{9, 13}));
}

TEST_F(Demo, EverySpanReadsTheInput) {
  const auto backend = load("ner-ja");
  for (const std::string& text : texts())
    for (const auto aggregation : {Aggregation::simple, Aggregation::first, Aggregation::average, Aggregation::max}) {
      const Response response =
          ask(*backend, TokenClassification{.inputs = {text}, .aggregation = aggregation, .ignore_labels = {}});
      ASSERT_TRUE(response.status.ok()) << response.status.message();
      for (const Entity& e : std::get<TokenClassificationResult>(response.outcome).entities.at(0))
        EXPECT_EQ(e.word, substring(text, e.span));
    }
}

// The last request, not the repository, may be what keeps a model: it ends on the asker's thread, never on the engine's
// own.
TEST_F(Demo, AModelMayBeLetGoWhileItWorks) {
  for (const char* name : {"ner-ja", "style-ja-gpt2"})
    for (int round = 0; round < 5; ++round) {
      auto backend = load(name);
      Waiting waiting;
      for (int i = 0; i < 4; ++i) {
        Generation work;
        work.inputs = {{"行きます。", std::nullopt}};
        work.parameters.max_new_tokens = 3;
        const bool generates = backend->info().model.task == Task::text_generation;
        backend->submit(request_of(generates ? Work(work) : Work(TokenClassification{.inputs = {"東京へ行きます。"}})),
                        waiting.receiver());
      }
      backend.reset();
      for (const Response& response : waiting.wait(4))
        EXPECT_TRUE(response.status.ok() || response.status.code() == StatusCode::unavailable)
            << response.status.message();
    }
}

TEST_F(Demo, RefusalsAreHeardOnce) {
  const auto backend = load("ner-ja");
  const auto code = [&](Work work) { return ask(*backend, std::move(work)).status.code(); };
  EXPECT_EQ(code(Generation{}), StatusCode::wrong_task);
  EXPECT_EQ(code(FillMask{.inputs = {"x"}}), StatusCode::wrong_task);
  EXPECT_EQ(code(TokenClassification{}), StatusCode::empty);
  EXPECT_EQ(code(TokenClassification{.inputs = {"x"}, .stride = -1}), StatusCode::invalid);
  EXPECT_EQ(code(TokenClassification{.inputs = {"x"}, .stride = 255}), StatusCode::invalid);
  EXPECT_EQ(code(Decode{.ids = {{-1}}}), StatusCode::invalid);
  EXPECT_EQ(code(Decode{.ids = {{1 << 30}}}), StatusCode::invalid);
  Request late = request_of(TokenClassification{.inputs = {"x"}});
  late.deadline = Clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(ask([&](Receiver receiver) { backend->submit(late, std::move(receiver)); }).status.code(),
            StatusCode::deadline_exceeded);
}

TEST_F(Demo, AStrideThatMakesTooManyWindowsIsRefused) {
  const auto backend = load("ner-ja");
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "東京。";
  EXPECT_EQ(ask(*backend, TokenClassification{.inputs = {text}, .stride = 253}).status.code(), StatusCode::too_large);
  EXPECT_TRUE(ask(*backend, TokenClassification{.inputs = {text}, .stride = 16}).status.ok());
}

struct Damage {
  const char* what;
  std::function<void(const fs::path&)> apply;
  StatusCode code;
  const char* fragment;
};

void write(const fs::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

const std::vector<Damage>& damages() {
  static const std::vector<Damage> kDamages = {
      {"no configuration", [](const fs::path& d) { fs::remove(d / "config.json"); }, StatusCode::not_found,
       "config.json"},
      {"broken configuration", [](const fs::path& d) { write(d / "config.json", "{\"model_type\": "); },
       StatusCode::malformed, "config.json"},
      {"unknown architecture",
       [](const fs::path& d) {
         write(d / "config.json", R"({"model_type": "mamba", "architectures": ["MambaForCausalLM"]})");
       },
       StatusCode::unsupported, "Mamba"},
      {"no weights", [](const fs::path& d) { fs::remove(d / "model.safetensors"); }, StatusCode::not_found,
       "model.safetensors"},
      {"empty weights", [](const fs::path& d) { write(d / "model.safetensors", ""); }, StatusCode::malformed,
       "model.safetensors"},
      {"cut weights",
       [](const fs::path& d) {
         fs::resize_file(d / "model.safetensors", fs::file_size(d / "model.safetensors") - 100);
       },
       StatusCode::malformed, "model.safetensors"},
      {"no vocabulary", [](const fs::path& d) { fs::remove(d / "spiece.model"); }, StatusCode::not_found,
       "spiece.model"},
      {"corrupt vocabulary", [](const fs::path& d) { write(d / "spiece.model", "not a model"); }, StatusCode::malformed,
       "spiece.model"},
      {"unknown tokenizer",
       [](const fs::path& d) { write(d / "tokenizer_config.json", R"({"tokenizer_class": "AlbertTokenizer"})"); },
       StatusCode::unsupported, "AlbertTokenizer"},
      {"broken generation defaults", [](const fs::path& d) { write(d / "generation_config.json", "{"); },
       StatusCode::malformed, "generation_config.json"},
      {"wrong generation defaults",
       [](const fs::path& d) { write(d / "generation_config.json", R"({"max_length": "20"})"); }, StatusCode::invalid,
       "max_length"},
  };
  return kDamages;
}

TEST(BadDirectories, AreNamed) {
  const fs::path directory = fs::temp_directory_path() / ("inazuma_backend_test." + std::to_string(getpid()));
  for (const Damage& damage : damages()) {
    fs::remove_all(directory);
    fs::copy(kDemo / "style-ja-gpt2", directory, fs::copy_options::recursive);
    damage.apply(directory);
    BackendOptions chosen = options();
    chosen.id = "mine";
    const Status status = load_backend(directory, chosen).status();
    EXPECT_EQ(name(status.code()), name(damage.code)) << damage.what << ": " << status.message();
    EXPECT_THAT(status.message(), HasSubstr(damage.fragment)) << damage.what;
    EXPECT_THAT(status.message(), HasSubstr("cannot load model 'mine'")) << damage.what;
  }
  fs::remove_all(directory);
  EXPECT_EQ(load_backend(directory, options()).status().code(), StatusCode::not_found);
}

}  // namespace
}  // namespace inazuma
