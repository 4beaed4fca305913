// locate and intervene from outside: files in, files out, what is refused, interrupts.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;

/// Facts of two relations, four prompts each; the tiny vocabularies know all the words.
std::string some_facts(int per_relation) {
  const std::vector<std::string> objects = {"Paris", "Berlin"};
  std::string text;
  for (const char* relation : {"P36", "P1376"}) {
    for (int i = 0; i < per_relation; ++i) {
      const std::string subject = "France " + std::to_string(i);
      const json fact = {
          {"relation", relation},
          {"subject", subject},
          {"object", objects[static_cast<size_t>(i) % 2]},
          {"prompts",
           {"The capital of " + subject + " is [MASK].", subject + " has the capital [MASK].",
            "[MASK] is the capital of " + subject, "In " + subject + ", the capital is [MASK]."}},
          {"held_out", {"The city of [MASK] is the capital of " + subject + "."}}};
      text += fact.dump() + "\n";
    }
  }
  return text;
}

/// The same members and items; numbers may differ by rounding.
void expect_near(const json& a, const json& b, const std::string& where = "") {
  if (a.is_number_float() && b.is_number_float()) {
    EXPECT_NEAR(a.get<double>(), b.get<double>(), 1e-4 * std::abs(b.get<double>())) << where;
    return;
  }
  if (!a.is_structured() || a.type() != b.type()) {
    EXPECT_EQ(a, b) << where;
    return;
  }
  ASSERT_EQ(a.size(), b.size()) << where;
  for (const auto& [key, value] : a.items()) {
    const std::string place = where + "/" + key;
    if (a.is_object()) {
      ASSERT_TRUE(b.contains(key)) << place;
      expect_near(value, b.at(key), place);
    } else {
      expect_near(value, b.at(std::stoul(key)), place);
    }
  }
}

class LocateCommand : public ::testing::Test {
 protected:
  void SetUp() override { write_text(facts_, some_facts(5)); }
  [[nodiscard]] Outcome locate(std::vector<std::string> more) const {
    more.insert(more.begin(), {"locate", tiny_model(), "--facts", facts_});
    return run_engram(more);
  }
  [[nodiscard]] Outcome intervene(std::vector<std::string> more) const {
    more.insert(more.begin(), {"intervene", tiny_model(), "--facts", facts_});
    return run_engram(more);
  }
  TemporaryFolder folder_;
  std::string facts_ = folder_.file("facts.jsonl");
};

TEST_F(LocateCommand, FileStdoutAndThreadsAgree) {
  const std::string out = folder_.file("neurons.jsonl");
  const Outcome one = locate({"--json", "--threads", "1", "--out", out});
  const Outcome three = locate({"--json", "--threads", "3"});
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(one.out, three.out);
  EXPECT_EQ(one.out, read_text(out));
  std::map<std::string, int> records;
  int64_t row = 0;
  for (const std::string& text : lines_of(one.out)) {
    const json line = json::parse(text);
    EXPECT_EQ(line.at("schema"), "engram.locate/1");
    ++records[line.at("record")];
    if (line.at("record") != "fact") continue;
    EXPECT_EQ(line.at("prompts").size(), 4U);
    EXPECT_EQ(line.at("held_out").size(), 1U);
    for (const json& prompt : line.at("prompts")) EXPECT_EQ(prompt.at("row"), row++);
    for (const json& neuron : line.at("neurons")) EXPECT_GE(neuron.at("prompts").get<int>(), 3);
  }
  EXPECT_EQ(records, (std::map<std::string, int>{
                         {"run", 1}, {"fact", 10}, {"relation", 2}, {"summary", 1}}));
}

