#include "engram/base/lines.h"

#include <utility>

#include "base/text_bytes.h"

namespace engram {
namespace {

constexpr size_t kTextChunk = size_t{1} << 16U;

}  // namespace

struct LineReader::Impl {
  size_t longest = kAnyLength;
  std::unique_ptr<TextBytes> file;
  std::string buffer;
  std::string_view rest;  ///< what is read and not yet given out
  size_t length = 0;

  bool fill() {
    if (!file) return false;
    const size_t count = file->read(buffer);
    rest = std::string_view(buffer).substr(0, count);
    return count > 0;
  }
};

LineReader::LineReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;
LineReader::~LineReader() = default;

LineReader::LineReader(const std::filesystem::path& path, size_t longest)
    : impl_(std::make_unique<Impl>()) {
  impl_->longest = longest;
  impl_->file = open_text(path);
  impl_->buffer.resize(kTextChunk);
}

LineReader LineReader::of_text(std::string_view text, size_t longest) {
  auto impl = std::make_unique<Impl>();
  impl->longest = longest;
  impl->rest = text;
  return LineReader(std::move(impl));
}

bool LineReader::next(std::string& line) {
  Impl& in = *impl_;
  line.clear();
  in.length = 0;
  while (true) {
    if (in.rest.empty() && !in.fill()) return in.length > 0;
    const size_t end = in.rest.find('\n');
    const std::string_view piece = in.rest.substr(0, end);
    line += piece.substr(0, in.longest - line.size());
    in.length += piece.size();
    if (end != std::string_view::npos) {
      in.rest.remove_prefix(end + 1);
      return true;
    }
    in.rest = {};
  }
}

std::string_view LineReader::rest() {
  if (impl_->rest.empty()) impl_->fill();
  return impl_->rest;
}

void LineReader::take(size_t bytes) { impl_->rest.remove_prefix(bytes); }

size_t LineReader::length() const { return impl_->length; }

}  // namespace engram
