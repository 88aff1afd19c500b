#include "serving/repository/layout.h"

#include <algorithm>
#include <charconv>

#include "base/json_file.h"
#include "base/log.h"

namespace inazuma {

namespace fs = std::filesystem;

namespace {

std::optional<int64_t> version_number(const std::string& name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 1 || name.front() == '0')
    return std::nullopt;
  return number;
}

}  // namespace

Result<RepositoryLayout> scan_repositories(const std::vector<fs::path>& repositories) {
  RepositoryLayout out;
  for (const fs::path& repository : repositories) {
    std::error_code error;
    fs::directory_iterator entries(repository, error);
    if (error)
      return Status(StatusCode::not_found,
                    fmt::format("model repository {}: {}", quoted(repository.string(), 256), error.message()));
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      if (!entry.is_directory() || name.starts_with('.')) continue;
      if (!out.models.emplace(name, entry.path()).second) out.twice.insert(name);
    }
  }
  return out;
}

bool is_repository(const fs::path& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error) || fs::exists(directory / "config.json")) return false;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error))
    if (entry.is_directory() &&
        (fs::exists(entry.path() / "config.pbtxt") || !version_directories(entry.path()).empty()))
      return true;
  return false;
}

std::vector<int64_t> version_directories(const fs::path& model_directory) {
  static const std::set<std::string> kOthers = {"warmup", "initial_state", "configs"};
  std::vector<int64_t> out;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(model_directory, error)) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().filename().string();
    if (const auto number = version_number(name))
      out.push_back(*number);
    else if (!kOthers.contains(name) && !name.starts_with('.'))
      log::debug("not a version directory", {{"model", model_directory.filename().string()}, {"directory", name}});
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::vector<int64_t>> choose_versions(const inference::ModelVersionPolicy& policy,
                                             const std::vector<int64_t>& available, std::string_view model) {
  std::vector<int64_t> out = available;
  if (policy.has_specific()) {
    const auto& wanted = policy.specific().versions();
    std::erase_if(out,
                  [&](int64_t version) { return std::find(wanted.begin(), wanted.end(), version) == wanted.end(); });
  } else if (!policy.has_all()) {
    const size_t count = std::max<uint32_t>(1, policy.latest().num_versions());
    if (out.size() > count) out.erase(out.begin(), out.end() - static_cast<ptrdiff_t>(count));
  }
  if (out.empty())
    return Status(
        StatusCode::invalid,
        fmt::format("at least one version must be available under the version policy of model {}", quoted(model)));
  return out;
}

std::vector<std::string> read_labels(const fs::path& file) {
  const std::string text = read_text_file(file);
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    out.push_back(std::move(line));
    at = end + 1;
  }
  return out;
}

Fingerprint fingerprint(const fs::path& model_directory) {
  std::vector<std::string> configurations, files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(model_directory, fs::directory_options::follow_directory_symlink, error),
       end;
       !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    const auto size = entry->is_regular_file(ignored) ? entry->file_size(ignored) : 0;
    const auto time = entry->last_write_time(ignored).time_since_epoch().count();
    const std::string name = entry->path().lexically_relative(model_directory).string();
    (name == "config.pbtxt" || name == "configs" || name.starts_with("configs/") ? configurations : files)
        .push_back(fmt::format("{}|{}|{}", name, size, entry->is_directory(ignored) ? 0 : time));
  }
  std::sort(configurations.begin(), configurations.end());
  std::sort(files.begin(), files.end());
  return {fmt::format("{}", fmt::join(configurations, "\n")), fmt::format("{}", fmt::join(files, "\n"))};
}

Status check_model_name(std::string_view name) {
  const bool blank = name.find_first_not_of(" \t\r\n") == std::string_view::npos;
  if (blank || name == "." || name == ".." || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos)
    return Status(
        StatusCode::invalid,
        fmt::format("{} cannot be a model's name: it must not be blank, '.', '..', or hold '/'", quoted(name)));
  return Status();
}

}  // namespace inazuma
