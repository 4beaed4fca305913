// Runs in one file, as a user has them: killed, interrupted, resumed, sharded, merged, refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "cli/run_engram.h"
#include "engram/store/run_store.h"
#include "store/database.h"
#include "support/packed.h"
#include "support/sanitizer.h"

namespace engram::testing {
namespace {

using Json = nlohmann::json;

const std::string kModel = std::string(ENGRAM_SOURCE_DIR) + "/models/engram-base";

/// Facts whose words the tiny vocabularies know.
std::string tiny_facts(const TemporaryFolder& folder, size_t relations, size_t facts) {
  const std::vector<std::string> objects = {"Paris", "Berlin"};
  std::string text;
  for (size_t r = 0; r < relations; ++r) {
    for (size_t i = 0; i < facts; ++i) {
      const std::string subject = "France " + std::to_string(i);
      Json fact = {{"relation", "P" + std::to_string(r)},
                   {"subject", subject},
                   {"object", objects[i % 2]},
                   {"held_out", {"The city of [MASK] is the capital of " + subject + "."}}};
      for (const char* pattern :
           {"The capital of X is [MASK].", "X has the capital [MASK].",
            "[MASK] is the capital of X", "In X, the capital is [MASK].",
            "The capital city of X is [MASK].", "[MASK], the capital of X."}) {
        std::string prompt = pattern;
        fact["prompts"].push_back(prompt.replace(prompt.find('X'), 1, subject));
      }
      text += fact.dump() + "\n";
    }
  }
  const std::string file = folder.file("tiny.jsonl");
  write_text(file, text);
  return file;
}

/// A few facts of each of a few relations of the shipped model.
std::string small_facts(const TemporaryFolder& folder, size_t relations, size_t facts) {
  std::map<std::string, size_t> taken;
  std::string text;
  for (const std::string& line : lines_of(read_text(kModel + "/facts.jsonl"))) {
    const std::string relation = Json::parse(line).at("relation");
    if (!taken.contains(relation) && taken.size() == relations) continue;
    if (taken[relation]++ < facts) text += line + "\n";
  }
  const std::string file = folder.file("facts.jsonl");
  write_text(file, text);
  return file;
}

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Every experiment on the tiny model, with the shipped model's texts.
std::vector<std::string> reproduce(const std::string& facts, const std::string& run,
                                   const std::vector<std::string>& more = {}) {
  std::vector<std::string> all = with({"reproduce", tiny_model(), "--facts", facts, "--run", run,
                                       "--draws", "2", "--stability-facts", "1", "--update-facts",
                                       "2", "--text-positions", "20", "--texts", kModel + "/texts"},
                                      more);
  if (std::ranges::find(more, "--corpus") == more.end()) {
    all.insert(all.end(), {"--corpus", kModel + "/corpus.txt"});
  }
  return all;
}

std::string difference(const std::string& a, const std::string& b) {
  RunStore first = RunStore::open(a, RunStore::Mode::kRead);
  RunStore second = RunStore::open(b, RunStore::Mode::kRead);
  return run_difference(first, second).value_or("");
}

class Reproduce : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(Reproduce, ContentDependsNeitherOnThreadsNorOnMemory) {
  const std::string facts = tiny_facts(folder_, 2, 4);
  const std::string one = folder_.file("one.db");
  const std::string two = folder_.file("two.db");
  const Outcome first = run_engram(reproduce(facts, one, {"--threads", "1"}));
  ASSERT_EQ(first.code, 0) << first.err;
  const Outcome second = run_engram(reproduce(facts, two, {"--threads", "3", "--memory", "64M"}));
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_NE(second.err.find("--memory has room for 1 of 3 workers"), std::string::npos)
      << second.err;
  EXPECT_EQ(difference(one, two), "");
  // The same command again has nothing to do, and says so.
  const Outcome again = run_engram(reproduce(facts, one, {"--json"}));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(Json::parse(again.out).at("units_done"), 0);
  EXPECT_GT(Json::parse(again.out).at("units_done_before"), 4);
}

TEST_F(Reproduce, EveryCommandWithARunHeedsItsMemory) {
  const std::string facts = tiny_facts(folder_, 1, 2);
  const std::vector<std::string> shared{"--threads", "3", "--memory", "600M"};
  const std::string said = "--memory has room for 2 of 3 workers";
  const std::string run = folder_.file("run.db");
  const Outcome located =
      run_engram(with({"locate", tiny_model(), "--facts", facts, "--run", run}, shared));
  ASSERT_EQ(located.code, 0) << located.err;
  EXPECT_NE(located.err.find(said), std::string::npos) << located.err;
  const Outcome intervened = run_engram(
      with({"intervene", tiny_model(), "--facts", facts, "--run", run, "--do", "zero"}, shared));
  ASSERT_EQ(intervened.code, 0) << intervened.err;
  EXPECT_NE(intervened.err.find(said), std::string::npos) << intervened.err;
}

TEST_F(Reproduce, ShardsMergedAreTheWholeRun) {
  const std::string facts = tiny_facts(folder_, 3, 4);
  const std::string whole = folder_.file("whole.db");
  ASSERT_EQ(run_engram(reproduce(facts, whole)).code, 0);
  // First what is located: controls avoid the neurons of all relations.
  const auto shards = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> merge = {"merge", folder_.file(name + ".db")};
    for (const std::string shard : {"1", "2"}) {
      merge.push_back(folder_.file(name + shard + ".db"));
      std::vector<std::string> options = {"--shard", shard + "/2", "--json"};
      options.insert(options.end(), more.begin(), more.end());
      if (more.empty()) std::filesystem::copy_file(folder_.file("located.db"), merge.back());
      const Outcome outcome = run_engram(reproduce(facts, merge.back(), options));
      EXPECT_EQ(outcome.code, 0) << outcome.err;
    }
    const Outcome merged = run_engram(merge);
    EXPECT_EQ(merged.code, 0) << merged.err;
    // What is left, and with which command it is done.
    EXPECT_NE(merged.err.find("not done yet for all relations: "), std::string::npos) << merged.err;
    EXPECT_NE(merged.err.find("unions"), std::string::npos) << merged.err;
    EXPECT_EQ(merged.err.find("effects") != std::string::npos, !more.empty()) << merged.err;
    EXPECT_NE(merged.err.find("reproduce " + tiny_model()), std::string::npos) << merged.err;
    EXPECT_NE(merged.err.find("--run " + merge[1]), std::string::npos) << merged.err;
    const size_t command = merged.err.find("engram reproduce");
    EXPECT_EQ(merged.err.find("--shard", command), std::string::npos) << merged.err;
    EXPECT_EQ(merged.err.find("--only", command), std::string::npos) << merged.err;
    return merge;
  };
  const std::vector<std::string> located = shards("located", {"--only", "locate"});
  const Outcome early = run_engram(reproduce(facts, located[2], {"--shard", "1/2", "--json"}));
  ASSERT_EQ(early.code, 0) << early.err;
  std::string reason;
  const Json said = Json::parse(early.out);
  for (const Json& one : said.at("skipped")) {
    if (one.at("experiment") == "effects") reason += one.at("reason").get<std::string>();
  }
  EXPECT_NE(reason.find("--only locate, merge"), std::string::npos) << early.out;
  const std::vector<std::string> merge = shards("merged", {});
  // What needs all relations is done now.
  const Outcome rest = run_engram(reproduce(facts, merge[1], {"--json"}));
  ASSERT_EQ(rest.code, 0) << rest.err;
  EXPECT_GT(Json::parse(rest.out).at("units_done_before"), 3);
  EXPECT_EQ(difference(whole, merge[1]), "");

