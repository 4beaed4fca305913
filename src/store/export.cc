// Content tables and views of a run as CSV, JSON Lines or Parquet.
#include <cmath>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/base64.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/store/run_store.h"
#include "engram_crates.h"
#include "store/text.h"

namespace engram {
namespace {

/// One table or view on its way into a file.
class TableFile {
 public:
  explicit TableFile(const std::filesystem::path& path) : file_(path) {}
  virtual ~TableFile() = default;
  TableFile(const TableFile&) = delete;
  TableFile& operator=(const TableFile&) = delete;
  virtual void write(const Row& row) = 0;
  virtual void finish() { file_.commit(); }

 protected:
  AtomicFile& file() { return file_; }

 private:
  AtomicFile file_;
};

class CsvFile : public TableFile {
 public:
  CsvFile(const std::filesystem::path& path, std::span<const Column> columns) : TableFile(path) {
    file().write(csv_header(columns));
  }
  void write(const Row& row) override { file().write(csv_row(row)); }
};

class JsonlFile : public TableFile {
 public:
  JsonlFile(const std::filesystem::path& path, std::span<const Column> columns)
      : TableFile(path), columns_(columns) {}
  void write(const Row& row) override {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += (i == 0 ? "{" : ", ") + text(columns_[i].name) + ": " + value(row[i]);
    }
    file().write(line + "}\n");
  }

 private:
  static std::string text(const std::string& of) {
    return nlohmann::json(of).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  static std::string value(const Value& of) {
    if (const auto* number = std::get_if<int64_t>(&of)) return std::to_string(*number);
    if (const auto* number = std::get_if<double>(&of)) {
      return std::isfinite(*number) ? shortest(*number) : "null";
    }
    if (const auto* string = std::get_if<std::string>(&of)) return text(*string);
    if (const auto* bytes = std::get_if<std::vector<std::byte>>(&of)) {
      return '"' + base64(*bytes) + '"';
    }
    return "null";
  }
  std::span<const Column> columns_;
};

/// Rows are gathered into groups, so that memory is bounded.
class ParquetFile : public TableFile {
 public:
  /// The first `key` columns are never null.
  ParquetFile(const std::filesystem::path& path, std::span<const Column> columns, size_t key)
      : TableFile(path), columns_(columns), values_(columns.size()) {
    std::vector<const char*> names;
    std::vector<uint8_t> types;
    const std::unique_ptr<bool[]> required(new bool[columns.size()]);
    for (size_t i = 0; i < columns.size(); ++i) {
      names.push_back(columns[i].name);
      types.push_back(type_of(columns[i].type));
      required[i] = i < key;
    }
    char* error = nullptr;
    writer_.reset(engram_crates_parquet_new(names.data(), types.data(), required.get(),
                                            columns.size(), &ParquetFile::sink, this, &error));
    if (!writer_) fail(error);
  }

  void write(const Row& row) override {
    for (size_t i = 0; i < row.size(); ++i) put(values_[i], columns_[i], row[i]);
    ++rows_;
    if (rows_ == kGroupRows || bytes_ >= kGroupBytes) write_group();
  }

  void finish() override {
    if (rows_ > 0) write_group();
    char* error = nullptr;
    if (!engram_crates_parquet_finish(writer_.get(), &error)) fail(error);
    TableFile::finish();
  }

 private:
  static constexpr int64_t kGroupRows = 65536;
  static constexpr size_t kGroupBytes = size_t{32} << 20;

  struct Values {
    std::vector<uint8_t> present;
    std::vector<int64_t> integers;
    std::vector<double> reals;
    std::string data;
    std::vector<size_t> ends;
  };
  struct Free {
    void operator()(engram_crates_parquet* writer) const { engram_crates_parquet_free(writer); }
  };

  static uint8_t type_of(ColumnType type) {
    switch (type) {
      case ColumnType::kInteger:
        return 0;
      case ColumnType::kReal:
        return 1;
      case ColumnType::kText:
        return 2;
      case ColumnType::kBlob:
        return 3;
    }
    throw InternalError("unknown column type");
  }

