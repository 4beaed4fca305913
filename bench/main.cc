// engram-bench: the measurements that are made inside our own program, for bench/run.py. Prints one
// JSON object. bench/README.md says what each field means.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "cli/process.h"
#include "engram/attribution/attribution.h"
#include "engram/attribution/cost.h"
#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/error.h"
#include "engram/model/device.h"
#include "engram/model/model.h"
#include "engram/model/product.h"
#include "engram/text/facts.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"

namespace engram::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Options {
  std::string model, facts, score = "ig", rule = "control-variate", scores, device = "cpu";
  int64_t prompts = 0;
  int64_t steps = 0;
  int threads = 0;
  double tolerance = 0.01;
  bool tf32 = false;
};

/// The device to measure on, with products of float32 or of TensorFloat-32.
at::Device device_of(const Options& options) {
  const at::Device device = open_device(options.device);
  if (options.tf32 && !device.is_cuda()) {
    throw UsageError("--tf32: got the device " + device.str() + ", expected --device cuda");
  }
  at::globalContext().setFloat32MatmulPrecision(options.tf32 ? "high" : "highest");
  return device;
}

/// The first prompts of a fact set, repeated from the start when there are fewer.
std::vector<Cloze> read_clozes(const Options& options, const Tokenizer& tokenizer,
                               const Model& model, int64_t count) {
  std::vector<Cloze> all;
  const PromptForm form = prompt_form(model.config());
  FactSetOptions reading;
  reading.answer_last = form.causal;
  for (const Fact& fact : read_facts(options.facts, reading).facts) {
    for (const std::string& prompt : fact.prompts) {
      all.push_back(encode_cloze(tokenizer, prompt, fact.object, form, fact.origin));
      if (static_cast<int64_t>(all.size()) == count) return all;
    }
  }
  const size_t distinct = all.size();
  for (size_t i = 0; static_cast<int64_t>(all.size()) < count; ++i)
    all.push_back(all[i % distinct]);
  return all;
}

void run_attribute(const Options& options) {
  const at::Device device = device_of(options);
  const Clock::time_point loading = Clock::now();
  const Model model = Model::load(options.model, device);
  const double load_seconds = seconds_since(loading);
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::vector<Cloze> clozes =
      read_clozes(options, tokenizer, model, options.prompts > 0 ? options.prompts : 64);
  AttributionOptions how;
  how.score = parse_score(options.score);
  how.gap = false;  // what the score alone takes
  how.integration.rule = parse_rule(options.rule);
  if (options.steps > 0) how.integration.steps = options.steps;
  how.threads = options.threads;
  how.integration.tolerance = options.tolerance;

  std::ofstream scores;
  if (!options.scores.empty()) scores.open(options.scores, std::ios::binary);
  const ModelConfig& config = model.config();
  const auto block =
      static_cast<std::streamoff>(config.neurons() * static_cast<int64_t>(sizeof(float)));
  const bool small = clozes.size() <= 1000;
  std::map<int64_t, int64_t> nodes;
  std::map<int64_t, int64_t> cheap;
  std::vector<double> of_layer(static_cast<size_t>(config.layers));  // mean nodes
  std::vector<std::vector<double>> gaps(small ? clozes.size() : 0);
  std::vector<double> p(small ? clozes.size() : 0);
  int64_t unconverged = 0;
  int64_t longest = 0;
  double flops = 0;
  const auto take = [&](size_t index, Attribution&& result) {
    const Cloze& cloze = clozes[index];
    const auto tokens = static_cast<int64_t>(cloze.ids.size());
    longest = std::max(longest, tokens);
    flops += attribution_flops(config, tokens, static_cast<int64_t>(cloze.positions.size()),
                               result.layers);
    for (size_t l = 0; l < result.layers.size(); ++l) {
      const LayerReport& layer = result.layers[l];
      of_layer[l] += static_cast<double>(layer.nodes) / static_cast<double>(clozes.size());
      ++nodes[layer.nodes];
      ++cheap[layer.cheap_nodes];
      unconverged += layer.converged ? 0 : 1;
      if (small) {
        gaps[index].push_back(layer.gap / std::max(std::abs(layer.delta), 1e-3 * result.p));
      }
    }
    if (small) p[index] = result.p;
    if (scores.is_open()) {
      scores.seekp(static_cast<std::streamoff>(index) * block);
      scores.write(static_cast<const char*>(result.scores.const_data_ptr()), block);
    }
  };
  // A short warm-up: one prompt for each worker, which touches the weights and the code.
  const std::vector<Cloze> few(clozes.begin(),
                               clozes.begin() + std::min<std::ptrdiff_t>(2, std::ssize(clozes)));
  if (how.score != Score::kAblation) attribute(model, few, how, [](size_t, Attribution&&) {});
  const Clock::time_point start = Clock::now();
  attribute(model, clozes, how, take);
  const double seconds = seconds_since(start);
  if (scores.is_open()) {
    scores.close();
    if (!scores) throw FileError(options.scores + ": cannot write");
  }

  Json out;
  out["prompts"] = clozes.size();
  out["tokens"] = longest;
  out["threads"] = options.threads > 0 ? options.threads : usable_cores();
  out["device"] = device.str();
  out["score"] = options.score;
  out["rule"] = options.rule;
  out["load_seconds"] = load_seconds;
  out["seconds"] = seconds;
  out["flops"] = flops;
  for (const auto& [n, count] : nodes) out["nodes"][std::to_string(n)] = count;
  for (const auto& [n, count] : cheap) out["cheap_nodes"][std::to_string(n)] = count;
  out["nodes_of_layer"] = of_layer;
  out["unconverged"] = unconverged;
  out["layers"] = config.layers;
  out["d_ff"] = config.d_ff;
  if (small) {
    Json flat = Json::array();
    for (const std::vector<double>& of_prompt : gaps) {
      for (const double gap : of_prompt) flat.push_back(gap);
    }
    out["relative_gaps"] = flat;
    out["p"] = p;
  }
  std::cout << out.dump() << "\n";
}

