#include "cli/predict.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>
#include <utility>

#include "cli/paths.h"
#include "engram/base/interrupt.h"
#include "engram/base/utf8.h"
#include "engram/text/causal_prompt.h"

namespace engram::cli {
namespace {

constexpr const char* kPredictHelp =
    R"(What a language model answers, with the probability of each token: the softmax
over the whole vocabulary.

Of a masked model: in the place of [MASK]. TEXT holds exactly one mask, written
[MASK] or as the model's own mask token.

Of a causal model: the next token after TEXT. A [MASK] or [Y] may mark the place
and then stands last; punctuation behind it is cut, and so are spaces, which
belong to the answer. --tokens goes on from there with the likeliest token each
time, and ends at a special token.

--answer asks for P of an answer, too. One of several tokens gets P of each token
given those before it (a masked model sees as many masks) and their geometric
mean, which is what the other commands take for its P.

Examples:
  engram predict models/engram-base "The capital of France is [MASK]."
  engram predict build/real/smollm2-135m "The capital of France is" --tokens 8
)";

/// Rows of the decoder that only pad it to a round size have a share in the softmax and no token;
/// they are no answers.
std::vector<Prediction> top_tokens(const at::Tensor& probabilities, const Tokenizer& tokenizer,
                                   int64_t top) {
  std::vector<Prediction> answers = top_predictions(probabilities, probabilities.numel());
  std::erase_if(answers, [&](const Prediction& row) { return !tokenizer.has_token(row.id); });
  if (std::cmp_greater(answers.size(), top)) answers.resize(static_cast<size_t>(top));
  return answers;
}

/// An answer that was asked for.
struct AnswerReport {
  struct Token {
    int64_t id = 0;
    double p = 0;
    int64_t rank = 0;  ///< 1: no row is likelier
  };
  std::string text;
  std::vector<Token> tokens;
  double p = 0;        ///< geometric mean over its tokens
  double product = 0;  ///< P of all of them
};

AnswerReport report_answer(const Model& model, const Cloze& prompt, const std::string& text) {
  const c10::InferenceMode guard;
  const at::Tensor ids = at::tensor(prompt.ids, at::kLong).unsqueeze(0).to(model.device());
  const at::Tensor rows = at::tensor(prompt.positions, at::kLong).to(model.device());
  const at::Tensor log_p = model.logits(model.encode(ids)[0].index_select(0, rows))
                               .to(at::kCPU, at::kDouble)
                               .log_softmax(-1);
  AnswerReport report;
  report.text = text;
  double sum = 0;
  for (size_t i = 0; i < prompt.answer.size(); ++i) {
    const at::Tensor row = log_p[static_cast<int64_t>(i)];
    const auto own = row[prompt.answer[i]].item<double>();
    sum += own;
    report.tokens.push_back(
        {prompt.answer[i], std::exp(own), 1 + row.gt(own).sum().item<int64_t>()});
  }
  report.p = std::exp(sum / static_cast<double>(prompt.answer.size()));
  report.product = std::exp(sum);
  return report;
}

/// The likeliest tokens one after the other, at most `count`, until a special one, which is the
/// last.
std::vector<int64_t> continue_greedily(const LoadedModel& loaded, Cloze prompt, int64_t count) {
  std::vector<int64_t> tokens;
  const int64_t room =
      loaded.model.config().max_tokens() - static_cast<int64_t>(prompt.ids.size()) + 1;
  while (static_cast<int64_t>(tokens.size()) < std::min(count, room)) {
    Interrupt::check();
    prompt.positions = {static_cast<int64_t>(prompt.ids.size()) - 1};
    const int64_t next =
        top_tokens(answer_probabilities(loaded.model, prompt), loaded.tokenizer, 1).front().id;
    tokens.push_back(next);
    prompt.ids.push_back(next);
    if (loaded.tokenizer.is_special(next)) break;
  }
  return tokens;
}

/// What predict found.
struct Found {
  Cloze prompt;
  std::vector<Prediction> predictions;
  std::optional<AnswerReport> answer;
  std::vector<int64_t> continuation;
};

nlohmann::ordered_json predict_json(const PredictOptions& options, const Tokenizer& tokenizer,
                                    const Found& found) {
  nlohmann::ordered_json out;
  out["schema"] = "engram.predict/1";
  out["model"] = options.model;
  out["text"] = options.text;
  auto& tokens = out["tokens"] = nlohmann::ordered_json::array();
  for (const int64_t id : found.prompt.ids) tokens.push_back(tokenizer.token_of(id));
  out["position"] = found.prompt.positions.front();
  auto& list = out["predictions"] = nlohmann::ordered_json::array();
  for (const Prediction& prediction : found.predictions) {
    list.push_back(
        {{"token", tokenizer.token_of(prediction.id)}, {"id", prediction.id}, {"p", prediction.p}});
  }
  if (found.answer) {
    auto& answer = out["answer"] = {
        {"text", found.answer->text}, {"p", found.answer->p}, {"product", found.answer->product}};
    auto& parts = answer["tokens"] = nlohmann::ordered_json::array();
    for (const AnswerReport::Token& token : found.answer->tokens) {
      parts.push_back({{"token", tokenizer.token_of(token.id)},
                       {"id", token.id},
                       {"p", token.p},
                       {"rank", token.rank}});
    }
  }
  if (options.tokens > 0) {
    auto& more = out["continuation"] = {{"text", tokenizer.decode(found.continuation, false)}};
    auto& parts = more["tokens"] = nlohmann::ordered_json::array();
    for (const int64_t id : found.continuation) {
      parts.push_back({{"token", tokenizer.token_of(id)}, {"id", id}});
    }
  }
  return out;
}

std::string in_marks(const std::string& text) { return "\"" + printable(text) + "\""; }

std::string predict_text(const PredictOptions& options, const Tokenizer& tokenizer,
                         const Found& found, bool causal) {
  std::string out = printable(options.text) + "\n\n";
  Table table({{"rank"},
               {causal ? "token" : "answer", Table::Align::kLeft},
               {"id"},
               {"P"},
               {"", Table::Align::kLeft}});
  int64_t rank = 0;
  for (const Prediction& prediction : found.predictions) {
    table.add_row({format_count(++rank), printable(tokenizer.token_of(prediction.id)),
                   std::to_string(prediction.id), format_number(prediction.p),
                   bar(prediction.p, 30)});
  }
  out += table.str();
  if (found.answer) {
    const AnswerReport& answer = *found.answer;
    out += "\nanswer " + in_marks(answer.text) + "  P = " + format_number(answer.p);
    if (answer.tokens.size() == 1) {
      out += ", rank " + format_count(answer.tokens.front().rank) + "\n";
    } else {
      out += ", the geometric mean of its tokens' (all of them: " + format_number(answer.product) +
             ")\n";
      Table parts({{"token", Table::Align::kLeft}, {"id"}, {"P"}, {"rank"}});
      for (const AnswerReport::Token& token : answer.tokens) {
        parts.add_row({printable(tokenizer.token_of(token.id)), std::to_string(token.id),
                       format_number(token.p), format_count(token.rank)});
      }
      out += parts.str();
    }
  }
  if (options.tokens > 0) {
    out += "\ngoes on: " + in_marks(tokenizer.decode(found.continuation, false)) + "\n";
  }
  return out;
}

void run_predict(const PredictOptions& options) {
  const LoadedModel loaded = load_model(options.model, options.common);
  const Tokenizer& tokenizer = loaded.tokenizer;
  const ModelConfig& config = loaded.model.config();
  const bool causal = config.causal();
  if (options.tokens > 0 && !causal) {
    throw UsageError("--tokens goes on from a text, which a masked model (" +
                     std::string(family_name(config.family)) + ") cannot; expected a causal one");
  }
  const int64_t most = config.max_tokens();
  Found found;
  found.prompt = causal ? causal_prompt(tokenizer, options.text, most, "TEXT")
                        : encode_prompt(tokenizer, options.text, 1, most, "TEXT");
  if (options.answer) {
    const Cloze asked = causal
                            ? causal_prompt(tokenizer, options.text, *options.answer, most, "TEXT")
                            : encode_prompt(tokenizer, options.text, *options.answer, most, "TEXT");
    found.answer = report_answer(loaded.model, asked, *options.answer);
  }
  found.predictions =
      top_tokens(answer_probabilities(loaded.model, found.prompt), tokenizer, options.top);
  if (options.tokens > 0) {
    found.continuation = continue_greedily(loaded, found.prompt, options.tokens);
  }
  if (options.common.json) {
    print_json(predict_json(options, tokenizer, found));
  } else {
    print(predict_text(options, tokenizer, found, causal));
  }
}

}  // namespace

