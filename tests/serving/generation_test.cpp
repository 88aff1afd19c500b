// Generation above the engine: defaults, and tokens into text with stop strings, samples and failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "serving/fakes.h"
#include "serving/tasks/generation.h"

namespace inazuma {
namespace {

using nlohmann::json;
using test::ByteTokenizer;
using test::Ear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
namespace fs = std::filesystem;

class Config : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("inazuma_generation_test." + std::to_string(getpid()));
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  Result<GenerationConfig> read(const std::string& file, const json& config = json::object()) {
    fs::remove(directory_ / "generation_config.json");
    if (!file.empty()) std::ofstream(directory_ / "generation_config.json") << file;
    Result<GenerationConfigs> configs = read_generation_configs(directory_, config);
    if (!configs.ok()) return configs.status();
    return configs->general;
  }
  fs::path directory_;
};

TEST_F(Config, FileWinsOverConfigAltogether) {
  const json config = {{"max_length", 40}, {"do_sample", true}, {"eos_token_id", 5}};
  const GenerationConfig from_config = read("", config).value();
  EXPECT_EQ(from_config.max_length, 40);
  EXPECT_TRUE(from_config.options.sample);
  EXPECT_THAT(from_config.options.eos, ElementsAre(5));
  const GenerationConfig from_file =
      read(R"({"eos_token_id": [1, 2], "top_k": 7, "bad_words_ids": [[3, 4]]})", config).value();
  EXPECT_EQ(from_file.max_length, std::nullopt);
  EXPECT_FALSE(from_file.options.sample);
  EXPECT_THAT(from_file.options.eos, ElementsAre(1, 2));
  EXPECT_EQ(from_file.options.top_k, 7);
  EXPECT_THAT(from_file.options.bad_words, ElementsAre(ElementsAre(3, 4)));
  EXPECT_EQ(read("{}").value().options.top_k, 50) << "transformers' own default";
}

TEST_F(Config, NamesFileKeyAndValue) {
  const auto expect = [&](const std::string& file, StatusCode code, const char* part) {
    const Status status = read(file).status();
    EXPECT_EQ(name(status.code()), name(code)) << file;
    EXPECT_THAT(status.message(), HasSubstr(part));
    EXPECT_THAT(status.message(), HasSubstr("generation_config.json"));
  };
  expect("{", StatusCode::malformed, "JSON");
  expect("[]", StatusCode::malformed, "object");
  expect(R"({"max_length": "20"})", StatusCode::invalid, "'max_length' must be a number, is \"20\"");
  expect(R"({"max_length": 20.5})", StatusCode::invalid, "'max_length' must be a whole number");
  expect(R"({"max_length": 1e300})", StatusCode::invalid, "out of range");
  expect(R"({"top_k": 99999999999})", StatusCode::invalid, "out of range");
  expect(R"({"do_sample": 1})", StatusCode::invalid, "'do_sample' must be true or false");
  expect(R"({"eos_token_id": "2"})", StatusCode::invalid, "'eos_token_id' must hold token ids");
  expect(R"({"eos_token_id": [4294967298]})", StatusCode::invalid, "4294967298");
  expect(R"({"bad_words_ids": [1]})", StatusCode::invalid, "list of lists");
}

TEST_F(Config, SaysWhatItLeavesOut) {
  EXPECT_THAT(read(R"({"num_beams": 4, "do_sample": true, "penalty_alpha": 0.6})").value().warnings,
              ElementsAre(HasSubstr("do_sample with num_beams 4"), HasSubstr("penalty_alpha")));
  EXPECT_THAT(read(R"({"num_beams": 4, "num_beam_groups": 2})").value().warnings,
              ElementsAre(HasSubstr("num_beam_groups 2")));
  EXPECT_THAT(read(R"({"num_beams": 4, "penalty_alpha": null})").value().warnings, IsEmpty());
}

TEST_F(Config, BeamsComeFromTheDirectory) {
  const GenerationOptions plain = read("{}").value().options;
  EXPECT_EQ(plain.num_beams, 1);
  EXPECT_EQ(plain.length_penalty, 1.0f);
  const GenerationOptions beams =
      read(R"({"num_beams": 4, "length_penalty": 2, "early_stopping": true, "num_return_sequences": 3})")
          .value()
          .options;
  EXPECT_EQ(beams.num_beams, 4);
  EXPECT_EQ(beams.num_return_sequences, 3);
  EXPECT_EQ(beams.length_penalty, 2.0f);
  EXPECT_EQ(beams.early_stopping, EarlyStopping::full);
  EXPECT_EQ(read(R"({"early_stopping": "never"})").value().options.early_stopping, EarlyStopping::never);
  EXPECT_EQ(read(R"({"num_beams": 4, "do_sample": true})").value().options.num_beams, 1)
      << "of the two, sampling is done";
  EXPECT_THAT(read(R"({"early_stopping": "often"})").status().message(),
              HasSubstr("'early_stopping' must be true, false or \"never\", is \"often\""));
  EXPECT_THAT(read(R"({"num_beams": 0})").status().message(), HasSubstr("'num_beams' is 0"));
}

TEST_F(Config, TasksGoOverTheDirectory) {
  const json config = {
      {"task_specific_params",
       {{"summarization", {{"num_beams", 4}, {"min_length", 30}, {"max_length", 200}, {"prefix", "summarize: "}}},
        {"translation_en_to_de", {{"early_stopping", true}}}}}};
  const auto tasks = [&](const std::string& file) {
    std::ofstream(directory_ / "generation_config.json") << file;
    return read_generation_configs(directory_, config).value().by_pipeline;
  };
  auto found = tasks(R"({"top_k": 7, "num_beams": 2})");
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found["summarization"].options.num_beams, 4);
  EXPECT_EQ(found["summarization"].options.top_k, 7);
  EXPECT_EQ(found["summarization"].min_length, 30);
  EXPECT_EQ(found["summarization"].max_length, std::nullopt)
      << "the pipelines' 256 new tokens win over the task's total";
  EXPECT_EQ(found["translation_en_to_de"].options.num_beams, 2);
  EXPECT_EQ(found["translation_en_to_de"].options.early_stopping, EarlyStopping::full);
  EXPECT_EQ(tasks(R"({"max_length": 512})")["summarization"].max_length, 200)
      << "unless the directory has a total of its own";
}

