// KServe v2: bodies and messages as values, then the routes and methods over a model that answers its inputs.
#include <gmock/gmock.h>
#include <grpc_service.pb.h>
#include <gtest/gtest.h>
#include <model_config.pb.h>

#include <cmath>
#include <cstring>

#include "frontends/app.h"
#include "frontends/errors.h"
#include "frontends/kserve/grpc/convert.h"
#include "frontends/kserve/http/admin.h"
#include "frontends/kserve/http/generate.h"
#include "frontends/kserve/http/infer.h"
#include "frontends/kserve/json_tensor.h"
#include "protocol/fakes.h"

namespace inazuma::kserve {
namespace {

using test::FakeExchange;
using test::request_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr size_t kLimit = 1 << 20;

TensorModel model_of(std::vector<TensorSpec> inputs, int batch = 8, bool decoupled = false) {
  TensorModel model;
  model.name = "m";
  model.version = 3;
  model.platform = "identity";
  model.max_batch_size = batch;
  model.decoupled = decoupled;
  model.single_answer = !decoupled;
  model.outputs = inputs;
  model.inputs = std::move(inputs);
  auto config = std::make_shared<inference::ModelConfig>();
  config->set_name("m");
  config->set_backend("identity");
  config->set_max_batch_size(batch);
  model.config = std::move(config);
  return model;
}
const TensorSpec kFloats{"X", DataType::fp32, {-1}, false, false, {}};
const TensorSpec kTexts{"text_input", DataType::bytes, {1}, false, false, {}};

ParsedInference parse(const std::string& body, std::optional<size_t> json = std::nullopt,
                      const TensorModel& model = model_of({kFloats})) {
  return parse_inference(std::make_shared<const std::string>(body), json, model, kLimit);
}

template <class T>
std::vector<T> values(const NamedTensor& tensor) {
  std::vector<T> out(tensor.data.size() / sizeof(T));
  std::memcpy(out.data(), tensor.data.data(), out.size() * sizeof(T));
  return out;
}

Status status_of(const std::function<void()>& work) {
  return capture([&] { work(); });
}

TEST(KserveJson, ReadsEveryDatatype) {
  const auto raw = [](const char* type, const char* data) {
    const std::string body =
        std::string(R"({"inputs":[{"name":"X","shape":[2],"datatype":")") + type + R"(","data":)" + data + "}]}";
    return parse(body).inference.inputs.at(0);
  };
  EXPECT_THAT(values<uint8_t>(raw("BOOL", "[true,false]")), ElementsAre(1, 0));
  EXPECT_THAT(values<uint8_t>(raw("UINT8", "[0,255]")), ElementsAre(0, 255));
  EXPECT_THAT(values<uint16_t>(raw("UINT16", "[0,65535]")), ElementsAre(0, 65535));
  EXPECT_THAT(values<uint32_t>(raw("UINT32", "[0,4294967295]")), ElementsAre(0u, 4294967295u));
  EXPECT_THAT(values<uint64_t>(raw("UINT64", "[0,18446744073709551615]")), ElementsAre(0u, UINT64_MAX));
  EXPECT_THAT(values<int8_t>(raw("INT8", "[-128,127]")), ElementsAre(-128, 127));
  EXPECT_THAT(values<int16_t>(raw("INT16", "[-32768,32767]")), ElementsAre(-32768, 32767));
  EXPECT_THAT(values<int32_t>(raw("INT32", "[[-2147483648],[2147483647]]")), ElementsAre(INT32_MIN, INT32_MAX));
  EXPECT_THAT(values<int64_t>(raw("INT64", "[-9223372036854775808,9223372036854775807]")),
              ElementsAre(INT64_MIN, INT64_MAX));
  EXPECT_THAT(values<float>(raw("FP32", "[1,-2.5]")), ElementsAre(1.f, -2.5f));
  EXPECT_THAT(values<double>(raw("FP64", "[0.1,1e300]")), ElementsAre(0.1, 1e300));
  EXPECT_EQ(raw("BYTES", R"(["日本","ｶﾅ👩‍👩‍👧"])").data.view(),
            join_bytes({"日本", "ｶﾅ👩‍👩‍👧"}));
  const auto odd = values<float>(raw("FP32", "[NaN,-Infinity]"));
  EXPECT_TRUE(std::isnan(odd[0]) && std::isinf(odd[1]) && odd[1] < 0);
}

TEST(KserveJson, WritesWhatItReads) {
  const auto text = [](DataType type, const std::string& data, int64_t count) {
    const std::string body = R"({"v":)" + data + "}";
    const TensorDocument document(body);
    return write_json_data(
        {"X", type, {count}, read_json_data(document.root()["v"].value(), type, count, "X", kLimit)});
  };
  EXPECT_EQ(text(DataType::boolean, "[true,false]", 2), "[true,false]");
  EXPECT_EQ(text(DataType::uint64, "[18446744073709551615]", 1), "[18446744073709551615]");
  EXPECT_EQ(text(DataType::int8, "[-128]", 1), "[-128]");
  EXPECT_EQ(text(DataType::fp32, "[0.1,1,NaN,Infinity,-Infinity]", 5),
            "[0.10000000149011612,1.0,NaN,Infinity,-Infinity]");
  EXPECT_EQ(text(DataType::fp64, "[0.1]", 1), "[0.1]");
  EXPECT_EQ(text(DataType::bytes, R"(["a\"b","NaN","日本"])", 3), R"(["a\"b","NaN","日本"])");
  EXPECT_EQ(text(DataType::int32, "[]", 0), "[]");
}

TEST(KserveJson, SaysWhatIsWrong) {
  const std::string head = R"({"inputs":[{"name":"X","shape":[2],"datatype":"INT8","data":)";
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"{", "not valid JSON"},
      {"[]", "must be an object"},
      {"{}", "no 'inputs'"},
      {R"({"inputs":{}})", "must be an array"},
      {R"({"inputs":[1]})", "must be an object"},
      {R"({"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]})", "'name'"},
      {R"({"inputs":[{"name":"X","datatype":"FP32","data":[1]}]})", "no 'shape'"},
      {R"({"inputs":[{"name":"X","shape":[1],"data":[1]}]})", "no 'datatype'"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FLOAT","data":[1]}]})", "is not known"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32"}]})", "exactly one"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32","data":[1],"parameters":{"binary_data_size":4}}]})",
       "exactly one"},
      {R"({"inputs":[{"name":"X","shape":[-1],"datatype":"FP32","data":[1]}]})", "'shape' holds -1"},
      {R"({"inputs":[{"name":"X","shape":[1.5],"datatype":"FP32","data":[1]}]})", "'shape' holds"},
      {R"({"inputs":[{"name":"X","shape":[4294967296,4294967296,4],"datatype":"FP32","data":[1]}]})", "2^62"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]})",
       "expecting 4 additional bytes"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP16","data":[1]}]})", "binary"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32","data":["1"]}]})", "is not a number"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"BYTES","data":[1]}]})", "is not a string"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"BOOL","data":[1]}]})", "true or false"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"UINT8","data":[-1]}]})", "[0, 255]"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32","data":1}]})", "must be an array"},
      {R"({"inputs":[{"name":"X","shape":[1],"datatype":"FP32","parameters":{"shared_memory_region":"r"}}]})",
       "shared_memory_byte_size"},
      {R"({"inputs":[],"outputs":[{"name":"Y","parameters":{"binary_data":1}}]})", "true or false"},
      {R"({"inputs":[],"outputs":[{"name":"Y","parameters":{"classification":-1}}]})", "classification"},
      {R"({"inputs":[],"parameters":{"triton_x":1}})", "reserved"},
      {R"({"inputs":[],"parameters":{"headers":1}})", "reserved"},
      {R"({"inputs":[],"parameters":{"x":[1]}})", "must be a string"},
      {R"({"inputs":[],"parameters":{"sequence_start":1}})", "sequence_start"},
      {R"({"inputs":[],"parameters":{"priority":"high"}})", "priority"},
      {R"({"inputs":[],"id":1})", "'id'"},
      {head + "[1]}]}", "has 1 elements in 'data', its shape has 2"},
      {head + "[1,2,3]}]}", "more elements"},
      {head + "[1,128]}]}", "[-128, 127]"},
      {head + "[1,2.5]}]}", "whole number"},
      {head + "[1,null]}]}", "whole number"},
  };
  for (const auto& [body, says] : cases) {
    const Status status = status_of([&, &text = body] { parse(text); });
    EXPECT_EQ(http_status(status.code(), Dialect::kserve), 400) << body << ": " << status.message();
    EXPECT_THAT(status.message(), HasSubstr(says)) << body;
  }
}

