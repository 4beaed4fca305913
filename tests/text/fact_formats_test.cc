#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/text/facts.h"
#include "support/temporary.h"

namespace engram {
namespace {

using Texts = std::vector<std::string>;

std::string fact_refusal(const std::string& text) {
  FactSetOptions strict;
  strict.strict = true;
  try {
    (void)parse_facts(text, "facts", strict);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

void expect_in(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" not in: " << text;
  }
}

constexpr const char* kRewrite = R"({"case_id": 0, "requested_rewrite": {
  "prompt": "The mother tongue of {} is", "relation_id": "P103", "subject": "Danielle Darrieux",
  "target_new": {"str": "English"}, "target_true": {"str": "French"}},
  "paraphrase_prompts": ["Some text. Danielle Darrieux, a native", "Danielle Darrieux speaks"],
  "neighborhood_prompts": ["The mother tongue of Montesquieu is"], "generation_prompts": ["x"]})";

TEST(FactFormats, CounterFact) {
  const FactSet set = parse_facts("[" + std::string(kRewrite) + "]", "facts");
  ASSERT_EQ(set.facts.size(), 1U);
  const Fact& fact = set.facts.front();
  EXPECT_EQ(fact.relation, "P103");
  EXPECT_EQ(fact.subject, "Danielle Darrieux");
  EXPECT_EQ(fact.object, "French");
  EXPECT_EQ(fact.new_object, "English");
  EXPECT_EQ(fact.prompts, Texts{"The mother tongue of Danielle Darrieux is [MASK]."});
  EXPECT_EQ(fact.held_out, (Texts{"Some text. Danielle Darrieux, a native [MASK].",
                                  "Danielle Darrieux speaks [MASK]."}));
  EXPECT_EQ(fact.neighbours, Texts{"The mother tongue of Montesquieu is [MASK]."});
  EXPECT_EQ(fact.origin, "facts:1");
  // What was read is kept by our own format.
  const FactSet again = parse_facts(fact_to_json(fact), "facts");
  EXPECT_EQ(fact_to_json(again.facts.front()), fact_to_json(fact));
  EXPECT_EQ(again.facts.front().neighbours, fact.neighbours);
  EXPECT_EQ(again.facts.front().new_object, "English");
}

TEST(FactFormats, CounterFactOverManyLinesAndItsBadRecords) {
  EXPECT_EQ(parse_facts("{\n" + std::string(kRewrite).substr(1), "facts").facts.size(), 1U);
  expect_in(fact_refusal(R"({"requested_rewrite": []})"),
            {"facts:1", "requested_rewrite", "object"});
  expect_in(fact_refusal(R"({"requested_rewrite": {"relation_id": "P1", "subject": "a"}})"),
            {"facts:1", "target_true"});
  expect_in(fact_refusal(R"([{"requested_rewrite": {"relation_id": "P1", "subject": "a",
      "target_true": {"str": "b"}, "prompt": "{} and {}"}}])"),
            {"facts:1", "at most one {}"});
}

TEST(FactFormats, MinimalPairs) {
  const FactSet set = parse_facts(
      R"({"sentence_good": "Karla could listen to herself.", "sentence_bad": "Karla could listen to himself.", "UID": "gender"}
{"sentence_good": "These radii have scared it.", "sentence_bad": "These radii has scared it.", "UID": "number"}
{"sentence_good": "Anna hurt herself today.", "sentence_bad": "Anna hurt himself today.", "UID": "gender"}
{"sentence_good": "We sell this sketch.", "sentence_bad": "We sell this sketches."})",
      "facts");
  ASSERT_EQ(set.facts.size(), 3U);
  EXPECT_TRUE(set.problems.empty());
  EXPECT_EQ(set.facts[0].relation, "gender");
  EXPECT_EQ(set.facts[0].object, "herself");
  EXPECT_EQ(set.facts[0].new_object, "himself");
  EXPECT_EQ(set.facts[0].prompts,
            (Texts{"Karla could listen to [MASK].", "Anna hurt [MASK] today."}));
  EXPECT_EQ(set.facts[1].object, "have");
  EXPECT_EQ(set.facts[1].new_object, "has");
  EXPECT_EQ(set.facts[1].prompts, Texts{"These radii [MASK] scared it."});
  // One word is the other with an ending, and there is no name.
  EXPECT_EQ(set.facts[2].object, "sketch");
  EXPECT_EQ(set.facts[2].new_object, "sketches");
  EXPECT_EQ(set.facts[2].relation, "minimal pairs");
  EXPECT_EQ(set.facts[2].prompts, Texts{"We sell this [MASK]."});
  for (const char* bad : {R"({"sentence_good": "a b", "sentence_bad": "a b"})",
                          R"({"sentence_good": "a b c", "sentence_bad": "a d e"})",
                          R"({"sentence_good": "a b c", "sentence_bad": "a c"})"}) {
    expect_in(fact_refusal(bad), {"facts:1", "differ in one word"});
  }
  expect_in(fact_refusal(R"({"sentence_good": "a", "sentence_bad": 3})"), {"sentence_bad"});
  expect_in(fact_refusal(R"({"sentence_good": "a [MASK] c", "sentence_bad": "a [MASK] d"})"),
            {"facts:1", "[MASK]"});
}