TEST_F(Config, GreedyDoesNotReadSampling) {
  const GenerationConfig odd =
      read(R"({"do_sample": false, "temperature": 0.0, "top_p": 0, "min_p": 7, "typical_p": 0, "top_k": -1})").value();
  const GenerationOptions greedy = resolve({}, odd, 4, 64, false).value();
  EXPECT_EQ(greedy.top_p, 1.0f) << "the engine takes what it is given";
  EXPECT_EQ(greedy.temperature, 1.0f);
  EXPECT_EQ(greedy.typical_p, 1.0f);
  EXPECT_EQ(greedy.min_p, 0.0f);
  EXPECT_GE(greedy.top_k, 0);
  EXPECT_EQ(resolve({.do_sample = true}, odd, 4, 64, false).value().top_p, 0.0f) << "who samples hears of it";
}

struct Length {
  const char* what;
  GenerationParameters request;
  GenerationConfig defaults;
  int prompt, context;
  int longest, least;
};

TEST(Resolve, LengthsInOrderOfPrecedence) {
  GenerationConfig tokens, total, both, least;
  tokens.max_new_tokens = 30;
  total.max_length = 25;
  both.max_new_tokens = 30, both.max_length = 25;
  least.min_length = 12;
  const Length rows[] = {
      {"nothing said", {}, {}, 10, 1000, 256, 0},
      {"nothing said, little room", {}, {}, 10, 50, 40, 0},
      {"directory's new tokens", {}, tokens, 10, 1000, 30, 0},
      {"directory's total", {}, total, 10, 1000, 15, 0},
      {"directory's total is too small for the prompt", {}, total, 25, 1000, 256, 0},
      {"new tokens win over total", {}, both, 10, 1000, 30, 0},
      {"directory's are cut to the room", {}, tokens, 10, 20, 10, 0},
      {"request wins", {.max_new_tokens = 7}, both, 10, 1000, 7, 0},
      {"request's total", {.max_length = 12}, both, 10, 1000, 2, 0},
      {"request's least", {.max_new_tokens = 7, .min_new_tokens = 3}, {}, 10, 1000, 7, 3},
      {"request's least total", {.max_new_tokens = 7, .min_length = 12}, {}, 10, 1000, 7, 2},
      {"least total below the prompt", {.max_new_tokens = 7, .min_length = 5}, {}, 10, 1000, 7, 0},
      {"directory's least is cut to the longest", {.max_new_tokens = 1}, least, 10, 1000, 1, 1},
  };
  for (const Length& row : rows) {
    const auto options = resolve(row.request, row.defaults, row.prompt, row.context, false);
    ASSERT_TRUE(options.ok()) << row.what << ": " << options.status().message();
    EXPECT_EQ(options->max_new_tokens, row.longest) << row.what;
    EXPECT_EQ(options->min_new_tokens, row.least) << row.what;
  }
}