TEST(KserveJson, RequestParametersAreUnderstood) {
  const ParsedInference parsed = parse(
      R"({"id":"7","inputs":[],"outputs":[{"name":"Y","parameters":{"binary_data":true,"classification":3}},{"name":"Z"}],)"
      R"("parameters":{"sequence_id":"東京","sequence_start":true,"sequence_end":false,"priority":2,"timeout":500,"binary_data_output":true,"mine":1.5,"yours":"x"}})");
  EXPECT_EQ(parsed.inference.id, "7");
  EXPECT_EQ(std::get<std::string>(parsed.inference.sequence), "東京");
  EXPECT_TRUE(parsed.inference.sequence_start);
  EXPECT_EQ(parsed.inference.priority, 2u);
  EXPECT_EQ(parsed.inference.timeout_us, 500u);
  EXPECT_TRUE(parsed.binary_by_default);
  ASSERT_THAT(parsed.inference.outputs, SizeIs(2));
  EXPECT_TRUE(parsed.inference.outputs[0].binary);
  EXPECT_EQ(parsed.inference.outputs[0].classification, 3u);
  EXPECT_FALSE(parsed.inference.outputs[1].binary);
  EXPECT_EQ(std::get<double>(parsed.inference.parameters.at("mine")), 1.5);
  EXPECT_THAT(parsed.inference.parameters, SizeIs(2));
}

