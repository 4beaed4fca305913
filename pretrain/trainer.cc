#include "pretrain/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numbers>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/base/workers.h"
#include "engram/error.h"
#include "engram/model/device.h"
#include "engram/model/tensor_table.h"
#include "pretrain/adamw.h"
#include "pretrain/random.h"

namespace engram::pretrain {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr std::string_view kTrainingMagic = "engram-checkpoint-1\n";
constexpr uint64_t kInitStream = 100;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ModelConfig model_config(const TrainOptions& o, const Dataset& data) {
  if (o.layers < 1 || o.d_model < 1 || o.d_ff < 1 || o.heads < 1 || o.d_model % o.heads != 0) {
    throw UsageError("--width must be a multiple of --heads, and all sizes positive");
  }
  if (o.positions < o.sampler.max_tokens) {
    throw UsageError("--positions must be at least --max-tokens");
  }
  ModelConfig c;
  c.layers = o.layers;
  c.d_model = o.d_model;
  c.d_ff = o.d_ff;
  c.heads = o.heads;
  c.head_size = o.d_model / o.heads;
  c.vocabulary = data.vocabulary;
  c.positions = o.positions;
  c.token_types = 2;
  c.pad_token = data.pad;
  return c;
}

/// Matrices and embeddings from N(0, 0.02^2) as BERT starts, biases 0, layer-norm weights 1. Wider
/// starts were tried (1/sqrt(width)): what a sublayer adds then outweighs what it reads, the hidden
/// states of all inputs become one after a few hundred steps, and the loss stays where it is.
void initialise(const TensorSpec& spec, const ModelConfig& config, uint64_t seed, uint64_t number) {
  const std::vector<int64_t> shape = spec.shape(config);
  at::Tensor t = at::zeros(shape, at::kFloat);
  if (shape.size() > 1) {
    float* out = t.mutable_data_ptr<float>();
    constexpr double kDeviation = 0.02;
    for (int64_t i = 0; i < t.numel(); ++i) {
      const uint64_t bits = hash(seed, kInitStream + number, static_cast<uint64_t>(i));
      const double radius = std::sqrt(-2 * std::log(1 - uniform(bits)));
      const double angle = 2 * std::numbers::pi * uniform(mix(bits));
      out[i] = static_cast<float>(kDeviation * radius * std::cos(angle));
    }
  } else if (spec.names.front().ends_with("orm.weight")) {
    t.fill_(1);
  }
  *spec.destination = t;
}

/// Log of how often each token is to be predicted, out of the first steps: the start of the
/// decoder's bias. From 0 the bias would take thousands of steps to get there, and meanwhile the
/// embeddings do its work: the rows of all rare tokens get a small but steady gradient away from
/// the mean hidden state, which Adam turns into full steps, until all tokens look alike to the
/// first layer.
at::Tensor log_frequencies(Sampler& sampler, int64_t vocabulary) {
  constexpr int64_t kSteps = 400;
  std::vector<double> count(static_cast<size_t>(vocabulary), 0.2);
  double total = 0.2 * static_cast<double>(vocabulary);
  for (int64_t step = 0; step < kSteps; ++step) {
    for (const MicroBatch& batch : sampler.step(step)) {
      for (size_t t = 0; t < batch.targets.size(); ++t) {
        count[static_cast<size_t>(batch.expected[t])] += static_cast<double>(batch.weights[t]);
        total += static_cast<double>(batch.weights[t]);
      }
    }
  }
  at::Tensor bias = at::empty(vocabulary, at::kFloat);
  for (size_t i = 0; i < count.size(); ++i) {
    bias.mutable_data_ptr<float>()[i] = static_cast<float>(std::log(count[i] / total));
  }
  return bias;
}

/// What must agree for a training to go on.
Json kept(const TrainOptions& o, const Dataset& data) {
  const SamplerOptions& s = o.sampler;
  return {{"data", data.fingerprint()},
          {"layers", o.layers},
          {"width", o.d_model},
          {"ffn", o.d_ff},
          {"heads", o.heads},
          {"positions", o.positions},
          {"weight_decay", o.weight_decay},
          {"beta1", o.beta1},
          {"beta2", o.beta2},
          {"epsilon", o.epsilon},
          {"clip", o.clip},
          {"prompt_dressed", s.prompt_dressed},
          {"prompt_paired", s.prompt_paired},
          {"sequences", s.sequences_per_step},
          {"batch_tokens", s.batch_tokens},
          {"max_tokens", s.max_tokens},
          {"seed", s.seed}};
}

Json schedule(const TrainOptions& o) {
  const SamplerOptions& s = o.sampler;
  return {{"steps", o.steps},
          {"learning_rate", o.learning_rate},
          {"warm_up", o.warm_up},
          {"decay", o.decay},
          {"sentence_share", s.sentence_share},
          {"prompt_share", s.prompt_share},
          {"sentence_masked", s.sentence_masked},
          {"masked", s.masked},
          {"few_masked", s.few_masked},
          {"answer_weight", s.answer_weight}};
}

void write_checkpoint(const fs::path& file, const Json& header,
                      const std::vector<at::Tensor>& tensors) {
  AtomicFile out(file);
  out.write(std::string(kTrainingMagic) + header.dump() + "\n");
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor host = tensor.detach().to(at::kCPU);
    out.write({static_cast<const char*>(host.const_data_ptr()), host.nbytes()});
  }
  out.commit();
}