TEST(Resolve, RequestLiesOverDirectory) {
  GenerationConfig defaults;
  defaults.options.temperature = 0.7f, defaults.options.top_k = 50, defaults.options.sample = true;
  const GenerationOptions kept = resolve({}, defaults, 1, 100, false).value();
  EXPECT_EQ(kept.temperature, 0.7f);
  EXPECT_TRUE(kept.sample);
  const GenerationOptions laid =
      resolve({.do_sample = false, .temperature = 2.0f, .top_k = 0, .seed = 9}, defaults, 1, 100, false).value();
  EXPECT_EQ(laid.temperature, 2.0f);
  EXPECT_EQ(laid.top_k, 0);
  EXPECT_FALSE(laid.sample);
  EXPECT_EQ(resolve({.do_sample = true, .seed = 9}, {}, 1, 100, false).value().seed, 9u);
  const auto random = [] { return resolve({.do_sample = true}, {}, 1, 100, false).value().seed; };
  EXPECT_FALSE(random() == random() && random() == random()) << "without a seed each request draws anew";
}

TEST(Resolve, RefusesNamingValueAndRange) {
  const auto expect = [](const GenerationParameters& request, StatusCode code, const std::string& sentence,
                         int prompt = 10) {
    const Status status = resolve(request, {}, prompt, 100, false).status();
    EXPECT_EQ(name(status.code()), name(code)) << sentence;
    EXPECT_THAT(status.message(), HasSubstr(sentence));
  };
  expect({.max_new_tokens = 0}, StatusCode::invalid, "max_new_tokens is 0, must be at least 1");
  expect({.max_new_tokens = 91}, StatusCode::too_long, "lower max_new_tokens to 90");
  expect({.max_length = 10}, StatusCode::too_long, "max_length is 10 but the prompt already has 10 ids");
  expect({}, StatusCode::too_long, "the prompt has 100 ids, the model takes 100", 100);
  expect({.max_new_tokens = 3, .min_new_tokens = 4}, StatusCode::invalid,
         "min_new_tokens is 4, must not exceed max_new_tokens (3)");
  expect({.temperature = 0.0f}, StatusCode::invalid, "temperature is 0, must be greater than 0");
  expect({.temperature = std::nanf("")}, StatusCode::invalid, "temperature is nan");
  expect({.top_p = 0.0f}, StatusCode::invalid, "top_p is 0, must be in (0, 1]");
  expect({.top_p = 1.5f}, StatusCode::invalid, "top_p is 1.5");
  expect({.min_p = -0.5f}, StatusCode::invalid, "min_p is -0.5, must be in [0, 1]");
  expect({.typical_p = 2.0f}, StatusCode::invalid, "typical_p is 2");
  expect({.repetition_penalty = 0.0f}, StatusCode::invalid, "repetition_penalty is 0");
  expect({.frequency_penalty = 3.0f}, StatusCode::invalid, "frequency_penalty is 3, must be in [-2, 2]");
  expect({.top_k = -1}, StatusCode::invalid, "top_k is -1");
  expect({.no_repeat_ngram_size = -1}, StatusCode::invalid, "no_repeat_ngram_size is -1");
  expect({.truncate = 0}, StatusCode::invalid, "truncate is 0");
  expect({.top_n_tokens = 21}, StatusCode::invalid, "top_n_tokens is 21, must be in [0, 20]");
}

