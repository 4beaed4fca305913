#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// Fact updates o -> o'.
namespace engram::experiments::update {

/// Prompts on which an edit is measured.
enum EditScope : size_t {
  kOwn,
  kHeldOut,
  kSameRelation,
  kOtherRelations,
  kText,
  kOneOwn,
  kEditScopes
};
/// As the column `scope` names them.
constexpr std::array<const char*, kEditScopes> kEditScopeNames = {
    "own", "held-out", "same-relation", "other-relations", "text", "one-own"};

/// What is edited, as the column `variant` names it.
namespace variant {
constexpr const char* kKnowledge = "knowledge";
constexpr const char* kKnowledgeUnfiltered = "knowledge-unfiltered";
constexpr const char* kKnowledgeReleased = "knowledge-released";
constexpr const char* kActivation = "activation";
constexpr const char* kActivationUnfiltered = "activation-unfiltered";
constexpr const char* kRandom = "random";
constexpr const char* kRandomActivated = "random-activated";
constexpr const char* kRandomEqualWrite = "random-equal-write";  ///< "random-equal-write/0", ...
constexpr const char* kOtherFact = "other-fact";
constexpr const char* kOtherFactEqualWrite = "other-fact-equal-write";
constexpr const char* kOutput = "output";
constexpr const char* kSweep = "sweep/";  ///< begins the settings of the sweep
}  // namespace variant

struct EditRow {
  static constexpr const char* kTable = "edit";
  static constexpr const char* kMeaning = "a fact update";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  std::string variant;
  std::string old;
  std::string target;
  double target_p = 0;
  double target_rank = 0;
  bool right = false;
  int64_t neurons = 0;
  double lambda1 = 0;
  double lambda2 = 0;
  double written = 0;
  int64_t redraws = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &EditRow::fact, "", "fact"},
        Field{"variant", &EditRow::variant,
              "what is edited: knowledge (the located neurons but those of many other facts), "
              "knowledge-unfiltered (all of them), knowledge-released (as the paper's code "
              "chooses), activation, activation-unfiltered (the baseline's), random and "
              "random-activated (as many of the same layers), random-equal-write/D (draw D of "
              "random-activated, rescaled by layer to write what knowledge writes), output (the "
              "layers' output bias by knowledge's mean change), other-fact and "
              "other-fact-equal-write (another fact's neurons, as they are and rescaled); "
              "sweep/l1=X,l2=Y,n=Z (knowledge, on facts of its own). In an audit: "
              "knowledge-unfiltered, random-equal-write/D and other-fact-equal-write, which write "
              "what all located neurons write, fine-tuned (a layer's second FFN matrix), rome, "
              "layer/L (the layer's five neurons with the largest score)"},
        Field{"old", &EditRow::old, "o, which is to go"},
        Field{"target", &EditRow::target, "o'"},
        Field{"target_p", &EditRow::target_p, "P of o' before, mean over own prompts"},
        Field{"target_rank", &EditRow::target_rank,
              "rank of o' before, geometric mean over own prompts"},
        Field{"right", &EditRow::right,
              "1: o is the fact's object, the model's most frequent answer to own prompts; 0: o is "
              "its most frequent answer, a wrong one, and o' the fact's object"},
        Field{"neurons", &EditRow::neurons, "whose value vectors change; 0: counted, not edited"},
        Field{"lambda1", &EditRow::lambda1, "NULL: not an update of value vectors"},
        Field{"lambda2", &EditRow::lambda2, ""},
        Field{"written", &EditRow::written,
              "length of what is added at the mask of own prompts on the average, all layers "
              "together; NULL: not edited, or the sweep"},
        Field{"redraws", &EditRow::redraws,
              "sets drawn again since theirs wrote next to nothing or the other way"}};
  }
};

struct EditEffectRow {
  static constexpr const char* kTable = "edit_effect";
  static constexpr const char* kMeaning = "what a fact update does, sums over prompts";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string variant;
  std::string scope;
  int64_t prompts = 0;
  int64_t right = 0;
  int64_t changed = 0;
  std::optional<int64_t> success;
  std::optional<int64_t> wrong_success;
  std::optional<int64_t> wrong_target_before;
  double log_p_before = 0;
  double log_p_after = 0;
  double target_log_p_before = 0;
  double target_log_p_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &EditEffectRow::fact, "", "fact"},
        Field{"variant", &EditEffectRow::variant, ""},
        Field{"scope", &EditEffectRow::scope,
              "own, held-out, same-relation (facts whose object is not o'), other-relations, text; "
              "one-own (one of own, as published)"},
        Field{"prompts", &EditEffectRow::prompts, ""},
        Field{"right", &EditEffectRow::right,
              "prompts whose top answer was o, elsewhere their own one, before"},
        Field{"changed", &EditEffectRow::changed, "of those: the top answer is another one now"},
        Field{"success", &EditEffectRow::success,
              "of those: the top answer is o' now; NULL: not asked"},
        Field{"wrong_success", &EditEffectRow::wrong_success,
              "of the others: the top answer is o' now; NULL: not asked"},
        Field{"wrong_target_before", &EditEffectRow::wrong_target_before,
              "of the others: it was o' before; NULL: not asked"},
        Field{"log_p_before", &EditEffectRow::log_p_before,
              "log P of o, elsewhere of the prompts' own answers"},
        Field{"log_p_after", &EditEffectRow::log_p_after, ""},
        Field{"target_log_p_before", &EditEffectRow::target_log_p_before,
              "log P of o'; NULL: not asked"},
        Field{"target_log_p_after", &EditEffectRow::target_log_p_after, ""}};
  }
};

}  // namespace engram::experiments::update