TEST(FactFormats, ARelationOfLre) {
  const FactSet set = parse_facts(R"({
    "name": "city in country",
    "prompt_templates": ["{} is part of", "{} is in the country of "],
    "prompt_templates_zs": ["{} is part of the country of", "{} is part of"],
    "properties": {"relation_type": "factual"},
    "samples": [{"subject": "New York City", "object": "United States"},
                {"subject": "Rio de Janeiro", "object": "Brazil"}]
  })",
                                  "facts");
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_EQ(set.facts[0].relation, "city in country");
  EXPECT_EQ(set.facts[0].object, "United States");
  EXPECT_EQ(set.facts[1].prompts, (Texts{"Rio de Janeiro is part of [MASK].",
                                         "Rio de Janeiro is in the country of [MASK]."}));
  EXPECT_EQ(set.facts[1].held_out, Texts{"Rio de Janeiro is part of the country of [MASK]."});
  expect_in(fact_refusal(R"({"name": "a", "prompt_templates": ["{}"], "samples": [3]})"),
            {"facts:1", "samples", "subject and object"});
  expect_in(fact_refusal("{\n\"name\": \"a\", \"prompt_templates\": ["),
            {"facts:2", "line 1", "}"});
}

TEST(FactFormats, AFolderOfRelations) {
  const testing::TemporaryFolder folder;
  for (const std::string name : {"b.json", "a.json", "LICENSE"}) {
    std::ofstream file(folder.file(name));
    file << "{\n\"name\": \"" << name
         << R"(", "prompt_templates": ["{} is"], "samples": [{"subject": "x", "object": "y"}]})";
  }
  const FactSet set = read_facts(folder.path());
  ASSERT_EQ(set.facts.size(), 2U);
  EXPECT_EQ(set.facts[0].relation, "a.json");
  EXPECT_EQ(set.facts[1].relation, "b.json");
  EXPECT_EQ(fact_places(folder.path()).size(), 2U);
}

TEST(FactFormats, KnownFacts) {
  const FactSet set = parse_facts(
      R"([{"known_id": 0, "subject": "Vinson Massif", "attribute": "Antarctica",
           "template": "{} is located in the continent", "prediction": " of Antarctica",
           "prompt": "Vinson Massif is located in the continent of", "relation_id": "P30"},
          {"subject": "Beats Music", "attribute": "Apple", "prompt": "Beats Music is owned by"},
          {"subject": "Audible", "attribute": "Amazon", "prompt": "Audible is owned by"}])",
      "facts");
  ASSERT_EQ(set.facts.size(), 3U);
  EXPECT_EQ(set.facts[0].relation, "P30");
  EXPECT_EQ(set.facts[0].prompts, Texts{"Vinson Massif is located in the continent of [MASK]."});
  EXPECT_EQ(set.facts[1].relation, "{} is owned by");
  EXPECT_EQ(set.facts[2].relation, "{} is owned by");
  expect_in(fact_refusal(R"({"subject": "a", "attribute": 3, "prompt": "a is"})"),
            {"facts:1", "attribute", "number"});
}

TEST(FactFormats, EasyEdit) {
  const FactSet both = parse_facts(
      R"([{"subject": "Watts Humphrey", "prompt": "What university did Watts Humphrey attend?",
          "ground_truth": [["Illinois Institute of Technology", "IIT"]],
          "target_new": "University of Michigan",
          "rephrase_prompt": "Watts Humphrey went to", "locality": {}},
         {"subject": "Ramalinaceae", "prompt": "{} belongs to", "ground_truth": "Lecanorales",
          "rephrase": ["The order of Ramalinaceae is"], "relation_id": "P171"}])",
      "facts");
  ASSERT_EQ(both.facts.size(), 2U);
  EXPECT_EQ(both.facts[0].relation, "What university did {} attend?");
  EXPECT_EQ(both.facts[0].object, "Illinois Institute of Technology");
  EXPECT_EQ(both.facts[0].new_object, "University of Michigan");
  EXPECT_EQ(both.facts[0].held_out, Texts{"Watts Humphrey went to [MASK]."});
  EXPECT_EQ(both.facts[1].relation, "P171");
  EXPECT_EQ(both.facts[1].prompts, Texts{"Ramalinaceae belongs to [MASK]."});
  EXPECT_EQ(both.facts[1].held_out, Texts{"The order of Ramalinaceae is [MASK]."});
  expect_in(fact_refusal(R"({"subject": "a", "prompt": "a is", "ground_truth": []})"),
            {"facts:1", "ground_truth"});
}

