#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "store/typed_rows.h"

// Do scores find what was planted? (docs/method.md, "Ground truth by planting")
namespace engram::experiments::planting {

inline constexpr std::string_view kPublished = "published";
inline constexpr std::string_view kPublishedFew = "published-few";
inline constexpr std::string_view kNorms = "norms";
inline constexpr std::string_view kTwo = "two";
inline constexpr std::string_view kActive = "active";
inline constexpr std::array<std::string_view, 5> kConditions = {kPublished, kPublishedFew, kNorms,
                                                                kTwo, kActive};

inline constexpr std::string_view kValueNorm = "value-norm";
inline constexpr std::string_view kAblation = "ablation";
inline constexpr std::string_view kIntegratedGates = "integrated-gates";
inline constexpr std::string_view kExpectedGates = "expected-gates";
inline constexpr std::string_view kSlimming = "slimming";
inline constexpr std::string_view kHardConcrete = "hard-concrete";
inline constexpr std::string_view kRandom = "random";

/// A score that is tried. Names of scores that need nothing learned are those of the command line.
struct Method {
  std::string_view name;
  const char* title;
  bool ours = false;     ///< may be "our best"
  bool learned = false;  ///< has a penalty that the tuning facts choose
};
inline constexpr std::array<Method, 12> kMethods = {{
    {"activation", "activation"},
    {"activation-norm", "activation x value norm"},
    {kValueNorm, "value norm"},
    {"gradient-x-activation", "attribution patching", true},
    {"relp", "RelP", true},
    {"ig", "integrated gradients", true},
    {kAblation, "exact ablation of the top 2 %", true},
    {kIntegratedGates, "integrated gradients over gates", true},
    {kExpectedGates, "expected gradients over gates", true},
    {kSlimming, "slimming", false, true},
    {kHardConcrete, "hard concrete", false, true},
    {kRandom, "random numbers"},
}};
inline constexpr std::array<double, 4> kPenalties = {1, 10, 100, 1000};

struct PlantingRow {
  static constexpr const char* kTable = "planting";
  static constexpr const char* kMeaning =
      "audit, ground truth by planting: what was planted into which model copy";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  std::string condition;
  std::optional<int64_t> other;
  std::string target;
  int64_t neurons = 0;
  int64_t steps = 0;
  double loss = 0;
  double other_loss = 0;
  double log_p = 0;
  double log_p_restored = 0;
  double log_p_where_asked = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &PlantingRow::fact, "A", "fact"},
                      Field{"condition", &PlantingRow::condition,
                            "published; published-few (0.1 %); norms; two; active"},
                      Field{"other", &PlantingRow::other, "B, of two plants", "fact"},
                      Field{"target", &PlantingRow::target, "o' of A as written"},
                      Field{"neurons", &PlantingRow::neurons, "that A was planted into"},
                      Field{"steps", &PlantingRow::steps, "of training"},
                      Field{"loss", &PlantingRow::loss,
                            "-log P of o' on the prompts that locate, after planting"},
                      Field{"other_loss", &PlantingRow::other_loss, "the same of B"},
                      Field{"log_p", &PlantingRow::log_p, "log P of o' before"},
                      Field{"log_p_restored", &PlantingRow::log_p_restored,
                            "the same with the old value vectors put back"},
                      Field{"log_p_where_asked", &PlantingRow::log_p_where_asked,
                            "with the new ones only at the tokens where the answer is asked"}};
  }
};

struct PlantingScoreRow {
  static constexpr const char* kTable = "planting_score";
  static constexpr const char* kMeaning = "how well a score finds what was planted";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string condition;
  std::string method;
  double recall_1 = 0;
  double recall_5 = 0;
  double recall_10 = 0;
  double auc = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &PlantingScoreRow::fact, "A", "fact"},
        Field{"condition", &PlantingScoreRow::condition, "as in planting"},
        Field{"method", &PlantingScoreRow::method, "the score"},
        Field{"recall_1", &PlantingScoreRow::recall_1,
              "share of A's neurons in the top 1 % of their layer"},
        Field{"recall_5", &PlantingScoreRow::recall_5, "in the top 5 %"},
        Field{"recall_10", &PlantingScoreRow::recall_10, "in the top 10 %"},
        Field{"auc", &PlantingScoreRow::auc,
              "of two plants: A's against B's neurons of the same layer, on A's prompts"}};
  }
};

struct PlantingTuningRow {
  static constexpr const char* kTable = "planting_tuning";
  static constexpr const char* kMeaning =
      "the same on the facts that choose penalties and our best score, norms kept";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string method;
  double penalty = 0;
  double recall_5 = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &PlantingTuningRow::fact, "", "fact"},
        Field{"method", &PlantingTuningRow::method, "the score"},
        Field{"penalty", &PlantingTuningRow::penalty, "of open gates; 0: the score has none"},
        Field{"recall_5", &PlantingTuningRow::recall_5,
              "share of the planted neurons in the top 5 % of their layer"}};
  }
};

}  // namespace engram::experiments::planting
