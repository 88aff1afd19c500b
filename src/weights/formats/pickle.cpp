#include "weights/formats/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>

#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

using Ref = Pickle::Ref;
using Kind = Pickle::Kind;
using Node = Pickle::Node;

// Far above what checkpoints hold (about 25 values for a tensor), far below what would hurt the machine.
constexpr size_t kMaxValues = 4'000'000;
constexpr size_t kMaxStack = 1'000'000;
constexpr size_t kMaxMarks = 1'000;
constexpr size_t kMaxName = 256;

/// As written in the pickle: module and name with one blank between. Python 2 called the module of builtins
/// __builtin__.
constexpr std::array<std::string_view, 49> kAllowed{
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_parameter_with_state",
    "torch.nn.parameter Parameter",
    "torch Tensor",
    "torch Size",
    "torch device",
    "torch FloatStorage",
    "torch DoubleStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch LongStorage",
    "torch IntStorage",
    "torch ShortStorage",
    "torch CharStorage",
    "torch ByteStorage",
    "torch BoolStorage",
    "torch.storage UntypedStorage",
    "torch.storage TypedStorage",
    "torch float32",
    "torch float",
    "torch float64",
    "torch double",
    "torch float16",
    "torch half",
    "torch bfloat16",
    "torch int64",
    "torch long",
    "torch int32",
    "torch int",
    "torch int16",
    "torch short",
    "torch int8",
    "torch uint8",
    "torch uint16",
    "torch uint32",
    "torch uint64",
    "torch bool",
    "torch complex32",
    "torch complex64",
    "torch complex128",
    "torch float8_e4m3fn",
    "torch float8_e5m2",
    "__builtin__ set",
    "builtins set",
    "_codecs encode",
};

class Machine {
 public:
  Machine(std::string_view where, std::string_view bytes) : where_(where), bytes_(bytes) {}

  Pickle run() {
    while (!step(take<uint8_t>())) {
    }
    if (stack_.size() != 1 || !marks_.empty()) throw malformed("values are left over at its end");
    out_.root = stack_.back();
    out_.consumed = at_;
    return std::move(out_);
  }

 private:
  /// Executes one opcode; true at STOP.
  bool step(uint8_t opcode) {
    switch (opcode) {
      case 0x80: return protocol(take<uint8_t>()), false;
      case '.': return true;
      case '(': return mark(), false;
      case 'c': return global(), false;
      case 'R':
      case 0x81: return reduce(), false;
      case 'b': return build(), false;
      case 'Q': return persistent(), false;
      case 'q': return put(take<uint8_t>()), false;
      case 'r': return put(take<uint32_t>()), false;
      case 'h': return get(take<uint8_t>()), false;
      case 'j': return get(take<uint32_t>()), false;
      case 'a': return extend({pop()}, Kind::list), false;
      case 'e': return extend(pop_to_mark(), Kind::list), false;
      case 's': return set_item(), false;
      case 'u': return extend(pop_to_mark(), Kind::dict), false;
      default: return push_value(opcode), false;
    }
  }

  /// The opcodes that only make a value.
  void push_value(uint8_t opcode) {
    switch (opcode) {
      case 'N': return push({.kind = Kind::none});
      case 0x88: return push({.kind = Kind::boolean, .integer = 1});
      case 0x89: return push({.kind = Kind::boolean, .integer = 0});
      case 'J': return push({.kind = Kind::integer, .integer = take<int32_t>()});
      case 'K': return push({.kind = Kind::integer, .integer = take<uint8_t>()});
      case 'M': return push({.kind = Kind::integer, .integer = take<uint16_t>()});
      case 0x8a: return long_integer(take_bytes(take<uint8_t>()));
      case 'G': return real();
      case 'X': return push({.kind = Kind::text, .text = take_bytes(take<uint32_t>())});
      case 'U': return push({.kind = Kind::text, .text = take_bytes(take<uint8_t>())});
      case '}': return push({.kind = Kind::dict});
      case ']': return push({.kind = Kind::list});
      case 0x8f: return push({.kind = Kind::set});
      case ')': return push({.kind = Kind::tuple});
      case 't': return push({.kind = Kind::tuple, .items = pop_to_mark()});
      case 0x85: return push({.kind = Kind::tuple, .items = pop_many(1)});
      case 0x86: return push({.kind = Kind::tuple, .items = pop_many(2)});
      case 0x87: return push({.kind = Kind::tuple, .items = pop_many(3)});
      default: throw malformed(fmt::format("opcode 0x{:02x} does not occur in checkpoints", opcode));
    }
  }

  Error malformed(std::string_view what) const {
    return fail(StatusCode::malformed, "{}: pickle, byte {}: {}", where_, at_, what);
  }

