#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engram/base/lines.h"

struct engram_crates_table;

namespace engram {

/// The records of CSV or TSV (RFC 4180: fields may be quoted and then hold delimiters and line
/// breaks), one at a time.
class TableReader {
 public:
  /// A record may have so many bytes. REQUIRES: `text` outlives the reader.
  TableReader(LineReader& text, char delimiter, size_t longest);
  ~TableReader();
  TableReader(const TableReader&) = delete;
  TableReader& operator=(const TableReader&) = delete;

  /// The next record that is not an empty line; false at the end. Throws LineError for one that is
  /// too long, which ends the table, and what `text` throws.
  bool next(std::vector<std::string>& fields);
  /// Of the last record: where it began, from 1.
  [[nodiscard]] int64_t line() const { return line_; }

 private:
  LineReader& text_;
  size_t longest_;
  std::unique_ptr<engram_crates_table, void (*)(engram_crates_table*)> table_;
  bool broken_ = false;
  int64_t line_ = 1;
  int64_t lines_ = 1;  ///< line of the next byte
};

}  // namespace engram
