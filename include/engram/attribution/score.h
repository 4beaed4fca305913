#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace engram {

/// How neurons are scored (METHOD sections 2 and 9).
enum class Score {
  kIntegratedGradients,  ///< a_i * integral of dF/dz_i from the zero vector to a
  kActivation,           ///< a_i, the paper's baseline
  kActivationNorm,       ///< |a_i| times the norm of the neuron's value vector
  kValueNorm,            ///< that norm alone: robust z within the layer, the same for every prompt
  kGradientXActivation,  ///< a_i * dF/dz_i at a: first-order ablation, attribution patching to zero
  kRelevance,            ///< RelP (2508.21258): the same with the scales of the layer norms, the
                         ///< attention patterns and a/u of the activations held fixed
  kAblation,             ///< F(a) - F(a with neuron i alone set to zero), exact
};

/// What is known of a score before any model is.
struct ScoreMethod {
  Score score;
  std::string_view name;        ///< on the command line and in files: "ig", "activation", ...
  std::string_view other_name;  ///< under which the field knows it, too; empty: none
  std::string_view meaning;     ///< for --help, without a full stop
  bool integrates = false;      ///< takes IntegrationOptions; its scores sum to F(a) - F(0), so its
                                ///< gap says how good they are
  double ratio = 0.2;  ///< of a prompt's largest score, from which on the paper's selection
                       ///< (dai2022) keeps a neuron
};

/// Every score, the default one first. Everything that takes scores goes through this list.
std::span<const ScoreMethod> score_methods();
const ScoreMethod& score_method(Score score);

/// Quadrature rules of integrated gradients.
enum class Rule {
  kControlVariate,
  kGaussLegendre,
  kGaussRadau,    ///< with a node at t = 1
  kGaussLobatto,  ///< with nodes at t = 0 and t = 1
  kRiemannLeft,   ///< t = k/m, k = 0..m-1: the paper's released code, m = 20
  kRiemannRight,  ///< t = k/m, k = 1..m: the formula as printed
  kTrapezoid,
  kLinspace,  ///< t = k/(m-1), weight 1/m: EleutherAI's replication
};

/// How the integral of integrated gradients is taken.
struct IntegrationOptions {
  Rule rule = Rule::kControlVariate;
  std::optional<int64_t> steps;  ///< fixes n for every rule (1..10000); unset: adaptive rules
                                 ///< adapt, the fixed ones (riemann-*, trapezoid, linspace) take 20
  /// Of the fixed rules: their sum is taken from what the default rule interpolates, within the
  /// tolerance of what a node at every step gives. Errors, nodes and convergence are then those of
  /// the interpolation.
  bool interpolate = false;
  int64_t max_steps = 64;   ///< cap of all nodes of a (prompt, layer) for adaptive rules
  double tolerance = 0.01;  ///< relative; METHOD "when to stop"
};

std::string_view score_name(Score score);  ///< "ig", "activation", ...
std::string_view rule_name(Rule rule);     ///< "control-variate", ...
Score parse_score(std::string_view name);  ///< either name; throws UsageError
Rule parse_rule(std::string_view name);    ///< throws UsageError
/// "ig by control-variate", "activation".
std::string method_text(Score score, const IntegrationOptions& integration);

}  // namespace engram
