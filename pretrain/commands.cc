#include "pretrain/commands.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/common.h"
#include "cli/paths.h"
#include "pretrain/prepare.h"
#include "pretrain/trainer.h"

namespace engram::pretrain {
namespace {

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::llround(seconds));
  char text[32];
  std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(s / 3600),
                static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
  return text;
}

/// One line on a terminal, written over; every fifth report as a line of its own elsewhere.
class Screen {
 public:
  explicit Screen(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Screen() {
    if (open_) std::cerr << "\n";
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  void show(const TrainProgress& p) {
    if (quiet_) return;
    if (!p.note.empty()) {
      std::cerr << p.note << "\n";
      return;
    }
    if (!terminal_ && ++reports_ % 5 != 0 && p.step != p.steps) return;
    char line[200];
    std::snprintf(line, sizeof line,
                  "step %lld of %lld  loss %.4f  gradient %.3f  rate %.2e  %.0f tokens/s  %s left",
                  static_cast<long long>(p.step), static_cast<long long>(p.steps), p.loss,
                  p.gradient_norm, p.learning_rate, p.tokens_per_second,
                  clock_text(p.seconds_left).c_str());
    std::cerr << (terminal_ ? "\r\x1b[K" : "") << line << (terminal_ ? "" : "\n") << std::flush;
    open_ = terminal_;
  }

 private:
  bool quiet_, terminal_, open_ = false;
  int reports_ = 0;
};

constexpr int64_t kMost = 1'000'000'000'000;

/// A whole number from `low`, with its default in the help.
template <typename T>
void add_count(CLI::App& command, const std::string& name, T& value, int64_t low, int64_t high,
               const std::string& help) {
  cli::add_integer(command, name, value, low, high, help)->default_str(std::to_string(value));
}

void add_number(CLI::App& command, const std::string& name, double& value, const cli::Range& range,
                const std::string& help) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  cli::add_number(command, name, value, range, help)->default_str(text);
}

}  // namespace

void add_prepare(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "prepare", "Choose facts, make the vocabulary and the training data out of text");
  auto o = std::make_shared<PrepareOptions>();
  auto quiet = std::make_shared<bool>(false);
  auto json = std::make_shared<bool>(false);
  cli::add_path(*command, "SOURCE", o->source, "Folder with facts/ and wiki/")->required();
  cli::add_path(*command, "--out", o->out, "Folder to be made")->required();
  o->phrasings = "pretrain/phrasings.json";
  cli::add_path(*command, "--phrasings", o->phrasings, "Our phrasings of the relations")
      ->default_str(o->phrasings.string());
  cli::add_path(*command, "--vocabulary", o->vocabulary,
                "Folder of a ready tokenizer, instead of training one");
  add_count(*command, "--vocabulary-size", o->vocabulary_size, 200, 65535, "Tokens");
  add_count(*command, "--text-bytes", o->text_bytes, 1, kMost, "General text to read, in bytes");
  add_count(*command, "--max-tokens", o->max_tokens, 16, 512,
            "Longest sequence, special tokens included");
  add_count(*command, "--min-sentences", o->min_sentences, 1, kMost, "Sentences that a fact needs");
  add_count(*command, "--facts-per-relation", o->facts_per_relation, 1, kMost, "At most");
  add_count(*command, "--facts-per-object", o->facts_per_object, 1, kMost,
            "At most, in one relation");
  add_count(*command, "--min-facts", o->min_facts, 1, kMost,
            "A relation with fewer facts is left out");
  command->add_flag("--json", *json, "Print the counts as JSON");
  command->add_flag("--quiet", *quiet, "Say nothing on the way");
  command->callback([o, quiet, json] {
    const PrepareReport r = prepare(*o, [&](const std::string& line) {
      if (!*quiet) std::cerr << line << "\n";
    });
    const nlohmann::ordered_json out = {{"schema", "engram.pretrain.prepare/1"},
                                        {"rows", r.rows},
                                        {"candidates", r.candidates},
                                        {"facts", r.facts},
                                        {"relations", r.relations},
                                        {"objects", r.objects},
                                        {"sentences", r.sentences},
                                        {"sentence_tokens", r.sentence_tokens},
                                        {"texts", r.texts},
                                        {"text_tokens", r.text_tokens},
                                        {"prompts", r.prompts},
                                        {"vocabulary", r.vocabulary}};
    if (*json) {
      std::cout << out.dump() << "\n";
      return;
    }
    for (const auto& [name, value] : out.items()) {
      if (value.is_number()) std::printf("%-16s %12lld\n", name.c_str(), value.get<long long>());
    }
  });
}

