// Two sets of located neurons on the same facts.
#include "engram/neurons/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engram/error.h"
#include "support/temporary.h"

namespace engram {
namespace {

LocatedSet set_of(const std::string& relation, const std::string& subject,
                  const std::vector<NeuronId>& neurons, const std::vector<NeuronId>& near = {}) {
  LocatedSet set;
  set.relation = relation;
  set.subject = subject;
  set.object = "o of " + subject;
  set.uuid = "id of " + subject;
  set.neurons = neurons;
  set.near = near;
  return set;
}

LocatedFile file_of(std::vector<LocatedSet> facts) {
  LocatedFile file;
  file.path = "file";
  file.facts = std::move(facts);
  return file;
}

TEST(CompareLocated, CountsByHand) {
  LocatedFile a = file_of({set_of("P1", "same", {{0, 1}, {2, 3}}),
                           set_of("P1", "half", {{0, 1}, {0, 2}, {0, 3}}, {{0, 3}}),
                           set_of("P2", "empty", {}), set_of("P2", "gone", {{1, 1}}),
                           set_of("P2", "near", {{5, 5}, {5, 6}}, {{5, 6}, {5, 9}}),
                           set_of("P3", "alone", {{7, 7}})});
  a.has_near = true;
  const LocatedFile b =
      file_of({set_of("P2", "near", {{5, 5}, {5, 9}}), set_of("P1", "same", {{0, 1}, {2, 3}}),
               set_of("P1", "half", {{0, 1}, {0, 2}, {4, 4}}), set_of("P2", "empty", {}),
               set_of("P2", "gone", {}), set_of("P4", "other", {})});
  const Comparison found = compare_located(a, b);
  EXPECT_EQ(found.all.facts, 5);
  EXPECT_EQ(found.all.identical, 2);
  EXPECT_EQ(found.all.near_only, 1);
  EXPECT_EQ(found.all.differences, 5);
  EXPECT_EQ(found.all.near, 3);
  EXPECT_EQ(found.only_a, 1);
  EXPECT_EQ(found.only_b, 1);
  EXPECT_TRUE(found.near_known);
  EXPECT_DOUBLE_EQ(found.all.identical_share.value, 2.0 / 5);
  EXPECT_DOUBLE_EQ(found.all.jaccard.value, (1 + 0.5 + 1 + 0 + 1.0 / 3) / 5);
  EXPECT_DOUBLE_EQ(found.all.neurons_a.value, 8.0 / 5);
  EXPECT_DOUBLE_EQ(found.all.neurons_b.value, 7.0 / 5);
  EXPECT_TRUE(std::isnan(found.all.jaccard.low)) << "no interval under 10 objects";
  ASSERT_EQ(found.relations.size(), 2U);
  EXPECT_EQ(found.relations[0].relation, "P1");
  EXPECT_EQ(found.relations[0].identical, 1);
  EXPECT_EQ(found.relations[1].facts, 3);
  ASSERT_EQ(found.differing.size(), 3U);
  EXPECT_EQ(found.differing[0].subject, "half");
  EXPECT_EQ(found.differing[0].only_a, (std::vector<NeuronId>{{0, 3}}));
  EXPECT_EQ(found.differing[0].only_b, (std::vector<NeuronId>{{4, 4}}));
  EXPECT_EQ(found.differing[0].near, (std::vector<NeuronId>{{0, 3}}));
  EXPECT_FALSE(found.differing[0].all_near());
  EXPECT_TRUE(found.differing[2].all_near());
}

TEST(CompareLocated, TheOtherWayRoundIsTheMirror) {
  std::vector<LocatedSet> a;
  std::vector<LocatedSet> b;
  for (int i = 0; i < 40; ++i) {
    const std::string subject = "s" + std::to_string(i);
    a.push_back(set_of("P" + std::to_string(i % 3), subject, {{0, i % 5}, {1, i}}));
    b.push_back(set_of("P" + std::to_string(i % 3), subject, {{0, i % 4}, {1, i}}));
  }
  const Comparison one = compare_located(file_of(a), file_of(b));
  const Comparison other = compare_located(file_of(b), file_of(a));
  EXPECT_EQ(one.all.identical, other.all.identical);
  EXPECT_EQ(one.all.jaccard.low, other.all.jaccard.low);
  EXPECT_LT(one.all.jaccard.low, one.all.jaccard.value);
  EXPECT_LT(one.all.jaccard.value, one.all.jaccard.high);
  ASSERT_EQ(one.differing.size(), other.differing.size());
  EXPECT_EQ(one.differing[0].only_a, other.differing[0].only_b);
  EXPECT_FALSE(one.near_known);
  const Comparison self = compare_located(file_of(a), file_of(a));
  EXPECT_EQ(self.all.identical, 40);
  EXPECT_EQ(self.all.jaccard.low, 1);
}

TEST(CompareLocated, PublishedSetsAreJoinedByTheirUuid) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.file("published.jsonl"))
      << R"({"uuid":"id of x","neurons":[[3,1],[0,7]]})" << "\n\n"
      << R"({"uuid":"id of y","neurons":[]})" << "\n";
  const LocatedFile published = read_neuron_sets(folder.file("published.jsonl"));
  ASSERT_EQ(published.facts.size(), 2U);
  EXPECT_EQ(published.facts[0].neurons, (std::vector<NeuronId>{{0, 7}, {3, 1}}));
  LocatedFile mine = file_of({set_of("P1", "x", {{0, 7}, {3, 1}}), set_of("P1", "z", {})});
  const Comparison found = compare_located(published, mine);
  EXPECT_EQ(found.all.facts, 1);
  EXPECT_EQ(found.all.identical, 1);
  EXPECT_EQ(found.only_a, 1);
  EXPECT_EQ(found.relations[0].relation, "P1") << "the file with names gives them";
  mine.facts[1].uuid.clear();
  EXPECT_THROW(compare_located(published, mine), InputError);
}

