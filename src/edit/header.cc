#include "edit/header.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/json.h"

namespace engram {

nlohmann::json file_metadata(const MappedFile& file) {
  constexpr size_t kLengthBytes = 8;
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<uint64_t>(file.data()[i]) << (8 * i);
  }
  const char* start = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
  const nlohmann::json header = parse_json(std::string_view(start, length));
  const auto found = header.is_object() ? header.find("__metadata__") : header.end();
  if (!header.is_object() || found == header.end() || !found->is_object()) return nullptr;
  return *found;
}

}  // namespace engram