TEST_F(LocateCommand, ScoresAreANumPyFileWhoseRowsHoldTheLargestScores) {
  const std::string scores = folder_.file("scores.npy");
  const Outcome outcome = locate({"--json", "--scores", scores});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string bytes = read_text(scores);
  ASSERT_GT(bytes.size(), 128U);
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const json run = json::parse(lines_of(outcome.out).front());
  const auto width = run.at("layers").get<size_t>() * run.at("d_ff").get<size_t>();
  EXPECT_NE(bytes.substr(0, 128).find("'shape': (40, " + run.at("layers").dump() + ", " +
                                      run.at("d_ff").dump() + ")"),
            std::string::npos);
  ASSERT_EQ(bytes.size(), 128 + 40 * width * sizeof(float));
  EXPECT_EQ(bytes[127], '\n');
  for (const std::string& text : lines_of(outcome.out)) {
    const json line = json::parse(text);
    if (line.at("record") != "fact") continue;
    for (const json& prompt : line.at("prompts")) {
      std::vector<float> row(width);
      std::memcpy(row.data(),
                  bytes.data() + 128 + prompt.at("row").get<size_t>() * width * sizeof(float),
                  width * sizeof(float));
      EXPECT_EQ(*std::max_element(row.begin(), row.end()), prompt.at("largest").get<float>());
    }
  }
}

TEST_F(LocateCommand, AdaptsUnlessToldNotTo) {
  const auto selection = [&](std::vector<std::string> more) {
    more.emplace_back("--json");
    return json::parse(lines_of(locate(more).out).front()).at("selection");
  };
  EXPECT_EQ(selection({}).at("adapt"), true);
  EXPECT_EQ(selection({"--no-adapt"}).at("adapt"), false);
  const json eleuther = selection({"--preset", "eleuther", "--at-ratio", "--share", "0.25"});
  EXPECT_EQ(eleuther.at("above_ratio"), false);
  EXPECT_EQ(eleuther.at("above_share"), true);
  EXPECT_EQ(eleuther.at("share"), 0.25);
  EXPECT_EQ(eleuther.at("adapt"), false);
  EXPECT_EQ(selection({"--score", "activation"}).at("ratio"), 0.5);
}

TEST_F(LocateCommand, ProblemsAreListedAndStrictStops) {
  const json unknown = {{"relation", "P36"},
                        {"subject", "Nowhere"},
                        {"object", "\xE6\xBC\xA2zebra"},
                        {"prompts", {"The capital is [MASK]."}}};
  write_text(facts_, some_facts(3) + "not json\n" + unknown.dump() + "\n");
  const Outcome outcome = locate({});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("1 fact skipped, 1 line of the fact set not usable"),
            std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("facts.jsonl:7: "), std::string::npos);
  EXPECT_NE(outcome.out.find("facts.jsonl:8: "), std::string::npos);
  EXPECT_EQ(locate({"--strict"}).code, 3);
  write_text(facts_, unknown.dump() + "\n");
  const Outcome none = locate({"--out", folder_.file("none.jsonl")});
  EXPECT_EQ(none.code, 3);
  EXPECT_NE(none.err.find("facts.jsonl:1"), std::string::npos) << none.err;
  EXPECT_FALSE(std::filesystem::exists(folder_.file("none.jsonl")));
}

