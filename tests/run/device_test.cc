// Every experiment on an accelerator, against the same run on the CPU.
#include "engram/run/run.h"

#include <cstring>

#include "run/prepared_run.h"
#include "support/fake_device.h"

namespace engram {
namespace {

using testing::first_facts;
using testing::PreparedRun;
using testing::shipped;

// When the program is loaded: before autograd runs in any test.
const at::Device accelerator = testing::fake_device();

using Content = std::map<std::string, std::vector<Row>>;

Content whole_run(const Model& model) {
  std::vector<Fact> facts = first_facts({"P36"}, 2);
  for (Fact& fact : first_facts({"P30"}, 2)) facts.push_back(std::move(fact));
  PreparedRun prepared(std::move(facts), "device");
  RunOptions& options = prepared.options;
  // Nodes that are added until it is enough hang on rounding where it nearly is.
  options.locate.attribution.integration.steps = 4;
  options.draws = 2;
  options.stability_facts = 1;
  options.update_facts = 1;
  options.text_positions = 40;
  options.texts = (shipped().folder / "texts").string();
  prepared.write_corpus("The city lies on a river.\nHe was born in a small town in the north.\n");
  const RunContext run{model,   shipped().tokenizer, prepared.facts,
                       options, *prepared.store,     {/*threads=*/1, 0}};
  const RunSummary summary = execute_run(run, {});
  EXPECT_TRUE(summary.left_out.empty());
  prepared.store->flush();
  Content content;
  for (const Table& table : run_tables()) {
    if (table.kind != TableKind::kContent) continue;
    // The hash of a unit is that of its bits.
    if (std::string_view(table.name) != "unit")
      content[table.name] = prepared.store->read(table.name);
  }
  return content;
}

/// How far float32 in another order may take a number of a table. A gap is a difference of nearly
/// equal sums, and a rank moves by whole numbers where logits are that near each other. A
/// standardised difference is in units of a spread, which may be narrow.
double allowance(const std::string& column, double number) {
  if (column == "relative_gap") return 5e-3 * std::max(1.0, std::abs(number));
  if (column.ends_with("log_rank")) return 0.1;
  if (column.starts_with("difference_")) return 1e-3 * std::max(1.0, std::abs(number));
  return 1e-4 * std::max(1.0, std::abs(number));
}

/// Column `pairs` (docs/formats.md): 12 bytes a prompt, int32 fact and two float32 changes.
void expect_same_pairs(const std::vector<std::byte>& a, const std::vector<std::byte>& b,
                       const std::string& where) {
  constexpr size_t kPair = 12;
  ASSERT_EQ(a.size(), b.size()) << where;
  ASSERT_EQ(a.size() % kPair, 0U) << where;
  for (size_t at = 0; at < a.size(); at += kPair) {
    int32_t facts[2];
    float changes[2][2];
    std::memcpy(&facts[0], &a[at], 4);
    std::memcpy(&facts[1], &b[at], 4);
    std::memcpy(changes[0], &a[at + 4], 8);
    std::memcpy(changes[1], &b[at + 4], 8);
    EXPECT_EQ(facts[0], facts[1]) << where;
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(changes[0][i], changes[1][i], allowance("change", changes[0][i])) << where;
    }
  }
}

TEST(RunOnADevice, ComesToTheResultsOfTheCpu) {
  const Model on_device = Model::load(shipped().folder, accelerator);
  const Content here = whole_run(shipped().model);
  const Content there = whole_run(on_device);
  for (const auto& [table, rows] : here) {
    const std::vector<Row>& others = there.at(table);
    ASSERT_EQ(rows.size(), others.size()) << table;
    const bool of_audit = table == "screen" || table == "word_effect" || table == "push_effect" ||
                          table == "layer_share" || table.starts_with("method_") ||
                          table.starts_with("planting") || table.starts_with("nonfact_") ||
                          table.starts_with("truth");
    EXPECT_EQ(rows.empty(), table.ends_with("problem") || table == "score_blob" || of_audit)
        << table;
    for (size_t i = 0; i < rows.size(); ++i) {
      for (size_t at = 0; at < rows[i].size(); ++at) {
        const std::string column = run_table(table).columns[at].name;
        // Texts whose activations are equal but for rounding change places.
        if (table == "text_example" && (column == "text" || column == "tokens")) continue;
        // So do neurons with equal scores.
        if (table == "size_rank" && (column == "layer" || column == "neuron")) continue;
        const std::string where = table + " row " + std::to_string(i) + ", " + column;
        // A rank among thousands of tokens moves by some where logits are that near each other.
        if (table == "memory_key" && column.ends_with("rank") &&
            std::holds_alternative<int64_t>(rows[i][at])) {
          const auto rank = static_cast<double>(std::get<int64_t>(rows[i][at]));
          EXPECT_NEAR(rank, static_cast<double>(std::get<int64_t>(others[i][at])), 2 + 1e-3 * rank)
              << where;
          continue;
        }
        if (const auto* number = std::get_if<double>(&rows[i][at])) {
          EXPECT_NEAR(*number, real_of(others[i][at]), allowance(column, *number)) << where;
        } else if (const auto* blob = std::get_if<std::vector<std::byte>>(&rows[i][at])) {
          expect_same_pairs(*blob, std::get<std::vector<std::byte>>(others[i][at]), where);
        } else {
          EXPECT_EQ(rows[i][at], others[i][at]) << where;
        }
      }
    }
  }
}

}  // namespace
}  // namespace engram
