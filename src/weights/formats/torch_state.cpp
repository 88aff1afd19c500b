#include "weights/formats/torch_state.h"

#include <algorithm>
#include <array>

#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

using Kind = Pickle::Kind;
using Node = Pickle::Node;
using Ref = Pickle::Ref;

// Expanded and overlapping views are written out in full when loaded; what they may add up to is bound to the file's
// size.
constexpr uint64_t kViewFactor = 4;
constexpr uint64_t kViewAllowance = 64 << 20;
constexpr int kMaxWrappers = 4;  // a parameter of a parameter
constexpr size_t kMaxExtents = 64;

struct NamedType {
  std::string_view name;
  DType dtype;
};

constexpr std::array<NamedType, 10> kStorageTypes{{{"torch FloatStorage", DType::f32},
                                                   {"torch DoubleStorage", DType::f64},
                                                   {"torch HalfStorage", DType::f16},
                                                   {"torch BFloat16Storage", DType::bf16},
                                                   {"torch LongStorage", DType::i64},
                                                   {"torch IntStorage", DType::i32},
                                                   {"torch ShortStorage", DType::i16},
                                                   {"torch CharStorage", DType::i8},
                                                   {"torch ByteStorage", DType::u8},
                                                   {"torch BoolStorage", DType::boolean}}};

constexpr std::array<NamedType, 15> kTorchTypes{{{"torch float32", DType::f32},
                                                 {"torch float", DType::f32},
                                                 {"torch float64", DType::f64},
                                                 {"torch double", DType::f64},
                                                 {"torch float16", DType::f16},
                                                 {"torch half", DType::f16},
                                                 {"torch bfloat16", DType::bf16},
                                                 {"torch int64", DType::i64},
                                                 {"torch long", DType::i64},
                                                 {"torch int32", DType::i32},
                                                 {"torch int", DType::i32},
                                                 {"torch int16", DType::i16},
                                                 {"torch int8", DType::i8},
                                                 {"torch uint8", DType::u8},
                                                 {"torch bool", DType::boolean}}};

std::optional<DType> lookup(std::span<const NamedType> table, std::string_view name) {
  for (const NamedType& type : table)
    if (type.name == name) return type.dtype;
  return std::nullopt;
}

bool is_call_of(const Pickle& pickle, Ref ref, std::string_view name) {
  const Node& node = pickle[ref];
  return node.kind == Kind::call && pickle[node.items[0]].text == name;
}

const std::vector<Ref>& arguments(const Pickle& pickle, Ref call) {
  return pickle[pickle[call].items[1]].items;
}

uint64_t non_negative(std::string_view file, const Node& node, std::string_view what) {
  if (node.kind != Kind::integer || node.integer < 0)
    throw fail(StatusCode::malformed, "{}: {} must be an integer >= 0", file, what);
  return static_cast<uint64_t>(node.integer);
}

/// Builds the tensors of one dictionary.
class Builder {
 public:
  Builder(std::string_view file, const Pickle& pickle, const Storages& storages)
      : file_(file), pickle_(pickle), storages_(storages) {
    view_budget_ = kViewAllowance;
    for (const auto& [key, bytes] : storages) view_budget_ += kViewFactor * bytes.size();
  }

  std::optional<FileTensor> build(std::string_view name, Ref value) {
    name_ = name;
    for (int depth = 0; is_parameter(value); ++depth) {
      if (depth == kMaxWrappers || arguments(pickle_, value).empty())
        throw malformed("its parameter record is damaged");
      value = arguments(pickle_, value)[0];
    }
    const Node& node = pickle_[value];
    if (node.kind != Kind::call) return std::nullopt;
    const std::string_view callee = pickle_[node.items[0]].text;
    if (!callee.starts_with("torch._utils _rebuild_tensor")) return std::nullopt;
    return tensor(callee, arguments(pickle_, value));
  }

 private:
  Error malformed(std::string_view what) const {
    return fail(StatusCode::malformed, "{}: tensor {}: {}", file_, inazuma::quoted(name_), what);
  }

  bool is_parameter(Ref ref) const {
    return is_call_of(pickle_, ref, "torch._utils _rebuild_parameter") ||
           is_call_of(pickle_, ref, "torch._utils _rebuild_parameter_with_state") ||
           is_call_of(pickle_, ref, "torch.nn.parameter Parameter");
  }

