#include "experiments/texts/experiment_activations.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "engram/error.h"
#include "engram/text/prompt.h"

namespace engram::experiments::texts {
namespace {

bool masks_object(TextKind kind, TextMask mask) {
  return mask == TextMask::kObject || (mask == TextMask::kReleased && kind == TextKind::kBoth);
}

/// What a causal model reads of a masked text: all up to the mask.
std::string read_part(const MaskedText& masked, const PromptForm& form) {
  constexpr std::string_view kMask = "[MASK]";
  if (!form.causal) return masked.text;
  return masked.text.substr(0, masked.text.find(kMask) + kMask.size());
}

/// A masked text as token ids, and whether its answer is asked for.
struct EncodedText {
  Cloze cloze;
  bool asked = false;
};

/// Nothing where the vocabulary cannot write it.
std::optional<EncodedText> encode(const MaskedText& masked, bool object, const FactTexts& texts,
                                  const Tokenizer& tokenizer, const ModelConfig& config) {
  // Those that are too long are counted by whoever asks.
  const PromptForm form{std::numeric_limits<int32_t>::max(), config.causal()};
  const std::string text = read_part(masked, form);
  try {
    const Cloze whole = encode_cloze(tokenizer, text, texts.object, form, "text");
    if (object || whole.answer.size() == 1) return EncodedText{whole, true};
  } catch (const InputError&) {
    if (object) return std::nullopt;
  }
  // Any other word has one place, whatever tokens it has, and an object of several tokens, or none,
  // cannot be asked for there.
  try {
    EncodedText open{encode_open(tokenizer, text, form, "text"), false};
    open.cloze.answer = {open.cloze.ids.back()};
    return open;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

void check_exist(const ModelConfig& config, std::span<const NeuronId> neurons) {
  for (const NeuronId id : neurons) {
    if (id.layer >= 0 && id.layer < config.layers && id.neuron >= 0 && id.neuron < config.d_ff) {
      continue;
    }
    throw InputError("neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                     " does not exist: the model has layers 0.." +
                     std::to_string(config.layers - 1) + " of neurons 0.." +
                     std::to_string(config.d_ff - 1));
  }
}

}  // namespace

TextClozes text_clozes(const FactTexts& texts, std::span<const std::string> names,
                       const Tokenizer& tokenizer, const ModelConfig& config, uint64_t seed,
                       bool only_released) {
  TextClozes result;
  for (const TextKind kind : kTextKinds) {
    for (const TextMask mask : kTextMasks) {
      if (!text_mask_applies(kind, mask)) continue;
      if (only_released && mask != TextMask::kReleased) continue;
      TextCount& count = result.counts.emplace_back();
      count.kind = kind;
      count.mask = mask;
      for (const std::string& text : texts.of(kind)) {
        // A text's choice hangs on nothing but the text, the fact and what is asked.
        const uint64_t choice =
            text_seed(seed, std::string(text_kind_name(kind)) + " " + text_mask_name(mask),
                      text + '\0' + texts.subject + '\0' + texts.object);
        const auto masked = mask_text(text, kind, mask, texts.subject, texts.object, names, choice);
        std::optional<EncodedText> encoded;
        if (masked) encoded = encode(*masked, masks_object(kind, mask), texts, tokenizer, config);
        if (!encoded) {
          ++count.unfit;
        } else if (std::cmp_greater(encoded->cloze.ids.size(), config.max_tokens())) {
          ++count.too_long;
        } else {
          ++count.texts;
          result.asked.push_back(encoded->asked);
          result.clozes.push_back(std::move(encoded->cloze));
        }
      }
    }
  }
  return result;
}

TextActivations text_activations(const Model& model, std::span<const TextClozes> facts,
                                 std::span<const std::vector<std::vector<NeuronId>>> sets,
                                 const MeasureOptions& options) {
  constexpr size_t kClozes = 256;  // of one call: bounds the activations that are held
  struct Owner {
    const Cloze* cloze;
    size_t fact, count;
    bool asked;
  };
  std::vector<Owner> owners;
  TextActivations result;
  result.sums.resize(facts.size());
  result.odds.resize(facts.size());
  for (size_t fact = 0; fact < facts.size(); ++fact) {
    for (const auto& set : sets[fact]) {
      check_exist(model.config(), set);
      result.sums[fact].emplace_back(facts[fact].counts.size(), set.empty() ? std::nan("") : 0.0);
      result.odds[fact].emplace_back(facts[fact].counts.size());
    }
    size_t cloze = 0;
    for (size_t count = 0; count < facts[fact].counts.size(); ++count) {
      for (int64_t i = 0; i < facts[fact].counts[count].texts; ++i) {
        owners.push_back({&facts[fact].clozes[cloze], fact, count, facts[fact].asked[cloze]});
        ++cloze;
      }
    }
  }
  // Texts of equal length stand together, so that they share batches.
  std::ranges::stable_sort(owners, {}, [](const Owner& owner) { return owner.cloze->ids.size(); });
  const int64_t d_ff = model.config().d_ff;
  for (size_t begin = 0; begin < owners.size(); begin += kClozes) {
    const auto part = std::span(owners).subspan(begin, std::min(kClozes, owners.size() - begin));
    std::vector<Cloze> clozes;
    for (const Owner& owner : part) clozes.push_back(*owner.cloze);
    std::vector<Answered> answers;
    const at::Tensor all = mask_activations(model, clozes, options, &answers);
    for (size_t i = 0; i < part.size(); ++i) {
      const float* a =
          all.const_data_ptr<float>() + static_cast<int64_t>(i) * model.config().neurons();
      const Owner& owner = part[i];
      for (size_t s = 0; s < sets[owner.fact].size(); ++s) {
        double sum = 0;
        const std::vector<NeuronId>& set = sets[owner.fact][s];
        for (const NeuronId id : set) sum += a[id.layer * d_ff + id.neuron];
        const double mean = sum / static_cast<double>(set.size());
        result.sums[owner.fact][s][owner.count] += mean;
        if (!owner.asked || set.empty() || !std::isfinite(answers[i].log_odds)) continue;
        OddsSums& odds = result.odds[owner.fact][s][owner.count];
        odds.texts += 1;
        odds.x += answers[i].log_odds;
        odds.y += mean;
        odds.xx += answers[i].log_odds * answers[i].log_odds;
        odds.xy += answers[i].log_odds * mean;
      }
    }
  }
  return result;
}

}  // namespace engram::experiments::texts
