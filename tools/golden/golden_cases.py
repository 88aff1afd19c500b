"""The table of cases: every architecture, head, configuration switch, file format and naming that must load."""

import dataclasses
import json

import torch
import transformers
from transformers import BertConfig, GPT2Config, MT5Config, T5Config

from golden_weights import add, add_prefix, column_major, drop, rename, renamed, setting, strip, without


@dataclasses.dataclass
class Case:
    name: str
    kind: str  # encoder, decoder, encoder-decoder
    model_class: type
    config: object
    format: str = "safetensors"  # or bin (zip), legacy
    dtype: torch.dtype = torch.float32
    shard_size: str = "1GB"
    architecture: str = ""  # written to config.json; the class's own name when empty
    state_changes: list = dataclasses.field(default_factory=list)
    config_changes: list = dataclasses.field(default_factory=list)
    files: dict = dataclasses.field(default_factory=dict)
    modules: list = dataclasses.field(default_factory=list)  # of sentence_transformers, behind the encoder
    options: dict = dataclasses.field(default_factory=dict)  # what the loader is told: task, pooling
    unused: list = dataclasses.field(default_factory=list)  # what the loader must say is left over
    facts: dict = dataclasses.field(default_factory=dict)  # what ModelInfo must say
    reference_settings: dict = dataclasses.field(default_factory=dict)  # where 4.57 must be told what a newer file means
    reference_class: type = None  # when another than model_class is loaded
    lengths: tuple = (1, 2, 5, 17, 30)
    target_lengths: tuple = ()
    prompts: int = 3
    new_tokens: int = 64
    types: bool = False
    decoder_start: int | None = None
    gains: dict = dataclasses.field(default_factory=dict)
    overflows: bool = False  # the sum that blocks add to must leave float16's range, in every sequence
    use_cache: bool = True  # of the reference; 4.57.3 sizes its cache by the encoder and fails on deeper decoders

    def build(self):
        return self.model_class(self.config)

    def load_reference(self, folder):
        loader = self.reference_class or self.model_class
        settings = {"attn_implementation": "eager", "dtype": torch.float32} | self.reference_settings
        return loader.from_pretrained(folder, **settings).eval()

    def outputs_of(self, out):
        """What Output::rows and Output::pooled are to hold."""
        if "start_logits" in out:
            return {"rows": torch.stack([out.start_logits, out.end_logits], dim=-1)}
        if "last_hidden_state" in out:
            return {"rows": out.last_hidden_state}
        logits = out.prediction_logits if "prediction_logits" in out else out.logits
        return {"pooled" if self.facts["task"] == "text-classification" else "rows": logits}

    def sentence_modules(self):
        if self.facts["task"] != "feature-extraction":
            return []
        if self.modules:
            return self.modules
        from sentence_transformers.models import Pooling

        modes = {"mean_sqrt_len": "mean_sqrt_len_tokens", "weighted_mean": "weightedmean", "last": "lasttoken"}
        mode = self.facts["pooling"]
        return [Pooling(self.config.hidden_size, pooling_mode=modes.get(mode, mode))]

    def write_modules(self, folder):
        """As SentenceTransformer.save lays them out."""
        listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        for index, module in enumerate(self.modules, 1):
            path = f"{index}_{type(module).__name__}"
            (folder / path).mkdir()
            module.save(str(folder / path))
            listed.append({"idx": index, "name": str(index), "path": path, "type": f"{type(module).__module__}.{type(module).__name__}"})
        if self.modules:
            (folder / "modules.json").write_text(json.dumps(listed, indent=1) + "\n")


# BERT. ----------------------------------------------------------------------------------------------------------------

HEADS = {
    "ner": (transformers.BertForTokenClassification, "token-classification"),
    "classify": (transformers.BertForSequenceClassification, "text-classification"),
    "qa": (transformers.BertForQuestionAnswering, "question-answering"),
    "mlm": (transformers.BertForMaskedLM, "fill-mask"),
    "base": (transformers.BertModel, "feature-extraction"),
}
LABELS = ["O", "B-PERSON", "I-PERSON", "B-GPE", "I-GPE", "B-日付", "I-日付"]


