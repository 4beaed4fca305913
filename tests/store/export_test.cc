#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/base64.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/store/run_store.h"
#include "engram_crates.h"
#include "store/runs.h"
#include "store/text.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Mode = RunStore::Mode;

/// A field of a CSV file: NULL is told from an empty text by the quotes.
struct Field {
  bool quoted = false;
  std::string text;
};

/// RFC 4180.
std::vector<std::vector<Field>> parse_csv(const std::string& text) {
  std::vector<std::vector<Field>> rows;
  std::vector<Field> row(1);
  for (size_t at = 0; at < text.size(); ++at) {
    Field& field = row.back();
    if (text[at] == '"') {
      field.quoted = true;
      for (++at; at < text.size(); ++at) {
        if (text[at] == '"' && (at + 1 == text.size() || text[at + 1] != '"')) break;
        if (text[at] == '"') ++at;
        field.text += text[at];
      }
    } else if (text[at] == ',') {
      row.emplace_back();
    } else if (text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n') {
      ++at;
      rows.push_back(std::exchange(row, std::vector<Field>(1)));
    } else {
      field.text += text[at];
    }
  }
  EXPECT_TRUE(row.size() == 1 && row[0].text.empty()) << "the last line is ended";
  return rows;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes;
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
  return bytes;
}

std::vector<std::byte> unbase64(const std::string& text) {
  static const std::string kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text.substr(0, text.find('='))) {
    bits = bits << 6 | static_cast<unsigned>(kDigits.find(c));
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 255);
  }
  return bytes_of(bytes);
}

Value csv_value(const Field& field, ColumnType type) {
  if (!field.quoted && field.text.empty()) return std::monostate();
  switch (type) {
    case ColumnType::kInteger:
      return static_cast<int64_t>(std::stoll(field.text));
    case ColumnType::kReal:
      return std::strtod(field.text.c_str(), nullptr);
    case ColumnType::kText:
      return field.text;
    case ColumnType::kBlob:
      return unbase64(field.text);
  }
  return {};
}

Value json_value(const Json& value, ColumnType type) {
  if (value.is_null()) return std::monostate();
  switch (type) {
    case ColumnType::kInteger:
      return value.get<int64_t>();
    case ColumnType::kReal:
      return value.get<double>();
    case ColumnType::kText:
      return value.get<std::string>();
    case ColumnType::kBlob: {
      if (value.is_string()) return unbase64(value.get<std::string>());
      const std::string hex = value.at("hex").get<std::string>();
      std::string bytes;
      for (size_t i = 0; i < hex.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
      }
      return bytes_of(bytes);
    }
  }
  return {};
}

std::vector<Row> json_rows(const std::string& lines, const std::vector<Column>& columns) {
  std::vector<Row> rows;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    const Json object = Json::parse(line);
    EXPECT_EQ(object.size(), columns.size());
    Row row;
    for (const Column& column : columns) {
      row.push_back(json_value(object.at(column.name), column.type));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Row> parquet_rows(const std::string& file, const std::vector<Column>& columns) {
  EXPECT_EQ(file.substr(0, 4) + file.substr(file.size() - 4), "PAR1PAR1");
  char* error = nullptr;
  char* lines = engram_crates_parquet_rows(reinterpret_cast<const uint8_t*>(file.data()),
                                           file.size(), &error);
  EXPECT_NE(lines, nullptr) << error;
  const std::vector<Row> rows = json_rows(lines, columns);
  engram_crates_free_text(lines);
  return rows;
}

std::vector<Row> csv_rows(const std::string& text, const std::vector<Column>& columns) {
  std::vector<std::vector<Field>> fields = parse_csv(text);
  std::vector<Row> rows;
  for (size_t r = 0; r < fields.size(); ++r) {
    EXPECT_EQ(fields[r].size(), columns.size());
    Row row;
    for (size_t c = 0; c < columns.size(); ++c) {
      if (r == 0) {
        EXPECT_EQ(fields[r][c].text, columns[c].name);
      } else {
        row.push_back(csv_value(fields[r][c], columns[c].type));
      }
    }
    if (r > 0) rows.push_back(std::move(row));
  }
  return rows;
}

/// JSON has no infinities: NULL instead. NUL cannot pass the C interface that the test reads
/// Parquet through, in a text; JSON escapes it.
std::vector<Row> without_infinities(std::vector<Row> rows) {
  for (Row& row : rows) {
    for (Value& value : row) {
      if (const auto* real = std::get_if<double>(&value); real && std::isinf(*real)) value = {};
    }
  }
  return rows;
}

class Export : public ::testing::Test {
 protected:
  Export() {
    write_units(path_, made_up_units(8));
    // The views of the paper's tables have something to show.
    RunStore run = RunStore::open(path_, Mode::kContinue, kIdentity);
    TableRows neurons{"neuron", {}};
    for (int64_t i = 0; i < 30; ++i) {
      neurons.rows.push_back({std::string("ig"), i, i % 3, i % 4, int64_t{3}, 0.1});
    }
    run.write({"neurons", "", 0}, {neurons});
    run.flush();
  }

  /// Every table and view by name, with its columns and the rows that the store reads.
  void each(const std::function<void(const std::string&, const std::vector<Column>&,
                                     const std::vector<Row>&)>& check) {
    RunStore run = RunStore::open(path_, Mode::kRead);
    int filled = 0;
    const auto one = [&](const char* name, const std::vector<Column>& columns) {
      const std::vector<Row> rows = run.read(name);
      if (!rows.empty()) ++filled;
      check(name, columns, rows);
    };
    for (const Table& table : run_tables()) {
      if (table.kind == TableKind::kContent) one(table.name, table.columns);
    }
    for (const View& view : run_views()) one(view.name, view.columns);
    EXPECT_GE(filled, 10);
  }

  std::map<std::string, int64_t> write(ExportFormat format, const std::string& folder = "out") {
    RunStore run = RunStore::open(path_, Mode::kRead);
    return export_run(run, folder_.file(folder), format);
  }
  std::string read(const std::string& file) { return read_file(folder_.file("out") / file); }

  Folder folder_;
  fs::path path_ = folder_.file("run.db");
};

TEST_F(Export, CsvReadsBack) {
  const auto counts = write(ExportFormat::kCsv);
  each([&](const std::string& name, const auto& columns, const auto& rows) {
    EXPECT_EQ(csv_rows(read(name + ".csv"), columns), rows) << name;
    EXPECT_EQ(counts.at(name), static_cast<int64_t>(rows.size()));
  });
}

TEST_F(Export, JsonLinesReadBack) {
  write(ExportFormat::kJsonl);
  each([&](const std::string& name, const auto& columns, const auto& rows) {
    EXPECT_EQ(json_rows(read(name + ".jsonl"), columns), without_infinities(rows)) << name;
  });
}

TEST_F(Export, ParquetReadsBack) {
  write(ExportFormat::kParquet);
  each([&](const std::string& name, const auto& columns, const auto& rows) {
    EXPECT_EQ(parquet_rows(read(name + ".parquet"), columns), without_infinities(rows)) << name;
  });
}

TEST_F(Export, HasNoLedgerAndTheSameBytesHoweverTheRunWasMade) {
  {
    RunStore run = RunStore::open(path_, Mode::kContinue, kIdentity);
    run.begin_session("a command", "1");
    run.end_session();
  }
  merge_runs(folder_.file("merged.db"), {path_, path_});
  for (const ExportFormat format :
       {ExportFormat::kCsv, ExportFormat::kJsonl, ExportFormat::kParquet}) {
    write(format);
    RunStore merged = RunStore::open(folder_.file("merged.db"), Mode::kRead);
    export_run(merged, folder_.file("again"), format);
  }
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder_.file("out"))) {
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(read_file(entry.path()), read_file(folder_.file("again") / name)) << name;
    EXPECT_TRUE(name.find("session") == std::string::npos && name.find("skipped")) << name;
    ++files;
  }
  each([&](const auto&, const auto&, const auto&) { files -= 3; });
  EXPECT_EQ(files, 0U);
}