  // A run of another seed is no part of it.
  const std::string other = folder_.file("other.db");
  ASSERT_EQ(run_engram(reproduce(facts, other, {"--seed", "5", "--only", "locate"})).code, 0);
  const Outcome refused = run_engram({"merge", folder_.file("bad.db"), merge[2], other});
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.err.find("seed"), std::string::npos) << refused.err;
}

TEST_F(Reproduce, AnotherRunIsRefusedWithTheDifference) {
  const std::string facts = tiny_facts(folder_, 1, 3);
  const std::string run = folder_.file("run.db");
  ASSERT_EQ(run_engram(reproduce(facts, run, {"--only", "locate"})).code, 0);
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& name) {
    const Outcome outcome = run_engram(arguments);
    EXPECT_EQ(outcome.code, 3) << name;
    EXPECT_NE(outcome.err.find(name), std::string::npos) << outcome.err;
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  };
  refused(reproduce(facts, run, {"--seed", "1"}), "seed");
  refused(reproduce(facts, run, {"--preset", "eleuther"}), "selection");
  refused(reproduce(tiny_facts(folder_, 2, 3), run), "facts");
  std::vector<std::string> other_model = reproduce(tiny_facts(folder_, 1, 3), run);
  other_model[1] = tiny_model("distilbert-tiny");
  refused(other_model, "model");
  EXPECT_EQ(run_engram(reproduce(facts, run, {"--only", "nonsense"})).code, 2);
  EXPECT_EQ(run_engram(reproduce(facts, run, {"--shard", "3/2"})).code, 2);
}