TEST(KserveBinary, TailsAreCutInOrder) {
  const std::string json =
      R"({"inputs":[{"name":"A","shape":[1,2],"datatype":"FP16","parameters":{"binary_data_size":4}},{"name":"B","shape":[1],"datatype":"INT8","data":[5]},)"
      R"({"name":"C","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":7}}]})";
  const ParsedInference parsed = parse(json + "abcd" + join_bytes({"xyz"}), json.size());
  EXPECT_EQ(parsed.inference.inputs[0].data.view(), "abcd");
  EXPECT_THAT(values<int8_t>(parsed.inference.inputs[1]), ElementsAre(5));
  EXPECT_EQ(parsed.inference.inputs[2].data.view(), join_bytes({"xyz"}));
  EXPECT_THAT(status_of([&] { parse(json + "abcd", json.size()); }).message(),
              HasSubstr("expecting 7 additional bytes"));
  EXPECT_THAT(status_of([&] { parse(json + "abcd" + join_bytes({"xyz"}) + "!", json.size()); }).message(),
              HasSubstr("unexpected additional input data"));
}

TEST(KserveBinary, TheHeaderIsANumberWithinTheBody) {
  const auto size = [](const char* text) { return parse_json_size({{"inference-header-content-length", text}}, 10); };
  EXPECT_EQ(parse_json_size({}, 10), std::nullopt);
  EXPECT_EQ(size("0"), 0u);
  EXPECT_EQ(size("10"), 10u);
  for (const char* wrong : {"", "abc", "-1", "11", "1z", " 1", "99999999999999999999"})
    EXPECT_THROW(size(wrong), Error) << wrong;
}

