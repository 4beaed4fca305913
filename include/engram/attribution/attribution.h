#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "engram/attribution/score.h"
#include "engram/model/model.h"
#include "engram/model/target.h"
#include "engram/text/cloze.h"

namespace engram {

std::string_view target_name(Target target);  ///< "prob", "logprob", "logit-diff"

/// How prompts are scored.
struct AttributionOptions {
  Score score = Score::kIntegratedGradients;
  Target target = Target::kProbability;
  int threads = 0;           ///< workers, one BLAS thread each; 0: one per core
  int64_t memory_bytes = 0;  ///< budget for buffers of all workers; 0: 256 MiB for each, and
                             ///< 4 GiB on a GPU, which has one
  bool bitwise = false;      ///< the same bits whatever threads and memory: batches are cut as
                             ///< by the default memory, which then bounds the workers only;
                             ///< products run on one BLAS thread
  bool gap = true;           ///< scores other than integrated gradients: compute F(0) of every
                             ///< layer, too, which costs layers/2 forwards; without it delta and
                             ///< gap are NaN
  IntegrationOptions integration;  ///< of the scores that take it
  /// Exact ablation only: the values [layers, d_ff] (float32, CPU) that neurons are set to, one at
  /// a time; undefined: zero. `delta` stays F(a) - F(0).
  at::Tensor ablate_to;
  /// Exact ablation only: so many more neurons of a prompt are done. Called from the workers.
  std::function<void(int64_t neurons)> on_ablated;
};

/// What is known of one layer's attribution.
struct LayerReport {
  double delta = 0;            ///< F_l(a) - F_l(0)
  double sum = 0;              ///< sum of the layer's scores
  double gap = 0;              ///< |sum - delta|, the completeness gap (IG; else the difference)
  int64_t nodes = 0;           ///< of F that the layer's rules used; kControlVariate has t = 1 for
                               ///< nothing and does not count it
  int64_t shared_nodes = 0;    ///< those of `nodes` at t = 1, where one pass serves all layers
  int64_t cheap_nodes = 0;     ///< nodes of the control variate
  double estimated_error = 0;  ///< of the scores, absolute: largest estimated change of a score;
                               ///< NaN where there was nothing to estimate it by (fixed rules)
  bool converged = true;       ///< met the tolerance (adaptive rules)
};

/// The scores of one prompt.
struct Attribution {
  at::Tensor scores;       ///< [layers, d_ff] float32, CPU
  at::Tensor activations;  ///< [layers, d_ff] float32, CPU; mean over the tokens at which neurons
                           ///< are read: the masks, or the subject's last token
  double p = 0;            ///< P of the answer (exp of the mean log P for several tokens)
  double f = 0;            ///< F(a): the target's value
  int64_t rank = 1;        ///< of the answer, 1: the top one; the worst of the masks for several
                           ///< tokens
  std::vector<LayerReport> layers;
};

/// Called once per cloze, with its index, from any worker but never twice at a time. Order is not
/// that of the clozes.
using AttributionSink = std::function<void(size_t index, Attribution&& attribution)>;

/// How many workers attribute() takes, if there is enough to do: as many as --threads allows, with
/// `bitwise` no more than memory_bytes has room for.
int attribution_workers(const Model& model, const AttributionOptions& options);

/// Attributes all clozes: the fast path. Prompts of about equal length share batches; workers share
/// nothing but the model. Memory is bounded by options.memory_bytes, not by the number of clozes.
/// Scores do not depend on batch size, order or threads beyond 1e-5 of the largest |score| of the
/// (prompt, layer). Throws InputError (a cloze does not fit the model), UsageError (options),
/// Interrupted; on an error no further call of `sink` is made.
void attribute(const Model& model, std::span<const Cloze> clozes, const AttributionOptions& options,
               const AttributionSink& sink);

/// The plain path: one prompt, one node, one layer at a time, full forward, autograd. Same results,
/// hundreds of times slower; the yardstick of the tests. Rule kControlVariate
/// needs `steps`, and neurons where the answer is asked.
Attribution attribute_naive(const Model& model, const Cloze& cloze,
                            const AttributionOptions& options);

}  // namespace engram