  /// (storage, offset, size, stride[, requires_grad, hooks[, dtype in v3][, metadata]])
  FileTensor tensor(std::string_view callee, const std::vector<Ref>& args) {
    const bool typed_apart = callee.ends_with("_v3");
    if (args.size() < (typed_apart ? 7u : 4u)) throw malformed("its record has too few fields");
    const size_t metadata = typed_apart ? 7 : 6;
    if (args.size() > metadata) refuse_metadata(pickle_[args[metadata]]);
    const auto storage = pickle_[args[0]].kind == Kind::persistent ? storage_id(file_, pickle_, args[0]) : std::nullopt;
    if (!storage) throw malformed("its record has no storage");

    FileTensor out{.name = std::string(name_)};
    out.dtype = typed_apart ? element_type(pickle_[args[6]]) : typed(*storage);
    const uint64_t offset =
        non_negative(file_, pickle_[args[1]], fmt::format("offset of tensor {}", inazuma::quoted(name_)));
    out.shape = extents(args[2], "size");
    out.strides = extents(args[3], "stride");
    if (out.shape.size() != out.strides.size()) throw malformed("size and stride differ in length");
    place(out, offset, bytes_of(*storage));
    return out;
  }

  void refuse_metadata(const Node& node) const {
    if (node.kind == Kind::none || (node.kind == Kind::dict && node.items.empty())) return;
    throw fail(StatusCode::unsupported, "{}: tensor {} is a lazily negated or conjugated view: save its clone()", file_,
               inazuma::quoted(name_));
  }

  DType element_type(const Node& node) const {
    const auto dtype = lookup(kTorchTypes, node.kind == Kind::global ? node.text : std::string_view());
    if (dtype) return *dtype;
    if (node.kind != Kind::global) throw malformed("its element type is damaged");
    throw fail(
        StatusCode::unsupported,
        "{}: tensor {} has element type {}, which is not supported: save the model as float32, float16 or bfloat16",
        file_, inazuma::quoted(name_), inazuma::quoted(node.text));
  }

  DType typed(const StorageId& storage) const {
    if (!storage.dtype) throw malformed("its storage has no element type");
    return *storage.dtype;
  }

  std::vector<int64_t> extents(Ref ref, std::string_view what) const {
    if (is_call_of(pickle_, ref, "torch Size") && arguments(pickle_, ref).size() == 1) ref = arguments(pickle_, ref)[0];
    const Node& node = pickle_[ref];
    if (node.kind != Kind::tuple || node.items.size() > kMaxExtents)
      throw malformed(fmt::format("its {} is no tuple of at most {} integers", what, kMaxExtents));
    std::vector<int64_t> out;
    for (Ref item : node.items) {
      const Node& number = pickle_[item];
      if (number.kind != Kind::integer)
        throw malformed(fmt::format("its {} holds something other than integers", what));
      if (number.integer < 0) throw malformed(fmt::format("its {} holds the negative number {}", what, number.integer));
      out.push_back(number.integer);
    }
    return out;
  }

  /// The storage's bytes. The record's count is of the whole storage, also where a view takes a part of it.
  std::string_view bytes_of(const StorageId& storage) const {
    const auto it = storages_.find(storage.key);
    if (it == storages_.end())
      throw malformed(fmt::format("its storage {} is not in the file", inazuma::quoted(storage.key)));
    const std::string_view whole = it->second;
    const auto wanted = checked_multiply(storage.count, storage.element_size());
    if (!wanted || *wanted != whole.size())
      throw malformed(fmt::format("its storage {} should hold {} elements of {} bytes, but holds {} bytes",
                                  inazuma::quoted(storage.key), storage.count, storage.element_size(), whole.size()));
    if (!storage.view) return whole;
    const auto begin = checked_multiply(storage.view->offset, storage.element_size());
    const auto size = checked_multiply(storage.view->count, storage.element_size());
    if (!begin || !size || *begin > whole.size() || *size > whole.size() - *begin)
      throw malformed(fmt::format("its part of storage {} lies outside it", inazuma::quoted(storage.key)));
    return whole.substr(*begin, *size);
  }