TEST(CompareLocated, WhereNothingCouldBeRefinedThePromptsOwnSetsAreCompared) {
  LocatedFile mine = file_of({set_of("P1", "x", {}), set_of("P1", "y", {})});
  for (LocatedSet& fact : mine.facts) {
    fact.refined = false;
    fact.unrefined = {{0, 7}, {3, 1}};
  }
  const LocatedFile published =
      file_of({set_of("P1", "x", {{0, 7}, {3, 1}}), set_of("P1", "y", {{0, 7}})});
  const Comparison found = compare_located(mine, published);
  EXPECT_EQ(found.all.facts, 2);
  EXPECT_EQ(found.all.identical, 1);
  EXPECT_EQ(found.unrefined, 2);
  EXPECT_DOUBLE_EQ(found.all.jaccard.value, 0.75);
  EXPECT_DOUBLE_EQ(found.all.neurons_a.value, 2);
}

TEST(CompareLocated, WhatCannotBeComparedIsRefused) {
  const LocatedFile a = file_of({set_of("P1", "x", {})});
  EXPECT_THROW(compare_located(a, file_of({set_of("P1", "y", {})})), InputError);
  LocatedFile small = a;
  LocatedFile large = a;
  small.layers = 4;
  large.layers = 12;
  EXPECT_THROW(compare_located(small, large), InputError);
  LocatedFile unrefined = a;
  for (LocatedSet& fact : unrefined.facts) fact.refined = false;
  EXPECT_THROW(compare_located(a, unrefined), InputError) << "as a run has it: without a set";
  const testing::TemporaryFolder folder;
  const auto message = [&](const std::string& text) -> std::string {
    std::ofstream(folder.file("x.jsonl")) << text;
    try {
      (void)read_neuron_sets(folder.file("x.jsonl"));
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message(R"({"uuid":"a","neurons":[[1]]})").find("no pair"), std::string::npos);
  EXPECT_NE(message(R"({"uuid":"a","neurons":[[1,-2]]})").find("-2"), std::string::npos);
  EXPECT_NE(message(R"({"uuid":"a","neurons":[[1,2],[1,2]]})").find("twice"), std::string::npos);
  EXPECT_NE(message("{\"uuid\":\"a\",\"neurons\":[]}\n{\"uuid\":\"a\",\"neurons\":[]}")
                .find("line 1 again"),
            std::string::npos);
  EXPECT_NE(message(std::string(100000, '[')), "") << "nesting is bounded";
}

}  // namespace
}  // namespace engram
