#include "cli/predict.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>
#include <utility>

#include "cli/paths.h"

namespace engram::cli {
namespace {

constexpr const char* kPredictHelp =
    R"(What a masked language model answers in the place of [MASK], with the probability
of each answer: the softmax over the whole vocabulary at the mask.

TEXT holds exactly one mask, written [MASK] or as the model's own mask token.

Example:
  engram predict models/engram-base "The capital of France is [MASK]."
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

void run_predict(const PredictOptions& options) {
  const LoadedModel loaded = load_model(options.model, options.common);
  const Tokenizer& tokenizer = loaded.tokenizer;
  const Cloze prompt =
      encode_prompt(tokenizer, options.text, 1, loaded.model.config().max_tokens(), "TEXT");
  const auto predictions =
      top_tokens(answer_probabilities(loaded.model, prompt), tokenizer, options.top);

  if (options.common.json) {
    nlohmann::ordered_json out;
    out["schema"] = "engram.predict/1";
    out["model"] = options.model;
    out["text"] = options.text;
    auto& tokens = out["tokens"] = nlohmann::ordered_json::array();
    for (const int64_t id : prompt.ids) tokens.push_back(tokenizer.token_of(id));
    out["position"] = prompt.positions.front();
    auto& list = out["predictions"] = nlohmann::ordered_json::array();
    for (const Prediction& prediction : predictions) {
      list.push_back({{"token", tokenizer.token_of(prediction.id)},
                      {"id", prediction.id},
                      {"p", prediction.p}});
    }
    print_json(out);
    return;
  }
  Table table(
      {{"rank"}, {"answer", Table::Align::kLeft}, {"id"}, {"P"}, {"", Table::Align::kLeft}});
  int64_t rank = 0;
  for (const Prediction& prediction : predictions) {
    table.add_row({format_count(++rank), printable(tokenizer.token_of(prediction.id)),
                   std::to_string(prediction.id), format_number(prediction.p),
                   bar(prediction.p, 30)});
  }
  print(printable(options.text) + "\n\n" + table.str());
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
  CLI::App* command = add_command(app, "predict", "the top answers at a mask", kPredictHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command->add_option("TEXT", options->text, "A sentence with one [MASK].")->required();
  add_integer(*command, "--top", options->top, 1, 1'000'000,
              "How many answers to show. Default: 10.");
  add_common_options(*command, options->common, {.memory = false, .seed = false});
  command->callback([options] { run_predict(*options); });
}

}  // namespace engram::cli