at::Tensor answer_probabilities(const Model& model, const Cloze& prompt) {
  const c10::InferenceMode guard;
  const at::Device device = model.device();
  const at::Tensor ids = at::tensor(prompt.ids, at::kLong).unsqueeze(0).to(device);
  const at::Tensor position = at::tensor({prompt.positions.front()}, at::kLong).to(device);
  return model.logits_at(ids, position).squeeze(0).to(at::kCPU, at::kDouble).softmax(-1);
}

std::vector<Prediction> top_predictions(const at::Tensor& probabilities, int64_t top) {
  const double* p = probabilities.const_data_ptr<double>();
  std::vector<int64_t> order(static_cast<size_t>(probabilities.numel()));
  std::iota(order.begin(), order.end(), int64_t{0});
  const int64_t count = std::min<int64_t>(top, probabilities.numel());
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [p](int64_t a, int64_t b) {
    return std::tuple(-p[a], a) < std::tuple(-p[b], b);
  });
  std::vector<Prediction> out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = order[static_cast<size_t>(i)];
    out.push_back({id, p[id]});
  }
  return out;
}

void add_predict_command(CLI::App& app) {
  auto options = std::make_shared<PredictOptions>();
  CLI::App* command =
      add_command(app, "predict", "the top answers at a mask, or the next token", kPredictHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command
      ->add_option("TEXT", options->text,
                   "A sentence with one [MASK]; of a causal model one that the answer continues.")
      ->required();
  add_integer(*command, "--top", options->top, 1, 1'000'000,
              "How many answers to show. Default: 10.");
  command->add_option("--answer", options->answer, "P of this answer, too.")->type_name("TEXT");
  add_integer(*command, "--tokens", options->tokens, 1, 1'000'000,
              "A causal model goes on for so many tokens. Default: it does not.");
  add_common_options(*command, options->common, {.memory = false, .seed = false});
  command->callback([options] { run_predict(*options); });
}

}  // namespace engram::cli
