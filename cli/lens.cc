#include "cli/lens.h"

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/lens_picture.h"
#include "cli/paths.h"
#include "engram/base/file.h"
#include "engram/base/utf8.h"
#include "engram/reading/lens.h"
#include "engram/text/causal_prompt.h"
#include "engram/text/prompt.h"

namespace engram::cli {
namespace {

constexpr const char* kLensHelp =
    R"(What a model would answer if it stopped earlier: the stream behind the embedding,
behind every attention and behind every feed-forward layer, read through the model's
own LM head (the logit lens). At each place the answer's rank, P and logit, and the
likeliest tokens.

TEXT is a prompt as for predict: with one [MASK], or of a causal model one that the
answer continues. Of an answer of several tokens the lens follows the first (a masked
model sees as many masks).

"change" is the logit minus that of the row above; the changes sum to the last logit.
Models with a norm before each sublayer (all causal ones) also have "adds": what
embedding and sublayers add to the last logit when the final norm divides by what it
divides by at the end. With the biases' share these sum to the last logit as well.

Examples:
  engram lens models/engram-base "The capital of France is [MASK]." --answer Paris
  engram lens build/real/smollm2-135m "The capital of France is" --answer Paris \
              --svg lens.svg
)";

const char* place_name(LensPlace place) {
  switch (place) {
    case LensPlace::kEmbedding:
      return "embedding";
    case LensPlace::kAttention:
      return "attention";
    case LensPlace::kFfn:
      return "ffn";
  }
  throw InternalError("place_name: unknown place");
}

/// What lens found.
struct LensFound {
  Cloze prompt;
  Lens lens;
};

nlohmann::ordered_json lens_json(const LensOptions& options, const Tokenizer& tokenizer,
                                 const LensFound& found) {
  nlohmann::ordered_json out;
  out["schema"] = "engram.lens/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["text"] = options.text;
  auto& tokens = out["tokens"] = nlohmann::ordered_json::array();
  for (const int64_t id : found.prompt.ids) tokens.push_back(tokenizer.token_of(id));
  out["position"] = found.prompt.positions.front();
  const int64_t id = found.prompt.answer.front();
  const LensStage& last = found.lens.stages.back();
  out["answer"] = {{"text", options.answer},
                   {"tokens", found.prompt.answer.size()},
                   {"token", tokenizer.token_of(id)},
                   {"id", id},
                   {"p", last.p},
                   {"rank", last.rank},
                   {"logit", last.logit}};
  const bool shares = found.lens.bias_share.has_value();
  out["bias_share"] = shares ? nlohmann::ordered_json(*found.lens.bias_share) : nullptr;
  auto& stages = out["stages"] = nlohmann::ordered_json::array();
  for (const LensStage& stage : found.lens.stages) {
    nlohmann::ordered_json one;
    one["layer"] = nullptr;
    if (stage.layer >= 0) one["layer"] = stage.layer;
    one["after"] = place_name(stage.place);
    one["rank"] = stage.rank;
    one["p"] = stage.p;
    one["logit"] = stage.logit;
    one["change"] = stage.change;
    one["share"] = shares ? nlohmann::ordered_json(stage.share) : nullptr;
    auto& top = one["top"] = nlohmann::ordered_json::array();
    for (const LensToken& token : stage.top) {
      top.push_back({{"token", tokenizer.token_of(token.id)}, {"id", token.id}, {"p", token.p}});
    }
    stages.push_back(std::move(one));
  }
  return out;
}

std::string lens_text(const LensOptions& options, const Tokenizer& tokenizer,
                      const LensFound& found, int64_t rows) {
  const bool shares = found.lens.bias_share.has_value();
  const LensStage& last = found.lens.stages.back();
  const auto parts = static_cast<int64_t>(found.prompt.answer.size());
  const std::string token = printable(tokenizer.token_of(found.prompt.answer.front()));
  std::string out = printable(options.text) + "\nanswer \"" + printable(options.answer) + "\"";
  if (parts > 1) {
    out += ", " + format_count(parts) + " tokens: the lens follows the first, \"" + token + "\"";
  }
  out += "  P = " + format_number(last.p) + ", rank " + format_count(last.rank) + " of " +
         format_count(rows) + "\n\n";
  std::vector<Table::Column> columns{
      {"layer"}, {"after", Table::Align::kLeft}, {"rank"}, {"P"}, {"logit"}, {"change"}};
  if (shares) columns.push_back({"adds"});
  columns.push_back({"top tokens", Table::Align::kLeft});
  Table table(columns);
  for (const LensStage& stage : found.lens.stages) {
    std::vector<std::string> row{stage.layer < 0 ? "" : std::to_string(stage.layer),
                                 stage.place == LensPlace::kFfn ? "FFN" : place_name(stage.place),
                                 format_count(stage.rank),
                                 format_number(stage.p),
                                 format_signed(stage.logit),
                                 format_signed(stage.change)};
    if (shares) row.push_back(format_signed(stage.share));
    std::string top;
    for (const LensToken& one : stage.top) {
      top += (top.empty() ? "" : " ") + shorten(printable(tokenizer.token_of(one.id)), 20);
    }
    row.push_back(top);
    table.add_row(std::move(row));
  }
  if (shares) {
    table.add_row({"", "biases", "", "", "", "", format_signed(*found.lens.bias_share), ""});
  }
  return out + table.str();
}

void write_lens_picture(const LensOptions& options, const Tokenizer& tokenizer,
                        const LensFound& found, int64_t rows) {
  LensPicture picture;
  picture.model = options.model;
  picture.text = options.text;
  picture.answer = printable(tokenizer.token_of(found.prompt.answer.front()));
  picture.rows = rows;
  for (const LensStage& stage : found.lens.stages) {
    picture.tokens.push_back(
        stage.top.empty() ? "" : printable(tokenizer.token_of(stage.top.front().id)));
  }
  picture.lens = &found.lens;
  AtomicFile file(options.svg);
  file.write(lens_picture(picture));
  file.commit();
  note(options.common, "wrote " + options.svg);
}

void run_lens(const LensOptions& options) {
  if (!options.svg.empty() && !options.svg.ends_with(".svg")) {
    throw UsageError("--svg: got \"" + printable(options.svg) +
                     "\", expected a name ending in .svg");
  }
  check_outputs({{"--svg", options.svg}}, {{"MODEL", options.model}});
  const LoadedModel loaded = load_model(options.model, options.common);
  const Tokenizer& tokenizer = loaded.tokenizer;
  const ModelConfig& config = loaded.model.config();
  LensFound found;
  found.prompt =
      config.causal()
          ? causal_prompt(tokenizer, options.text, options.answer, config.max_tokens(), "TEXT")
          : encode_prompt(tokenizer, options.text, options.answer, config.max_tokens(), "TEXT");
  found.lens = logit_lens(loaded.model, found.prompt, options.top,
                          [&](int64_t id) { return tokenizer.has_token(id); });
  if (!options.svg.empty()) write_lens_picture(options, tokenizer, found, config.vocabulary);
  if (options.common.json) {
    print_json(lens_json(options, tokenizer, found));
  } else {
    print(lens_text(options, tokenizer, found, config.vocabulary));
  }
}

}  // namespace

void add_lens_command(CLI::App& app) {
  auto options = std::make_shared<LensOptions>();
  CLI::App* command =
      add_command(app, "lens", "an answer's rank and P after every layer", kLensHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command
      ->add_option("TEXT", options->text,
                   "A sentence with one [MASK]; of a causal model one that the answer continues.")
      ->required();
  command->add_option("--answer", options->answer, "The answer to follow. Required.")
      ->type_name("WORD")
      ->required();
  add_integer(*command, "--top", options->top, 1, 1'000'000,
              "How many tokens to show at each place. Default: 5.");
  add_path(*command, "--svg", options->svg,
           "Also draw the layers as a heat map into FILE, whose name ends in .svg.")
      ->type_name("FILE");
  add_common_options(*command, options->common, {.memory = false, .seed = false});
  command->callback([options] { run_lens(*options); });
}

}  // namespace engram::cli
