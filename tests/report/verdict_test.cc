// The verdict's rules, one by one.
#include "report/verdict.h"

#include <gtest/gtest.h>

namespace engram {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Interval of(double value, double low, double high) {
  Interval made = VerdictInput::kNone;
  made.value = value;
  made.low = low;
  made.high = high;
  return made;
}
Interval alone(double value) { return of(value, kNan, kNan); }

/// Everything speaks for the neurons.
VerdictInput clear() {
  VerdictInput input;
  input.own.change = of(-1, -1.2, -0.8);
  input.own.controls = {{"random", of(-0.9, -1.1, -0.7)}, {"next", of(-0.3, -0.5, -0.1)}};
  input.own.other_set = of(-0.6, -0.8, -0.4);
  input.held_out = input.own;
  input.other_facts = of(-0.05, -0.2, 0.1);
  input.known = of(-2, -2.2, -1.8);
  input.never = of(-0.3, -0.4, -0.2);
  input.update_rate = of(0.6, 0.5, 0.7);
  input.update = VerdictInput::Control{"random, equal write", of(0.2, 0.1, 0.3)};
  return input;
}

std::string answer(const VerdictInput& input, size_t line) {
  return verdict(input).at(line).answer;
}
bool begins(const std::string& text, const char* with) { return text.starts_with(with); }

TEST(Verdict, HasSixLinesAndSaysYesWhereAllIsClear) {
  const std::vector<VerdictLine> lines = verdict(clear());
  ASSERT_EQ(lines.size(), 6U);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(begins(lines[i].answer, "Yes: ")) << lines[i].question << " " << lines[i].answer;
  }
  EXPECT_NE(lines[0].answer.find("each of 2 controls; the smallest difference is -0.300"),
            std::string::npos)
      << lines[0].answer;
  EXPECT_NE(lines[0].answer.find("from next."), std::string::npos);
  EXPECT_NE(lines[2].answer.find("5.0 % of the effect on held-out prompts"), std::string::npos)
      << lines[2].answer;
  EXPECT_NE(lines[4].answer.find("60.0 % [50.0, 70.0] succeed, +20.0 % [+10.0, +30.0] against"),
            std::string::npos)
      << lines[4].answer;
}

TEST(Verdict, ControlsDecideOneByOne) {
  VerdictInput input = clear();
  input.own.controls[1].difference = of(-0.1, -0.3, 0.05);
  EXPECT_TRUE(begins(answer(input, 0), "In part: ")) << answer(input, 0);
  EXPECT_NE(answer(input, 0).find("not shown to go further than next"), std::string::npos);
  input.own.controls[0].difference = of(0.1, 0.05, 0.3);
  EXPECT_TRUE(begins(answer(input, 0), "Not shown: ")) << answer(input, 0);
  input.own.controls.clear();
  EXPECT_TRUE(begins(answer(input, 0), "Cannot be said: ")) << answer(input, 0);
  input.own.change = of(-0.1, -0.3, 0.1);
  EXPECT_TRUE(begins(answer(input, 0), "No: ")) << answer(input, 0);
  EXPECT_TRUE(begins(answer(input, 1), "Yes: "));  // the other line has its own numbers
}

TEST(Verdict, ADifferenceWithoutAnIntervalIsNoneShown) {
  VerdictInput input = clear();
  input.own.controls[0].difference = alone(-0.9);
  EXPECT_TRUE(begins(answer(input, 0), "In part: ")) << answer(input, 0);
  input.own.change = alone(-1);
  EXPECT_TRUE(begins(answer(input, 0), "Cannot be said: ")) << answer(input, 0);
  input.known = alone(-2);
  EXPECT_TRUE(begins(answer(input, 3), "Cannot be said: ")) << answer(input, 3);
  input.update->difference = alone(0.2);
  EXPECT_TRUE(begins(answer(input, 4), "Cannot be said: ")) << answer(input, 4);
  input.other_facts = alone(-0.05);
  EXPECT_TRUE(begins(answer(input, 2), "Cannot be said: ")) << answer(input, 2);
}

TEST(Verdict, SpecificMeansTheFactsOwnNeuronsAndTheFactAlone) {
  VerdictInput input = clear();
  input.other_facts = of(-0.2, -0.3, -0.1);
  EXPECT_TRUE(begins(answer(input, 2), "More than others, not alone: ")) << answer(input, 2);
  input.other_facts = of(-0.9, -1.0, -0.7);  // overlaps
  EXPECT_TRUE(begins(answer(input, 2), "Not shown: ")) << answer(input, 2);
  input = clear();
  input.held_out.other_set = of(-0.1, -0.3, 0.1);
  EXPECT_TRUE(begins(answer(input, 2), "Not shown: ")) << answer(input, 2);
  input.held_out.change = VerdictInput::kNone;  // then own prompts tell
  EXPECT_TRUE(begins(answer(input, 2), "Yes: ")) << answer(input, 2);
  EXPECT_NE(answer(input, 2).find("own prompts"), std::string::npos);
  EXPECT_EQ(answer(input, 1), "Not measured.");
}

TEST(Verdict, KnownAndUnknownFactsMayLookTheSame) {
  VerdictInput input = clear();
  input.never = of(-1.8, -2.0, -1.6);  // apart by 0.2, the halves 0.2 and 0.2
  EXPECT_TRUE(begins(answer(input, 3), "Not shown: ")) << answer(input, 3);
  EXPECT_NE(answer(input, 3).find("no sign of stored knowledge"), std::string::npos);
  input.never = of(-3, -3.2, -2.8);
  EXPECT_TRUE(begins(answer(input, 3), "Yes: the effect is weaker on known facts"))
      << answer(input, 3);
}

TEST(Verdict, UpdatesMayFailAndNothingMayBeMeasured) {
  VerdictInput input = clear();
  input.update->difference = of(0.02, -0.1, 0.1);
  EXPECT_TRUE(begins(answer(input, 4), "Not shown: ")) << answer(input, 4);
  input.update->difference = of(-0.2, -0.3, -0.1);
  EXPECT_TRUE(begins(answer(input, 4), "No: ")) << answer(input, 4);
  const std::vector<VerdictLine> nothing = verdict({});
  for (size_t i = 0; i < 5; ++i) EXPECT_TRUE(begins(nothing[i].answer, "Not measured")) << i;
  EXPECT_FALSE(nothing[5].answer.empty());
}

}  // namespace
}  // namespace engram