def bert(name, head, settings=None, **rest):
    model_class, task = HEADS[head]
    sizes = dict(vocab_size=101, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                 max_position_embeddings=40, type_vocab_size=2, pad_token_id=0)  # fmt: skip
    if head == "ner":
        sizes["id2label"] = dict(enumerate(LABELS))
    facts = {"task": task} | rest.pop("facts", {})
    if facts["task"] == "feature-extraction":
        facts.setdefault("pooling", "mean")
    config = BertConfig(**(sizes | (settings or {})))
    gains = {"query": 2.5, "key": 2.5, "predictions.bias": 1.0} | rest.pop("gains", {})
    return Case(name, "encoder", model_class, config, types=True, facts=facts, gains=gains, **rest)


def pooling_files(mode):
    flags = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    package = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [{"idx": i, "name": str(i), "path": path, "type": package + kind} for i, (path, kind) in enumerate(modules)]
    pooling = {"word_embedding_dimension": 24} | {f"pooling_mode_{flag}": flag == mode for flag in flags}
    return {"modules.json": listed, "1_Pooling/config.json": pooling}


def sentence_modules(hidden, poolings, *dense):
    """Poolings beside each other, then a Dense (outputs, bias, activation) for each of `dense`, then Normalize."""
    from sentence_transformers.models import Dense, Normalize, Pooling

    torch.manual_seed(hidden + 7 * len(dense))
    modules, width = [Pooling(hidden, pooling_mode=poolings)], hidden * len(poolings)
    for outputs, bias, activation in dense:
        modules.append(Dense(width, outputs, bias=bias, activation_function=activation))
        width = outputs
    return [*modules, Normalize()]