/// Best rate of products on a GPU, which is busy with one at a time.
void run_gpu_sgemm(const at::Device& device) {
  const at::NoGradGuard no_grad;
  Json rates;
  double best = 0;
  for (const int64_t n : {2048, 4096, 8192}) {
    Interrupt::check();
    const at::Tensor a = at::randn({n, n}, device);
    const at::Tensor b = at::randn({n, n}, device);
    at::Tensor c = at::empty({n, n}, device);
    const auto repeats = static_cast<int>(std::max<int64_t>(4, 8'000'000'000'000 / (n * n * n)));
    double rate = 0;
    for (int attempt = 0; attempt < 4; ++attempt) {  // the first one warms up
      const Clock::time_point start = Clock::now();
      for (int i = 0; i < repeats; ++i) at::mm_out(c, a, b);
      [[maybe_unused]] const float waited = c[0][0].item<float>();  // until the queue is empty
      const double done = 2.0 * static_cast<double>(n * n * n) * repeats;
      if (attempt > 0) rate = std::max(rate, done / seconds_since(start) / 1e9);
    }
    rates["libtorch " + std::to_string(n)] = rate;
    best = std::max(best, rate);
  }
  std::cout << Json{{"gflops", rates}, {"best_gflops", best}, {"device", device.str()}}.dump()
            << "\n";
}

