#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/tokenizer.h"
#include "text/distant.h"

namespace engram::experiments::texts {

/// What a text holds of a fact: "both", "head" (the subject alone), "tail" (the object alone),
/// "random" (neither).
enum class TextKind { kBoth, kHead, kTail, kRandom };
constexpr std::array<TextKind, 4> kTextKinds = {TextKind::kBoth, TextKind::kHead, TextKind::kTail,
                                                TextKind::kRandom};
const char* text_kind_name(TextKind kind);

/// Which word of a text is masked (METHOD section 4).
enum class TextMask {
  kReleased,  ///< "released", as the paper's code does: the object where head and tail are there,
              ///< else one random word that is no part of subject or object
  kName,      ///< "name": another object of the relation, or else a capitalised word inside a
              ///< sentence that belongs neither to subject nor object
  kWord,      ///< "word": one random word that is no part of subject or object
  kObject,    ///< "object": the object
};
constexpr std::array<TextMask, 4> kTextMasks = {TextMask::kReleased, TextMask::kName,
                                                TextMask::kWord, TextMask::kObject};
const char* text_mask_name(TextMask mask);
/// The masks that make a contrast of their own: released and name for every kind, word for both,
/// object for tail.
bool text_mask_applies(TextKind kind, TextMask mask);

/// A text with one `[MASK]`, and what it stands for.
struct MaskedText {
  std::string text;
  std::string word;
};

/// Masks one word of `text`, or says that it has none to mask by returning nothing: also for a text
/// that does not hold what its kind promises, or that holds a mask already. Names are found as
/// whole words whatever their case; the object is masked where it first stands outside the
/// subject. Words are what stands between spaces, without the signs around it.
/// `names`: the relation's objects. `seed` makes the random choices.
std::optional<MaskedText> mask_text(const std::string& text, TextKind kind, TextMask mask,
                                    std::string_view subject, std::string_view object,
                                    std::span<const std::string> names, uint64_t seed);

/// Texts of one fact, by kind.
struct FactTexts {
  std::string subject, object;
  std::array<std::vector<std::string>, kTextKinds.size()> texts;
  [[nodiscard]] const std::vector<std::string>& of(TextKind kind) const {
    return texts[static_cast<size_t>(kind)];
  }
};

/// The texts of a folder (text/distant.h) as the experiment takes them: a seeded sample of at most
/// `per_kind` texts of each kind. What a fact gets depends on the folder and the seed alone.
/// Tails come from texts with head and tail of the relation's other facts with the same object,
/// random ones from all texts of other relations, of which a seeded sample of kRandomPool for each
/// relation is kept in memory. Both must not hold the fact's other names.
class TextSource {
 public:
  static constexpr int64_t kRandomPool = 200;

  /// Reads every file once. Throws as distant_files() and read_distant().
  TextSource(const std::filesystem::path& folder, int64_t per_kind, uint64_t seed);

  /// Texts of the relation's facts that the folder has, by subject and object; reads its file.
  [[nodiscard]] std::map<std::pair<std::string, std::string>, FactTexts> of(
      const std::string& relation) const;
  /// Lines of the relation's file that could not be used.
  [[nodiscard]] std::span<const FactProblem> problems(const std::string& relation) const;

 private:
  int64_t per_kind_;
  uint64_t seed_;
  std::vector<DistantFile> files_;
  std::vector<std::vector<std::string>> pools_;     ///< per file
  std::vector<std::vector<FactProblem>> problems_;  ///< per file

  [[nodiscard]] std::vector<std::string> sample(std::vector<std::string> texts,
                                                uint64_t seed) const;
  [[nodiscard]] std::vector<std::string> random_texts(const DistantFact& fact) const;
};

/// What became of a fact's texts of one kind under one mask.
struct TextCount {
  TextKind kind = TextKind::kBoth;
  TextMask mask = TextMask::kReleased;
  int64_t texts = 0;     ///< used
  int64_t too_long = 0;  ///< more tokens than the model takes
  int64_t unfit = 0;     ///< no word to mask, or not what the kind promises
};

/// A fact's masked texts as token ids: clozes of one count stand together, in the order of counts.
struct TextClozes {
  std::vector<TextCount> counts;
  std::vector<Cloze> clozes;
  /// By cloze: its answer is the object, whatever word is masked. Not so where the object has more
  /// tokens than the text has masks.
  std::vector<bool> asked;
};

/// Masks and encodes. An object of several tokens gets as many masks where it is masked itself;
/// every other word gets one. `only_released`: no mask but TextMask::kReleased.
TextClozes text_clozes(const FactTexts& texts, std::span<const std::string> names,
                       const Tokenizer& tokenizer, const ModelConfig& config, uint64_t seed,
                       bool only_released = false);

/// Activation of neuron sets at the masks: sums[fact][set][count] adds up, over the texts of a
/// count, the mean over the set's neurons; NaN for an empty set. `sets[fact]` are the sets of that
/// fact. Batches are cut from the lists alone: the result depends neither on threads nor on memory.
/// Throws as measure().
using ActivationSums = std::vector<std::vector<std::vector<double>>>;

/// Sums over those texts of a count that ask for the object, with which the activation y of a set
/// is regressed on the object's log-odds x at the mask.
struct OddsSums {
  int64_t texts = 0;
  double x = 0, y = 0, xx = 0, xy = 0;
};

struct TextActivations {
  ActivationSums sums;
  std::vector<std::vector<std::vector<OddsSums>>> odds;  ///< [fact][set][count]
};
TextActivations text_activations(const Model& model, std::span<const TextClozes> facts,
                                 std::span<const std::vector<std::vector<NeuronId>>> sets,
                                 const MeasureOptions& options = {});

}  // namespace engram::experiments::texts