TEST_F(Reproduce, CtrlCKeepsWhatIsDone) {
  const std::string facts = tiny_facts(folder_, 2, 6);
  const std::string whole = folder_.file("whole.db");
  ASSERT_EQ(run_engram(reproduce(facts, whole)).code, 0);
  const std::string run = folder_.file("run.db");
  RunSetup setup;
  setup.signals = {SIGINT};
  setup.signal_after = std::chrono::milliseconds(700);
  Outcome outcome = run_engram(reproduce(facts, run), setup);
  // On a busy machine the run had not begun, or not even the program.
  const auto begun = [&] {
    return std::filesystem::exists(run) &&
           run_engram({"status", run}).out.find(run + ": new") == std::string::npos;
  };
  while (outcome.code == 130 && !begun()) {
    setup.signal_after *= 2;
    outcome = run_engram(reproduce(facts, run), setup);
  }
  if (outcome.code != 0) {  // else it was done already
    EXPECT_EQ(outcome.code, 130);
    EXPECT_NE(outcome.err.find("kept in"), std::string::npos) << outcome.err;
    const Outcome status = run_engram({"status", run});
    EXPECT_NE(status.out.find(run + ": interrupted"), std::string::npos) << status.out;
    outcome = run_engram(reproduce(facts, run));
  }
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(difference(whole, run), "");
}

TEST_F(Reproduce, AsPublishedAllPromptsLocateAndTest) {
  const std::string facts = tiny_facts(folder_, 1, 24);
  const std::string run = folder_.file("run.db");
  const std::vector<std::string> published =
      reproduce(facts, run,
                {"--as-published", "--interpolate", "--only", "locate,effects,update,erase,texts"});
  const Outcome outcome = run_engram(published);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  RunStore store = RunStore::open(run, RunStore::Mode::kRead);
  EXPECT_EQ(store.identity().at("rule"), "riemann-left");
  EXPECT_EQ(store.identity().at("steps"), "20");
  EXPECT_EQ(store.identity().at("norm_epsilon"), "1e-05");
  const auto count = [&](const char* table, const char* column, const Value& value) {
    return store.read(table, {{column, value}}).size();
  };
  EXPECT_EQ(count("prompt", "held_out", int64_t{1}), 0U);
  EXPECT_EQ(count("fact", "copies", int64_t{1}), 0U);
  EXPECT_EQ(count("effect", "scope", std::string("held-out")), 0U);
  EXPECT_GT(count("effect", "scope", std::string("own")), 0U);
  const size_t edits = count("edit", "variant", std::string("knowledge"));
  EXPECT_GT(edits, 0U);
  EXPECT_EQ(count("edit", "variant", std::string("random")), edits);
  EXPECT_EQ(store.read("edit", {}).size(), 2 * edits);
  const Outcome report = run_engram({"report", run, "-o", folder_.file("report.html")});
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_NE(read_text(folder_.file("report.html")).find("This run beside the paper"),
            std::string::npos);

  const std::string other = folder_.file("other.db");
  const Outcome preset =
      run_engram(reproduce(facts, other, {"--as-published", "--preset", "eleuther"}));
  EXPECT_EQ(preset.code, 2);
  EXPECT_NE(preset.err.find("--preset"), std::string::npos) << preset.err;
  EXPECT_EQ(run_engram(reproduce(facts, other, {"--interpolate"})).code, 2);
}

