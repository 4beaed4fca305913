#include "text/table_reader.h"

#include <algorithm>

#include "engram_crates.h"
#include "text/jsonl.h"

namespace engram {

TableReader::TableReader(LineReader& text, char delimiter, size_t longest)
    : text_(text),
      longest_(longest),
      table_(engram_crates_table_new(static_cast<uint8_t>(delimiter), longest),
             engram_crates_table_free) {}

TableReader::~TableReader() = default;

bool TableReader::next(std::vector<std::string>& fields) {
  fields.clear();
  if (broken_) return false;
  constexpr int kMore = 0;
  constexpr int kRecord = 1;
  constexpr int kEnd = 2;
  const auto take = [&](size_t bytes) {
    lines_ += std::ranges::count(text_.rest().substr(0, bytes), '\n');
    text_.take(bytes);
  };
  // Line breaks before a record are the last one's, or empty lines.
  for (std::string_view rest = text_.rest(); !rest.empty(); rest = text_.rest()) {
    const size_t breaks = std::min(rest.find_first_not_of("\r\n"), rest.size());
    take(breaks);
    if (breaks < rest.size()) break;
  }
  line_ = lines_;
  for (int status = kMore; status == kMore;) {
    const std::string_view rest = text_.rest();
    size_t taken = 0;
    status = engram_crates_table_read(table_.get(), reinterpret_cast<const uint8_t*>(rest.data()),
                                      rest.size(), &taken);
    take(taken);
    if (status == kEnd) return false;
    if (status == kMore || status == kRecord) continue;
    broken_ = true;  // where the next record begins cannot be told
    throw LineError{"got a record of more than " + std::to_string(longest_) +
                    " bytes (a quote that is not closed?), expected at most so many"};
  }
  for (size_t i = 0; i < engram_crates_table_fields(table_.get()); ++i) {
    size_t size = 0;
    const uint8_t* field = engram_crates_table_field(table_.get(), i, &size);
    fields.emplace_back(reinterpret_cast<const char*>(field), size);
  }
  return true;
}

}  // namespace engram
