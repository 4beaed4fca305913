#include "engram/edit/moments.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/json.h"
#include "base/random.h"
#include "edit/header.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/fingerprint.h"
#include "engram/model/safetensors.h"
#include "reading/windows.h"

namespace engram {
namespace {

constexpr const char* kMomentsSchema = "engram.moments/1";
constexpr const char* kMomentName = "second_moment";
constexpr int64_t kMomentBlock = 4096;  // tokens whose activations are held at once
constexpr int64_t kShortText = 5;       // tokens, as the lengths of ROME's own prefixes
constexpr int64_t kLongText = 10;

/// A seeded sample of the lines' beginnings, each line with the same chance.
class Beginnings {
 public:
  Beginnings(int64_t count, uint64_t seed) : count_(static_cast<size_t>(count)), random_(seed) {}

  void add(const Window& window) {
    if (window.count < kLongText || window.line == last_line_) return;
    last_line_ = window.line;
    ++seen_;
    size_t place = kept_.size();
    if (place == count_) {
      place = random_.below(seen_);
      if (place >= count_) return;
    } else {
      kept_.emplace_back();
    }
    const auto begin = window.ids.begin() + window.first;
    kept_[place].assign(begin, begin + kLongText);
  }

  [[nodiscard]] std::vector<std::string> texts(const Tokenizer& tokenizer) const {
    std::vector<std::string> texts;
    for (const std::vector<int64_t>& ids : kept_) {
      const auto tokens = static_cast<size_t>(texts.size() % 2 == 0 ? kShortText : kLongText);
      texts.push_back(tokenizer.decode({ids.begin(), ids.begin() + static_cast<int64_t>(tokens)},
                                       /*skip_special=*/true));
    }
    return texts;
  }

