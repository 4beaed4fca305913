#pragma once

#include <vector>

#include "engram/attribution/attribution.h"
#include "passes/passes.h"

namespace engram {

/// A chunk of prompts to be scored.
struct ChunkJob {
  Passes& passes;
  const Model& model;
  const Chunk& chunk;
  const AttributionOptions& options;
  int64_t bytes;  ///< bounds the buffers of one pass
  int workers;    ///< that may share the work of this chunk, where a score has that much
};

/// What scores the prompts of a chunk, in their order.
using ScoreChunk = std::vector<Attribution> (*)(const ChunkJob& job);

ScoreChunk chunk_scorer(Score score);

std::vector<Attribution> integrate(const ChunkJob& job);
std::vector<Attribution> score_activation(const ChunkJob& job);
std::vector<Attribution> score_activation_norm(const ChunkJob& job);
std::vector<Attribution> score_value_norm(const ChunkJob& job);
std::vector<Attribution> score_gradient(const ChunkJob& job);
std::vector<Attribution> score_relevance(const ChunkJob& job);
std::vector<Attribution> score_ablation(const ChunkJob& job);

}  // namespace engram