// One job over the byte tokenizer, with this test as the engine.
class Job : public testing::Test {
 protected:
  Job() {
    model_.has_decoder = true, model_.vocab = ByteTokenizer::kSize;
    defaults_.options.eos = {ByteTokenizer::kEos};
  }
  void make(Generation work) {
    Request request;
    cancelled_ = request.cancelled;  // a fresh one: a matched stop string sets it
    request.work = std::move(work);
    const GenerationContext context{tokenizer_, model_, defaults_, by_pipeline_, config_, 4096};
    job_ = std::make_shared<GenerationJob>(request, context, nullptr, ear_.receiver(), [this](Response response) {
      ear_.receiver().on_event(std::move(response));
    });
    rows_ = job_->take_rows();
  }
  static Generation ask(std::string text, GenerationParameters parameters = {}, bool stream = false) {
    Generation work;
    work.inputs = {{std::move(text), std::nullopt}};
    work.parameters = std::move(parameters);
    work.stream = stream;
    return work;
  }
  // As the engine: tokens until told to stop, then the end. `lazily` runs the receiver only at the end.
  void generate(std::string_view bytes, bool eos = true, size_t row = 0, float logprob = -1.0f, bool lazily = false) {
    bool told = false;
    const auto send = [&](int32_t id) {
      SequenceEvent event;
      event.kind = SequenceEvent::Kind::token;
      event.index = rows_[row].index;
      event.token = {id, logprob};
      rows_[row].sink->on_event(std::move(event));
      told = true;
      if (!lazily) ear_.run();
    };
    for (const char c : bytes)
      if (!rows_[row].cancelled->load()) send(static_cast<unsigned char>(c));
    if (eos && !rows_[row].cancelled->load()) send(ByteTokenizer::kEos);
    SequenceEvent end;
    end.index = rows_[row].index;
    end.kind = told || !rows_[row].cancelled->load() ? SequenceEvent::Kind::finished : SequenceEvent::Kind::failed;
    end.reason = rows_[row].cancelled->load() ? FinishReason::cancelled : FinishReason::eos;
    if (end.kind == SequenceEvent::Kind::failed) end.status = Status(StatusCode::cancelled, "cancelled");
    rows_[row].sink->on_event(std::move(end));
    ear_.run();
  }
  const GeneratedText& text(size_t i = 0) { return std::get<GenerationResult>(ear_.response().outcome).texts.at(i); }
  std::string streamed() const {
    std::string out;
    for (const StreamToken& token : ear_.streamed)
      if (!token.token.special) out += token.token.text;
    return out;
  }

  ByteTokenizer tokenizer_{false};
  ModelInfo model_;
  GenerationConfig defaults_;
  std::map<std::string, GenerationConfig> by_pipeline_;
  json config_ = json::object();
  CancelFlag cancelled_;
  Ear ear_;
  std::shared_ptr<GenerationJob> job_;
  std::vector<SequenceRequest> rows_;
};

TEST_F(Job, TokensBecomeText) {
  make(ask("問:"));
  ASSERT_THAT(rows_, SizeIs(1));
  EXPECT_EQ(tokenizer_.decode(rows_[0].ids), "問:");
  generate("答え👩‍👩‍👧 ﾊﾟ");
  ASSERT_THAT(ear_.responses, SizeIs(1));
  EXPECT_TRUE(ear_.response().status.ok());
  EXPECT_EQ(text().text, "答え👩‍👩‍👧 ﾊﾟ");
  EXPECT_EQ(text().cause, StopCause::eos);
  EXPECT_EQ(text().tokens.size(), std::string("答え👩‍👩‍👧 ﾊﾟ").size() + 1);
  EXPECT_EQ(text().input_length, 4);
  EXPECT_EQ(ear_.response().usage.generated_tokens, static_cast<int>(text().tokens.size()));
  EXPECT_THAT(ear_.streamed, IsEmpty());
}

