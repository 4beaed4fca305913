#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "engram/model/model.h"
#include "pretrain/sampler.h"

namespace engram::pretrain {

/// Everything that a training depends on. What is marked as kept must be the same when a training
/// goes on; the schedule may be changed, which then gives another training from there on.
struct TrainOptions {
  std::filesystem::path data;   ///< folder that `prepare` made
  std::filesystem::path out;    ///< folder for the checkpoint and the exports
  int64_t layers = 4;           ///< kept
  int64_t d_model = 256;        ///< kept
  int64_t d_ff = 1024;          ///< kept
  int64_t heads = 4;            ///< kept
  int64_t positions = 128;      ///< kept; longest input of the model, in tokens
  int64_t steps = 3000;         ///< schedule
  double learning_rate = 5e-4;  ///< schedule; at its highest
  double warm_up = 0.03;        ///< schedule; share of the steps, linear
  double decay = 0.5;           ///< schedule; share of the steps, at the end, linear to zero
  double weight_decay = 0.01;   ///< kept; of matrices
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8;  ///< kept; of AdamW
  double clip = 1.0;                                 ///< kept; largest norm of the gradient
  SamplerOptions sampler;          ///< shares, masking and weights: schedule; sizes and seed: kept
  std::string device = "cpu";      ///< "cpu", "cuda" or "auto"; see open_device()
  int threads = 0;                 ///< workers, one BLAS thread each; 0: one per core; CPU only
  double checkpoint_seconds = 60;  ///< time between checkpoints
  int64_t export_steps = 0;        ///< steps between exports of the model; 0: only at the end
  int64_t stop_after = 0;          ///< stop at this step as if interrupted; 0: never
};

/// One line of progress.
struct TrainProgress {
  int64_t step = 0, steps = 0;
  double loss = 0;  ///< mean over the last steps, nats per predicted token
  double gradient_norm = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
  std::string note;  ///< something to be told once; then the numbers are not set
};

/// Trains a BERT masked LM, or goes on with the training whose checkpoint lies in `out`. Same data,
/// options, device and checkpoint give the same bits, however often the run was stopped and
/// whatever `threads` is (on a GPU as far as its kernels are deterministic). Returns the last
/// step's number (less than `steps` after stop_after). Writes OUT/checkpoint.bin (beside and
/// renamed), OUT/export-STEP/ in Hugging Face layout (half precision) and OUT/model/ at the end.
/// Throws Interrupted after writing a checkpoint; InputError when the checkpoint belongs to other
/// data or options.
int64_t train(const TrainOptions& options,
              const std::function<void(const TrainProgress&)>& progress);

/// The learning rate of a step (from 0).
double learning_rate_at(const TrainOptions& options, int64_t step);

}  // namespace engram::pretrain
