#pragma once
// A reader for the pickles of torch checkpoints that cannot execute anything: names stay names, calls stay records.

#include <cstdint>
#include <string_view>
#include <vector>

namespace inazuma {

/// Values of one pickle, by index; indices make shared and cyclic values harmless.
struct Pickle {
  using Ref = uint32_t;

  enum class Kind : uint8_t {
    none,
    boolean,      ///< integer 0 or 1
    integer,      ///< integer
    big_integer,  ///< text: little-endian two's complement of more than 8 bytes
    real,
    text,        ///< text: a str, or a Python 2 byte string
    tuple,       ///< items
    list,        ///< items
    dict,        ///< items: key, value, key, value...; a later equal key wins. Also stands for OrderedDict
    set,         ///< items
    global,      ///< text: "module name" as in the pickle, one blank between; always on the allow-list
    call,        ///< items: the global, the tuple of arguments
    persistent,  ///< items: the id, a tuple
  };

  struct Node {
    Kind kind = Kind::none;
    int64_t integer = 0;
    double real = 0;
    std::string_view text;  ///< into the pickle
    std::vector<Ref> items;
  };

  std::vector<Node> nodes;
  Ref root = 0;
  size_t consumed = 0;  ///< bytes up to and including STOP

  const Node& operator[](Ref ref) const { return nodes[ref]; }
};

/// Reads one pickle at the start of `bytes`: protocol 2, the opcodes that torch's own restricted reader knows. A global
/// must be one of those a state dictionary consists of; anything else throws Error(unsupported) before any more is
/// read. Damage throws Error(malformed). Limits hold for values, stack and marks. Messages begin with `where`.
Pickle read_pickle(std::string_view where, std::string_view bytes);

}  // namespace inazuma
