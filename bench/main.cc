// engram-bench: the measurements that are made inside our own program, for bench/run.py. Prints one
// JSON object. bench/README.md says what each field means.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/attribution/cost.h"
#include "engram/error.h"
#include "engram/model/model.h"
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
  std::string model, facts, rule = "control-variate", scores;
  int64_t prompts = 0;
  int64_t steps = 0;
  int threads = 0;
  double tolerance = 0.01;
};

/// The first prompts of a fact set, repeated from the start when there are fewer.
std::vector<AttributionQuery> read_queries(const Options& options, const Tokenizer& tokenizer,
                                           const Model& model, int64_t count) {
  std::vector<AttributionQuery> all;
  for (const Fact& fact : read_facts(options.facts).facts) {
    for (const std::string& prompt : fact.prompts) {
      const TokenizedPrompt tokens =
          encode_prompt(tokenizer, prompt, fact.object, model.config().max_tokens(), fact.origin);
      all.push_back({tokens.ids, tokens.positions, tokens.answer, {}});
      if (static_cast<int64_t>(all.size()) == count) return all;
    }
  }
  const size_t distinct = all.size();
  for (size_t i = 0; static_cast<int64_t>(all.size()) < count; ++i)
    all.push_back(all[i % distinct]);
  return all;
}

void run_attribute(const Options& options) {
  const Clock::time_point loading = Clock::now();
  const Model model = Model::load(options.model);
  const double load_seconds = seconds_since(loading);
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::vector<AttributionQuery> queries =
      read_queries(options, tokenizer, model, options.prompts > 0 ? options.prompts : 64);
  AttributionOptions how;
  how.rule = parse_rule(options.rule);
  if (options.steps > 0) how.steps = options.steps;
  how.threads = options.threads;
  how.tolerance = options.tolerance;

  std::ofstream scores;
  if (!options.scores.empty()) scores.open(options.scores, std::ios::binary);
  const ModelConfig& config = model.config();
  const auto block =
      static_cast<std::streamoff>(config.neurons() * static_cast<int64_t>(sizeof(float)));
  const bool small = queries.size() <= 1000;
  std::map<int64_t, int64_t> nodes;
  std::map<int64_t, int64_t> cheap;
  std::vector<std::vector<double>> gaps(small ? queries.size() : 0);
  std::vector<double> p(small ? queries.size() : 0);
  int64_t unconverged = 0;
  int64_t longest = 0;
  double flops = 0;
  const auto take = [&](size_t index, Attribution&& result) {
    const AttributionQuery& query = queries[index];
    const auto tokens = static_cast<int64_t>(query.ids.size());
    longest = std::max(longest, tokens);
    flops += attribution_flops(config, tokens, static_cast<int64_t>(query.positions.size()),
                               result.layers);
    for (const LayerReport& layer : result.layers) {
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
  const std::vector<AttributionQuery> few(
      queries.begin(), queries.begin() + std::min<std::ptrdiff_t>(2, std::ssize(queries)));
  attribute(model, few, how, [](size_t, Attribution&&) {});
  const Clock::time_point start = Clock::now();
  attribute(model, queries, how, take);
  const double seconds = seconds_since(start);
  if (scores.is_open()) {
    scores.close();
    if (!scores) throw FileError(options.scores + ": cannot write");
  }

  Json out;
  out["prompts"] = queries.size();
  out["tokens"] = longest;
  out["threads"] =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  out["rule"] = options.rule;
  out["load_seconds"] = load_seconds;
  out["seconds"] = seconds;
  out["flops"] = flops;
  for (const auto& [n, count] : nodes) out["nodes"][std::to_string(n)] = count;
  for (const auto& [n, count] : cheap) out["cheap_nodes"][std::to_string(n)] = count;
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

void run_sgemm(const Options& options) {
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  Json rates;
  double best = 0;
  for (const int64_t n : {1024, 2048, 4096}) {
    const auto repeats = static_cast<int>(std::max<int64_t>(2, 40'000'000'000 / (n * n * n)));
    double rate = 0;
    for (int attempt = 0; attempt < 3; ++attempt) {
      std::vector<double> each(static_cast<size_t>(threads));
      std::vector<std::thread> workers;
      for (int worker = 0; worker < threads; ++worker) {
        workers.emplace_back([&, worker] {
          const at::NoGradGuard no_grad;
          at::set_num_threads(1);
          const at::Tensor a = at::randn({n, n});
          const at::Tensor b = at::randn({n, n});
          at::Tensor c = at::empty({n, n});
          at::mm_out(c, a, b);
          const Clock::time_point start = Clock::now();
          for (int i = 0; i < repeats; ++i) at::mm_out(c, a, b);
          each[static_cast<size_t>(worker)] =
              2.0 * static_cast<double>(n * n * n) * repeats / seconds_since(start) / 1e9;
        });
      }
      for (std::thread& worker : workers) worker.join();
      double sum = 0;
      for (const double one : each) sum += one;
      rate = std::max(rate, sum);
    }
    rates[std::to_string(n)] = rate;
    best = std::max(best, rate);
  }
  std::cout << Json{{"gflops", rates}, {"best_gflops", best}, {"threads", threads}}.dump() << "\n";
}

void run_ablation(const Options& options) {
  const Model model = Model::load(options.model);
  const Tokenizer tokenizer = Tokenizer::load(options.model);
  const std::vector<AttributionQuery> queries =
      read_queries(options, tokenizer, model, options.prompts > 0 ? options.prompts : 1);
  AttributionOptions how;
  how.score = Score::kAblation;
  how.threads = options.threads;
  double flops = 0;
  for (const AttributionQuery& query : queries) {
    flops += ablation_flops(model.config(), static_cast<int64_t>(query.ids.size()),
                            static_cast<int64_t>(query.positions.size()));
  }
  const Clock::time_point start = Clock::now();
  attribute(model, queries, how, [](size_t, Attribution&&) {});
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

int run(int argc, char** argv) {
  CLI::App app("Measurements of Engram from inside; bench/README.md describes the fields");
  app.require_subcommand(1);
  Options options;
  const auto add = [&](const char* name, const char* what, void (*work)(const Options&), bool model,
                       bool facts) {
    CLI::App* command = app.add_subcommand(name, what);
    if (model) command->add_option("model", options.model, "Model folder")->required();
    if (facts) {
      command->add_option("--facts", options.facts, "Fact set (JSON Lines)")->required();
      command->add_option("--prompts", options.prompts, "How many prompts");
    }
    command->add_option("--threads", options.threads, "Workers; 0: one per core");
    command->callback([&options, work] { work(options); });
    return command;
  };
  CLI::App* attribute_command =
      add("attribute", "Time attribution of many prompts", run_attribute, true, true);
  attribute_command->add_option("--rule", options.rule, "Quadrature rule");
  attribute_command->add_option("--steps", options.steps, "Fixed number of nodes");
  attribute_command->add_option("--tolerance", options.tolerance, "Of the adaptive rules");
  attribute_command->add_option("--scores", options.scores, "Raw float32 [prompts, layers, d_ff]");
  add("sgemm", "Best rate of matrix products, all cores busy", run_sgemm, false, false);
  add("ablation", "Time exact ablation of all neurons", run_ablation, true, true);
  add("load", "Time model loading", run_load, true, false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  return 0;
}

}  // namespace
}  // namespace engram::bench

int main(int argc, char** argv) {
  try {
    return engram::bench::run(argc, argv);
  } catch (const engram::Error& error) {
    std::cerr << "engram-bench: error: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "engram-bench: internal error: " << error.what() << "\n";
    return static_cast<int>(engram::ExitCode::kInternal);
  }
}