TEST(FactFormats, TablesWithNamedColumns) {
  const FactSet csv = parse_facts(
      "\xEF\xBB\xBFRelation,Subject,Object,Prompt,Held out\r\n"
      "P36,France,Paris,The capital of France is,no\r\n"
      "P36,\"Washington, D.C.\",Bowser,\"Its \"\"mayor\"\" is [MASK]\nby now\",\r\n"
      "\r\n"
      "P36,France,Paris,[MASK] rules France.,yes\r\n",
      "facts");
  ASSERT_EQ(csv.facts.size(), 2U);
  EXPECT_TRUE(csv.problems.empty());
  EXPECT_EQ(csv.facts[0].prompts, Texts{"The capital of France is [MASK]."});
  EXPECT_EQ(csv.facts[0].held_out, Texts{"[MASK] rules France."});
  EXPECT_EQ(csv.facts[1].subject, "Washington, D.C.");
  EXPECT_EQ(csv.facts[1].prompts, Texts{"Its \"mayor\" is [MASK]\nby now"});
  EXPECT_EQ(csv.facts[1].origin, "facts:3");

  const FactSet tsv =
      parse_facts("sub_label\tobj_label\ttemplate\nFrance\tParis\t{} is ruled from", "facts");
  ASSERT_EQ(tsv.facts.size(), 1U);
  EXPECT_EQ(tsv.facts[0].relation, "facts");
  EXPECT_EQ(tsv.facts[0].prompts, Texts{"France is ruled from [MASK]."});
}

TEST(FactFormats, BadTablesSayTheLine) {
  const std::string header = "subject,object,prompt,held_out\n";
  expect_in(fact_refusal(header + "a,b,c,no\na,b\n"), {"facts:3", "2 fields", "expected 4"});
  expect_in(fact_refusal(header + "a,b,c,perhaps\n"), {"facts:2", "perhaps", "yes or no"});
  expect_in(fact_refusal(header + "a,,c,no\n"), {"facts:2", "object"});
  expect_in(fact_refusal(header + "a,b\xFF,c,no\n"), {"facts:2", "field 2", "UTF-8"});
  expect_in(fact_refusal("subject,object,text\na,b,c\n"),
            {"facts:1", "no column prompt", "subject"});
  expect_in(fact_refusal("subject,object,prompt,subj\na,b,c,d\n"),
            {"facts:1", "two columns", "subject"});
  expect_in(fact_refusal(header + "a,b,\"c" + std::string(1 << 22, 'x')), {"facts:2", "quote"});
  // What is too long is told once, and ends the table.
  const FactSet cut =
      parse_facts(header + "a,b,c,no\nd,e,\"f" + std::string(1 << 22, 'x'), "facts");
  EXPECT_EQ(cut.facts.size(), 1U);
  ASSERT_EQ(cut.problems.size(), 1U);
  EXPECT_EQ(cut.problems[0].line, 3);
  const FactSet set = parse_facts(header + "a,b,c,yes\nd,e,f,no\nd,e,f,no\n", "facts");
  ASSERT_EQ(set.facts.size(), 1U);
  ASSERT_EQ(set.problems.size(), 2U);
  expect_in(set.problems[0].message, {"again"});
  expect_in(set.problems[1].message, {"held-out prompts only"});
  EXPECT_EQ(set.problems[1].line, 2);
}

TEST(FactFormats, ACausalModelTakesPromptsThatEndWithTheAnswer) {
  FactSetOptions options;
  options.answer_last = true;
  const std::string own =
      R"({"relation": "P36", "subject": "France", "object": "Paris", "prompts": [)"
      R"("The capital of France is", "France's capital is [MASK].", "[MASK] is in France."], )"
      R"("held_out": ["In France, [MASK] is the capital.", "France is run from [MASK]"]})"
      "\n"
      R"({"relation": "P36", "subject": "Spain", "object": "Madrid", )"
      R"("prompts": ["[MASK] is in Spain."]})"
      "\n";
  const FactSet set = parse_facts(own, "own.jsonl", options);
  ASSERT_EQ(set.facts.size(), 1U);
  EXPECT_EQ(set.facts[0].prompts,
            (std::vector<std::string>{"The capital of France is", "France's capital is [MASK]."}));
  EXPECT_EQ(set.facts[0].held_out, std::vector<std::string>{"France is run from [MASK]"});
  EXPECT_EQ(set.facts[0].left_out, 2);
  ASSERT_EQ(set.problems.size(), 1U);
  EXPECT_EQ(set.problems[0].line, 2);
  EXPECT_NE(set.problems[0].message.find("1 was left out"), std::string::npos)
      << set.problems[0].message;
  // A masked model wants to know where the answer stands.
  const FactSet masked = parse_facts(own, "own.jsonl");
  ASSERT_EQ(masked.facts.size(), 1U);
  EXPECT_EQ(masked.facts[0].subject, "Spain");
  EXPECT_NE(masked.problems.at(0).message.find("no [MASK]"), std::string::npos);
  // A table's bag may lose a line and keep its fact.
  const FactSet table = parse_facts(
      "relation,subject,object,prompt\nP36,France,Paris,[MASK] is in France.\n"
      "P36,France,Paris,The capital of France is [MASK].\n",
      "t.csv", options);
  ASSERT_EQ(table.facts.size(), 1U);
  EXPECT_EQ(table.facts[0].prompts.size(), 1U);
  EXPECT_EQ(table.facts[0].left_out, 1);
}

}  // namespace
}  // namespace engram
