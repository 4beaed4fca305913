#include "report/test_run.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <set>

#include "base/random.h"
#include "experiments/sizes/rows.h"
#include "statistics/effect_sums.h"

namespace engram::testing {

namespace fs = std::filesystem;

TestRun::TestRun() {
  static int count = 0;
  folder_ = fs::temp_directory_path() /
            ("engram_report_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
  fs::create_directories(folder_);
  identity_["model"] = "sha256:0123456789abcdef";
}

TestRun::~TestRun() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

TestRun& TestRun::add(std::string_view table, const Named& values) {
  const Table& of = run_table(table);
  // What is not said is 0 or empty, but where NULL stands for something.
  const std::set<std::string_view> null = {"answer_rank", "success", "wrong_success",
                                           "wrong_target_before"};
  Row row(of.columns.size());
  for (size_t i = 0; i < row.size(); ++i) {
    if (of.columns[i].type == ColumnType::kText) row[i] = std::string();
    if (of.columns[i].type == ColumnType::kInteger && !null.contains(of.columns[i].name)) {
      row[i] = int64_t{0};
    }
  }
  for (const auto& [name, value] : values) row[of.column(name)] = value;
  rows_[std::string(table)].push_back(std::move(row));
  return *this;
}

TestRun& TestRun::fact(int64_t id, const std::string& relation, const std::string& subject,
                       const std::string& object, int64_t prompts, int64_t held_out) {
  bool known = false;
  for (const Row& row : rows_["relation"])
    known = known || std::get<std::string>(row[0]) == relation;
  if (!known) add("relation", {{"relation", relation}});
  add("fact", {{"fact", id},
               {"relation", relation},
               {"subject", subject},
               {"object", object},
               {"answer_tokens", int64_t{1}},
               {"copies", int64_t{0}}});
  for (int64_t p = 0; p < prompts + held_out; ++p) {
    add("prompt", {{"fact", id},
                   {"held_out", static_cast<int64_t>(p >= prompts)},
                   {"prompt", p},
                   {"text", subject + " is [MASK]."}});
  }
  return *this;
}

TestRun& TestRun::neurons(const std::string& source, int64_t fact,
                          const std::vector<std::pair<int64_t, int64_t>>& ids) {
  for (const auto& [layer, neuron] : ids) {
    add("neuron", {{"source", source}, {"fact", fact}, {"layer", layer}, {"neuron", neuron}});
  }
  return *this;
}

TestRun& TestRun::identity(const std::string& name, const std::string& value) {
  identity_[name] = value;
  return *this;
}

TestRun& TestRun::command(const std::string& text) {
  command_ = text;
  return *this;
}

TestRun& TestRun::skip(const std::string& experiment, const std::string& reason) {
  skipped_[experiment] = reason;
  return *this;
}

RunStore TestRun::write() {
  const fs::path path = folder_ / "run.db";
  {
    RunStore store = RunStore::open(path, RunStore::Mode::kContinue, identity_);
    store.begin_session(command_, "0.1.0");
    std::vector<TableRows> rows;
    for (auto& [table, list] : rows_) rows.push_back({table, std::move(list)});
    rows_.clear();
    if (!rows.empty()) store.write({"locate", "P19", 0}, std::move(rows));
    for (const auto& [experiment, reason] : skipped_) store.skip(experiment, reason);
    store.flush();
    store.end_session();
  }
  return RunStore::open(path, RunStore::Mode::kRead);
}

// --- the demonstration ---------------------------------------------------------------------------

namespace {

constexpr int64_t kLayers = 6;
constexpr int64_t kWidth = 512;
constexpr int64_t kFacts = 12;  // per relation

class Demo {
 public:
  explicit Demo(TestRun& run) : run_(run) {}

  void fill() {
    const std::string hash = "sha256:" + std::string(64, 'a');
    run_.identity("model", hash).identity("facts", hash).identity("seed", "0");
    run_.add("model", {{"name", std::string("layers")}, {"value", kLayers}});
    run_.add("model", {{"name", std::string("d_ff")}, {"value", kWidth}});
    const std::array<std::string, 5> relations = {"P19", "P106", "P36", "P1412", "P176"};
    for (size_t r = 0; r < relations.size(); ++r) {
      for (int64_t f = 0; f < kFacts; ++f) {
        const int64_t id = static_cast<int64_t>(r) * kFacts + f;
        const bool hostile = id == 3;
        run_.fact(id, relations[r],
                  hostile ? "<script>alert(1)</script>" : "Subject " + std::to_string(id),
                  "Object " + std::to_string(f), 8, 4);
        fill_fact(id, r);
      }
      fill_relation(relations[r], r);
    }
    run_.add("problem", {{"problem", int64_t{0}},
                         {"line", int64_t{17}},
                         {"message", std::string("facts.jsonl:17: answer \"<b>x</b>\" & more")}});
    fill_memories();
    run_.skip("unions", "needs all relations: run the same command without --shard");
  }

 private:
  double uniform() { return static_cast<double>(random_.next() >> 11U) * 0x1p-53; }
  double around(double mean, double spread) { return mean + spread * (uniform() - 0.5); }

  std::vector<std::pair<int64_t, int64_t>> set(size_t relation, bool baseline) {
    std::map<std::pair<int64_t, int64_t>, bool> chosen;
    const uint64_t size = random_.below(6);
    for (uint64_t i = 0; i < size; ++i) {
      const bool shared = uniform() < (baseline ? 0.7 : 0.3);
      const auto layer = static_cast<int64_t>(std::sqrt(uniform()) * kLayers);
      const int64_t neuron = shared ? static_cast<int64_t>(random_.below(4) + 7 * relation)
                                    : static_cast<int64_t>(random_.below(kWidth));
      chosen[{shared && baseline ? 5 : layer, neuron}] = true;
    }
    std::vector<std::pair<int64_t, int64_t>> ids;
    for (const auto& [id, there] : chosen) ids.push_back(id);
    return ids;
  }

  void fill_fact(int64_t id, size_t relation) {
    for (const char* method : {"ig", "activation", "ig-riemann-left"}) {
      const std::string name = method;
      for (int64_t p = 0; p < 8; ++p) {
        TestRun::Named row = {{"method", name},
                              {"fact", id},
                              {"prompt", p},
                              {"p", uniform()},
                              {"answer_rank", static_cast<int64_t>(1 + random_.below(4))},
                              {"largest", 0.1},
                              {"converged", int64_t{1}}};
        if (name != "activation") {
          row["relative_gap"] = std::pow(10.0, around(name == "ig" ? -4 : -1.5, 2));
          row["nodes"] = name == "ig" ? 2.0 : 20.0;
        }
        run_.add("attribution", row);
      }
    }
    run_.neurons("ig", id, set(relation, false));
    run_.neurons("activation", id, set(relation, true));
    run_.neurons("ig-half-0", id, set(relation, false));
    run_.neurons("ig-half-1", id, set(relation, false));
    run_.neurons("ig-riemann-left", id, set(relation, false));
    fill_effects(id);
    fill_edits(id);
    fill_texts(id);
    fill_sizes(id);
  }

  void fill_effects(int64_t id) {
    for (const char* operation : {"zero", "double"}) {
      const double sign = std::string_view(operation) == "zero" ? -1 : 1;
      size_t strength = 0;
      for (const char* source : {"ig", "activation", "random-layer", "random-activation",
                                 "random-gradient", "next", "other-fact", "activation-same-k"}) {
        constexpr std::array<double, 8> kEffect = {0.3, 0.02, 0.01, 0.03, 0.12, 0.15, 0.1, 0.02};
        if (strength > 1) {
          run_.add("effect_set", {{"operation", std::string(operation)},
                                  {"source", std::string(source)},
                                  {"fact", id},
                                  {"sets", int64_t{strength < 5 ? 20 : 1}},
                                  {"neurons", 4.0},
                                  {"overlap", strength == 6 ? 0.5 : 0.0},
                                  {"missing", int64_t{0}},
                                  {"difference_activation", around(0.3, 0.1)},
                                  {"difference_value", around(0.1, 0.1)},
                                  {"difference_product", around(1.5, 0.1)}});
        }
        const double effect = sign * kEffect[strength++];
        for (const char* scope :
             {"own", "held-out", "same-relation-same-object", "same-relation-other-object",
              "other-relations-same-object", "other-relations-other-object", "text"}) {
          const bool near =
              std::string_view(scope) == "own" || std::string_view(scope) == "held-out";
          const double change = around(effect * (near ? 1 : 0.1), 0.05);
          run_.add("effect", {{"operation", std::string(operation)},
                              {"source", std::string(source)},
                              {"fact", id},
                              {"scope", std::string(scope)},
                              {"neurons", int64_t{4}},
                              {"prompts", int64_t{8}},
                              {"log_odds", 12.0 - static_cast<double>(id % 5)},
                              {"p", 4.0 + static_cast<double>(id % 3)},
                              {"log_p", -9.0},
                              {"top", id % 4 == 0 ? 0.0 : 5.0},
                              {"log_rank", 3.0},
                              {"known", int64_t{5}},
                              {"known_p", 3.5},
                              {"change_log_odds", 24.0 * change},
                              {"change_p", 4.0 * change},
                              {"change_log_p", 8.0 * change},
                              {"change_top", 2.0 * change},
                              {"change_log_rank", -4.0 * change},
                              {"change_known_p", 3.5 * change},
                              {"pairs", near ? Value() : Value(pairs_of(id, 3.0 * change))}});
        }
      }
    }
  }

  /// Eight prompts of other facts, all changed by as much.
  static std::vector<std::byte> pairs_of(int64_t id, double log_odds) {
    std::vector<EffectPair> pairs(8);
    for (size_t i = 0; i < pairs.size(); ++i) {
      pairs[i].witness = static_cast<int32_t>((id + 7 * static_cast<int64_t>(i) + 1) % 60);
      pairs[i].log_odds[0] = static_cast<float>(log_odds);
    }
    return pair_bytes(pairs, 0, [](int32_t witness) { return witness; });
  }

  void fill_edits(int64_t id) {
    std::vector<std::string> variants = {"knowledge", "activation", "random", "random-activated",
                                         "output"};
    for (const char* setting :
         {"l1=1,l2=8,n=all", "l1=0,l2=8,n=all", "l1=2,l2=8,n=all", "l1=1,l2=1,n=all",
          "l1=1,l2=4,n=all", "l1=1,l2=16,n=all", "l1=1,l2=8,n=1", "l1=1,l2=8,n=2"}) {
      variants.push_back(std::string("sweep/") + setting);
    }
    for (size_t v = 0; v < variants.size(); ++v) {
      const int64_t neurons = id % 7 == 0 ? 0 : 3;
      run_.add("edit", {{"fact", id},
                        {"variant", variants[v]},
                        {"old", std::string("o")},
                        {"target", std::string("o'")},
                        {"target_p", uniform() * 0.2},
                        {"target_rank", 1 + uniform() * 50},
                        {"right", static_cast<int64_t>(id % 5 != 0)},
                        {"neurons", neurons},
                        {"lambda1", 1.0},
                        {"lambda2", 8.0}});
      if (neurons == 0) continue;
      for (const char* scope : {"own", "held-out", "same-relation", "other-relations", "text"}) {
        const auto changed = static_cast<int64_t>(random_.below(v == 0 ? 7 : 3));
        run_.add("edit_effect", {{"fact", id},
                                 {"variant", variants[v]},
                                 {"scope", std::string(scope)},
                                 {"prompts", int64_t{8}},
                                 {"right", int64_t{6}},
                                 {"changed", changed},
                                 {"success", changed / 2},
                                 {"log_p_before", -16.0},
                                 {"log_p_after", around(-17, 2)}});
      }
    }
  }

  void fill_texts(int64_t id) {
    struct Mean {
      const char* kind;
      const char* mask;
      double ig;
    };
    for (const Mean& mean :
         {Mean{"both", "released", 0.4}, Mean{"head", "released", 0.05},
          Mean{"random", "released", -0.01}, Mean{"tail", "released", 0.1},
          Mean{"both", "name", 0.35}, Mean{"head", "name", 0.3}, Mean{"tail", "name", 0.2},
          Mean{"random", "name", 0.1}, Mean{"both", "word", 0.06}, Mean{"tail", "object", 0.3}}) {
      for (const char* source : {"ig", "activation", "random-layer"}) {
        const double level = std::string_view(source) == "random-layer" ? 0.0 : mean.ig;
        run_.add("text_activation", {{"fact", id},
                                     {"source", std::string(source)},
                                     {"kind", std::string(mean.kind)},
                                     {"mask", std::string(mean.mask)},
                                     {"draw", int64_t{0}},
                                     {"texts", int64_t{10}},
                                     {"sum", 10 * around(level, 0.1)}});
        const double odds = 5 * mean.ig - 3;  // mean log-odds; their variance is 1
        run_.add("text_odds", {{"fact", id},
                               {"source", std::string(source)},
                               {"kind", std::string(mean.kind)},
                               {"mask", std::string(mean.mask)},
                               {"draw", int64_t{0}},
                               {"texts", int64_t{10}},
                               {"log_odds", 10 * odds},
                               {"activation", 10 * level},
                               {"log_odds_squared", 10 * (odds * odds + 1)},
                               {"product", 10 * (odds * level + 0.1)}});
      }
    }
  }

  void fill_sizes(int64_t id) {
    for (const char* order : experiments::sizes::kOrders) {
      const double each = std::string_view(order) == experiments::sizes::kByScore ? -0.2 : -0.02;
      for (const int64_t k : experiments::sizes::kSizes) {
        const double change = each * static_cast<double>(k);
        run_.add("size_effect", {{"fact", id},
                                 {"order", std::string(order)},
                                 {"k", k},
                                 {"prompts", int64_t{4}},
                                 {"log_odds", 4.0},
                                 {"top", int64_t{4}},
                                 {"change_log_odds", 4 * around(change, 0.1)},
                                 {"change_p", 0.1 * change},
                                 {"top_after", int64_t{change < -3 ? 0 : 4}}});
      }
    }
  }

  void fill_memories() {
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      for (int64_t key = 0; key < 8; ++key) {
        const bool triggered = key > 0;
        TestRun::Named row = {{"layer", layer},
                              {"neuron", 3 * key},
                              {"triggers", triggered ? int64_t{25} : int64_t{0}},
                              {"shared", key},
                              {"has_pattern", int64_t{key >= 3 ? 1 : 0}},
                              {"direction_pattern", int64_t{key >= 4 ? 1 : 0}},
                              {"shuffled_pattern", int64_t{key >= 7 ? 1 : 0}},
                              {"top_token", std::string("<i>of</i>")},
                              {"top_p", uniform()}};
        const TestRun::Named of_trigger = {{"pattern", std::string("the city")},
                                           {"agrees", int64_t{key == 7 && layer > 3 ? 1 : 0}},
                                           {"rank", 100 * key},
                                           {"chance", 0.01},
                                           {"chance_rank", 150 * key},
                                           {"trigger", std::string("in the city")},
                                           {"next", std::string("of")}};
        for (const auto& [name, value] : of_trigger) {
          row[name] = triggered ? value : Value(std::monostate{});
        }
        run_.add("memory_key", row);
      }
    }
  }

  void fill_relation(const std::string& relation, size_t r) {
    for (const char* source : {"ig", "activation", "ig-half-0", "ig-half-1", "ig-riemann-left"}) {
      run_.add("selection", {{"source", std::string(source)},
                             {"relation", relation},
                             {"facts", kFacts},
                             {"share", 0.7},
                             {"passes", int64_t{2}},
                             {"mean", 2.5},
                             {"within", int64_t{1}},
                             {"too_few", int64_t{0}},
                             {"negative", int64_t{1}}});
    }
    run_.add("relation_neuron", {{"source", std::string("ig")},
                                 {"relation", relation},
                                 {"place", int64_t{0}},
                                 {"layer", int64_t{4}},
                                 {"neuron", static_cast<int64_t>(r)},
                                 {"facts", int64_t{5}}});
    for (const char* operation : {"zero", "double"}) {
      for (const char* source : {"random-layer", "random-activation", "random-gradient"}) {
        for (const char* scope : {"own", "held-out"}) {
          for (int64_t draw = 0; draw < 20; ++draw) {
            run_.add("effect_draw", {{"operation", std::string(operation)},
                                     {"source", std::string(source)},
                                     {"relation", relation},
                                     {"part", int64_t{0}},
                                     {"scope", std::string(scope)},
                                     {"draw", draw},
                                     {"change_log_odds", around(0, 4)}});
          }
        }
      }
    }
    fill_erase(relation);
    for (int64_t lowest = 0; lowest < 2; ++lowest) {
      for (int64_t place = 0; place < 3; ++place) {
        run_.add(
            "text_example",
            {{"relation", relation},
             {"layer", int64_t{4}},
             {"neuron", static_cast<int64_t>(r)},
             {"lowest", lowest},
             {"place", place},
             {"activation", lowest != 0 ? -0.17 : 3.2 - 0.3 * static_cast<double>(place)},
             {"text", std::string("The capital of <France> is Paris.")},
             {"tokens",
              std::string(
                  R"([["The",0.01],["capital",1.4],["of",-0.1],["<France>",0.6],["is",3.2],["Par",-0.17],["##is",0.9],[".",0.0]])")}});
      }
    }
  }

  void fill_erase(const std::string& relation) {
    const auto erase = [&](const std::string& source, int64_t draw, const std::string& mode,
                           int64_t neurons, double strength) {
      for (const char* scope : {"own", "held-out", "other-relations", "text"}) {
        const bool inside =
            std::string_view(scope) == "own" || std::string_view(scope) == "held-out";
        const double rise = std::max(0.0, around(inside ? strength : 0.1 * strength, 0.3));
        run_.add("erase", {{"relation", relation},
                           {"source", source},
                           {"draw", draw},
                           {"mode", mode},
                           {"neurons", neurons},
                           {"scope", std::string(scope)},
                           {"prompts", int64_t{100}},
                           {"log_p_before", -200.0},
                           {"log_p_after", -200.0 - 100 * rise},
                           {"p_before", 40.0},
                           {"p_after", 40 * std::exp(-rise)},
                           {"top_before", int64_t{60}},
                           {"top_after", static_cast<int64_t>(60 * std::exp(-rise))},
                           {"log_rank_before", 80.0},
                           {"log_rank_after", 80.0 + 60 * rise},
                           {"log_odds_before", 100.0},
                           {"log_odds_after", 100.0 - 150 * rise}});
      }
    };
    for (const int64_t neurons : {5, 10, 20, 40}) {
      erase("relation", 0, "zero", neurons, 0.05 * static_cast<double>(neurons));
      for (int64_t draw = 0; draw < 2; ++draw) {
        erase("random-layer", draw, "zero", neurons, 0.004 * static_cast<double>(neurons));
      }
    }
    erase("relation", 0, "unk", 20, 1.4);
    erase("relation", 0, "mean", 20, 0.9);
    erase("random-activation", 0, "zero", 20, 0.1);
    erase("random-gradient", 0, "zero", 20, 0.3);
    for (const char* mode : {"none", "zero", "unk", "mean"}) {
      for (const int64_t held_out : {0, 1}) {
        for (int64_t layer = 0; layer <= kLayers; ++layer) {
          const double rank = 60.0 * (1.2 - static_cast<double>(layer) / kLayers) +
                              (std::string_view(mode) == "none" ? 0 : 12);
          run_.add("lens", {{"relation", relation},
                            {"mode", std::string(mode)},
                            {"neurons", int64_t{20}},
                            {"held_out", held_out},
                            {"layer", layer},
                            {"prompts", int64_t{10}},
                            {"log_p", -30.0},
                            {"log_rank", around(rank, 5)},
                            {"top", int64_t{layer}}});
        }
      }
    }
  }

  TestRun& run_;
  Random random_{7};
};

}  // namespace

void fill_demo(TestRun& run) { Demo(run).fill(); }

}  // namespace engram::testing