  /// An exception cannot pass through Rust: it is kept until fail().
  static bool sink(void* context, const uint8_t* data, size_t size) {
    auto* self = static_cast<ParquetFile*>(context);
    try {
      self->file().write({reinterpret_cast<const char*>(data), size});
      return true;
    } catch (...) {
      self->error_ = std::current_exception();
      return false;
    }
  }

  [[noreturn]] void fail(char* error) {
    const std::string message = error == nullptr ? "unknown" : error;
    engram_crates_free_text(error);
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
    throw InternalError("Parquet: " + message);
  }

  void put(Values& values, const Column& column, const Value& value) {
    values.present.push_back(std::holds_alternative<std::monostate>(value) ? 0 : 1);
    if (values.present.back() == 0) return;
    const auto* integer = std::get_if<int64_t>(&value);
    const auto* real = std::get_if<double>(&value);
    const auto* text = std::get_if<std::string>(&value);
    const auto* bytes = std::get_if<std::vector<std::byte>>(&value);
    if (column.type == ColumnType::kInteger && integer != nullptr) {
      values.integers.push_back(*integer);
    } else if (column.type == ColumnType::kReal && real != nullptr) {
      values.reals.push_back(*real);
    } else if (column.type == ColumnType::kText && text != nullptr) {
      put_bytes(values, *text);
    } else if (column.type == ColumnType::kBlob && bytes != nullptr) {
      put_bytes(values, {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    } else {
      throw InternalError(std::string("column ") + column.name + ": got " + show_value(value) +
                          ", of another type");
    }
  }
  void put_bytes(Values& values, std::string_view bytes) {
    values.data += bytes;
    values.ends.push_back(values.data.size());
    bytes_ += bytes.size();
  }

  void write_group() {
    std::vector<engram_crates_parquet_values> columns;
    for (const Values& v : values_) {
      columns.push_back({v.present.data(), v.integers.data(), v.reals.data(),
                         reinterpret_cast<const uint8_t*>(v.data.data()), v.ends.data()});
    }
    char* error = nullptr;
    if (!engram_crates_parquet_group(writer_.get(), columns.data(), static_cast<size_t>(rows_),
                                     &error)) {
      fail(error);
    }
    for (Values& v : values_) v = {};
    rows_ = 0;
    bytes_ = 0;
  }

  std::span<const Column> columns_;
  std::vector<Values> values_;
  int64_t rows_ = 0;
  size_t bytes_ = 0;  ///< of texts and blobs in the group
  std::exception_ptr error_;
  std::unique_ptr<engram_crates_parquet, Free> writer_;
};

std::unique_ptr<TableFile> open_file(const std::filesystem::path& folder, const std::string& name,
                                     std::span<const Column> columns, size_t key,
                                     ExportFormat format) {
  switch (format) {
    case ExportFormat::kCsv:
      return std::make_unique<CsvFile>(folder / (name + ".csv"), columns);
    case ExportFormat::kJsonl:
      return std::make_unique<JsonlFile>(folder / (name + ".jsonl"), columns);
    case ExportFormat::kParquet:
      return std::make_unique<ParquetFile>(folder / (name + ".parquet"), columns, key);
  }
  throw InternalError("unknown export format");
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw FileError(folder.string() + ": cannot make this folder: " + error.message());
}

}  // namespace

std::map<std::string, int64_t> export_run(RunStore& run, const std::filesystem::path& folder,
                                          ExportFormat format) {
  make_folder(folder);
  std::map<std::string, int64_t> counts;
  const auto write = [&](const char* name, std::span<const Column> columns, size_t key) {
    const std::unique_ptr<TableFile> file = open_file(folder, name, columns, key, format);
    int64_t& count = counts[name];
    run.read_each(name, {}, [&](const Row& row) {
      if (++count % 1024 == 0) Interrupt::check();
      file->write(row);
      return true;
    });
    file->finish();
  };
  run.snapshot([&] {
    for (const Table& table : run_tables()) {
      if (table.kind == TableKind::kContent) write(table.name, table.columns, table.key);
    }
    for (const View& view : run_views()) write(view.name, view.columns, 0);
  });
  return counts;
}

}  // namespace engram