TEST_F(Job, StreamsWhatItAnswersForEveryTextAndStop) {
  const std::vector<std::string> answers = {"",
                                            "a",
                                            "東京は晴れ。そして雨",
                                            "👩‍👩‍👧👨‍👨‍👦END",
                                            "か\u3099 e\u0301 ﾊﾟ",
                                            "\xff\xfe"
                                            "a\xe3\x81",
                                            "a。b。c",
                                            "ENENDEND"};
  const std::vector<std::vector<std::string>> stops = {{}, {"。"}, {"END"}, {"ENDE", "NEN"}, {"京は", "。"}, {"👦"}};
  for (const std::string& answer : answers)
    for (const auto& stop : stops) {
      std::string whole, cause;
      for (const bool stream : {false, true}) {
        ear_ = Ear();
        GenerationParameters parameters;
        parameters.stop = stop;
        make(ask("x", parameters, stream));
        generate(answer);
        ASSERT_THAT(ear_.responses, SizeIs(1));
        ASSERT_TRUE(ear_.response().status.ok()) << ear_.response().status.message();
        if (!stream) whole = text().text;
        EXPECT_EQ(text().text, whole);
        size_t first = std::string::npos;
        for (const std::string& s : stop) first = std::min(first, replace_ill_formed(answer).find(s));
        EXPECT_EQ(text().cause, first == std::string::npos ? StopCause::eos : StopCause::stop_sequence) << answer;
        if (first == std::string::npos) EXPECT_EQ(whole, replace_ill_formed(answer));
        for (const std::string& s : stop) EXPECT_EQ(whole.find(s), std::string::npos) << whole;
        if (!stream) continue;
        // The last token travels with the final event.
        const GeneratedToken& last = text().tokens.back();
        EXPECT_EQ(streamed() + (last.special ? "" : last.text), last.special ? streamed() : whole);
        EXPECT_TRUE(whole.starts_with(streamed()));
        for (size_t i = 0; i < ear_.streamed.size(); ++i) EXPECT_EQ(ear_.streamed[i].index, static_cast<int>(i) + 1);
      }
    }
}

TEST_F(Job, AStopStringEndsTheRow) {
  GenerationParameters parameters;
  parameters.stop = {"です。"};
  make(ask("x", parameters));
  generate("犬です。猫です。");
  EXPECT_EQ(text().text, "犬");
  EXPECT_EQ(text().cause, StopCause::stop_sequence);
  EXPECT_TRUE(rows_[0].cancelled->load());
  EXPECT_EQ(text().tokens.size(), std::string("犬です。").size()) << "tokens after the stop do not count";
}

TEST_F(Job, TokensThatCameAfterTheStopDoNotCount) {
  GenerationParameters parameters;
  parameters.stop = {"b"};
  make(ask("x", parameters));
  generate("abcdef", true, 0, -1, true);
  EXPECT_EQ(text().text, "a");
  EXPECT_EQ(text().tokens.size(), 2u);
  EXPECT_TRUE(ear_.response().status.ok());
}

TEST_F(Job, LengthIsACauseToo) {
  make(ask("x", {.max_new_tokens = 3}));
  generate("abc", false);
  EXPECT_EQ(text().cause, StopCause::length);
  EXPECT_EQ(text().text, "abc");
  ear_ = Ear();
  make(ask("x", {.max_new_tokens = 4}));
  generate("ab\xe3\x81", false);
  EXPECT_EQ(text().text, "ab\ufffd") << "a character that never came whole";
}

TEST_F(Job, FullTextHasThePrompt) {
  Generation work = ask("東京");
  work.return_full_text = true;
  make(std::move(work));
  generate("は");
  EXPECT_EQ(text().text, "東京は");
}

TEST_F(Job, BestOfPicksTheMostProbable) {
  make(ask("x", {.do_sample = true, .seed = 10, .best_of = 3}));
  ASSERT_THAT(rows_, SizeIs(3));
  EXPECT_EQ(rows_[0].generation.seed, 10u);
  EXPECT_EQ(rows_[2].generation.seed, 12u);
  generate("first", true, 0, -2.0f);
  generate("second", true, 1, -0.5f);
  EXPECT_THAT(ear_.responses, IsEmpty());
  generate("third", true, 2, -1.0f);
  ASSERT_THAT(ear_.responses, SizeIs(1));
  EXPECT_EQ(text().text, "second");
  EXPECT_EQ(text().seed, 11u);
  ASSERT_THAT(text().others, SizeIs(2));
  EXPECT_EQ(text().others[0].text, "third");
}