TEST_F(LocateCommand, ProblemsOfTheFactsAskedForComeFirst) {
  // More broken lines than are listed, before two relations of which --limit takes one.
  std::string text;
  for (int i = 0; i < 30; ++i) text += "not json\n";
  for (const char* relation : {"P36", "P1376"}) {
    for (const char* object : {"Paris", "\xE6\xBC\xA2zebra"}) {
      const json fact = {{"relation", relation},
                         {"subject", "France"},
                         {"object", object},
                         {"prompts", {"The capital of France is [MASK]."}}};
      text += fact.dump() + "\n";
    }
  }
  write_text(facts_, text);
  const Outcome outcome = locate({"--limit", "2", "--limit-order", "whole"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const size_t heading =
      outcome.out.find("1 fact skipped, 30 lines of the fact set not usable:\n  ");
  ASSERT_NE(heading, std::string::npos) << outcome.out;
  const size_t fact = outcome.out.find("zebra", heading);
  EXPECT_LT(fact, outcome.out.find("not valid JSON", heading)) << outcome.out;
  const Outcome machine = locate({"--limit", "2", "--limit-order", "whole", "--json"});
  EXPECT_NE(machine.err.find("1 fact skipped, 30 lines"), std::string::npos) << machine.err;
  std::vector<json> problems;
  for (const std::string& line : lines_of(machine.out)) {
    if (json::parse(line).at("record") == "problem") problems.push_back(json::parse(line));
  }
  ASSERT_EQ(problems.size(), 31U);
  EXPECT_NE(problems.front().at("message").get<std::string>().find("zebra"), std::string::npos);
}

TEST_F(LocateCommand, AProblemOfAWholeFileHasNoLine) {
  const std::string set = folder_.file("pararel");
  for (const char* part : {"facts", "patterns"}) {
    std::filesystem::create_directories(set + "/" + part);
  }
  const std::string fact = R"({"sub_label":"France","obj_label":"Paris"})";
  write_text(set + "/facts/P36.jsonl", fact);
  write_text(set + "/facts/P31.jsonl", fact);
  write_text(set + "/patterns/P36.jsonl",
             R"({"pattern":"The capital of [X] is [Y].","extended_lemma":"is"})");
  const Outcome outcome = run_engram({"locate", tiny_model(), "--facts", set});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("P31.jsonl: got no such file"), std::string::npos) << outcome.out;
}

TEST_F(LocateCommand, FactsFromWhatIsNoFile) {
  for (const char* device : {"/dev/zero", "/dev/null", "/dev/tty"}) {
    const Outcome outcome = run_engram({"locate", tiny_model(), "--facts", device});
    EXPECT_EQ(outcome.code, 4) << outcome.err;
    EXPECT_NE(outcome.err.find(device), std::string::npos) << outcome.err;
    EXPECT_LT(outcome.seconds, 5.0);
  }
}

TEST_F(LocateCommand, FactsFromAPipe) {
  const std::string pipe = folder_.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { write_text(pipe, some_facts(5)); });
  const Outcome piped = run_engram({"locate", tiny_model(), "--facts", pipe});
  writer.join();
  ASSERT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(piped.out, locate({}).out);
  // Nobody writes: it waits, and Ctrl-C ends the wait, with nothing to say about what is kept.
  RunSetup setup;
  // Long enough for a start under the sanitizers on a busy machine.
  setup.signal_after = std::chrono::milliseconds(4000);
  setup.signals = {SIGINT};
  const Outcome waiting = run_engram({"locate", tiny_model(), "--facts", pipe}, setup);
  EXPECT_EQ(waiting.code, 130);
  EXPECT_EQ(waiting.err, "engram: interrupted\n");
  EXPECT_LT(waiting.seconds, 4.0 + 2.0);
}