  std::string_view take_bytes(uint64_t count) {
    if (count > bytes_.size() - at_) throw malformed("it is cut short");
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  template <class T>
  T take() {
    return load_little_endian<T>(take_bytes(sizeof(T)), 0);
  }

  std::string_view take_line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) throw malformed("it is cut short");
    if (end - at_ > kMaxName) throw malformed("a global's name is too long");
    const std::string_view line = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return line;
  }

  void push(Node node) {
    if (out_.nodes.size() == kMaxValues) throw malformed(fmt::format("more than {} values", kMaxValues));
    out_.nodes.push_back(std::move(node));
    push_ref(static_cast<Ref>(out_.nodes.size() - 1));
  }

  void push_ref(Ref ref) {
    if (stack_.size() == kMaxStack) throw malformed(fmt::format("more than {} values on its stack", kMaxStack));
    stack_.push_back(ref);
  }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Ref pop() {
    if (stack_.size() <= floor()) throw malformed("its stack is empty where a value is needed");
    const Ref ref = stack_.back();
    stack_.pop_back();
    return ref;
  }

  Node& top() {
    if (stack_.size() <= floor()) throw malformed("its stack is empty where a value is needed");
    return out_.nodes[stack_.back()];
  }

  std::vector<Ref> pop_many(size_t count) {
    std::vector<Ref> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }

  std::vector<Ref> pop_to_mark() {
    if (marks_.empty()) throw malformed("a mark is missing");
    std::vector<Ref> items(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  void protocol(uint8_t version) {
    if (version != 2)
      throw fail(StatusCode::unsupported,
                 "{}: pickle protocol {} is not supported; torch writes 2 by default: save the model again", where_,
                 version);
  }

  void mark() {
    if (marks_.size() == kMaxMarks) throw malformed(fmt::format("nested more than {} deep", kMaxMarks));
    marks_.push_back(stack_.size());
  }

  void put(uint32_t slot) {
    if (memo_.size() == kMaxValues) throw malformed(fmt::format("more than {} memo entries", kMaxValues));
    if (stack_.size() <= floor()) throw malformed("its stack is empty where a value is needed");
    memo_[slot] = stack_.back();
  }

  void get(uint32_t slot) {
    const auto it = memo_.find(slot);
    if (it == memo_.end()) throw malformed(fmt::format("memo {} is read before it is written", slot));
    push_ref(it->second);
  }

  void long_integer(std::string_view digits) {
    if (digits.size() > 8) return push({.kind = Kind::big_integer, .text = digits});
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size(); ++i) value |= uint64_t{static_cast<unsigned char>(digits[i])} << (8 * i);
    const bool negative = !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80u) != 0;
    if (negative && digits.size() < 8) value |= ~uint64_t{0} << (8 * digits.size());
    push({.kind = Kind::integer, .integer = static_cast<int64_t>(value)});
  }

  void real() {
    uint64_t bits = 0;
    for (char byte : take_bytes(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
    push({.kind = Kind::real, .real = std::bit_cast<double>(bits)});
  }

  void global() {
    const std::string_view module = take_line(), name = take_line();
    const std::string full = fmt::format("{} {}", module, name);
    const auto it = std::find(kAllowed.begin(), kAllowed.end(), full);
    if (it != kAllowed.end()) return push({.kind = Kind::global, .text = *it});
    throw fail(
        StatusCode::unsupported,
        "{}: it refers to {}, which is not part of a state dictionary, and was refused (nothing was executed): save "
        "model.state_dict() with plain tensors only",
        where_, inazuma::quoted(fmt::format("{}.{}", module, name), 200));
  }

  /// REDUCE and NEWOBJ alike: both apply a global to a tuple.
  void reduce() {
    const Ref arguments = pop(), callee = pop();
    const Node& args = out_.nodes[arguments];
    const Node& function = out_.nodes[callee];
    if (args.kind != Kind::tuple) throw malformed("a call's arguments are no tuple");
    if (function.kind != Kind::global) throw malformed("what is called is no global");
    if (function.text == "collections OrderedDict") return ordered_dict(args);
    push({.kind = Kind::call, .items = {callee, arguments}});
  }

  /// OrderedDict(), or OrderedDict(pairs) as Python 2 wrote it.
  void ordered_dict(const Node& args) {
    Node dict{.kind = Kind::dict};
    if (args.items.size() > 1) throw malformed("OrderedDict takes one argument");
    if (!args.items.empty()) {
      const Node& pairs = out_.nodes[args.items[0]];
      if (pairs.kind != Kind::list && pairs.kind != Kind::tuple) throw malformed("OrderedDict takes a list of pairs");
      // One list may be turned into many dictionaries: the only place where a short pickle could ask for much memory.
      copied_ += pairs.items.size();
      if (copied_ > kMaxValues) throw malformed(fmt::format("more than {} values", kMaxValues));
      for (Ref ref : pairs.items) {
        const Node& pair = out_.nodes[ref];
        if ((pair.kind != Kind::list && pair.kind != Kind::tuple) || pair.items.size() != 2)
          throw malformed("OrderedDict takes a list of pairs");
        dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
      }
    }
    push(std::move(dict));
  }

  /// State dictionaries carry attributes (_metadata); they say nothing about tensors and are dropped.
  void build() {
    pop();
    if (top().kind != Kind::dict) throw malformed("attributes are set on something that is no dictionary");
  }

  void persistent() {
    const Ref id = pop();
    if (out_.nodes[id].kind != Kind::tuple) throw malformed("a persistent id is no tuple");
    push({.kind = Kind::persistent, .items = {id}});
  }

  void set_item() {
    const Ref value = pop(), key = pop();
    extend({key, value}, Kind::dict);
  }

  void extend(std::vector<Ref> items, Kind kind) {
    Node& container = top();
    if (container.kind != kind) throw malformed("items are added to something that cannot take them");
    if (kind == Kind::dict && items.size() % 2 != 0) throw malformed("a dictionary key has no value");
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  std::string_view where_;
  std::string_view bytes_;
  size_t at_ = 0;
  size_t copied_ = 0;
  Pickle out_;
  std::vector<Ref> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Ref> memo_;
};

}  // namespace

Pickle read_pickle(std::string_view where, std::string_view bytes) {
  return Machine(where, bytes).run();
}

}  // namespace inazuma