 private:
  size_t count_;
  Random random_;
  uint64_t seen_ = 0;
  int64_t last_line_ = 0;
  std::vector<std::vector<int64_t>> kept_;
};

/// The rows of `a` [tokens, d_ff] that belong to the window's text.
at::Tensor text_rows(const Tokenizer& tokenizer, const Window& window, const at::Tensor& a) {
  std::vector<int64_t> rows;
  for (int64_t t = window.first; t < window.first + window.count; ++t) {
    if (is_text(tokenizer, window.ids[static_cast<size_t>(t)])) rows.push_back(t);
  }
  return a.index_select(0, at::tensor(rows, at::kLong).to(a.device()));
}

}  // namespace

KeyMoments key_moments(const Model& model, const Tokenizer& tokenizer, const std::string& base,
                       int64_t layer, const MomentsOptions& options,
                       const CorpusProgress& progress) {
  const ModelConfig& config = model.config();
  if (layer < 0 || layer >= config.layers) {
    throw InputError("layer " + std::to_string(layer) +
                     " does not exist: the model has layers 0.." +
                     std::to_string(config.layers - 1));
  }
  const at::NoGradGuard no_grad;
  WindowReader reader(tokenizer, config, options.corpus);
  WindowRunner runner(model, options.corpus.threads, options.corpus.memory_bytes);
  Beginnings beginnings(options.texts, options.seed);
  KeyMoments found{base, options.corpus.file.filename().string(), layer, 0, {}, {}};
  at::Tensor sum = at::zeros({config.d_ff, config.d_ff}, at::kDouble);
  while (options.tokens == 0 || found.tokens < options.tokens) {
    const std::vector<Window> windows = reader.next(kMomentBlock);
    if (windows.empty()) break;
    std::vector<at::Tensor> rows(windows.size());
    runner.run(
        windows, [&](const std::vector<size_t>& members, const Chunk& chunk, Passes& passes) {
          passes.read_activations(chunk, layer, [&](int64_t at, const at::Tensor& a) {
            if (at != layer) return;
            for (size_t m = 0; m < members.size(); ++m) {
              const Window& window = windows[members[m]];
              rows[members[m]] =
                  text_rows(tokenizer, window,
                            a.narrow(0, chunk.begin[m], static_cast<int64_t>(window.ids.size())));
            }
          });
        });
    for (const Window& window : windows) beginnings.add(window);
    const at::Tensor keys = at::cat(rows);
    sum += at::mm(keys.t(), keys).to(at::kCPU);
    found.tokens += keys.size(0);
    if (progress) progress(reader.counts());
  }
  if (found.tokens < config.d_ff) {
    throw InputError(options.corpus.file.string() + ": got " + std::to_string(found.tokens) +
                     " tokens of text, expected at least as many as a layer has neurons, " +
                     std::to_string(config.d_ff) + ", and better many times as many");
  }
  // Products need not be symmetric to the last bit.
  found.moment = ((sum + sum.t()) / (2.0 * static_cast<double>(found.tokens))).to(at::kFloat);
  found.texts = beginnings.texts(tokenizer);
  return found;
}

void write_key_moments(const std::filesystem::path& file, const KeyMoments& moments) {
  const nlohmann::json about = {{"base", moments.base},
                                {"corpus", moments.corpus},
                                {"layer", moments.layer},
                                {"tokens", moments.tokens},
                                {"texts", moments.texts}};
  const at::Tensor values = moments.moment.contiguous();
  const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
  const TensorToWrite tensor{kMomentName, Storage::kF32, values.sizes().vec(),
                             std::span(bytes, static_cast<size_t>(values.nbytes()))};
  // Names of files need not be UTF-8.
  write_safetensors(file, std::span(&tensor, 1),
                    {{"schema", kMomentsSchema},
                     {"moments", about.dump(-1, ' ', /*ensure_ascii=*/false,
                                            nlohmann::json::error_handler_t::replace)}});
}

KeyMoments read_key_moments(const std::filesystem::path& file) {
  const auto fail = [&](const std::string& what) {
    throw InputError(file.string() + ": no valid second moment of keys: " + what);
  };
  const std::map<std::string, StoredTensor> tensors = open_safetensors(file);
  const auto found = tensors.find(kMomentName);
  if (tensors.size() != 1 || found == tensors.end()) {
    fail("expected one tensor, \"" + std::string(kMomentName) + "\"");
  }
  const StoredTensor& tensor = found->second;
  if (tensor.storage != Storage::kF32 || tensor.shape.size() != 2 ||
      tensor.shape[0] != tensor.shape[1] || tensor.shape[0] < 1) {
    fail("expected a square matrix of type F32");
  }
  KeyMoments moments;
  try {
    const nlohmann::json metadata = file_metadata(*tensor.file);
    if (!metadata.is_object() || metadata.value("schema", "") != kMomentsSchema) {
      fail("expected the schema \"" + std::string(kMomentsSchema) + "\"");
    }
    const nlohmann::json about = parse_json(metadata.value("moments", ""));
    moments.base = about.at("base").get<std::string>();
    moments.corpus = about.at("corpus").get<std::string>();
    const auto number = [&](const char* name) {
      const nlohmann::json& value = about.at(name);
      if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX) {
        fail("\"" + std::string(name) + "\": expected a whole number from 0 up");
      }
      return value.get<int64_t>();
    };
    moments.layer = number("layer");
    moments.tokens = number("tokens");
    moments.texts = about.at("texts").get<std::vector<std::string>>();
  } catch (const JsonFault& fault) {
    fail("its header: " + fault.message);
  } catch (const nlohmann::json::exception&) {
    fail("its header: expected base, corpus, layer, tokens and texts");
  }
  if (!is_fingerprint(moments.base)) fail("\"base\": expected the fingerprint of a model");
  if (moments.tokens < 1) fail("\"tokens\": expected more than 0");
  moments.moment = at::empty(tensor.shape, at::kFloat);
  std::memcpy(moments.moment.mutable_data_ptr(), tensor.data, tensor.bytes);
  if (!moments.moment.isfinite().all().item<bool>()) fail("holds NaN or infinite values");
  if (!moments.moment.equal(moments.moment.t())) fail("expected a symmetric matrix");
  return moments;
}

}  // namespace engram