TEST(KserveBinary, RawBodiesAreTheOneInput) {
  const ParsedInference parsed = parse(std::string(12, '\0'), 0);
  EXPECT_EQ(parsed.inference.inputs.at(0).shape, (std::vector<int64_t>{1, 3}));
  EXPECT_TRUE(parsed.binary_by_default);
  EXPECT_EQ(parse("", std::nullopt).inference.inputs.at(0).shape, (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(parse("日本", 0, model_of({kTexts})).inference.inputs.at(0).data.view(), join_bytes({"日本"}));
  EXPECT_THROW(parse(std::string(13, '\0'), 0), Error);
  EXPECT_THROW(parse("abcd", 0, model_of({kFloats, kTexts})), Error);
  EXPECT_THROW(parse("abcd", 0, model_of({{"X", DataType::fp32, {-1, -1}, false, false, {}}})), Error);
}

TEST(KserveBinary, RepliesCarryTheirOutputs) {
  const TensorResult result{"m", "3", {}, {{"note", std::string("x")}}, false};
  const std::vector<AnsweredOutput> outputs = {{make_tensor<int32_t>("A", DataType::int32, {2}, {7, 8}), true, false},
                                               {make_tensor<int32_t>("B", DataType::int32, {1}, {9}), false, false}};
  const HttpResponse reply = format_inference("id", result, outputs);
  const auto size = std::stoul(reply.headers.at(0).second);
  EXPECT_EQ(reply.content_type, "application/octet-stream");
  EXPECT_EQ(
      reply.body.substr(0, size),
      R"({"id":"id","model_name":"m","model_version":"3","parameters":{"note":"x"},"outputs":[)"
      R"({"name":"A","datatype":"INT32","shape":[2],"parameters":{"binary_data_size":8}},{"name":"B","datatype":"INT32","shape":[1],"data":[9]}]})");
  EXPECT_EQ(reply.body.substr(size), std::string("\7\0\0\0\10\0\0\0", 8));
  const HttpResponse plain =
      format_inference("", result, {{make_tensor<int32_t>("A", DataType::int32, {0}, {}), true, false}});
  EXPECT_EQ(plain.content_type, "application/json");
  EXPECT_THAT(plain.headers, SizeIs(0));
}

TEST(KserveGenerate, MembersBecomeTensorsAndParameters) {
  const TensorModel model = model_of({kTexts, {"n", DataType::int32, {-1}, true, false, {}}});
  const TensorInference one = parse_generate(
      R"({"id":"7","text_input":"東京","n":[1,2],"parameters":{"temperature":0.5},"stream":false})", model, kLimit);
  EXPECT_EQ(one.id, "7");
  ASSERT_THAT(one.inputs, SizeIs(2));
  EXPECT_EQ(one.inputs[0].data.view(), join_bytes({"東京"}));
  EXPECT_EQ(one.inputs[0].shape, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(one.inputs[1].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(std::get<double>(one.parameters.at("temperature")), 0.5);
  EXPECT_EQ(std::get<bool>(one.parameters.at("stream")), false);
  for (const char* wrong :
       {"[]", "{", R"({"text_input":"a","parameters":{"text_input":"b"}})", R"({"text_input":"a","text_input":"b"})",
        R"({"other":[1]})", R"({"text_input":1})", R"({"parameters":1})", R"({"id":1})", R"({"other":null})"})
    EXPECT_THROW(parse_generate(wrong, model, kLimit), Error) << wrong;
  EXPECT_EQ(format_generate("7", {"m",
                                  "3",
                                  {{"text_output", DataType::bytes, {1, 1}, join_bytes({"日本"})},
                                   make_tensor<int32_t>("n", DataType::int32, {2}, {1, 2})},
                                  {},
                                  false}),
            R"({"id":"7","model_name":"m","model_version":"3","text_output":"日本","n":[1,2]})");
}

TEST(KserveBase64, IsExact) {
  EXPECT_EQ(decode_base64("", "x"), "");
  EXPECT_EQ(decode_base64("YQ==", "x"), "a");
  EXPECT_EQ(decode_base64("YWI=", "x"), "ab");
  EXPECT_EQ(decode_base64("YWJj", "x"), "abc");
  EXPECT_EQ(decode_base64("+/8A", "x"), std::string("\xfb\xff\0", 3));
  for (const char* wrong : {"Y", "YQ", "YQ=", "YQ=a", "=YQ=", "Y Q=", "YQ==YQ=="})
    EXPECT_THROW(decode_base64(wrong, "x"), Error) << wrong;
}

std::shared_ptr<inference::ModelInferRequest> message() {
  auto out = std::make_shared<inference::ModelInferRequest>();
  out->set_model_name("m");
  auto* input = out->add_inputs();
  input->set_name("X");
  input->set_datatype("FP32");
  input->add_shape(1);
  input->add_shape(2);
  return out;
}

TEST(KserveGrpc, ContentsAreRawOrTyped) {
  auto raw = message();
  raw->add_raw_input_contents("12345678");
  (*raw->mutable_parameters())["priority"].set_uint64_param(2);
  (*raw->mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  const GrpcInference parsed = parse_inference(raw);
  EXPECT_EQ(parsed.inference.inputs.at(0).data.view(), "12345678");
  EXPECT_EQ(parsed.inference.inputs.at(0).data.data(), raw->raw_input_contents(0).data()) << "not copied";
  EXPECT_EQ(parsed.inference.priority, 2u);
  EXPECT_TRUE(parsed.empty_final);
  auto typed = message();
  typed->mutable_inputs(0)->mutable_contents()->add_fp32_contents(1.5f);
  typed->mutable_inputs(0)->mutable_contents()->add_fp32_contents(2.5f);
  EXPECT_THAT(values<float>(parse_inference(typed).inference.inputs.at(0)), ElementsAre(1.5f, 2.5f));
}

TEST(KserveGrpc, SharedMemoryInputsTakeNoRawContents) {
  auto out = message();
  auto* second = out->add_inputs();
  *second = out->inputs(0);
  second->set_name("Y");
  (*out->mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r");
  (*out->mutable_inputs(0)->mutable_parameters())["shared_memory_byte_size"].set_int64_param(8);
  out->add_raw_input_contents("abcdefgh");
  const GrpcInference parsed = parse_inference(out);
  EXPECT_EQ(parsed.shared_inputs.at(0)->region, "r");
  EXPECT_EQ(parsed.inference.inputs.at(1).data.view(), "abcdefgh");
}

TEST(KserveGrpc, SaysWhatIsWrong) {
  using Change = std::function<void(inference::ModelInferRequest&)>;
  const std::vector<std::pair<Change, const char*>> cases = {
      {[](auto&) {}, "unable to find data"},
      {[](auto& m) { m.mutable_inputs(0)->mutable_contents()->add_int_contents(1); },
       "belongs in fp32_contents, not in int_contents"},
      {[](auto& m) {
         m.mutable_inputs(0)->set_datatype("FP16"), m.mutable_inputs(0)->mutable_contents()->add_int_contents(1);
       },
       "send raw_input_contents"},
      {[](auto& m) {
         m.mutable_inputs(0)->set_datatype("INT8"), m.mutable_inputs(0)->mutable_contents()->add_int_contents(200);
       },
       "holds 200"},
      {[](auto& m) { m.mutable_inputs(0)->set_datatype("STRING"); }, "is not known"},
      {[](auto& m) { m.mutable_inputs(0)->add_shape(-1); }, "negative"},
      {[](auto& m) {
         m.add_raw_input_contents("12345678"), m.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
       },
       "contents field must not be specified"},
      {[](auto& m) { m.set_model_version("x"); }, "version"},
      {[](auto& m) { m.set_model_version("-1"); }, "version"},
      {[](auto& m) { (*m.mutable_parameters())["priority"].set_int64_param(-1); }, "priority"},
      {[](auto& m) { (*m.mutable_parameters())["triton_other"].set_bool_param(true); }, "reserved"},
      {[](auto& m) { (*m.mutable_parameters())["mine"].set_uint64_param(1); }, "mine"},
      {[](auto& m) { (*m.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r"); },
       "shared_memory_byte_size"},
      {[](auto& m) {
         m.add_raw_input_contents("12345678");
         auto* output = m.add_outputs();
         output->set_name("Y");
         (*output->mutable_parameters())["classification"].set_int64_param(0);
       },
       "classification"},
  };
  for (const auto& [change, says] : cases) {
    auto out = message();
    change(*out);
    const Status status = status_of([&] { parse_inference(out); });
    EXPECT_EQ(grpc_code(status.code()), GrpcCode::invalid_argument) << says;
    EXPECT_THAT(status.message(), HasSubstr(says));
  }
}

/// A tensor model in a fake's clothes: answers every input under its own name.
class TensorFake : public test::FakeBackend {
 public:
  explicit TensorFake(TensorModel model)
      : FakeBackend(model.name, Task::feature_extraction), model_(std::make_shared<TensorModel>(std::move(model))) {
    script = [this](Request request, Receiver receiver) {
      const auto& work = std::get<TensorInference>(request.work);
      TensorResult result{model_->name, std::to_string(model_->version), work.inputs, {}, false};
      Response end;
      if (!model_->decoupled) {
        end.outcome = std::move(result);
      } else {
        for (int i = 0; i < 2; ++i) receiver.on_event(TensorEvent{result});
        end.outcome = TensorResult{model_->name, "", {}, {}, true};
      }
      receiver.on_event(std::move(end));
    };
  }
  std::shared_ptr<const TensorModel> tensor_model() const override { return model_; }

 private:
  std::shared_ptr<const TensorModel> model_;
};

class FakeCall : public GrpcCall {
 public:
  const GrpcRequest& request() const override { return request_; }
  void write(std::string message) override { messages.push_back(std::move(message)); }
  void finish(GrpcStatus end) override { ++finishes, status = std::move(end); }
  void post(std::function<void()> task) override { task(); }
  boost::asio::any_io_executor executor() const override { return {}; }
  const CancelFlag& cancelled() const override { return cancel_; }
  void pause(bool) override {}

  std::vector<std::string> messages;
  GrpcStatus status;
  int finishes = 0;

 private:
  GrpcRequest request_;
  CancelFlag cancel_ = std::make_shared<std::atomic<bool>>(false);
};

class Kserve : public testing::Test {
 protected:
  Kserve() {
    core_.repository().replace("m", {{.number = 3,
                                      .state = ModelState::ready,
                                      .reason = "",
                                      .backend = std::make_shared<TensorFake>(model_of({kFloats}))}});
    core_.repository().replace("many", {{.number = 1,
                                         .state = ModelState::ready,
                                         .reason = "",
                                         .backend = std::make_shared<TensorFake>(model_of({kTexts}, 8, true))}});
    options_.guard.restricted_http["model-repository"] = {"x-admin", "yes"};
    app_ = std::make_unique<App>(core_, options_);
  }
  std::shared_ptr<FakeExchange> ask(std::string method, std::string path, std::string body = "", Headers headers = {}) {
    auto exchange = std::make_shared<FakeExchange>(
        request_of(std::move(method), std::move(path), std::move(headers), std::move(body)));
    app_->handle(exchange);
    EXPECT_EQ(exchange->answers, 1);
    return exchange;
  }
  std::shared_ptr<FakeCall> call(const std::string& method, const google::protobuf::Message& message) {
    auto out = std::make_shared<FakeCall>();
    for (const GrpcMethod& one : app_->grpc_methods()) {
      if (one.path != "/inference.GRPCInferenceService/" + method) continue;
      if (const auto* unary = std::get_if<GrpcUnary>(&one.handler)) {
        const Status thrown = capture([&] { (*unary)(out, message.SerializeAsString()); });
        if (!thrown.ok()) out->finish(grpc_status(thrown));
      } else {
        const GrpcReader reader = std::get<GrpcStream>(one.handler)(out);
        reader.message(message.SerializeAsString());
        reader.end();
      }
    }
    EXPECT_EQ(out->finishes, 1);
    return out;
  }

  Core core_;
  AppOptions options_;
  std::unique_ptr<App> app_;
};

const std::string kInfer = R"({"id":"7","inputs":[{"name":"X","shape":[1,2],"datatype":"FP32","data":[1,2]}]})";

TEST_F(Kserve, InfersOverHttp) {
  const auto reply = ask("POST", "/v2/models/m/infer", kInfer);
  EXPECT_EQ(reply->answer.status, 200);
  EXPECT_EQ(
      reply->answer.body,
      R"({"id":"7","model_name":"m","model_version":"3","outputs":[{"name":"X","datatype":"FP32","shape":[1,2],"data":[1.0,2.0]}]})");
  EXPECT_EQ(ask("POST", "/v2/models/m/versions/3/infer", kInfer)->answer.status, 200);
}

TEST_F(Kserve, RoutesAndTheirErrors) {
  struct Case {
    const char* method;
    const char* path;
    std::string body;
    int status;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"GET", "/v2", "", 200, "binary_tensor_data"},
      {"GET", "/v2/health/live", "", 200, ""},
      {"GET", "/v2/health/ready", "", 200, ""},
      {"GET", "/v2/models/m", "", 200,
       R"("versions":["3"],"platform":"identity","inputs":[{"name":"X","datatype":"FP32","shape":[-1,-1]}])"},
      {"GET", "/v2/models/m/versions/3", "", 200, R"("name":"m")"},
      {"GET", "/v2/models/m/ready", "", 200, ""},
      {"GET", "/v2/models/m/config", "", 200, R"("max_batch_size":8)"},
      {"GET", "/v2/models/m/stats", "", 200, "model_stats"},
      {"GET", "/v2/models/stats", "", 200, "model_stats"},
      {"GET", "/v2/models/none/ready", "", 400, "Model version not ready"},
      {"GET", "/v2/models/none", "", 404, "none"},
      {"GET", "/v2/models/m/versions/9", "", 404, "9"},
      {"GET", "/v2/models/none/stats", "", 400, "none"},
      {"GET", "/v2/models/m/versions/x", "", 404, "Not Found"},
      {"GET", "/v2/models/m/", "", 404, "Not Found"},
      {"GET", "/v2/nothing", "", 404, "Not Found"},
      {"GET", "/v2/models/m/infer", "", 405, "Method Not Allowed"},
      {"POST", "/v2", "", 405, "Method Not Allowed"},
      {"POST", "/v2/models/none/infer", kInfer, 404, "none"},
      {"POST", "/v2/models/m/infer", "{", 400, "not valid JSON"},
      {"POST", "/v2/models/many/infer", kInfer, 501, "decoupled"},
      {"POST", "/v2/models/many/generate", R"({"text_input":"a"})", 400, "exactly 1 response"},
      {"POST", "/v2/models/m/generate", R"({"X":[1,2]})", 200, R"("X":[1.0,2.0])"},
      {"POST", "/v2/repository/index", "", 403, "x-admin"},
      {"GET", "/v2/logging", "", 200, "log_verbose_level"},
      {"POST", "/v2/logging", R"({"log_format":"x"})", 400, "log_format"},
      {"POST", "/v2/logging", R"({"log_file":"x"})", 501, "log file"},
      {"POST", "/v2/logging", "", 400, ""},
      {"GET", "/v2/trace/setting", "", 200, R"("trace_level":["OFF"])"},
      {"POST", "/v2/trace/setting", R"({"trace_rate":"10","log_frequency":null})", 200, R"("trace_rate":"10")"},
      {"POST", "/v2/trace/setting", R"({"trace_rate":"-5"})", 400, "trace_rate"},
      {"POST", "/v2/trace/setting", R"({"trace_level":["TIMESTAMPS"]})", 400, "trace file"},
      {"POST", "/v2/models/none/trace/setting", "{}", 400, "none"},
      {"GET", "/v2/systemsharedmemory/status", "", 200, "[]"},
      {"GET", "/v2/systemsharedmemory/region/r/status", "", 404, "'r'"},
      {"POST", "/v2/systemsharedmemory/region/r/register", R"({"key":"/k","byte_size":8})", 501, "--allow-client-shm"},
      {"GET", "/v2/cudasharedmemory/status", "", 200, "[]"},
      {"POST", "/v2/cudasharedmemory/region/r/register", "{}", 501, "CUDA"},
  };
  for (const Case& c : cases) {
    const auto reply = ask(c.method, c.path, c.body);
    EXPECT_EQ(reply->answer.status, c.status) << c.method << " " << c.path << ": " << reply->answer.body;
    EXPECT_THAT(reply->answer.body, HasSubstr(c.says)) << c.path;
    if (c.status >= 400) {
      EXPECT_THAT(reply->answer.body, testing::StartsWith(R"({"error":")")) << c.path;
    }
  }
  EXPECT_EQ(ask("POST", "/v2/repository/index", "", {{"x-admin", "yes"}})->answer.status, 200);
  EXPECT_EQ(ask("POST", "/v2/repository/other/models/m/load", "", {{"x-admin", "yes"}})->answer.status, 501);
}

TEST_F(Kserve, StreamsOverHttp) {
  const auto reply = ask("POST", "/v2/models/many/generate_stream", R"({"text_input":"東京"})");
  EXPECT_TRUE(reply->streamed);
  EXPECT_EQ(reply->ends, 1);
  const std::string event = "data: {\"model_name\":\"m\",\"model_version\":\"3\",\"text_input\":\"東京\"}\n\n";
  EXPECT_THAT(reply->chunks, ElementsAre(event, event));
  EXPECT_EQ(ask("POST", "/v2/models/many/generate_stream", "{")->answer.status, 400);
}

TEST_F(Kserve, InfersOverGrpc) {
  auto request = message();
  request->add_raw_input_contents("12345678");
  request->set_id("7");
  const auto done = call("ModelInfer", *request);
  EXPECT_EQ(done->status.code, GrpcCode::ok) << done->status.message;
  inference::ModelInferResponse response;
  ASSERT_THAT(done->messages, SizeIs(1));
  ASSERT_TRUE(response.ParseFromString(done->messages[0]));
  EXPECT_EQ(response.id(), "7");
  EXPECT_EQ(response.model_version(), "3");
  EXPECT_EQ(response.outputs(0).datatype(), "FP32");
  EXPECT_EQ(response.raw_output_contents(0), "12345678");
  request->set_model_name("none");
  EXPECT_EQ(call("ModelInfer", *request)->status.code, GrpcCode::not_found);
  request->set_model_name("many");
  EXPECT_EQ(call("ModelInfer", *request)->status.code, GrpcCode::unimplemented);
}

TEST_F(Kserve, StreamsOverGrpc) {
  auto request = message();
  request->set_model_name("many");
  request->set_id("7");
  request->mutable_inputs(0)->set_name("text_input");
  request->mutable_inputs(0)->set_datatype("BYTES");
  request->mutable_inputs(0)->mutable_contents()->add_bytes_contents("東京");
  const auto read = [](const std::string& bytes) {
    inference::ModelStreamInferResponse out;
    EXPECT_TRUE(out.ParseFromString(bytes));
    return out;
  };
  const auto two = call("ModelStreamInfer", *request);
  EXPECT_EQ(two->status.code, GrpcCode::ok);
  ASSERT_THAT(two->messages, SizeIs(2));
  EXPECT_FALSE(read(two->messages[0]).infer_response().parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(read(two->messages[1]).infer_response().raw_output_contents(0), join_bytes({"東京"}));
  (*request->mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(true);
  const auto three = call("ModelStreamInfer", *request);
  ASSERT_THAT(three->messages, SizeIs(3));
  EXPECT_TRUE(read(three->messages[2]).infer_response().parameters().at("triton_final_response").bool_param());
  EXPECT_EQ(read(three->messages[2]).infer_response().outputs_size(), 0);
  request->set_model_name("none");
  const auto failed = call("ModelStreamInfer", *request);
  EXPECT_EQ(failed->status.code, GrpcCode::ok) << "errors do not end the stream";
  ASSERT_THAT(failed->messages, SizeIs(1));
  EXPECT_EQ(read(failed->messages[0]).infer_response().id(), "7");
  EXPECT_THAT(read(failed->messages[0]).error_message(), HasSubstr("none"));
}

}  // namespace
}  // namespace inazuma::kserve