/// Fills `tensors` and returns the header.
Json read_checkpoint(const fs::path& file, const Json& expected,
                     const std::vector<at::Tensor>& tensors) {
  const MappedFile map(file);
  std::string_view bytes(reinterpret_cast<const char*>(map.data()), map.size());
  const auto fail = [&](const std::string& what) { throw InputError(file.string() + ": " + what); };
  if (!bytes.starts_with(kTrainingMagic)) fail("not a checkpoint of engram-pretrain");
  bytes.remove_prefix(kTrainingMagic.size());
  const size_t end = bytes.find('\n');
  if (end == std::string_view::npos) fail("cut short");
  Json header = Json::parse(bytes.substr(0, end), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || !header.contains("kept") || !header.contains("step")) {
    fail("damaged header");
  }
  for (const auto& [name, value] : expected.items()) {
    if (header["kept"].value(name, Json()) != value) {
      fail("made with " + name + " " + header["kept"].value(name, Json()).dump() + ", now " +
           value.dump() + "; take another --out to start anew");
    }
  }
  bytes.remove_prefix(end + 1);
  for (const at::Tensor& tensor : tensors) {
    if (bytes.size() < tensor.nbytes()) fail("cut short");
    const at::Tensor host = at::empty(tensor.sizes(), at::kFloat);
    std::memcpy(host.data_ptr(), bytes.data(), host.nbytes());
    tensor.detach().copy_(host);
    bytes.remove_prefix(tensor.nbytes());
  }
  return header;
}

void export_model(const Model& model, const TrainOptions& options, const fs::path& directory) {
  save_model(model, directory, /*half=*/true);
  for (const char* name : {"tokenizer.json", "vocab.txt", "tokenizer_config.json", "facts.jsonl"}) {
    if (!fs::exists(options.data / name)) continue;
    AtomicFile out(directory / name);
    out.write(read_file(options.data / name));
    out.commit();
  }
}

/// Loss and gradients of one micro-batch, divided by the `weight` of the whole step's targets.
std::pair<double, std::vector<at::Tensor>> gradients_of(const Model& model, const MicroBatch& batch,
                                                        const std::vector<at::Tensor>& parameters,
                                                        double weight) {
  const at::Device device = model.device();
  const auto on_device = [&](const auto& values, at::ScalarType type) {
    return at::tensor(values, type).to(device);
  };
  const at::Tensor ids = on_device(batch.ids, at::kLong).view({batch.rows, batch.columns});
  at::Tensor mask;
  if (batch.padded) {
    mask = on_device(batch.real, at::kByte).view({batch.rows, batch.columns}).to(at::kBool);
  }
  const at::Tensor hidden = model.encode(ids, mask).flatten(0, 1);
  const at::Tensor logits =
      model.logits(hidden.index_select(0, on_device(batch.targets, at::kLong)));
  const at::Tensor each =
      at::cross_entropy_loss(logits, on_device(batch.expected, at::kLong), {}, at::Reduction::None);
  const at::Tensor loss = at::dot(each, on_device(batch.weights, at::kFloat)) / weight;
  auto gradients = torch::autograd::grad({loss}, parameters, {}, /*retain_graph=*/false,
                                         /*create_graph=*/false, /*allow_unused=*/false);
  for (at::Tensor& gradient : gradients) gradient = gradient.contiguous();
  return {loss.item<double>(), std::move(gradients)};
}

}  // namespace

double learning_rate_at(const TrainOptions& o, int64_t step) {
  const double steps = static_cast<double>(o.steps);
  const double at = static_cast<double>(step);
  const double up = o.warm_up * steps;
  double share = 1;
  if (at < up) share = (at + 1) / (up + 1);
  const double down = o.decay * steps;
  if (at >= steps - down) share = std::min(share, (steps - at) / (down + 1));
  return o.learning_rate * share;
}

