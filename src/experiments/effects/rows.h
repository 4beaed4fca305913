#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "store/typed_rows.h"

// Neurons of facts switched off or doubled: sums over the prompts of a scope.
namespace engram::experiments::effects {

struct EffectSumsRow {
  static constexpr const char* kTable = "effect";
  static constexpr const char* kMeaning =
      "suppress and amplify: one fact's neurons, sums over the prompts of a scope";
  static constexpr size_t kKey = 4;
  std::string operation;
  std::string source;
  int64_t fact = 0;
  std::string scope;
  int64_t neurons = 0;
  int64_t prompts = 0;
  double log_odds = 0;
  double p = 0;
  double log_p = 0;
  double top = 0;
  double log_rank = 0;
  int64_t known = 0;
  double known_p = 0;
  double change_log_odds = 0;
  double change_p = 0;
  double change_log_p = 0;
  double change_top = 0;
  double change_log_rank = 0;
  double change_known_p = 0;
  std::optional<std::vector<std::byte>> pairs;
  static constexpr auto fields() {
    return std::tuple{
        Field{"operation", &EffectSumsRow::operation, "zero (suppress) or double (amplify)"},
        Field{"source", &EffectSumsRow::source,
              "ig, activation (baseline); compared with ig: random-layer, random-activation, "
              "random-gradient (matched, by signed activation x gradient), next (the next by "
              "activation x gradient), other-fact (of the relation, with another object), "
              "activation-same-k (the most active ones)"},
        Field{"fact", &EffectSumsRow::fact, "whose neurons are changed", "fact"},
        Field{"scope", &EffectSumsRow::scope,
              "own, held-out, same-relation-same-object, same-relation-other-object, "
              "other-relations-same-object, other-relations-other-object, text"},
        Field{"neurons", &EffectSumsRow::neurons,
              "in the fact's own set, located or the baseline's"},
        Field{"prompts", &EffectSumsRow::prompts, ""},
        Field{"log_odds", &EffectSumsRow::log_odds,
              "log-odds of the answer before: log(P / (1 - P))"},
        Field{"p", &EffectSumsRow::p, "P before"},
        Field{"log_p", &EffectSumsRow::log_p, "log P before"},
        Field{"top", &EffectSumsRow::top, "prompts whose answer is the top one before"},
        Field{"log_rank", &EffectSumsRow::log_rank, "natural log of the rank before"},
        Field{"known", &EffectSumsRow::known, "prompts known before (P and rank as in identity)"},
        Field{"known_p", &EffectSumsRow::known_p, "P before, of those"},
        Field{"change_log_odds", &EffectSumsRow::change_log_odds,
              "change of the log-odds, mean over draws"},
        Field{"change_p", &EffectSumsRow::change_p, ""},
        Field{"change_log_p", &EffectSumsRow::change_log_p, ""},
        Field{"change_top", &EffectSumsRow::change_top, ""},
        Field{"change_log_rank", &EffectSumsRow::change_log_rank, ""},
        Field{"change_known_p", &EffectSumsRow::change_known_p, ""},
        Field{"pairs", &EffectSumsRow::pairs,
              "other facts and text: 12 bytes a prompt, little-endian: int32 fact (text: the "
              "sentence), float32 change of the log-odds, float32 change of top; NULL: own and "
              "held-out prompts"}};
  }
};

struct EffectSetRow {
  static constexpr const char* kTable = "effect_set";
  static constexpr const char* kMeaning = "the sets that stand beside a fact's located neurons";
  static constexpr size_t kKey = 3;
  std::string operation;
  std::string source;
  int64_t fact = 0;
  int64_t sets = 0;
  double neurons = 0;
  double overlap = 0;
  int64_t missing = 0;
  double difference_activation = 0;
  double difference_value = 0;
  double difference_product = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"operation", &EffectSetRow::operation, ""},
        Field{"source", &EffectSetRow::source, "as in effect, but for ig and activation"},
        Field{"fact", &EffectSetRow::fact, "", "fact"},
        Field{"sets", &EffectSetRow::sets, "that were drawn; 0: there is none"},
        Field{"neurons", &EffectSetRow::neurons, "in a set, mean"},
        Field{"overlap", &EffectSetRow::overlap, "located neurons of the fact in a set, mean"},
        Field{"missing", &EffectSetRow::missing,
              "located neurons for which the layer has no neuron left"},
        Field{"difference_activation", &EffectSetRow::difference_activation,
              "mean of (located - in the set) / standard deviation of the layer: signed "
              "activation; NULL: not matched neuron by neuron"},
        Field{"difference_value", &EffectSetRow::difference_value,
              "the same of the value vector's norm"},
        Field{"difference_product", &EffectSetRow::difference_product,
              "the same of signed activation x gradient"}};
  }
};

struct EffectDrawRow {
  static constexpr const char* kTable = "effect_draw";
  static constexpr const char* kMeaning =
      "change of the log-odds by draw of the random sets, for the rank of the located ones";
  static constexpr size_t kKey = 6;
  std::string operation;
  std::string source;
  std::string relation;
  int64_t part = 0;
  std::string scope;
  int64_t draw = 0;
  double change_log_odds = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"operation", &EffectDrawRow::operation, ""},
        Field{"source", &EffectDrawRow::source, "random-layer, random-activation, random-gradient"},
        Field{"relation", &EffectDrawRow::relation, "", "relation"},
        Field{"part", &EffectDrawRow::part, "of the experiment"},
        Field{"scope", &EffectDrawRow::scope, "own or held-out"},
        Field{"draw", &EffectDrawRow::draw, "from 0"},
        Field{"change_log_odds", &EffectDrawRow::change_log_odds,
              "mean over a fact's prompts, summed over the part's facts"}};
  }
};

struct EffectPromptRow {
  static constexpr const char* kTable = "effect_prompt";
  static constexpr const char* kMeaning = "suppress and amplify: one own or held-out prompt";
  static constexpr size_t kKey = 5;
  std::string operation;
  std::string source;
  int64_t fact = 0;
  bool held_out = false;
  int64_t prompt = 0;
  double log_odds = 0;
  double p = 0;
  double top = 0;
  double log_rank = 0;
  double change_log_odds = 0;
  double change_p = 0;
  double change_top = 0;
  double change_log_rank = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"operation", &EffectPromptRow::operation, ""},
        Field{"source", &EffectPromptRow::source, "as in effect"},
        Field{"fact", &EffectPromptRow::fact, "whose neurons are changed", "fact"},
        Field{"held_out", &EffectPromptRow::held_out, "as in prompt"},
        Field{"prompt", &EffectPromptRow::prompt, "as in prompt"},
        Field{"log_odds", &EffectPromptRow::log_odds, "log-odds of the answer before"},
        Field{"p", &EffectPromptRow::p, "P before"},
        Field{"top", &EffectPromptRow::top, "1: the answer is the top one before"},
        Field{"log_rank", &EffectPromptRow::log_rank, "natural log of the rank before"},
        Field{"change_log_odds", &EffectPromptRow::change_log_odds, "mean over draws"},
        Field{"change_p", &EffectPromptRow::change_p, ""},
        Field{"change_top", &EffectPromptRow::change_top, ""},
        Field{"change_log_rank", &EffectPromptRow::change_log_rank, ""}};
  }
};

}  // namespace engram::experiments::effects
