#include "weights/formats/torch_archive.h"

#include "base/status.h"
#include "weights/bytes.h"
#include "weights/formats/pickle.h"
#include "weights/formats/torch_state.h"
#include "weights/formats/zip_archive.h"

namespace inazuma {
namespace {

using Kind = Pickle::Kind;

std::string_view top_folder(std::string_view file, std::string_view first_name) {
  const size_t slash = first_name.find('/');
  if (slash == std::string_view::npos)
    throw fail(StatusCode::malformed, "{}: not a torch archive: its zip entries are in no folder", file);
  return first_name.substr(0, slash + 1);
}

const std::string_view* entry(const ZipArchive& zip, std::string_view top, std::string_view name) {
  const auto it = zip.entries.find(std::string(top) + std::string(name));
  return it == zip.entries.end() ? nullptr : &it->second;
}

FileTensors read_zip_form(std::string_view file, std::string_view bytes) {
  const ZipArchive zip = read_zip(file, bytes);
  const std::string_view top = top_folder(file, zip.first_name);
  if (entry(zip, top, "constants.pkl") != nullptr)
    throw fail(StatusCode::unsupported,
               "{}: this is a TorchScript program, not a state dictionary: save model.state_dict()", file);
  const std::string_view* order = entry(zip, top, "byteorder");
  if (order != nullptr && *order != "little")
    throw fail(StatusCode::unsupported, "{}: its byte order is {}, only little is supported", file,
               inazuma::quoted(*order));
  const std::string_view* data = entry(zip, top, "data.pkl");
  if (data == nullptr)
    throw fail(StatusCode::malformed, "{}: not a torch archive: the zip has no entry {}data.pkl", file, printable(top));
  const Pickle pickle = read_pickle(file, *data);
  Storages storages;
  const std::string folder = std::string(top) + "data/";
  for (auto it = zip.entries.lower_bound(folder); it != zip.entries.end() && it->first.starts_with(folder); ++it)
    storages.emplace(it->first.substr(folder.size()), it->second);
  return {.format = "torch zip", .tensors = state_tensors(file, pickle, storages)};
}

/// The stream of the older form, read from front to back.
class LegacyStream {
 public:
  LegacyStream(std::string_view file, std::string_view bytes) : file_(file), rest_(bytes) {}

  Pickle pickle() {
    Pickle read = read_pickle(file_, rest_);
    rest_.remove_prefix(read.consumed);
    return read;
  }

  std::string_view take(uint64_t count, std::string_view key) {
    if (count > rest_.size())
      throw fail(StatusCode::malformed, "{}: storage {} is cut short", file_, inazuma::quoted(key));
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

 private:
  std::string_view file_, rest_;
};

bool is_magic(const Pickle& pickle) {
  constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
  const Pickle::Node& root = pickle[pickle.root];
  return root.kind == Kind::big_integer && root.text == kMagic;
}

void check_system(std::string_view file, const Pickle& protocol, const Pickle& system) {
  const Pickle::Node& version = protocol[protocol.root];
  if (version.kind != Kind::integer || version.integer != 1001)
    throw fail(StatusCode::unsupported, "{}: its format version is not 1001, the only one there is", file);
  const Pickle::Node& facts = system[system.root];
  if (facts.kind != Kind::dict) throw fail(StatusCode::malformed, "{}: its system record is damaged", file);
  for (size_t i = 0; i + 1 < facts.items.size(); i += 2) {
    const Pickle::Node& value = system[facts.items[i + 1]];
    if (system[facts.items[i]].text == "little_endian" && (value.kind != Kind::boolean || value.integer != 1))
      throw fail(StatusCode::unsupported, "{}: its byte order is big, only little is supported", file);
  }
}

/// Element size of every storage that the pickle names; parts of another storage are found under that one's key.
std::map<std::string_view, size_t> element_sizes(std::string_view file, const Pickle& pickle) {
  std::map<std::string_view, size_t> sizes;
  for (Pickle::Ref ref = 0; ref < pickle.nodes.size(); ++ref) {
    if (pickle[ref].kind != Kind::persistent) continue;
    const auto storage = storage_id(file, pickle, ref);
    if (!storage) continue;
    const auto [it, fresh] = sizes.emplace(storage->key, storage->element_size());
    if (!fresh && it->second != storage->element_size())
      throw fail(StatusCode::malformed, "{}: storage {} has two element types", file, inazuma::quoted(storage->key));
  }
  return sizes;
}

FileTensors read_legacy_form(std::string_view file, std::string_view bytes) {
  LegacyStream stream(file, bytes);
  const Pickle magic = stream.pickle();
  if (!is_magic(magic)) throw fail(StatusCode::malformed, "{}: not a torch archive: its magic number is wrong", file);
  const Pickle protocol = stream.pickle();
  const Pickle system = stream.pickle();
  check_system(file, protocol, system);
  const Pickle state = stream.pickle();
  const Pickle keys = stream.pickle();
  const auto sizes = element_sizes(file, state);
  if (keys[keys.root].kind != Kind::list) throw fail(StatusCode::malformed, "{}: it has no list of storages", file);
  Storages storages;
  for (Pickle::Ref ref : keys[keys.root].items) {
    const std::string_view key = keys[ref].text;
    const auto size = sizes.find(key);
    if (keys[ref].kind != Kind::text || size == sizes.end())
      throw fail(StatusCode::malformed, "{}: its list of storages names {}, which nothing uses", file,
                 inazuma::quoted(key));
    const auto count = load_little_endian<int64_t>(stream.take(8, key), 0);
    const auto wanted = count < 0 ? std::nullopt : checked_multiply(static_cast<uint64_t>(count), size->second);
    if (!wanted) throw fail(StatusCode::malformed, "{}: storage {} has {} elements", file, inazuma::quoted(key), count);
    if (!storages.emplace(key, stream.take(*wanted, key)).second)
      throw fail(StatusCode::malformed, "{}: storage {} is there twice", file, inazuma::quoted(key));
  }
  return {.format = "torch legacy", .tensors = state_tensors(file, state, storages)};
}

}  // namespace

FileTensors read_torch_archive(std::string_view file_name, std::string_view bytes) {
  constexpr size_t kTarMagic = 257;
  const std::string file = printable(file_name);
  if (bytes.empty()) throw fail(StatusCode::malformed, "{}: the file is empty", file);
  if (bytes.starts_with("PK\x03\x04")) return read_zip_form(file, bytes);
  if (bytes.size() > kTarMagic + 5 && bytes.substr(kTarMagic, 5) == "ustar")
    throw fail(StatusCode::unsupported,
               "{}: tar archives (torch before 0.1.10) are not supported: save the model again", file);
  return read_legacy_form(file, bytes);
}

}  // namespace inazuma
