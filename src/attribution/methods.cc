// The list of scores: what each is called, and the function that computes it.
#include "methods.h"

#include <array>

#include "engram/error.h"

namespace engram {
namespace {

constexpr std::array<ScoreMethod, 7> kMethods{{
    {Score::kIntegratedGradients, "ig", "", "integrated gradients, the paper's", true},
    {Score::kActivation, "activation", "", "the neuron's activation, the paper's baseline", false,
     0.5},
    {Score::kActivationNorm, "activation-norm", "",
     "its size times the norm of the neuron's value vector"},
    {Score::kValueNorm, "value-norm", "",
     "that norm alone, by its distance from the layer's median; it looks at no prompt"},
    {Score::kGradientXActivation, "gradient-x-activation", "attribution-patching",
     "first-order effect of switching it off"},
    {Score::kRelevance, "relp", "",
     "the same with layer norms' scales, attention patterns and activation ratios held fixed "
     "(RelP)"},
    {Score::kAblation, "ablation", "", "exact effect on F of switching that neuron alone off"},
}};

// In the order of the methods.
constexpr std::array<ScoreChunk, kMethods.size()> kScorers{
    integrate,      score_activation, score_activation_norm, score_value_norm,
    score_gradient, score_relevance,  score_ablation};

constexpr std::array<std::pair<std::string_view, Rule>, 8> kRules{{
    {"control-variate", Rule::kControlVariate},
    {"gauss-legendre", Rule::kGaussLegendre},
    {"gauss-radau", Rule::kGaussRadau},
    {"gauss-lobatto", Rule::kGaussLobatto},
    {"riemann-left", Rule::kRiemannLeft},
    {"riemann-right", Rule::kRiemannRight},
    {"trapezoid", Rule::kTrapezoid},
    {"linspace", Rule::kLinspace},
}};

size_t place_of(Score score) {
  for (size_t i = 0; i < kMethods.size(); ++i) {
    if (kMethods[i].score == score) return i;
  }
  throw InternalError("a score without a method");
}

[[noreturn]] void unknown(const std::string& what, std::string_view name,
                          const std::string& known) {
  throw UsageError("unknown " + what + " \"" + std::string(name) + "\", expected one of " + known);
}

}  // namespace

std::span<const ScoreMethod> score_methods() { return kMethods; }
const ScoreMethod& score_method(Score score) { return kMethods[place_of(score)]; }
ScoreChunk chunk_scorer(Score score) { return kScorers[place_of(score)]; }
std::string_view score_name(Score score) { return score_method(score).name; }

Score parse_score(std::string_view name) {
  std::string known;
  const auto list = [&](std::string_view one) {
    if (!one.empty()) known += (known.empty() ? "" : ", ") + std::string(one);
  };
  for (const ScoreMethod& method : kMethods) {
    if (name == method.name || (!name.empty() && name == method.other_name)) return method.score;
    list(method.name);
    list(method.other_name);
  }
  unknown("score", name, known);
}

std::string_view rule_name(Rule rule) {
  for (const auto& [name, known] : kRules) {
    if (known == rule) return name;
  }
  throw InternalError("a rule without a name");
}

Rule parse_rule(std::string_view name) {
  std::string list;
  for (const auto& [known, rule] : kRules) {
    if (known == name) return rule;
    list += (list.empty() ? "" : ", ") + std::string(known);
  }
  unknown("rule", name, list);
}

std::string method_text(Score score, const IntegrationOptions& integration) {
  std::string text(score_name(score));
  if (score_method(score).integrates) text += " by " + std::string(rule_name(integration.rule));
  return text;
}

}  // namespace engram