void add_train(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("train", "Train a model, or go on with the training that lies in --out");
  auto o = std::make_shared<TrainOptions>();
  auto quiet = std::make_shared<bool>(false);
  cli::add_path(*command, "DATA", o->data, "Folder that `prepare` made")->required();
  cli::add_path(*command, "--out", o->out, "Folder for checkpoint and exports")->required();
  const auto size = [&](const char* name, int64_t& value, const char* help) {
    add_count(*command, name, value, 1, kMost, help);
  };
  const auto share = [&](const char* name, double& value, const char* help) {
    add_number(*command, name, value, {0, 1}, help);
  };
  size("--layers", o->layers, "Layers");
  size("--width", o->d_model, "Width of the residual stream");
  size("--ffn", o->d_ff, "FFN neurons per layer");
  size("--heads", o->heads, "Attention heads");
  size("--positions", o->positions, "Longest input of the model, in tokens");
  size("--max-tokens", o->sampler.max_tokens, "Longest sequence of the data");
  size("--steps", o->steps, "Steps in all");
  size("--sequences", o->sampler.sequences_per_step, "Sequences per step");
  size("--batch-tokens", o->sampler.batch_tokens, "Tokens of a micro-batch, about");
  add_number(*command, "--learning-rate", o->learning_rate, cli::above_zero(10), "At its highest");
  share("--warm-up", o->warm_up, "Share of the steps in which the rate rises");
  share("--decay", o->decay, "Share of the steps, at the end, in which the rate falls to zero");
  add_number(*command, "--weight-decay", o->weight_decay, {0, 1000}, "Of matrices");
  add_number(*command, "--clip", o->clip, cli::above_zero(1e9), "Largest norm of the gradient");
  share("--sentences", o->sampler.sentence_share, "Share of the sequences: sentences with a fact");
  share("--prompts", o->sampler.prompt_share, "Share of the sequences: trained phrasings");
  share("--sentence-masked", o->sampler.sentence_masked, "Share of those sentences: object masked");
  share("--masked", o->sampler.masked, "Share of the tokens of text to be predicted");
  share("--few-masked", o->sampler.few_masked,
        "Share of the texts in which only 1 to 3 tokens are to be predicted");
  add_number(*command, "--answer-weight", o->sampler.answer_weight, cli::above_zero(1e6),
             "Weight of a fact's answer in the loss, against 1 for a token of text");
  add_count(*command, "--seed", o->sampler.seed, 0, std::numeric_limits<int64_t>::max(),
            "Of the weights and the order of the data");
  command->add_option("--device", o->device, "cpu, cuda or auto; cuda needs `make cuda` once")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  add_count(*command, "--threads", o->threads, 0, 1024, "Workers on the CPU; 0: one per core");
  add_number(*command, "--checkpoint-seconds", o->checkpoint_seconds, {0, 1e9},
             "Time between checkpoints");
  add_count(*command, "--export-steps", o->export_steps, 0, kMost,
            "Steps between exports; 0: at the end only");
  add_count(*command, "--stop-after", o->stop_after, 0, kMost, "Stop behind this step; 0: never");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print what the training ended with as JSON");
  command->add_flag("--quiet", *quiet, "No progress");
  command->callback([o, quiet, json] {
    Screen screen(*quiet);
    TrainProgress last;
    const int64_t step = train(*o, [&](const TrainProgress& p) {
      screen.show(p);
      if (p.note.empty()) last = p;
    });
    if (!*json) return;
    const bool reported = last.step > 0;  // false where there was nothing left to do
    const nlohmann::ordered_json out = {
        {"schema", "engram.pretrain.train/1"},
        {"step", step},
        {"steps", o->steps},
        {"loss", reported ? nlohmann::ordered_json(last.loss) : nlohmann::ordered_json()},
        {"out", o->out.string()}};
    std::cout << out.dump() << "\n";
  });
}

}  // namespace engram::pretrain