TEST_F(Reproduce, AnotherAlgorithmIsRefusedAndAnotherVersionOfTheProgramIsNot) {
  const std::string facts = tiny_facts(folder_, 1, 3);
  const std::string run = folder_.file("run.db");
  const std::vector<std::string> located = reproduce(facts, run, {"--only", "locate"});
  ASSERT_EQ(run_engram(located).code, 0);
  const auto change = [&](const std::string& sql) {
    Database database(run, Database::Access::kWrite);
    database.execute(sql);
  };
  // The program's version stands in the ledger alone.
  change("UPDATE session SET version = '0.0.1'");
  EXPECT_EQ(run_engram(located).code, 0);
  // Nothing is there of experiments that have not begun: they are done as this program does.
  const std::string whole = folder_.file("whole.db");
  std::filesystem::copy_file(run, whole);
  change("UPDATE identity SET value = '99' WHERE name = 'algorithm.effects'");
  change("DELETE FROM identity WHERE name = 'algorithm.texts'");
  const Outcome gone_on = run_engram(located);
  EXPECT_EQ(gone_on.code, 0) << gone_on.err;
  EXPECT_EQ(difference(whole, run), "");
  // A single intervention is of the same algorithm.
  change("INSERT INTO unit VALUES ('effects scale:0.5', 'P19', 0, 0, '')");
  change("UPDATE identity SET value = '99' WHERE name = 'algorithm.effects'");
  EXPECT_EQ(run_engram(located).code, 3);
  change("DELETE FROM unit WHERE experiment = 'effects scale:0.5'");
  change("UPDATE identity SET value = '99' WHERE name = 'algorithm.locate'");
  const std::string before = read_text(run);
  const Outcome refused = run_engram(located);
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.err.find("algorithm.locate: \"99\" in the run"), std::string::npos)
      << refused.err;
  EXPECT_EQ(refused.err.find("algorithm.effects"), std::string::npos) << refused.err;
  EXPECT_EQ(read_text(run), before) << "what is refused is not written to";
}

/// Kills of the test below: $ENGRAM_KILLS, else 40; a few where a sanitizer makes starts slow.
int64_t wanted_kills() {
  if (const char* text = std::getenv("ENGRAM_KILLS")) return std::strtoll(text, nullptr, 10);
  return kAddressSanitizer ? 10 : 40;
}

TEST_F(Reproduce, KilledAtAnyMomentEndsTheSame) {
  const std::string facts = small_facts(folder_, 2, 2);
  const auto arguments = [&](const std::string& run) {
    return std::vector<std::string>{"reproduce",
                                    kModel,
                                    "--facts",
                                    facts,
                                    "--run",
                                    run,
                                    "--threads",
                                    "1",
                                    "--draws",
                                    "1",
                                    "--stability-facts",
                                    "1",
                                    "--only",
                                    "locate,stability,effects"};
  };
  const std::string whole = folder_.file("whole.db");
  const Outcome first = run_engram(arguments(whole));
  ASSERT_EQ(first.code, 0) << first.err;
  Random random(static_cast<uint64_t>(wanted_kills()));
  int64_t kills = 0;
  for (int64_t round = 0; kills < wanted_kills(); ++round) {
    const std::string run = folder_.file("run" + std::to_string(round) + ".db");
    for (;;) {
      RunSetup setup;
      if (kills < wanted_kills()) {
        // Some kills come before anything is written: starting is part of it.
        setup.signals = {SIGKILL};
        const auto range = static_cast<uint64_t>(first.seconds * 250) + 100;
        setup.signal_after = std::chrono::milliseconds(10 + random.below(range));
      }
      const Outcome outcome = run_engram(arguments(run), setup);
      if (outcome.code == 128 + SIGKILL) {
        ++kills;
        continue;
      }
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      break;
    }
    ASSERT_EQ(difference(whole, run), "") << "after " << kills << " kills";
  }
  RecordProperty("kills", static_cast<int>(kills));
}