OLD_NAMES = rename(("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
POSITION_IDS = add(bert__embeddings__position_ids=torch.arange(40).expand(1, -1))
UNUSED_POOLER = add(bert__pooler__dense__weight=torch.eye(24), bert__pooler__dense__bias=torch.ones(24))
OTHER_DECODER = add(cls__predictions__decoder__weight=torch.linspace(-1, 1, 101 * 24).reshape(101, 24))

ACTIVATIONS = ["gelu_new", "relu", "silu", "gelu_fast", "quick_gelu", "relu2", "gelu_10", "tanh", "mish", "sigmoid", "linear"]
SMALL = dict(vocab_size=37, hidden_size=12, num_attention_heads=2, intermediate_size=20, num_hidden_layers=1)

BERT = [
    bert("bert-ner", "ner", facts={"labels": LABELS}),
    bert("bert-ner-zip", "ner", format="bin"),
    bert("bert-ner-legacy", "ner", format="legacy"),
    bert("bert-ner-strided", "ner", format="bin", state_changes=[column_major]),
    bert("bert-ner-sharded", "ner", shard_size="12KB"),
    bert("bert-ner-sharded-bin", "ner", format="bin", shard_size="12KB"),
    bert("bert-ner-old-names", "ner", format="legacy", state_changes=[OLD_NAMES, POSITION_IDS, UNUSED_POOLER]),
    bert("bert-ner-f16", "ner", dtype=torch.float16, facts={"stored_dtype": "float16"}),
    bert("bert-ner-bf16", "ner", dtype=torch.bfloat16, facts={"stored_dtype": "bfloat16"}),
    bert("bert-ner-bf16-zip", "ner", dtype=torch.bfloat16, format="bin", facts={"stored_dtype": "bfloat16"}),
    bert("bert-ner-odd", "ner", dict(hidden_size=35, num_attention_heads=5, intermediate_size=33, num_hidden_layers=3, type_vocab_size=1)),
    bert("bert-ner-wide-heads", "ner", dict(hidden_size=48, num_attention_heads=1, intermediate_size=16, layer_norm_eps=1e-5)),
    bert("bert-ner-python-json", "ner", config_changes=[
        setting(initializer_range=float("nan"), limit=float("-inf"), huge=10**30, note='a "NaN" in \\"text\\", -Infinity')]),
    bert("bert-ner-no-class", "ner", config_changes=[without("architectures")], options={"task": "token-classification"}),
    bert("bert-ner-no-type", "ner", config_changes=[without("model_type")],
         reference_class=transformers.BertForTokenClassification),
    bert("bert-ner-unnamed-labels", "ner", dict(id2label=None, num_labels=4), config_changes=[without("id2label", "label2id"), setting(num_labels=4)],
         facts={"labels": ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]}),
    bert("bert-ner-label-order", "ner", dict(id2label=None, num_labels=11), config_changes=[
        setting(id2label={str(i): f"名{i}" for i in reversed(range(11))}, label2id={f"名{i}": i for i in range(11)})],
         facts={"labels": [f"名{i}" for i in range(11)]}),
    bert("bert-classify", "classify", dict(id2label={0: "negative", 1: "neutral", 2: "positive"}),
         facts={"labels": ["negative", "neutral", "positive"]}, lengths=(1, 2, 5, 17, 30, 8, 9, 12)),
    bert("bert-classify-multi", "classify", dict(num_labels=5, problem_type="multi_label_classification"),
         facts={"problem_type": "multi_label_classification"}, format="bin"),
    bert("bert-classify-regression", "classify", dict(num_labels=1, problem_type="regression"),
         facts={"problem_type": "regression", "labels": ["LABEL_0"]}, lengths=(1, 2, 5, 17, 30, 8, 9, 12, 3, 4)),
    bert("bert-qa", "qa"),
    bert("bert-qa-f16", "qa", dtype=torch.float16, facts={"stored_dtype": "float16"}),
    bert("bert-mlm", "mlm"),
    bert("bert-mlm-untied", "mlm", dict(tie_word_embeddings=False)),
    bert("bert-mlm-tied-other-decoder", "mlm", state_changes=[OTHER_DECODER]),
    bert("bert-mlm-relu-legacy", "mlm", dict(hidden_act="relu"), format="legacy"),
    dataclasses.replace(bert("bert-pretraining", "mlm"), model_class=transformers.BertForPreTraining),
    bert("bert-base", "base"),
    bert("bert-base-prefixed", "base", state_changes=[add_prefix("bert.")]),
    bert("bert-base-override", "base", options={"pooling": "last"}, files=pooling_files("cls_token"), facts={"pooling": "last"}),
    bert("bert-mlm-as-features", "mlm", options={"task": "feature-extraction"}, facts={"task": "feature-extraction"},
         reference_class=transformers.BertModel),
    bert("bert-ner-as-features", "ner", options={"task": "feature-extraction", "pooling": "cls"},
         facts={"task": "feature-extraction", "pooling": "cls"}, reference_class=transformers.BertModel,
         unused=["classifier.bias", "classifier.weight"]),
]  # fmt: skip
for mode, flag in [("cls", "cls_token"), ("max", "max_tokens"), ("mean", "mean_tokens"), ("mean_sqrt_len", "mean_sqrt_len_tokens"),
                   ("weighted_mean", "weightedmean_tokens"), ("last", "lasttoken")]:  # fmt: skip
    BERT.append(bert(f"bert-pool-{mode}", "base", dict(num_hidden_layers=1), files=pooling_files(flag), facts={"pooling": mode}))
BERT += [
    bert("bert-pool-several", "base", dict(num_hidden_layers=1), modules=sentence_modules(24, ("cls", "mean", "max")),
         facts={"pooling": "cls+mean+max"}),
    bert("bert-dense", "base", dict(num_hidden_layers=1), modules=sentence_modules(24, ("mean",), (17, True, torch.nn.Tanh())),
         facts={"pooling": "mean"}),
    bert("bert-pool-dense", "base", dict(num_hidden_layers=1), facts={"pooling": "last+mean_sqrt_len"},
         modules=sentence_modules(24, ("lasttoken", "mean_sqrt_len_tokens"), (31, False, torch.nn.Identity()), (8, True, torch.nn.GELU()))),
]  # fmt: skip
for act in ACTIVATIONS:
    BERT.append(bert(f"bert-act-{act}", "mlm", SMALL | dict(hidden_act=act), lengths=(3, 11)))

# GPT-2. ---------------------------------------------------------------------------------------------------------------


def gpt2(name, settings=None, **rest):
    sizes = dict(vocab_size=97, n_positions=96, n_embd=24, n_layer=2, n_head=3, bos_token_id=None, eos_token_id=None)
    config = GPT2Config(**(sizes | (settings or {})))
    gains = {"c_proj": 3.0, "c_attn": 2.0, "wte": 0.7, "wpe": 3.0, "lm_head": 3.0, "ln_f": 3.0} | rest.pop("gains", {})
    facts = {"task": "text-generation"} | rest.pop("facts", {})
    rest.setdefault("lengths", (1, 3, 8, 27))
    return Case(name, "decoder", transformers.GPT2LMHeadModel, config, facts=facts, gains=gains, **rest)


def attention_buffers(state):
    """The causal masks that old releases kept in the file."""
    masks = {f"h.{i}.attn.bias": torch.tril(torch.ones(1, 1, 96, 96, dtype=torch.bool)) for i in range(2)}
    return state | masks | {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}


OTHER_HEAD = add(lm_head__weight=torch.linspace(-1, 1, 97 * 24).reshape(97, 24))

GPT2 = [
    gpt2("gpt2"),
    gpt2("gpt2-old-file", format="legacy", state_changes=[strip("transformer."), drop("lm_head.weight"), attention_buffers]),
    gpt2("gpt2-untied", dict(tie_word_embeddings=False)),
    gpt2("gpt2-tied-other-head", state_changes=[OTHER_HEAD]),
    gpt2("gpt2-inner-relu", dict(n_inner=50, activation_function="relu")),
    gpt2("gpt2-silu", dict(activation_function="silu"), format="bin"),
    gpt2("gpt2-unscaled", dict(scale_attn_weights=False), gains={"c_attn": 1.0}),
    gpt2("gpt2-by-layer", dict(scale_attn_by_inverse_layer_idx=True, n_layer=3)),
    gpt2("gpt2-upcast", dict(reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True)),
    gpt2("gpt2-upcast-unscaled", dict(reorder_and_upcast_attn=True, scale_attn_weights=False), gains={"c_attn": 1.0}),
    gpt2("gpt2-aliases", config_changes=[renamed("n_embd", "hidden_size"), renamed("n_layer", "num_hidden_layers"),
                                         renamed("n_head", "num_attention_heads"), renamed("n_positions", "max_position_embeddings")]),
    gpt2("gpt2-f16", dtype=torch.float16, facts={"stored_dtype": "float16"}),
    gpt2("gpt2-bf16-zip", dtype=torch.bfloat16, format="bin", facts={"stored_dtype": "bfloat16"}),
    gpt2("gpt2-sharded", shard_size="14KB"),
    gpt2("gpt2-sharded-bin", shard_size="14KB", format="bin"),
    gpt2("gpt2-strided", format="bin", state_changes=[column_major]),
    gpt2("gpt2-base-class", architecture="GPT2Model", state_changes=[strip("transformer."), drop("lm_head.weight")]),
    gpt2("gpt2-odd", dict(n_embd=21, n_head=7, n_layer=3, n_inner=31, layer_norm_epsilon=1e-3, vocab_size=131)),
]  # fmt: skip

# T5. ------------------------------------------------------------------------------------------------------------------


def t5(name, settings=None, config_class=T5Config, model_class=transformers.T5ForConditionalGeneration, **rest):
    sizes = dict(vocab_size=96, d_model=20, d_kv=6, d_ff=36, num_layers=2, num_heads=3, decoder_start_token_id=0)
    config = config_class(**(sizes | (settings or {})))
    gains = {"Attention.q": 0.5, "lm_head": 1.5, "decoder.final_layer_norm": 15.0, "Attention.o": 4.0, "wo": 4.0, "relative": 3.0}
    gains |= rest.pop("gains", {})
    facts = {"task": "text2text-generation"} | rest.pop("facts", {})
    rest.setdefault("lengths", (1, 4, 9, 23))
    rest.setdefault("target_lengths", (1, 12, 5, 30))
    start = config.decoder_start_token_id
    return Case(name, "encoder-decoder", model_class, config, decoder_start=start, facts=facts, gains=gains, **rest)


V11 = dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)
LEFTOVER = add(decoder__block__0__layer__1__EncDecAttention__relative_attention_bias__weight=torch.ones(32, 3))
T5_OTHER_HEAD = add(lm_head__weight=torch.linspace(-1, 1, 96 * 20).reshape(96, 20))

