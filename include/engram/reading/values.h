#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/model/model.h"
#include "engram/neuron.h"

namespace engram {

/// What vectors that are written to the residual stream say about the vocabulary: logits
/// [vectors, vocabulary] float32 of `vectors` [vectors, d_model]. It is what the LM head gives to a
/// stream that holds nothing but the vector, minus what it gives to zeros. In a pre-norm model that
/// is the output embedding times the final norm without its bias, so that the order of the tokens
/// is that of what the neuron adds to their logits; in a masked one the head's transform stands
/// between. The softmax of it is the distribution p = softmax(v E) of Geva et al. 2021 (arXiv
/// 2012.14913, section 4), in whose model nothing stands between the stream and E.
at::Tensor read_vectors(const Model& model, const at::Tensor& vectors);

/// The value vectors [neurons, d_model] of some neurons of one layer, `index` [neurons].
at::Tensor value_vectors(const Model& model, int64_t layer, const std::vector<int64_t>& index);

/// A neuron that is near another one.
struct Neighbour {
  NeuronId neuron;
  double cosine = 0;
};

/// The neurons of all layers whose keys and whose values have the largest cosine with those of one,
/// which is none of them; equals by layer and neuron. Of a gated FFN, whose key is a pair of rows
/// (gate and up), the cosine of keys is the mean of the two. A vector of zeros has cosine 0 with
/// every other.
struct Neighbours {
  std::vector<Neighbour> by_key;
  std::vector<Neighbour> by_value;
};
/// Throws InputError for a neuron that does not exist. REQUIRES: count >= 0.
Neighbours nearest_neurons(const Model& model, NeuronId neuron, int64_t count);

/// Lengths of a neuron's vectors.
struct NeuronNorms {
  double key = 0;   ///< the row of the first FFN matrix
  double gate = 0;  ///< the row of the gate's, NaN where there is none
  double value = 0;
};
/// Throws InputError for a neuron that does not exist.
NeuronNorms neuron_norms(const Model& model, NeuronId neuron);

}  // namespace engram