  /// Proves that every element lies in `storage`; sets data and bytes, and drops strides that say no more than the
  /// shape.
  void place(FileTensor& tensor, uint64_t offset, std::string_view storage) {
    const auto elements = checked_elements(tensor.shape);
    const auto bytes = elements ? checked_multiply(*elements, size_of(tensor.dtype)) : std::nullopt;
    if (!bytes) throw malformed(fmt::format("the size of shape {} overflows", format_extents(tensor.shape)));
    tensor.bytes = *bytes;
    if (*elements == 0) {
      tensor.strides.clear();
      return;
    }
    std::optional<uint64_t> last = offset;
    for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
      const auto span =
          checked_multiply(static_cast<uint64_t>(tensor.shape[axis] - 1), static_cast<uint64_t>(tensor.strides[axis]));
      last = last && span ? checked_add(*last, *span) : std::nullopt;
    }
    const uint64_t available = storage.size() / size_of(tensor.dtype);
    if (!last || *last >= available)
      throw malformed(fmt::format("offset {}, size {} and stride {} reach outside its storage of {} elements", offset,
                                  format_extents(tensor.shape), format_extents(tensor.strides), available));
    tensor.data = storage.data() + offset * size_of(tensor.dtype);
    if (row_major(tensor)) {
      tensor.strides.clear();
      return;
    }
    if (tensor.bytes > view_budget_)
      throw malformed("the views over its storages are too large for a file of this size");
    view_budget_ -= tensor.bytes;
  }

  static bool row_major(const FileTensor& tensor) {
    int64_t stride = 1;
    for (size_t axis = tensor.shape.size(); axis-- > 0;) {
      if (tensor.shape[axis] != 1 && tensor.strides[axis] != stride) return false;
      stride *= tensor.shape[axis];
    }
    return true;
  }

  std::string_view file_;
  const Pickle& pickle_;
  const Storages& storages_;
  std::string_view name_;
  uint64_t view_budget_ = 0;
};

/// Helps who saved a training checkpoint: which keys are there.
Error no_tensors(std::string_view file, const std::map<std::string_view, Ref>& values) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : values) {
    if (keys.size() == 5) {
      keys.emplace_back("...");
      break;
    }
    keys.push_back(inazuma::quoted(key));
  }
  return fail(StatusCode::unsupported,
              "{}: the saved dictionary has no tensors at its top level (its keys: {}): save model.state_dict() itself",
              file, keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", ")));
}

}  // namespace

std::optional<StorageId> storage_id(std::string_view file, const Pickle& pickle, Ref persistent) {
  const std::vector<Ref>& id = pickle[pickle[persistent].items[0]].items;
  if (id.empty() || pickle[id[0]].kind != Kind::text || pickle[id[0]].text != "storage") return std::nullopt;
  const bool complete =
      id.size() >= 5 && id.size() <= 6 && pickle[id[1]].kind == Kind::global && pickle[id[2]].kind == Kind::text;
  if (!complete) throw fail(StatusCode::malformed, "{}: a storage record is damaged", file);
  StorageId out{.key = pickle[id[2]].text, .dtype = lookup(kStorageTypes, pickle[id[1]].text)};
  if (!out.dtype && pickle[id[1]].text != "torch.storage UntypedStorage")
    throw fail(StatusCode::malformed, "{}: storage {} has the type {}", file, inazuma::quoted(out.key),
               inazuma::quoted(pickle[id[1]].text));
  const std::string what = fmt::format("size of storage {}", inazuma::quoted(out.key));
  out.count = non_negative(file, pickle[id[4]], what);
  if (id.size() == 5 || pickle[id[5]].kind == Kind::none) return out;
  const Node& view = pickle[id[5]];
  if (view.kind != Kind::tuple || view.items.size() != 3 || pickle[view.items[0]].kind != Kind::text)
    throw fail(StatusCode::malformed, "{}: the view of storage {} is damaged", file, inazuma::quoted(out.key));
  out.view = StorageId::View{.key = pickle[view.items[0]].text,
                             .offset = non_negative(file, pickle[view.items[1]], what),
                             .count = non_negative(file, pickle[view.items[2]], what)};
  return out;
}

std::vector<FileTensor> state_tensors(std::string_view file, const Pickle& pickle, const Storages& storages) {
  const Node& root = pickle[pickle.root];
  if (root.kind != Kind::dict)
    throw fail(StatusCode::unsupported, "{}: what was saved is no dictionary of tensors: save model.state_dict()",
               file);
  std::map<std::string_view, Ref> values;
  for (size_t i = 0; i + 1 < root.items.size(); i += 2)
    if (pickle[root.items[i]].kind == Kind::text) values[pickle[root.items[i]].text] = root.items[i + 1];

  Builder builder(file, pickle, storages);
  std::vector<FileTensor> out;
  for (const auto& [name, value] : values) {
    auto tensor = builder.build(name, value);
    if (!tensor) continue;
    if (!valid_utf8(name))
      throw fail(StatusCode::malformed, "{}: the tensor name {} is not valid UTF-8", file, inazuma::quoted(name));
    out.push_back(std::move(*tensor));
  }
  if (out.empty()) throw no_tensors(file, values);
  return out;
}

}  // namespace inazuma
