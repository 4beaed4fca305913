#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "experiments/update/rows.h"
#include "report/sections.h"

// Fact updates as a run holds them, and the rates that are estimated of them.
namespace engram {

using experiments::update::EditScope;
using enum experiments::update::EditScope;
constexpr std::array<const char*, kEditScopes> kEditScopeTitles = {
    "own prompts",   "held-out prompts", "other facts of the relation", "facts of other relations",
    "ordinary text", "one own prompt"};

/// Sums over the prompts of a scope.
struct EditSums {
  double prompts = 0, right = 0, changed = 0, success = 0, before = 0, after = 0;
};

/// An edit of one fact; several draws of a random variant count as one, with the mean of their
/// sums.
struct Edit {
  int64_t fact = 0;
  double target_p = NAN, target_rank = NAN;
  bool right = false;
  int64_t neurons = 0;
  double written = 0;  ///< summed over the draws that edit
  int64_t draws = 0;   ///< that edit
  std::array<EditSums, kEditScopes> scopes;
};

/// Edits by variant, in the order of kVariants, then by name.
using Edits = std::map<std::string, std::vector<Edit>>;

struct VariantWords {
  const char* name;
  const char* title;
};
namespace variant = experiments::update::variant;
constexpr std::array<VariantWords, 11> kVariants = {
    VariantWords{variant::kKnowledge, "knowledge neurons"},
    {variant::kKnowledgeUnfiltered, "knowledge neurons, all of them"},
    {variant::kKnowledgeReleased, "knowledge neurons as the paper's code chooses"},
    {variant::kActivation, "activation baseline"},
    {variant::kActivationUnfiltered, "activation baseline, all of them"},
    {variant::kRandom, "random neurons"},
    {variant::kRandomActivated, "random activated neurons"},
    {variant::kRandomEqualWrite, "random activated neurons, equal write"},
    {variant::kOtherFact, "another fact's neurons"},
    {variant::kOtherFactEqualWrite, "another fact's neurons, equal write"},
    {variant::kOutput, "same change on the layer's output"}};

/// A setting of the sweep over lambda1, lambda2 and the number of neurons.
bool is_sweep(const std::string& variant);

Edits read_edits(const ReportInput& input);

/// Which edits are looked at.
using KeepEdit = std::function<bool(const Edit&)>;
inline bool right_before(const Edit& edit) { return edit.right; }
inline bool wrong_before(const Edit& edit) { return !edit.right; }

/// What a variant writes over what the located neurons write, over the facts that both edit.
double written_share(const Edits& edits, const std::vector<Edit>& variant, const KeepEdit& keep);

/// What is estimated of some edits in one scope.
struct Rates {
  double edits = 0, prompts = 0, right = 0;
  Interval change, success;      ///< of prompts right before
  Interval before, after, rise;  ///< perplexity
  Interval relative;             ///< rise over before
};

/// Columns of the sums of one scope.
enum : size_t { kPrompts, kRight, kChanged, kSuccess, kBefore, kAfter, kEditColumns };
enum : size_t { kChangeRate, kSuccessRate, kPplBefore, kPplAfter, kRise, kRelative, kEstimates };

/// Adds the sums of one scope to [kEditColumns] numbers.
void add_edit_sums(std::span<double> to, const EditSums& sums);
/// [kEstimates] numbers out of [kEditColumns] sums.
void edit_estimates(std::span<const double> sums, std::span<double> out);

Rates rates(const ReportInput& input, const std::vector<Edit>& edits, EditScope scope,
            const KeepEdit& keep);

}  // namespace engram
