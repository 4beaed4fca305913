// docs/formats.md names every table, view and column of a run.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engram/base/file.h"
#include "engram/store/schema.h"

namespace engram::testing {
namespace {

constexpr std::string_view kBegin = "<!-- tables of a run: begin -->\n";
constexpr std::string_view kEnd = "<!-- tables of a run: end -->\n";

std::string type_text(ColumnType type) {
  switch (type) {
    case ColumnType::kInteger:
      return "integer";
    case ColumnType::kReal:
      return "real";
    case ColumnType::kText:
      return "text";
    case ColumnType::kBlob:
      return "blob";
  }
  return {};
}

/// '|' would end a cell of the table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

std::string columns_text(const std::vector<Column>& columns, size_t key) {
  std::string text = "| column | type | |\n|---|---|---|\n";
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = columns[i];
    std::string meaning = cell(column.meaning);
    if (column.references != nullptr) {
      meaning += (meaning.empty() ? "of `" : "; of `") + std::string(column.references) + "`";
    }
    text += "| " + std::string(i < key ? "**`" : "`") + column.name + (i < key ? "`**" : "`") +
            " | " + type_text(column.type) + " | " + meaning + (meaning.empty() ? "|\n" : " |\n");
  }
  return text + "\n";
}

std::string tables_text() {
  std::string text;
  for (const Table& table : run_tables()) {
    text += "**`" + std::string(table.name) + "`**: " + table.meaning;
    if (table.kind == TableKind::kLedger) text += " (of this file alone: not exported)";
    text += "\n\n" + columns_text(table.columns, table.key);
  }
  text += "Views:\n\n";
  for (const View& view : run_views()) {
    text += "**`" + std::string(view.name) + "`**: " + view.meaning + "\n\n" +
            columns_text(view.columns, 0);
  }
  return text;
}

TEST(Formats, DocumentTheTablesOfARun) {
  const std::filesystem::path path = std::filesystem::path(ENGRAM_SOURCE_DIR) / "docs/formats.md";
  std::string document = read_file(path);
  const size_t begin = document.find(kBegin);
  const size_t end = document.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && end != std::string::npos && begin < end);
  const size_t from = begin + kBegin.size();
  const std::string wanted = "\n" + tables_text();
  if (std::getenv("ENGRAM_WRITE_DOCS") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    AtomicFile file(path);
    file.write(document.replace(from, end - from, wanted));
    file.commit();
    return;
  }
  EXPECT_EQ(document.substr(from, end - from), wanted)
      << "write it anew: ENGRAM_WRITE_DOCS=1 store_tests --gtest_filter=Formats.*";
}

}  // namespace
}  // namespace engram::testing
