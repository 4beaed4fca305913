#pragma once

// What the files of the experiment "update" share: the sampled facts, what is edited of each, and
// how an answer is written in the place of a prompt.

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edit/answers.h"
#include "run/scopes.h"

namespace engram::experiments::update {

/// The facts of a relation that are edited, with a seeded o' each.
struct UpdateSample {
  using Facts = std::vector<std::pair<int64_t, std::string>>;
  Facts reported;  ///< in seeded order
  Facts tuning;    ///< none of those
};

/// Facts that can be edited, in seeded order: first those of the report, then those of the sweep,
/// which are a fifth of the relation's facts at most (in an audit none). o and o' are one token on
/// every prompt where they are asked for: the fact's own, its held-out ones, and those of the
/// relation's other facts. With `fits` only facts for which it is true.
UpdateSample sample_updates(const RunContext& run, std::string_view relation,
                            const std::function<bool(int64_t id)>& fits = {});

/// Token ids of `object` in the place of the prompt's answer, whose leading space a byte-level
/// vocabulary writes into the token; empty: it cannot be written there.
std::vector<int64_t> ids_at(const RunContext& run, const PromptPlace& place,
                            const std::string& object);

/// An answer of the model's own: a token, and as it is written. The token stands for itself where
/// its text is no single token.
struct WrittenToken {
  int64_t token = 0;
  std::string text;
};
WrittenToken written_token(const Tokenizer& tokenizer, int64_t token);

/// A fact that is edited.
struct UpdateSubject {
  int64_t id = 0;
  bool tuning = false;
  int64_t turn = 0;   ///< among all edited facts of the run, for the text positions
  bool right = true;  ///< o is the model's most frequent answer on own prompts
  std::string old;    ///< o as written
  std::optional<WrittenToken> replaced;  ///< o where it is not the fact's object
  std::string target;                    ///< o' as written
  double target_p = 0;
  double target_log_rank = 0;
  std::vector<PromptPlace> own, held_out;
};

UpdateSubject update_subject(const RunContext& run, int64_t id, const std::string& target);

/// Token ids of o in the place of the prompt, which is one of the fact's.
std::vector<int64_t> old_at(const RunContext& run, const UpdateSubject& one,
                            const PromptPlace& place);

/// The fact's prompts that locate, each with o' for its answer.
std::vector<Cloze> target_prompts(const RunContext& run, const UpdateSubject& one);

/// The tokens whose embeddings an edit moves from and to: o and o' as most own prompts ask for
/// them.
struct UpdateTokens {
  std::vector<int64_t> old, target;
};
UpdateTokens update_tokens(const RunContext& run, const UpdateSubject& one);

constexpr double kUpdateLambda1 = 1;
constexpr double kUpdateLambda2 = 8;

/// One edit of one fact.
struct UpdateVariant {
  size_t subject = 0;
  std::string name;
  int64_t neurons = 0;  ///< 0: the fact is counted, not edited
  double lambda1 = kUpdateLambda1;
  double lambda2 = kUpdateLambda2;
  OutputEdit edit;
  /// Length of what the edit adds at the mask of own prompts on the average, all layers together;
  /// NaN: not looked at (the sweep).
  double written = 0;
  int64_t redraws = 0;  ///< sets drawn again since theirs cannot write as much
  bool aside = true;    ///< measured on other facts' prompts and the text too
};

/// Makes what is edited of facts of one relation, subject after subject.
using MakeVariants =
    std::function<std::vector<UpdateVariant>(const std::vector<UpdateSubject>& subjects)>;

/// Rows of the edits of some facts of a relation; `turn` is the first reported one's place among
/// all edited facts of the run. `text` null: ordinary text is left out.
std::vector<TableRows> update_rows(const RunContext& run, std::string_view relation,
                                   const UpdateSample& sample, int64_t turn, RunText* text,
                                   const MakeVariants& make);
/// Text positions that an edit sees at most.
constexpr int64_t kMostTextPerEdit = 40;

/// What is edited of each of `subjects`, all of one relation: subject after subject.
std::vector<UpdateVariant> update_variants(const RunContext& run, std::string_view relation,
                                           const std::vector<UpdateSubject>& subjects);

/// For the audit's editors: all located neurons of each subject, random ones with equal write, and
/// another fact's with equal write. Facts without located neurons have none of them.
std::vector<UpdateVariant> located_variants(const RunContext& run, std::string_view relation,
                                            const std::vector<UpdateSubject>& subjects);

/// An edit of one of `subjects`: what the experiment measures of it. `activations` [layers, d_ff]
/// at the mask, mean over its own prompts.
UpdateVariant edit_variant(const RunContext& run, size_t subject, std::string name, OutputEdit edit,
                           const at::Tensor& activations);

}  // namespace engram::experiments::update