TEST_F(Reproduce, LocateWithARunFindsTheSameNeurons) {
  const std::string facts = small_facts(folder_, 2, 5);
  const std::string run = folder_.file("run.db");
  const std::vector<std::string> plain = {"locate", kModel, "--facts", facts, "--json"};
  std::vector<std::string> kept = plain;
  kept.insert(kept.end(), {"--run", run});
  const auto facts_of = [](const Outcome& outcome) {
    std::map<std::string, Json> found;
    for (const std::string& line : lines_of(outcome.out)) {
      const Json row = Json::parse(line);
      if (row.at("record") != "fact") continue;
      Json& neurons =
          found[row.at("relation").get<std::string>() + row.at("subject").get<std::string>()];
      for (const Json& neuron : row.at("neurons")) {
        neurons.push_back({neuron.at("layer"), neuron.at("neuron"), neuron.at("prompts")});
      }
    }
    return found;
  };
  const Outcome once = run_engram(plain);
  ASSERT_EQ(once.code, 0) << once.err;
  const Outcome stored = run_engram(kept);
  ASSERT_EQ(stored.code, 0) << stored.err;
  EXPECT_EQ(facts_of(once).size(), 10U);
  EXPECT_EQ(facts_of(once), facts_of(stored));
  // Read again from the file, bit for bit.
  const Outcome again = run_engram(kept);
  EXPECT_EQ(stored.out, again.out);
}