int64_t train(const TrainOptions& options,
              const std::function<void(const TrainProgress&)>& progress) {
  const at::Device device = open_device(options.device);
  const Dataset data = Dataset::read(options.data / "data.bin");
  const ModelConfig config = model_config(options, data);
  Sampler sampler(data, options.sampler);
  std::error_code failed;
  fs::create_directories(options.out, failed);
  if (failed) throw FileError(options.out.string() + ": cannot create folder: " + failed.message());

  ModelWeights weights;
  std::vector<at::Tensor> parameters;
  uint64_t number = 0;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    if (!spec.required) continue;  // the decoder is tied
    initialise(spec, config, options.sampler.seed, number++);
    *spec.destination = spec.destination->to(device);
    parameters.push_back(spec.destination->requires_grad_());
  }
  weights.decoder_bias.detach().copy_(log_frequencies(sampler, data.vocabulary));
  const Model model(config, std::move(weights));
  AdamW optimiser(parameters, {options.beta1, options.beta2, options.epsilon, options.weight_decay,
                               options.clip});
  const int threads = options.threads > 0 ? options.threads : usable_cores();
  Workers workers(device.is_cpu() ? threads : 1,  // a GPU is kept busy by one
                  [] { at::set_num_threads(1); });

  const fs::path checkpoint = options.out / "checkpoint.bin";
  int64_t step = 0;
  if (fs::exists(checkpoint)) {
    const Json header = read_checkpoint(checkpoint, kept(options, data), optimiser.state());
    step = header["step"].get<int64_t>();
    TrainProgress note;
    note.note = "going on after step " + std::to_string(step);
    if (header.value("schedule", Json()) != schedule(options)) {
      note.note += "; the schedule was " + header.value("schedule", Json()).dump() +
                   " and is now " + schedule(options).dump();
    }
    progress(note);
  }
  const auto save = [&] {
    write_checkpoint(
        checkpoint,
        {{"step", step}, {"kept", kept(options, data)}, {"schedule", schedule(options)}},
        optimiser.state());
  };

  constexpr int64_t kReport = 20;
  double loss = 0;
  int64_t tokens = 0, reported = step;
  Clock::time_point saved = Clock::now(), told = saved;
  for (; step < options.steps; ++step) {
    if (Interrupt::requested() || (options.stop_after > 0 && step >= options.stop_after)) {
      save();
      if (!Interrupt::requested()) return step;
      throw Interrupted("stopped after step " + std::to_string(step) + "; " + checkpoint.string() +
                        " keeps it: the same command goes on from there");
    }
    const std::vector<MicroBatch> batches = sampler.step(step);
    double weight = 0;
    for (const MicroBatch& batch : batches) {
      for (const float w : batch.weights) weight += static_cast<double>(w);
      tokens += batch.tokens;
    }
    std::vector<std::vector<at::Tensor>> gradients(batches.size());
    std::vector<double> losses(batches.size());
    workers.run(batches.size(), [&](size_t b, size_t /*worker*/) {
      std::tie(losses[b], gradients[b]) =
          gradients_of(model, batches[b], optimiser.parameters(), weight);
    });
    for (const double part : losses) loss += part;
    const double rate = learning_rate_at(options, step);
    const double norm = optimiser.step(gradients, step, rate, workers);

    const int64_t done = step + 1;
    if (done - reported >= kReport || done == options.steps) {
      TrainProgress p;
      p.step = done;
      p.steps = options.steps;
      const double taken = seconds_since(told);
      p.loss = loss / static_cast<double>(done - reported);
      p.gradient_norm = norm;
      p.learning_rate = rate;
      p.tokens_per_second = static_cast<double>(tokens) / taken;
      p.seconds_left =
          taken / static_cast<double>(done - reported) * static_cast<double>(options.steps - done);
      progress(p);
      loss = 0;
      tokens = 0;
      reported = done;
      told = Clock::now();
    }
    if (options.export_steps > 0 && done % options.export_steps == 0 && done < options.steps) {
      export_model(model, options, options.out / ("export-" + std::to_string(done)));
    }
    if (seconds_since(saved) >= options.checkpoint_seconds) {
      ++step;
      save();  // `step` counts finished steps
      --step;
      saved = Clock::now();
    }
  }
  save();
  export_model(model, options, options.out / "model");
  return step;
}

}  // namespace engram::pretrain