TEST_F(LocateCommand, NeuronsThatAreNoList) {
  for (const char* list :
       {"1:", "a:b", "0:1,", ":1", "0:1 2:3", "0: 1", "0:1;1:2", "-1:2", ",", "7"}) {
    SCOPED_TRACE(list);
    const Outcome outcome = intervene({"--neurons", list, "--do", "zero"});
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_EQ(lines_of(outcome.err).size(), 1U);
    EXPECT_EQ(outcome.err.rfind("engram: error: --neurons: ", 0), 0U) << outcome.err;
    EXPECT_NE(outcome.err.find("3:17,5:201"), std::string::npos) << outcome.err;
  }
  for (const char* file : {"missing", "missing:1.jsonl", "./a:b"}) {
    EXPECT_EQ(intervene({"--neurons", file, "--do", "zero"}).code, 4) << file;
  }
  const auto report = [&](const char* list) {
    const Outcome outcome =
        intervene({"--neurons", list, "--do", "zero", "--draws", "0", "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    json out = json::parse(outcome.out);
    out.erase("neurons");  // as given
    return out;
  };
  const json plain = report("0:1,1:2,2:3");
  for (const char* spaced : {"0:1, 1:2,   2:3", " 0:1,1:2,2:3 "}) EXPECT_EQ(report(spaced), plain);
}

TEST_F(LocateCommand, CorpusThatCannotBeReadOrFitsInPart) {
  const auto with = [&](const std::string& corpus) {
    return intervene({"--neurons", "0:1", "--do", "mean", "--draws", "0", "--corpus", corpus});
  };
  const Outcome missing = with(folder_.file("none.txt"));
  EXPECT_EQ(missing.code, 4);
  EXPECT_NE(missing.err.find("none.txt: cannot open: No such file"), std::string::npos)
      << missing.err;
  EXPECT_EQ(with(folder_.path().string()).code, 4);
  EXPECT_EQ(with("/dev/zero").code, 4);
  const std::string corpus = folder_.file("corpus.txt");
  std::string longer;
  for (int i = 0; i < 60; ++i) longer += "the ";
  write_text(corpus, "The city is the capital.\n\n1234\n" + longer + "\nThe capital.\n");
  const Outcome part = with(corpus);
  EXPECT_EQ(part.code, 0) << part.err;
  EXPECT_NE(part.err.find("3 of 5 lines of " + corpus), std::string::npos) << part.err;
  write_text(corpus, "The city is the capital.\n");
  EXPECT_EQ(with(corpus).err.find("were not used"), std::string::npos);
}

TEST_F(LocateCommand, RefusesBeforeAnyWork) {
  EXPECT_EQ(locate({"--out", "/dev/null"}).code, 4);
  EXPECT_EQ(locate({"--scores", folder_.path().string()}).code, 4);
  EXPECT_EQ(locate({"--preset", "best"}).code, 2);
  EXPECT_EQ(locate({"--ratio", "0"}).code, 2);
  EXPECT_EQ(locate({"--fewest", "4", "--most", "3"}).code, 2);
  EXPECT_EQ(locate({"--adapt", "--no-adapt"}).code, 2);
  EXPECT_EQ(intervene({"--neurons", "0:1", "--do", "halve"}).code, 2);
  EXPECT_EQ(intervene({"--neurons", "0:1,", "--do", "zero"}).code, 2);
  EXPECT_EQ(intervene({"--neurons", "99:1", "--do", "zero"}).code, 3);
  EXPECT_EQ(intervene({"--neurons", facts_, "--do", "zero"}).code, 3);
  EXPECT_EQ(intervene({"--neurons", folder_.file("missing"), "--do", "zero"}).code, 4);
  EXPECT_EQ(intervene({"--neurons", "0:1", "--do", "zero", "--corpus", facts_}).code, 2);
  EXPECT_EQ(intervene({"--neurons", "0:1", "--do", "zero", "--out", "/dev/null"}).code, 4);
}

TEST_F(LocateCommand, LocatedNeuronsCanBeIntervenedOn) {
  const std::string neurons = folder_.file("neurons.jsonl");
  ASSERT_EQ(locate({"--out", neurons}).code, 0);
  const std::string corpus = folder_.file("corpus.txt");
  write_text(corpus, "The city is the capital.\n\n1234\nThe capital of France is the city.\n");
  for (const std::vector<std::string>& what : {std::vector<std::string>{"zero"},
                                               {"double"},
                                               {"scale:0.5"},
                                               {"mean"},
                                               {"resample"},
                                               {"mean", "--corpus", corpus},
                                               {"resample", "--corpus", corpus}}) {
    std::vector<std::string> arguments = {"--neurons", neurons, "--bootstrap", "50",
                                          "--draws",   "3",     "--json",      "--do"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    const Outcome outcome = intervene(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json report = json::parse(outcome.out);
    EXPECT_EQ(report.at("schema"), "engram.intervene/1");
    EXPECT_EQ(report.at("do"), what.front());
    EXPECT_EQ(report.at("facts"), 10);
    ASSERT_EQ(report.at("scopes").size(), 8U * 3);  // all facts, known ones, never given ones
    const json& own = report.at("scopes").at(0);
    EXPECT_EQ(own.at("prompts"), 40);
    const json& change = own.at("located").at("change").at("log_p");
    EXPECT_TRUE(change.at("low").is_null());  // an interval takes ten objects
    EXPECT_NE(change.at("value").get<double>(), 0);
    if (what.size() == 1 && (what.front() == "mean" || what.front() == "resample")) {
      EXPECT_NE(report.at("reference").get<std::string>().find("other facts"), std::string::npos);
    }
    if (what.size() > 1) {
      EXPECT_EQ(report.at("reference").get<std::string>().rfind("2 sentences", 0), 0U);
    }
  }
  const Outcome text =
      intervene({"--neurons", neurons, "--do", "zero", "--bootstrap", "50", "--full"});
  EXPECT_EQ(text.code, 0);
  for (const char* part : {"own prompts", "held-out prompts", "same relation", "other relations",
                           "located", "random: layer", "log P", "accuracy", "Rank"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part;
  }
}

TEST_F(LocateCommand, AtTheSubject) {
  const std::string neurons = folder_.file("neurons.jsonl");
  ASSERT_EQ(locate({"--out", neurons}).code, 0);
  const std::string there = folder_.file("there.jsonl");
  ASSERT_EQ(locate({"--at", "subject", "--out", there}).code, 0);
  EXPECT_EQ(json::parse(lines_of(read_text(neurons)).front()).at("at"), "answer");
  EXPECT_EQ(json::parse(lines_of(read_text(there)).front()).at("at"), "subject");
  const auto of_facts = [](const std::string& file) {
    json sets = json::array();
    for (const std::string& line : lines_of(read_text(file))) {
      const json one = json::parse(line);
      if (one.at("record") == "fact") sets.push_back(one.at("neurons"));
    }
    return sets;
  };
  EXPECT_EQ(of_facts(there).size(), of_facts(neurons).size());
  EXPECT_NE(of_facts(there), of_facts(neurons));

  // Interventions follow the file, and do something else than at the answer.
  const auto change = [&](const std::vector<std::string>& more, const std::string& at) {
    std::vector<std::string> arguments = {"--neurons", there,  "--bootstrap", "50",    "--draws",
                                          "0",         "--do", "zero",        "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = intervene(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const json report = json::parse(outcome.out);
    EXPECT_EQ(report.at("at"), at);
    return report.at("scopes").at(0).at("located").at("change").at("log_p").at("value");
  };
  const json by_file = change({}, "subject");
  EXPECT_EQ(by_file, change({"--at", "subject"}, "subject"));
  EXPECT_NE(by_file, change({"--at", "answer"}, "answer"));

  const std::string run = folder_.file("run.db");
  EXPECT_EQ(locate({"--at", "subject", "--run", run}).code, 2);
  EXPECT_EQ(intervene({"--at", "subject", "--run", run, "--do", "zero"}).code, 2);
  write_text(there, R"({"schema": "engram.locate/1", "record": "run", "at": "object"})"
                    "\n");
  EXPECT_EQ(intervene({"--neurons", there, "--do", "zero"}).code, 3);

  // A prompt without its subject is a problem of its fact.
  const json stray = {{"relation", "P36"},
                      {"subject", "France"},
                      {"object", "Paris"},
                      {"prompts", {"The capital is [MASK]."}}};
  write_text(facts_, some_facts(5) + stray.dump() + "\n");
  const Outcome outcome = locate({"--at", "subject", "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find(R"(the subject \"France\" does not stand)"), std::string::npos);
}

TEST_F(LocateCommand, AttributeAtTheSubject) {
  const std::vector<std::string> command = {
      "attribute", tiny_model(), "--prompt", "The capital of France is [MASK].",
      "--answer",  "Paris",      "--json"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), command.begin(), command.end());
    return run_engram(more);
  };
  const Outcome there = with({"--at", "subject", "--subject", "France"});
  ASSERT_EQ(there.code, 0) << there.err;
  const json found = json::parse(there.out);
  const json plain = json::parse(with({}).out);
  const auto at = found.at("neurons_at").get<size_t>();
  EXPECT_LT(at, found.at("positions").at(0).get<size_t>());
  EXPECT_FALSE(plain.contains("neurons_at"));
  EXPECT_NEAR(found.at("p").get<double>(), plain.at("p").get<double>(), 1e-6);
  EXPECT_NE(found.at("neurons"), plain.at("neurons"));

  const std::string prompts = folder_.file("prompts.jsonl");
  write_text(prompts, R"({"prompt": "The capital of France is [MASK].", "answer": "Paris",)"
                      R"( "subject": "France"})"
                      "\n");
  const Outcome file =
      run_engram({"attribute", tiny_model(), "--prompts", prompts, "--at", "subject", "--json"});
  ASSERT_EQ(file.code, 0) << file.err;
  EXPECT_EQ(json::parse(file.out).at("neurons"), found.at("neurons"));

  EXPECT_EQ(with({"--at", "subject"}).code, 2);
  EXPECT_EQ(with({"--subject", "France"}).code, 2);
  EXPECT_EQ(with({"--at", "object"}).code, 2);
  const Outcome missing = with({"--at", "subject", "--subject", "Berlin"});
  EXPECT_EQ(missing.code, 3);
  EXPECT_NE(missing.err.find("the subject \"Berlin\" does not stand"), std::string::npos);
}

TEST_F(LocateCommand, CopiesAreLeftOut) {
  const json copy = {{"relation", "P36"},
                     {"subject", "Paris city"},
                     {"object", "Paris"},
                     {"prompts", {"The capital is [MASK]."}}};
  write_text(facts_, some_facts(3) + copy.dump() + "\n");
  const Outcome outcome =
      intervene({"--neurons", "0:1,1:2", "--do", "zero", "--draws", "0", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json report = json::parse(outcome.out);
  EXPECT_EQ(report.at("left_out").at("subject_holds_object"), 1);
  EXPECT_EQ(report.at("facts"), 6);
  EXPECT_FALSE(report.at("scopes").at(0).contains("random-layer"));
}

TEST_F(LocateCommand, TwoRulesAndARunAreCompared) {
  write_text(facts_, some_facts(3));
  const auto file = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "locate",           tiny_model(), "--facts",           facts_, "--quiet", "--out",
        folder_.file(name), "--limit",    std::to_string(1000)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_engram(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return folder_.file(name);
  };
  const std::string run = folder_.file("run.db");
  // Fixed nodes: how many the default rule takes can hang on rounding.
  const std::vector<std::string> fixed = {"--rule", "gauss-legendre", "--steps", "8"};
  const std::string a = file("a.jsonl", fixed);
  const std::string b = file("b.jsonl", {"--rule", "riemann-left", "--steps", "2"});
  std::vector<std::string> into_run = fixed;
  into_run.insert(into_run.end(), {"--run", run});
  const std::string stored = file("stored.jsonl", into_run);
  // What a run keeps is enough for the same lines, what is near a threshold included. A run cuts
  // its batches by relation, so that numbers may round differently.
  std::istringstream direct(read_text(a));
  std::istringstream kept(read_text(stored));
  std::string line;
  std::string other_line;
  for (int number = 1; std::getline(direct, line); ++number) {
    ASSERT_TRUE(std::getline(kept, other_line)) << number;
    if (number > 1) expect_near(json::parse(line), json::parse(other_line), std::to_string(number));
  }
  EXPECT_FALSE(std::getline(kept, other_line));
  EXPECT_NE(read_text(a).find("\"near\":["), std::string::npos);
  const Outcome same = run_engram({"compare", a, run});
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_NE(same.out.find("6 of 6 facts identical: 100.0 %"), std::string::npos) << same.out;
  const Outcome other = run_engram({"compare", a, b, "--json"});
  ASSERT_EQ(other.code, 0) << other.err;
  const json found = json::parse(other.out);
  EXPECT_EQ(found.at("all").at("facts"), 6);
  EXPECT_EQ(found.at("all").at("identical").get<size_t>() + found.at("differing").size(), 6U);
  EXPECT_TRUE(found.at("all").at("near").is_number());
  const Outcome bad = run_engram({"compare", a, facts_});
  EXPECT_EQ(bad.code, 3);
  EXPECT_NE(bad.err.find("facts.jsonl:1"), std::string::npos) << bad.err;
}

TEST_F(LocateCommand, AnInterruptLeavesNoFile) {
  write_text(facts_, some_facts(1500));
  RunSetup setup;
  setup.signal_after = std::chrono::milliseconds(4000);
  setup.signals = {SIGINT};
  const std::string out = folder_.file("neurons.jsonl");
  const Outcome outcome =
      run_engram({"locate", tiny_model(), "--facts", facts_, "--out", out, "--rule", "riemann-left",
                  "--steps", "500", "--scores", folder_.file("scores.npy")},
                 setup);
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_EQ(entry.path().filename(), "facts.jsonl");
    ++files;
  }
  EXPECT_EQ(files, 1U);
}

}  // namespace
}  // namespace engram::testing