T5 = [
    t5("t5"),
    t5("t5-zip", format="bin"),
    t5("t5-legacy-leftover", format="legacy", state_changes=[LEFTOVER]),
    t5("t5-v11", V11),
    t5("t5-v11-sharded", V11, shard_size="14KB"),
    t5("t5-v11-f16", V11, dtype=torch.float16, facts={"stored_dtype": "float16"}),
    t5("t5-v11-bf16", V11, dtype=torch.bfloat16, facts={"stored_dtype": "bfloat16"}),
    t5("mt5", dict(feed_forward_proj="gated-gelu"), MT5Config, transformers.MT5ForConditionalGeneration),
    t5("mt5-defaults", {}, MT5Config, transformers.MT5ForConditionalGeneration,
       config_changes=[without("feed_forward_proj", "tie_word_embeddings", "is_gated_act", "dense_act_fn")]),
    t5("mt5-from-v5", dict(feed_forward_proj="gated-gelu"), MT5Config, transformers.MT5ForConditionalGeneration,
       config_changes=[setting(tie_word_embeddings=True, transformers_version="5.23.0")], reference_settings=dict(tie_word_embeddings=False)),
    t5("t5-gated-silu", V11 | dict(feed_forward_proj="gated-silu")),
    t5("t5-gated-relu-tied", dict(feed_forward_proj="gated-relu")),
    t5("t5-gelu", dict(feed_forward_proj="gelu")),
    t5("t5-deep-encoder", dict(num_layers=3, num_decoder_layers=1)),
    t5("t5-deep-decoder", V11 | dict(num_layers=1, num_decoder_layers=3), use_cache=False),
    t5("t5-wide-heads", V11 | dict(d_kv=16, num_heads=2, d_model=12)),
    t5("t5-few-buckets", dict(relative_attention_num_buckets=9, relative_attention_max_distance=13)),
    t5("t5-long", dict(d_model=12, num_heads=2, d_kv=4, d_ff=16, vocab_size=48), lengths=(3, 170), target_lengths=(150, 4), prompts=2),
    # As in large T5 and Flan-T5: what blocks add up has no place in float16, and what norms make of it does.
    t5("t5-overflow", V11 | dict(d_model=24, d_kv=8, d_ff=40), gains={"Attention.o": 4e4, "wo": 6e4}, overflows=True),
    t5("t5-overflow-f16", V11 | dict(d_model=24, d_kv=8, d_ff=40), gains={"Attention.o": 4e4, "wo": 6e4}, overflows=True,
       dtype=torch.float16, facts={"stored_dtype": "float16"}),
    t5("t5-no-distance", config_changes=[without("relative_attention_max_distance")]),
    t5("t5-tied-other-head", state_changes=[T5_OTHER_HEAD]),
    t5("t5-start", V11 | dict(decoder_start_token_id=7, pad_token_id=3)),
    t5("t5-from-v5-untied", V11, config_changes=[setting(tie_word_embeddings=True, scale_decoder_outputs=False)],
       reference_settings=dict(tie_word_embeddings=False)),
    t5("t5-from-v5-tied", config_changes=[setting(scale_decoder_outputs=True)]),
    t5("t5-embed-tokens", format="bin", state_changes=[drop("shared.weight", "decoder.embed_tokens.weight", "lm_head.weight")]),
]  # fmt: skip

ENCODER_ONLY = dict(lengths=(1, 4, 9, 23), facts={"task": "feature-extraction", "pooling": "mean"})
T5_ENCODERS = [
    Case("t5-encoder", "encoder", transformers.T5EncoderModel,
         T5Config(vocab_size=96, d_model=20, d_kv=6, d_ff=36, num_layers=2, num_heads=3), **ENCODER_ONLY),
    Case("t5-as-features", "encoder", transformers.T5ForConditionalGeneration,
         T5Config(vocab_size=96, d_model=20, d_kv=6, d_ff=36, num_layers=2, num_heads=3),
         options={"task": "feature-extraction"}, reference_class=transformers.T5EncoderModel, **ENCODER_ONLY),
    Case("t5-encoder-dense", "encoder", transformers.T5EncoderModel,
         T5Config(vocab_size=96, d_model=20, d_kv=6, d_ff=36, num_layers=2, num_heads=3),
         modules=sentence_modules(20, ("mean",), (28, False, torch.nn.Identity())), **ENCODER_ONLY),
]  # fmt: skip

CASES = BERT + GPT2 + T5 + T5_ENCODERS
assert len({case.name for case in CASES}) == len(CASES)