Hypothesis hypothesis(const std::string& text, FinishReason reason) {
  Hypothesis out{.ids = {}, .logprobs = std::vector<float>(text.size(), -0.5f), .reason = reason};
  for (const char byte : text) out.ids.push_back(static_cast<unsigned char>(byte));
  if (reason == FinishReason::eos) {
    out.ids.push_back(ByteTokenizer::kEos);
    out.logprobs.push_back(-0.1f);
  }
  return out;
}

TEST_F(Job, BeamsAnswerOnceWithTheirHypotheses) {
  make(ask("x", {.stop = {"bc"},
                 .num_beams = 4,
                 .num_return_sequences = 3,
                 .length_penalty = 0.5f,
                 .early_stopping = EarlyStopping::full}));
  ASSERT_THAT(rows_, SizeIs(1));
  const GenerationOptions& options = rows_[0].generation;
  EXPECT_EQ(options.num_beams, 4);
  EXPECT_EQ(options.num_return_sequences, 3);
  EXPECT_EQ(options.length_penalty, 0.5f);
  EXPECT_EQ(options.early_stopping, EarlyStopping::full);
  const std::vector<int32_t> before = {'x', 'a', 'b'}, complete = {'x', 'b', 'c'}, in_prompt = {'b', 'c'};
  EXPECT_FALSE(rows_[0].hypothesis_end(before, 1));
  EXPECT_TRUE(rows_[0].hypothesis_end(complete, 1));
  EXPECT_FALSE(rows_[0].hypothesis_end(in_prompt, 1)) << "a stop string is looked for in what is generated";

  SequenceEvent event;
  event.kind = SequenceEvent::Kind::finished;
  event.hypotheses = {hypothesis("東京", FinishReason::eos), hypothesis("abc", FinishReason::stopped),
                      hypothesis("long", FinishReason::length)};
  rows_[0].sink->on_event(std::move(event));
  ear_.run();
  EXPECT_EQ(text().text, "東京");
  EXPECT_EQ(text().cause, StopCause::eos);
  EXPECT_EQ(text().tokens.size(), std::string("東京").size() + 1);
  ASSERT_THAT(text().others, SizeIs(2));
  EXPECT_EQ(text().others[0].text, "a");
  EXPECT_EQ(text().others[0].cause, StopCause::stop_sequence);
  EXPECT_EQ(text().others[1].text, "long");
  EXPECT_EQ(text().others[1].cause, StopCause::length);
}

TEST_F(Job, SamplesMayAllBeWanted) {
  make(ask("x", {.do_sample = true, .seed = 1, .num_return_sequences = 2}));
  ASSERT_THAT(rows_, SizeIs(2));
  generate("first", true, 0, -2.0f);
  generate("second", true, 1, -0.5f);
  EXPECT_EQ(text().text, "first") << "as drawn, not ranked";
  ASSERT_THAT(text().others, SizeIs(1));
}

TEST_F(Job, ThePipelinesSettingsAreUsed) {
  by_pipeline_["summarization"].options.num_beams = 5;
  Generation work = ask("x");
  make(work);
  EXPECT_EQ(rows_[0].generation.num_beams, 1);
  work.pipeline = "summarization";
  make(work);
  EXPECT_EQ(rows_[0].generation.num_beams, 5);
}

TEST_F(Job, RefusesWhatBeamsCannotDo) {
  const auto words = [&](Generation work) { return capture([&] { make(std::move(work)); }).message(); };
  EXPECT_THAT(words(ask("x", {.num_beams = 4}, true)),
              HasSubstr("num_beams is 4: a search knows its text only at its end"));
  EXPECT_THAT(words(ask("x", {.do_sample = true, .num_beams = 4})), HasSubstr("num_beams is 4 and do_sample is true"));
  EXPECT_THAT(words(ask("x", {.best_of = 2, .num_beams = 4})), HasSubstr("num_beams is 4 and best_of is 2"));
  EXPECT_THAT(words(ask("x", {.top_n_tokens = 2, .num_beams = 4})), HasSubstr("top_n_tokens is 2"));
  EXPECT_THAT(words(ask("x", {.num_beams = 2, .num_return_sequences = 3})),
              HasSubstr("num_return_sequences is 3 but num_beams is 2"));
  EXPECT_THAT(words(ask("x", {.num_return_sequences = 3})), HasSubstr("greedy decoding has one answer"));
  defaults_.options.num_beams = 4;
  EXPECT_THAT(words(ask("x", {.do_sample = true})),
              HasSubstr("num_beams is 4 (generation_config.json) and do_sample is true"));
}

