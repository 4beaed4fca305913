#include <ATen/Parallel.h>

#include <cstdio>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/error.h"
#include "engram/model/device.h"
#include "pretrain/commands.h"
#include "pretrain/evaluate.h"

namespace engram::pretrain {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct EvaluateOptions {
  fs::path model;
  fs::path facts;     ///< empty: MODEL/facts.jsonl
  fs::path patterns;  ///< ParaRel's; empty: left out
  fs::path wikitext;  ///< folder with valid.txt and test.txt; empty: left out
  int64_t limit = 0;
  int64_t window = 128;
  int64_t perplexity_tokens = 4000;
  uint64_t seed = 0;
  std::string device = "cpu";
  int threads = 0;
  bool json = false;
  bool relations = false;
};

Json to_json(const AnswerQuality& q, bool relations) {
  Json out = {{"prompts", q.prompts}, {"facts", q.facts}, {"skipped", q.skipped}, {"top1", q.top1},
              {"mean_p", q.mean_p},   {"p10", q.p10},     {"p25", q.p25},         {"p50", q.p50},
              {"p75", q.p75},         {"p90", q.p90}};
  if (relations) {
    for (const auto& [name, r] : q.relations) {
      out["relations"][name] = {{"prompts", r.prompts}, {"top1", r.top1}, {"mean_p", r.mean_p}};
    }
  }
  return out;
}

void print_quality(const char* name, const AnswerQuality& q) {
  std::printf("%-22s %7lld %6lld  %6.1f %%  %6.3f   %5.3f %5.3f %5.3f %5.3f %5.3f\n", name,
              static_cast<long long>(q.prompts), static_cast<long long>(q.facts), 100 * q.top1,
              q.mean_p, q.p10, q.p25, q.p50, q.p75, q.p90);
}

void evaluate(const EvaluateOptions& o) {
  at::set_num_threads(1);  // the workers share out the prompts
  const fs::path facts_file = o.facts.empty() ? o.model / "facts.jsonl" : o.facts;
  FactSetOptions fact_options;
  fact_options.choice.limit = o.limit;
  fact_options.seed = o.seed;
  const FactSet set = read_facts(facts_file, fact_options);
  const Model model = Model::load(o.model, open_device(o.device));
  const Tokenizer tokenizer = Tokenizer::load(o.model);
  std::vector<Question> trained, held_out;
  for (const Fact& fact : set.facts) {
    for (const std::string& prompt : fact.prompts) trained.push_back({&fact, prompt});
    for (const std::string& prompt : fact.held_out) held_out.push_back({&fact, prompt});
  }
  struct Row {
    const char* key;
    const char* name;
    AnswerQuality quality;
  };
  std::vector<Row> rows;
  std::vector<std::string> left_out;
  rows.push_back({"trained", "trained phrasings", ask(model, tokenizer, trained, o.threads)});
  rows.push_back({"held_out", "phrasings never seen", ask(model, tokenizer, held_out, o.threads)});
  if (!o.patterns.empty() && fs::is_directory(o.patterns)) {
    rows.push_back({"pararel", "ParaRel's patterns",
                    ask(model, tokenizer, pararel_questions(set.facts, o.patterns), o.threads)});
  } else {
    left_out.push_back("ParaRel's patterns (--patterns): no folder");
  }
  Json out = {{"schema", "engram.pretrain.evaluate/1"},
              {"model", o.model.string()},
              {"facts", set.facts.size()},
              {"malformed_lines", set.problems.size()}};
  for (const Row& row : rows) out[row.key] = to_json(row.quality, o.relations);
  if (!o.json) {
    std::printf("%-22s %7s %6s  %8s  %6s   %5s %5s %5s %5s %5s\n", "", "prompts", "facts", "top-1",
                "mean P", "10 %", "25 %", "50 %", "75 %", "90 %");
    for (const Row& row : rows) print_quality(row.name, row.quality);
    if (o.relations) {
      std::printf("\n%-10s", "relation");
      for (const Row& row : rows) std::printf("  %22s", row.name);
      std::printf("\n");
      for (const auto& [name, unused] : rows[0].quality.relations) {
        std::printf("%-10s", name.c_str());
        for (const Row& row : rows) {
          const auto found = row.quality.relations.find(name);
          if (found == row.quality.relations.end()) {
            std::printf("  %22s", "-");
          } else {
            std::printf("     top-1 %5.1f %%  P %4.2f", 100 * found->second.top1,
                        found->second.mean_p);
          }
        }
        std::printf("\n");
      }
    }
    std::fflush(stdout);
  }
  for (const char* part : {"valid", "test"}) {
    const fs::path file = o.wikitext / (std::string(part) + ".txt");
    if (o.wikitext.empty() || !fs::exists(file)) {
      left_out.push_back(std::string("WikiText-2 ") + part + " (--wikitext): no file");
      continue;
    }
    const PseudoPerplexity p =
        pseudo_perplexity(model, tokenizer, file, o.window, o.perplexity_tokens, o.seed, o.threads);
    out[std::string("wikitext2_") + part] = {
        {"pseudo_perplexity", p.value}, {"tokens", p.tokens}, {"windows", p.windows}};
    if (!o.json) {
      std::printf(
          "pseudo-perplexity of WikiText-2 %s: %.2f per token of the vocabulary "
          "(%lld tokens masked one by one, windows of %lld)\n",
          part, p.value, static_cast<long long>(p.tokens), static_cast<long long>(o.window));
    }
  }
  out["left_out"] = left_out;
  if (o.json) {
    std::cout << out.dump() << "\n";
  } else {
    for (const std::string& what : left_out) std::printf("left out: %s\n", what.c_str());
  }
}

}  // namespace

void add_evaluate(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("evaluate", "Measure how well a model knows its facts and ordinary text");
  auto o = std::make_shared<EvaluateOptions>();
  constexpr int64_t kMost = 1'000'000'000'000;
  const auto count = [&](const char* name, auto& value, int64_t low, int64_t high,
                         const char* help) {
    cli::add_integer(*command, name, value, low, high, help)->default_str(std::to_string(value));
  };
  cli::add_model(*command, o->model, "Model folder")->required();
  cli::add_path(*command, "--facts", o->facts, "Facts (default: MODEL/facts.jsonl)");
  cli::add_path(*command, "--patterns", o->patterns, "ParaRel's folder patterns/");
  cli::add_path(*command, "--wikitext", o->wikitext,
                "WikiText-2's folder, with valid.txt, test.txt");
  count("--limit", o->limit, 0, kMost, "At most so many facts, spread over the relations; 0: all");
  count("--window", o->window, 8, 4096, "Tokens of a window of WikiText-2");
  count("--perplexity-tokens", o->perplexity_tokens, 0, kMost,
        "Tokens of a file to be masked, a seeded sample; 0: all");
  count("--seed", o->seed, 0, std::numeric_limits<int64_t>::max(), "Of the samples");
  command->add_option("--device", o->device, "cpu, cuda or auto; cuda needs `make cuda` once")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  count("--threads", o->threads, 0, 1024, "Workers; 0: one per core");
  command->add_flag("--relations", o->relations, "Also each relation by itself");
  command->add_flag("--json", o->json, "Print one JSON object");
  command->callback([o] { evaluate(*o); });
}

}  // namespace engram::pretrain