TEST_F(Reproduce, EveryProblemThatIsCountedStandsInTheTable) {
  // The message used to count broken lines, too, which the table and the report did not have.
  const std::string facts = tiny_facts(folder_, 2, 3);
  const std::string unknown =
      R"({"relation":"P0","subject":"France","object":"\u6f22zebra","prompts":["The [MASK]."]})";
  write_text(facts, read_text(facts) + "not json\n" + unknown + "\n{\"relation\":\"P0\"}\n");
  const std::string run = folder_.file("run.db");
  const Outcome outcome =
      run_engram(reproduce(facts, run, {"--only", "locate", "--relations", "P0,P1", "--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("3 facts or lines of "), std::string::npos) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out).at("problems"), 3);
  RunStore store = RunStore::open(run, RunStore::Mode::kRead);
  const std::vector<Row> rows = store.read("problem");
  ASSERT_EQ(rows.size(), 3U);
  std::vector<std::string> messages;
  for (const Row& row : rows) messages.push_back(std::get<std::string>(row.at(2)));
  EXPECT_NE(messages[0].find("zebra"), std::string::npos) << messages[0];
  EXPECT_NE(messages[1].find("not valid JSON"), std::string::npos) << messages[1];
  EXPECT_NE(messages[2].find("got no \"subject\""), std::string::npos) << messages[2];
  const std::string page = folder_.file("page.html");
  const std::string tables = folder_.file("page.md");
  ASSERT_EQ(run_engram({"report", run, "-o", page, "--markdown", tables}).code, 0);
  EXPECT_NE(read_text(tables).find("facts and lines that could not be used | 3 |"),
            std::string::npos)
      << read_text(tables);
}

TEST_F(Reproduce, APackedCorpusGivesTheSameContent) {
  // sample_corpus() used to read the packed bytes as text.
  const std::string facts = tiny_facts(folder_, 2, 3);
  const std::string corpus = folder_.file("corpus.txt");
  const std::string text = read_text(kModel + "/corpus.txt");
  write_text(corpus, text);
  const std::vector<std::string> more = {"--only", "effects", "--corpus"};
  // The files differ, and so do the runs' identities; what was measured does not.
  const auto effects = [&](const std::string& run) {
    const std::string tables = run + ".tables";
    EXPECT_EQ(run_engram({"export", run, "--to", tables}).code, 0);
    return read_text(tables + "/effect.csv");
  };
  const std::string plain = folder_.file("plain.db");
  ASSERT_EQ(run_engram(reproduce(facts, plain, with(more, {corpus}))).code, 0);
  const std::string expected = effects(plain);
  ASSERT_NE(expected.find("text"), std::string::npos);
  for (const auto& [name, pack] : std::map<std::string, std::string (*)(const std::string&)>{
           {"a.xz", xz_packed}, {"a.gz", gz_packed}, {"a.zst", zst_packed}}) {
    write_text(folder_.file(name), pack(text));
    const std::string run = folder_.file(name + ".db");
    const Outcome outcome = run_engram(reproduce(facts, run, with(more, {folder_.file(name)})));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(effects(run), expected) << name;
  }
  write_text(folder_.file("cut.gz"), gz_packed(text).substr(0, 1000));
  const Outcome cut =
      run_engram(reproduce(facts, folder_.file("cut.db"), with(more, {folder_.file("cut.gz")})));
  EXPECT_EQ(cut.code, 3);
  EXPECT_NE(lines_of(cut.err).back().find("damaged or truncated .gz file"), std::string::npos)
      << cut.err;
}

TEST_F(Reproduce, InterveneWithARun) {
  const std::string facts = small_facts(folder_, 2, 5);
  const std::string run = folder_.file("run.db");
  const auto intervene = [&](const std::string& operation) {
    const Outcome outcome = run_engram({"intervene", kModel, "--facts", facts, "--run", run, "--do",
                                        operation, "--draws", "2", "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  const Json zero = intervene("zero");
  const Json one = intervene("scale:1");
  const auto change = [](const Json& report, size_t scope) {
    return report.at("scopes")
        .at(scope)
        .at("located")
        .at("change")
        .at("ratio_of_means")
        .at("value")
        .get<double>();
  };
  EXPECT_LT(change(zero, 0), -0.001);
  EXPECT_NEAR(change(one, 0), 0.0, 1e-6);
  EXPECT_EQ(intervene("zero"), zero);
  // A fact's sums are those of its prompts.
  size_t scopes = 0;
  for (const Json& fact : zero.at("fact_effects")) {
    for (const Json& scope : fact.at("scopes")) {
      if (scope.at("scope") != "own" && scope.at("scope") != "held-out") continue;
      for (const char* shown : {"before", "located", "next", "random-layer"}) {
        if (!scope.contains(shown)) continue;
        double sum = 0, p = 0, log_rank = 0, count = 0;
        for (const Json& prompt : fact.at("prompts")) {
          if (prompt.at("held_out") != (scope.at("scope") == "held-out")) continue;
          EXPECT_NE(prompt.at("prompt").get<std::string>().find("[MASK]"), std::string::npos);
          sum += prompt.at(shown).at("log_odds").get<double>();
          p += prompt.at(shown).at("p").get<double>();
          log_rank += std::log(prompt.at(shown).at("rank").get<double>());
          ++count;
        }
        EXPECT_EQ(scope.at("prompts"), count);
        EXPECT_NEAR(scope.at(shown).at("log_odds").get<double>(), sum / count, 1e-9) << shown;
        EXPECT_NEAR(scope.at(shown).at("p").get<double>(), p / count, 1e-9) << shown;
        EXPECT_NEAR(std::log(scope.at(shown).at("rank").get<double>()), log_rank / count, 1e-9);
      }
      ++scopes;
    }
  }
  EXPECT_GT(scopes, 0);
  EXPECT_EQ(scopes, 2 * zero.at("fact_effects").size());
  const Outcome both = run_engram(
      {"intervene", kModel, "--facts", facts, "--run", run, "--do", "zero", "--neurons", "1:1"});
  EXPECT_EQ(both.code, 2);
}

}  // namespace
}  // namespace engram::testing