TEST_F(Job, SeveralInputsKeepTheirOrder) {
  Generation work = ask("a");
  work.inputs.push_back({"b", std::nullopt});
  make(std::move(work));
  generate("second", true, 1);
  generate("first", true, 0);
  EXPECT_EQ(text(0).text, "first");
  EXPECT_EQ(text(1).text, "second");
}

TEST_F(Job, CancellationIsHeardOnce) {
  make(ask("x", {}, true));
  cancelled_->store(true);
  generate("abc");
  ASSERT_THAT(ear_.responses, SizeIs(1));
  EXPECT_EQ(ear_.response().status.code(), StatusCode::cancelled);
}

TEST_F(Job, OneFailedRowFailsTheRequestAndCancelsTheRest) {
  Generation work = ask("a");
  work.inputs.push_back({"b", std::nullopt});
  make(std::move(work));
  SequenceEvent failed;
  failed.kind = SequenceEvent::Kind::failed;
  failed.index = 1;
  failed.status = Status(StatusCode::deadline_exceeded, "late");
  rows_[1].sink->on_event(std::move(failed));
  ear_.run();
  EXPECT_TRUE(rows_[0].cancelled->load());
  EXPECT_THAT(ear_.responses, IsEmpty()) << "the other row still runs";
  generate("x", true, 0);
  ASSERT_THAT(ear_.responses, SizeIs(1));
  EXPECT_EQ(ear_.response().status.code(), StatusCode::deadline_exceeded);
}

TEST_F(Job, PromptsOfCausalModelsGetNoEndToken) {
  tokenizer_ = ByteTokenizer(true);
  make(ask("ab"));
  EXPECT_THAT(rows_[0].ids, ElementsAre(ByteTokenizer::kCls, 'a', 'b'));
}

TEST_F(Job, PrefixesComeFromTheConfiguration) {
  config_ = {{"prefix", "own: "},
             {"task_specific_params",
              {{"summarization", {{"prefix", "summarize: "}}}, {"translation_en_to_de", {{"prefix", "en-de: "}}}}}};
  const auto prompt = [&](const char* pipeline) {
    Generation work = ask("a");
    work.pipeline = pipeline;
    make(std::move(work));
    return tokenizer_.decode(rows_[0].ids);
  };
  EXPECT_EQ(prompt(""), "own: a");
  EXPECT_EQ(prompt("summarization"), "summarize: a");
  EXPECT_EQ(prompt("translation_en_to_de"), "en-de: a");
  EXPECT_THROW(prompt("translation_en_to_ja"), Error);
}

TEST_F(Job, RefusesBadRequests) {
  const auto refused = [&](Generation work, StatusCode code) {
    EXPECT_EQ(capture([&] { make(std::move(work)); }).code(), code);
  };
  refused({}, StatusCode::empty);
  refused(ask(""), StatusCode::empty);
  refused(ask("x", {.stop = {"a", ""}}), StatusCode::invalid);
  refused(ask("x", {.stop = std::vector<std::string>(17, "a")}), StatusCode::invalid);
  refused(ask("x", {.best_of = 17}), StatusCode::invalid);
  refused(ask("x", {.best_of = 2}, true), StatusCode::invalid);
  refused(ask(std::string(4096, 'a')), StatusCode::too_long);
  Generation two = ask("x", {}, true);
  two.inputs.push_back({"y", std::nullopt});
  refused(std::move(two), StatusCode::invalid);
}

TEST_F(Job, TruncateKeepsTheEnd) {
  make(ask("abcdef", {.truncate = 2}));
  EXPECT_THAT(rows_[0].ids, ElementsAre('e', 'f'));
}

}  // namespace
}  // namespace inazuma