void run_sgemm(const Options& options) {
  const at::Device device = device_of(options);
  if (device.is_cuda()) {
    run_gpu_sgemm(device);
    return;
  }
  const int threads = options.threads > 0 ? options.threads : usable_cores();
  // The roof is that of the faster library: libtorch's, and the one that attribution takes.
  using Product = std::function<void(const at::Tensor&, const at::Tensor&, at::Tensor&)>;
  const std::array<std::pair<std::string, Product>, 2> libraries = {
      {{"libtorch",
        [](const at::Tensor& a, const at::Tensor& b, at::Tensor& c) { at::mm_out(c, a, b); }},
       {product_library(), [](const at::Tensor& a, const at::Tensor& b, at::Tensor& c) {
          matrix_product(a, b, c, false);
        }}}};
  Json rates;
  double best = 0;
  for (const auto& library : libraries) {
    const Product& product = library.second;
    for (const int64_t n : {1024, 2048, 4096}) {
      Interrupt::check();
      const auto repeats = static_cast<int>(std::max<int64_t>(2, 40'000'000'000 / (n * n * n)));
      double rate = 0;
      for (int attempt = 0; attempt < 3; ++attempt) {
        std::vector<double> each(static_cast<size_t>(threads));
        std::vector<std::jthread> workers;
        for (int worker = 0; worker < threads; ++worker) {
          workers.emplace_back([&, worker] {
            const at::NoGradGuard no_grad;
            at::set_num_threads(1);
            const at::Tensor a = at::randn({n, n});
            const at::Tensor b = at::randn({n, n});
            at::Tensor c = at::empty({n, n});
            product(a, b, c);
            const Clock::time_point start = Clock::now();
            for (int i = 0; i < repeats; ++i) product(a, b, c);
            each[static_cast<size_t>(worker)] =
                2.0 * static_cast<double>(n * n * n) * repeats / seconds_since(start) / 1e9;
          });
        }
        for (std::jthread& worker : workers) worker.join();
        double sum = 0;
        for (const double one : each) sum += one;
        rate = std::max(rate, sum);
      }
      rates[library.first + " " + std::to_string(n)] = rate;
      best = std::max(best, rate);
    }
  }
  std::cout << Json{{"gflops", rates},
                    {"best_gflops", best},
                    {"device", device.str()},
                    {"threads", threads},
                    {"products", product_library()}}
                   .dump()
            << "\n";
}

void run_ablation(const Options& options) {
  const Model model = Model::load(options.model);
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::vector<Cloze> clozes =
      read_clozes(options, tokenizer, model, options.prompts > 0 ? options.prompts : 1);
  AttributionOptions how;
  how.score = Score::kAblation;
  how.threads = options.threads;
  double flops = 0;
  for (const Cloze& cloze : clozes) {
    flops += ablation_flops(model.config(), static_cast<int64_t>(cloze.ids.size()),
                            static_cast<int64_t>(cloze.positions.size()));
  }
  const Clock::time_point start = Clock::now();
  attribute(model, clozes, how, [](size_t, Attribution&&) {});
  std::cout << Json{{"seconds", seconds_since(start)},
                    {"flops", flops},
                    {"neurons", model.config().neurons()}}
                   .dump()
            << "\n";
}

void run_load(const Options& options) {
  const Clock::time_point start = Clock::now();
  const Model model = Model::load(options.model);
  std::cout << Json{{"seconds", seconds_since(start)},
                    {"mapped_bytes", model.report().mapped_bytes},
                    {"copied_bytes", model.report().copied_bytes}}
                   .dump()
            << "\n";
}

void add_commands(CLI::App& app, Options& options) {
  constexpr int64_t kMost = 1'000'000'000;
  const auto add = [&](const char* name, const char* what, void (*work)(const Options&), bool model,
                       bool facts) {
    CLI::App* command = app.add_subcommand(name, what);
    if (model) cli::add_path(*command, "model", options.model, "Model folder")->required();
    if (facts) {
      cli::add_path(*command, "--facts", options.facts, "Fact set (JSON Lines)")->required();
      cli::add_integer(*command, "--prompts", options.prompts, 1, kMost, "How many prompts");
    }
    cli::add_integer(*command, "--threads", options.threads, 0, 1024, "Workers; 0: one per core");
    command->callback([&options, work] { work(options); });
    return command;
  };
  CLI::App& timed =
      *add("attribute", "Time attribution of many prompts", run_attribute, true, true);
  timed.add_option("--score", options.score, "ig, activation, relp, ablation, ...");
  timed.add_option("--rule", options.rule, "Quadrature rule");
  cli::add_integer(timed, "--steps", options.steps, 1, 10'000, "Fixed number of nodes");
  cli::add_number(timed, "--tolerance", options.tolerance, cli::Range{0, 1, true, true},
                  "Of the adaptive rules");
  cli::add_path(timed, "--scores", options.scores, "Raw float32 [prompts, layers, d_ff]");
  CLI::App& products =
      *add("sgemm", "Best rate of matrix products, all cores busy", run_sgemm, false, false);
  for (CLI::App* command : {&timed, &products}) {
    command->add_option("--device", options.device, "cpu, cuda or auto");
    command->add_flag("--tf32", options.tf32, "Products of TensorFloat-32 on the GPU");
  }
  add("ablation", "Time exact ablation of all neurons", run_ablation, true, true);
  add("load", "Time model loading", run_load, true, false);
}

}  // namespace
}  // namespace engram::bench

int main(int argc, char** argv) {
  engram::bench::Options options;
  engram::cli::end_process(engram::cli::run_program(
      "engram-bench", "Measurements of Engram from inside; bench/README.md describes the fields",
      [&](CLI::App& app) { engram::bench::add_commands(app, options); }, argc, argv));
}
