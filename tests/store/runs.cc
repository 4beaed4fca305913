#include "store/runs.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

namespace engram::testing {
namespace {

constexpr int kRelations = 8;
constexpr int kFactsEach = 4;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string relation_name(int number) { return "P" + std::to_string(number); }

class Random {
 public:
  explicit Random(const Unit& unit)
      : engine_(std::hash<std::string>()(unit.experiment + "/" + unit.relation) +
                static_cast<size_t>(unit.part)) {}

  size_t below(size_t bound) { return engine_() % bound; }

  Value integer() {
    switch (below(8)) {
      case 0:
        return std::monostate();
      case 1:
        return std::numeric_limits<int64_t>::min();
      case 2:
        return std::numeric_limits<int64_t>::max();
      default:
        return static_cast<int64_t>(below(1000));
    }
  }

  Value real() {
    static const double kHard[] = {std::nan(""), kInfinity, -kInfinity, -0.0, 1,
                                   1e300,        5e-324,    0.1};
    if (below(2) == 0) return kHard[below(std::size(kHard))];
    return std::ldexp(static_cast<double>(engine_() >> 11), -static_cast<int>(below(80)));
  }

  Value text() {
    static const std::vector<std::string> kHard = {
        "",          "plain",          "a,b",  "say \"no\"", "two\r\nlines",        "Łódź 東京 🙂",
        "tab\there", " space around ", "NULL", "0.10",       std::string("a\0b", 3)};
    if (below(9) == 0) return std::monostate();
    return kHard[below(kHard.size())];
  }

  Value blob() {
    if (below(5) == 0) return std::monostate();
    std::vector<std::byte> bytes(below(40));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(below(256));
    return bytes;
  }

  Value of(ColumnType type) {
    switch (type) {
      case ColumnType::kInteger:
        return integer();
      case ColumnType::kReal:
        return real();
      case ColumnType::kText:
        return text();
      case ColumnType::kBlob:
        return blob();
    }
    return std::monostate();
  }

 private:
  std::mt19937_64 engine_;
};

std::vector<TableRows> facts_rows() {
  Random random(facts_unit());
  TableRows relations{"relation", {}};
  TableRows facts{"fact", {}};
  for (int r = 0; r < kRelations; ++r) {
    relations.rows.push_back(
        {relation_name(r), int64_t{kFactsEach}, random.integer(), random.integer()});
    for (int f = 0; f < kFactsEach; ++f) {
      facts.rows.push_back({static_cast<int64_t>(r * kFactsEach + f), relation_name(r),
                            random.text(), random.text(), random.integer(), int64_t{0}});
    }
  }
  // Children before their parents: the order of a unit's rows is free, the writer sorts them.
  return {facts, relations};
}

}  // namespace

Folder::Folder(bool large) {
  const std::filesystem::path memory = "/dev/shm";
  const bool usable = !large && ::access(memory.c_str(), W_OK) == 0;
  const std::filesystem::path base = usable ? memory : std::filesystem::temp_directory_path();
  std::string pattern = (base / "engram-store-XXXXXX").string();
  EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code unused;
  std::filesystem::remove_all(path_, unused);
}

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

Unit facts_unit() { return {"facts", "", 0}; }

std::vector<Unit> made_up_units(int relations) {
  std::vector<Unit> units = {facts_unit()};
  for (int r = 0; r < relations; ++r) {
    for (int64_t part = 0; part < 2; ++part) {
      units.push_back({r % 2 == 0 ? "locate" : "erase", relation_name(r), part});
    }
  }
  return units;
}

std::vector<TableRows> made_up_rows(const Unit& unit) {
  if (unit == facts_unit()) return facts_rows();
  Random random(unit);
  const int64_t fact = std::stoll(unit.relation.substr(1)) * kFactsEach + unit.part;
  std::vector<TableRows> tables;
  for (const char* name : {"score", "score_blob", "attribution"}) {
    const Table& table = run_table(name);
    TableRows rows{name, {}};
    for (int64_t prompt = static_cast<int64_t>(random.below(20)); prompt >= 0; --prompt) {
      Row row = {unit.experiment, fact, prompt};
      for (int64_t layer = 3; row.size() < table.key; ++layer) row.emplace_back(layer);
      for (size_t i = table.key; i < table.columns.size(); ++i) {
        row.push_back(random.of(table.columns[i].type));
      }
      rows.rows.push_back(std::move(row));
    }
    tables.push_back(std::move(rows));
  }
  TableRows problems{"problem", {{fact, random.integer(), random.text()}}};
  tables.push_back(problems);
  return tables;
}

void write_units(const std::filesystem::path& path, const std::vector<Unit>& units,
                 const RunIdentity& identity) {
  RunStore run = RunStore::open(path, RunStore::Mode::kContinue, identity);
  for (const Unit& unit : units) {
    if (!run.done(unit)) run.write(unit, made_up_rows(unit));
  }
  run.flush();
}

Content expected_content(const std::vector<Unit>& units) {
  Content content;
  for (const Unit& unit : units) {
    for (const TableRows& table : made_up_rows(unit)) {
      std::vector<Row>& rows = content[table.table];
      rows.insert(rows.end(), table.rows.begin(), table.rows.end());
    }
  }
  for (auto& [name, rows] : content) {
    for (Row& row : rows) {
      for (Value& value : row) {
        auto* real = std::get_if<double>(&value);
        if (real == nullptr) continue;
        if (std::isnan(*real)) {
          value = std::monostate();
        } else if (*real == 0) {
          *real = 0.0;
        }
      }
    }
    std::ranges::sort(rows);
  }
  return content;
}

Content actual_content(RunStore& run) {
  Content content;
  for (const char* name : {"relation", "fact", "score", "score_blob", "attribution", "problem"}) {
    std::vector<Row> rows = run.read(name);
    if (!rows.empty()) content[name] = std::move(rows);
  }
  return content;
}

void expect_words(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << word << " is not in: " << message;
  }
}

}  // namespace engram::testing
