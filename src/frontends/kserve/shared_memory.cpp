#include "frontends/kserve/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace inazuma::kserve {

namespace {

constexpr std::string_view kReserved = "triton_python_backend_shm_region_";

}  // namespace

struct SharedMemory::Region {
  RegionStatus status;
  void* mapped = MAP_FAILED;
  int descriptor = -1;

  ~Region() {
    if (mapped != MAP_FAILED) ::munmap(mapped, status.byte_size);
    if (descriptor >= 0) ::close(descriptor);
  }
  char* bytes() const { return static_cast<char*>(mapped); }
  // Whether the pages are still there: reading beyond the end of a truncated object would end the process.
  bool intact() const {
    struct stat now {};
    return ::fstat(descriptor, &now) == 0 && status.offset + status.byte_size <= static_cast<uint64_t>(now.st_size);
  }
};

Status SharedMemory::refused() const {
  if (allowed_) return Status();
  return Status(StatusCode::unsupported,
                "client shared memory is disabled; start the server with --allow-client-shm=true");
}

Status SharedMemory::add(const std::string& name, const std::string& key, uint64_t offset, uint64_t byte_size) {
  return capture([&] {
    if (const Status no = refused(); !no.ok()) throw Error(no);
    if (name.empty()) throw fail(StatusCode::invalid, "a shared memory region needs a name");
    const size_t begin = key.find_first_not_of('/');
    if (begin == std::string::npos)
      throw fail(StatusCode::invalid, "shared memory key {} of region '{}' names no object", quoted(key), name);
    if (std::string_view(key).substr(begin).starts_with(kReserved))
      throw fail(StatusCode::invalid, "shared memory key {} is reserved", quoted(key));
    if (byte_size == 0) throw fail(StatusCode::invalid, "shared memory region '{}' has no bytes", name);
    const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    if (offset % page != 0)
      throw fail(StatusCode::invalid, "offset {} of shared memory region '{}' is no multiple of the page size {}",
                 offset, name, page);
    auto region = std::make_shared<Region>();
    region->status = {name, key, offset, byte_size};
    region->descriptor = ::shm_open(key.c_str(), O_RDWR, S_IRUSR | S_IWUSR);
    if (region->descriptor < 0)
      throw fail(StatusCode::internal, "unable to open shared memory region '{}' (key {}): {}", name, quoted(key),
                 std::strerror(errno));
    if (byte_size > UINT64_MAX - offset || !region->intact())
      throw fail(
          StatusCode::invalid,
          "failed to register shared memory region '{}': invalid args, {} bytes at offset {} are not inside the object",
          name, byte_size, offset);
    region->mapped =
        ::mmap(nullptr, byte_size, PROT_READ | PROT_WRITE, MAP_SHARED, region->descriptor, static_cast<off_t>(offset));
    if (region->mapped == MAP_FAILED)
      throw fail(StatusCode::internal, "unable to map shared memory region '{}': {}", name, std::strerror(errno));
    const std::lock_guard lock(mutex_);
    if (!regions_.emplace(name, std::move(region)).second)
      throw fail(StatusCode::invalid, "shared memory region '{}' already in manager", name);
  });
}

Status SharedMemory::remove(const std::string& name) {
  if (const Status no = refused(); !no.ok()) return no;
  const std::lock_guard lock(mutex_);
  if (name.empty())
    regions_.clear();
  else
    regions_.erase(name);
  return Status();
}

Result<std::vector<RegionStatus>> SharedMemory::status(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  std::vector<RegionStatus> out;
  for (const auto& [key, region] : regions_)
    if (name.empty() || key == name) out.push_back(region->status);
  if (!name.empty() && out.empty())
    return Status(StatusCode::not_found, fmt::format("Unable to find system shared memory region: '{}'", name));
  return out;
}

Result<std::shared_ptr<SharedMemory::Region>> SharedMemory::find(const SharedMemoryRef& place) const {
  return capture([&]() -> std::shared_ptr<Region> {
    if (const Status no = refused(); !no.ok()) throw Error(no);
    std::shared_ptr<Region> region;
    {
      const std::lock_guard lock(mutex_);
      const auto found = regions_.find(place.region);
      if (found == regions_.end())
        throw fail(StatusCode::not_found, "Unable to find shared memory region: '{}'", place.region);
      region = found->second;
    }
    const uint64_t size = region->status.byte_size;
    if (place.offset >= size && place.byte_size > 0)
      throw fail(StatusCode::invalid, "Invalid offset {} for shared memory region: '{}' of {} bytes", place.offset,
                 place.region, size);
    if (place.offset > size || place.byte_size > size - place.offset)
      throw fail(StatusCode::invalid,
                 "Invalid offset + byte size for shared memory region: '{}': {} + {} exceed its {} bytes", place.region,
                 place.offset, place.byte_size, size);
    if (!region->intact())
      throw fail(StatusCode::invalid, "shared memory region '{}' was made smaller after it was registered",
                 place.region);
    return region;
  });
}

Result<SharedBytes> SharedMemory::read(const SharedMemoryRef& place) const {
  Result<std::shared_ptr<Region>> region = find(place);
  if (!region.ok()) return region.status();
  const std::string_view bytes((*region)->bytes() + place.offset, place.byte_size);
  return SharedBytes(bytes, std::move(*region));
}

Status SharedMemory::write(const SharedMemoryRef& place, std::string_view bytes) const {
  if (bytes.size() > place.byte_size)
    return Status(StatusCode::internal, fmt::format("shared memory size specified with the request for output ({} "
                                                    "bytes) should be at least {} bytes to hold the results",
                                                    place.byte_size, bytes.size()));
  Result<std::shared_ptr<Region>> region = find(place);
  if (!region.ok()) return region.status();
  std::memcpy((*region)->bytes() + place.offset, bytes.data(), bytes.size());
  return Status();
}

}  // namespace inazuma::kserve