TEST_F(Export, LargeTablesAreWrittenInGroups) {
  const int64_t rows = 150'000;
  {
    RunStore run = RunStore::open(path_, Mode::kContinue, kIdentity);
    TableRows table{"text_perplexity", {}};
    for (int64_t i = 0; i < rows; ++i)
      table.rows.push_back({i, 0.5 * static_cast<double>(i), Value()});
    run.write({"text", "", 0}, {table});
    run.flush();
  }
  write(ExportFormat::kParquet);
  const std::vector<Row> back =
      parquet_rows(read("text_perplexity.parquet"), run_table("text_perplexity").columns);
  ASSERT_EQ(back.size(), static_cast<size_t>(rows));
  EXPECT_EQ(back.back()[1], Value(0.5 * static_cast<double>(rows - 1)));
}

TEST_F(Export, WhatCannotBeWrittenIsAFileError) {
  EXPECT_THROW(write(ExportFormat::kCsv, "run.db"), FileError);
  EXPECT_THROW(write(ExportFormat::kCsv, "run.db/below"), FileError);
  fs::create_directories(folder_.file("out") / "fact.parquet");
  EXPECT_THROW(write(ExportFormat::kParquet), FileError);
}

TEST_F(Export, StopsWhenAsked) {
  RunStore run = RunStore::open(path_, Mode::kContinue, kIdentity);
  TableRows table{"text_perplexity", {}};
  for (int64_t i = 0; i < 5000; ++i) table.rows.push_back({i, Value(), Value()});
  run.write({"text", "", 0}, {table});
  Interrupt::request();
  EXPECT_THROW(export_run(run, folder_.file("out"), ExportFormat::kCsv), Interrupted);
  Interrupt::clear();
  EXPECT_FALSE(fs::exists(folder_.file("out") / "text_perplexity.csv"));
  EXPECT_EQ(run.read("text_perplexity").size(), 5000U) << "the run is as usable as before";
}

TEST(Text, NumbersAreShortestAndExact) {
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(1), "1");
  EXPECT_EQ(shortest(-1e300), "-1e+300");
  EXPECT_EQ(shortest(1.0 / 0.0), "inf");
}

TEST(Text, Base64IsThatOfRfc4648) {
  const std::vector<std::pair<std::string, std::string>> known = {{"", ""},
                                                                  {"f", "Zg=="},
                                                                  {"fo", "Zm8="},
                                                                  {"foo", "Zm9v"},
                                                                  {"foob", "Zm9vYg=="},
                                                                  {"fooba", "Zm9vYmE="},
                                                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& [text, encoded] : known) EXPECT_EQ(base64(bytes_of(text)), encoded);
}

}  // namespace
}  // namespace engram::testing
