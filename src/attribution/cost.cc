#include "engram/attribution/cost.h"

namespace engram {
namespace {

/// Operations of parts of one run, by how many rows move. T = tokens, k = targets; d, q, h, f, V
/// are the widths of the stream, of all queries and of all keys, the neurons and the vocabulary.
class Cost {
 public:
  Cost(const ModelConfig& config, int64_t tokens, int64_t targets)
      : layers_(config.layers),
        tail_(config.causal()),
        tokens_(static_cast<double>(tokens)),
        targets_(static_cast<double>(targets)),
        query_(2.0 * static_cast<double>(config.d_model * config.query_width())),
        key_(2.0 * static_cast<double>(config.d_model * config.key_width())),
        neurons_(2.0 * static_cast<double>(config.d_model * config.d_ff)),
        matrices_(config.gated_ffn ? 3 : 2),
        query_width_(static_cast<double>(config.query_width())),
        transform_(tail_ ? 0.0 : static_cast<double>(config.d_model * config.d_model)),
        decoder_(static_cast<double>(config.d_model * config.vocabulary)) {}

  /// Whether no row moves but the targets, since none stands behind them that could see them.
  [[nodiscard]] bool tail() const { return tail_; }

  struct Parts {
    double products = 0;
    double attention = 0;
    [[nodiscard]] double forward() const { return products + attention; }
    /// Activations' gradients cost each product once more, attention twice.
    [[nodiscard]] double backward() const { return products + 2 * attention; }
    Parts& operator+=(const Parts& other) {
      products += other.products;
      attention += other.attention;
      return *this;
    }
  };

  /// One layer: `keys` rows make keys and values, `queries` of them queries, `outputs` go on.
  [[nodiscard]] Parts layer(double keys, double queries, double outputs) const {
    return {keys * 2 * key_ + queries * query_ + outputs * (query_ + matrices_ * neurons_),
            4 * outputs * tokens_ * query_width_};
  }
  /// The whole unperturbed run, from layer `first`.
  [[nodiscard]] Parts plain(int64_t first) const {
    Parts sum;
    for (int64_t m = first; m < layers_; ++m) {
      const bool top = m == layers_ - 1;
      sum += layer(tokens_, top ? targets_ : tokens_, top ? targets_ : tokens_);
    }
    return sum;
  }
  /// F above layer l: only targets move into layer l+1, everything out of it; the top layer needs
  /// its output at the targets alone.
  [[nodiscard]] Parts exact(int64_t l) const {
    if (tail_) return cheap(l);
    Parts sum;
    for (int64_t m = l + 1; m < layers_; ++m) {
      const bool top = m == layers_ - 1;
      const double moved = m == l + 1 ? targets_ : tokens_;
      sum += layer(moved, top ? targets_ : moved, top ? targets_ : tokens_);
    }
    return sum;
  }
  /// G above layer l.
  [[nodiscard]] Parts cheap(int64_t l) const {
    Parts sum;
    for (int64_t m = l + 1; m < layers_; ++m) sum += layer(targets_, targets_, targets_);
    return sum;
  }
  [[nodiscard]] double head() const { return targets_ * 2 * (transform_ + decoder_); }
  /// From the FFN sum to the neurons of one layer, or back.
  [[nodiscard]] double values() const { return targets_ * neurons_; }

 private:
  int64_t layers_;
  bool tail_;
  double tokens_, targets_, query_, key_, neurons_, matrices_, query_width_, transform_, decoder_;
};

}  // namespace

double attribution_flops(const ModelConfig& config, int64_t tokens, int64_t targets,
                         std::span<const LayerReport> reports) {
  const Cost cost(config, tokens, targets);
  // The unperturbed run and one backward of F and one of G for all layers (t = 1); where only the
  // targets move, both are one.
  double sum = cost.plain(0).forward() + cost.head();
  if (!cost.tail()) sum += cost.plain(1).backward() + cost.head();
  sum += cost.cheap(-1).forward() + cost.cheap(0).backward() + 2 * cost.head();
  for (int64_t l = 0; l < config.layers; ++l) {
    const LayerReport& report = reports[static_cast<size_t>(l)];
    const Cost::Parts exact = cost.exact(l);
    const Cost::Parts cheap = cost.cheap(l);
    sum += static_cast<double>(report.nodes - report.shared_nodes) *
           (exact.forward() + exact.backward() + 2 * cost.head());
    sum += static_cast<double>(report.cheap_nodes) *
           (cheap.forward() + cheap.backward() + 2 * cost.head());
    sum += 2 * cost.values();
  }
  return sum;
}

double plain_flops(const ModelConfig& config, int64_t tokens, int64_t targets) {
  const Cost cost(config, tokens, targets);
  return cost.plain(0).forward() + cost.head();
}

double head_flops(const ModelConfig& config, int64_t targets) {
  return Cost(config, 1, targets).head();
}

double ablation_flops(const ModelConfig& config, int64_t tokens, int64_t targets) {
  const Cost cost(config, tokens, targets);
  double sum = cost.plain(0).forward() + cost.head();
  for (int64_t l = 0; l < config.layers; ++l) {
    const double run = cost.exact(l).forward() + cost.head();
    sum += run * static_cast<double>(config.d_ff + 1) + cost.values();
  }
  return sum;
}

}  // namespace engram
