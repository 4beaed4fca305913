#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engram/model/model.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"

namespace engram::pretrain {

/// How well a model answers one kind of prompts.
struct AnswerQuality {
  int64_t prompts = 0;
  int64_t facts = 0;
  int64_t skipped = 0;  ///< answers that are not one token, prompts that are too long
  double top1 = 0;      ///< share of the prompts whose most probable token is the answer
  double mean_p = 0;    ///< mean probability of the answer
  double p10 = 0, p25 = 0, p50 = 0, p75 = 0, p90 = 0;  ///< quantiles of that probability
  struct Relation {
    int64_t prompts = 0;
    double top1 = 0, mean_p = 0;
  };
  std::map<std::string, Relation> relations;
};

/// One question: a prompt with `[MASK]`, its answer and the fact that it is about.
struct Question {
  const Fact* fact;
  std::string prompt;
};

/// Asks the model all questions. Prompts of equal length share batches; `threads` workers (0: one
/// per core). Does not depend on `threads`.
AnswerQuality ask(const Model& model, const Tokenizer& tokenizer,
                  const std::vector<Question>& questions, int threads);

/// The facts' questions in ParaRel's words: PATTERNS/<relation>.jsonl, where there is one.
std::vector<Question> pararel_questions(const std::vector<Fact>& facts,
                                        const std::filesystem::path& patterns);

/// Masked pseudo-perplexity (Salazar et al. 2020): exp of the mean of -log P(token | the rest of
/// its window), every token masked by itself.
struct PseudoPerplexity {
  double value = 0;
  int64_t tokens = 0;  ///< that were masked
  int64_t windows = 0;
};

/// Of a file of WikiText-2. Its tokens are joined to ordinary text first; `<unk>` becomes [UNK] and
/// is neither masked nor counted; headings are left out. Paragraphs are cut into windows of at most
/// `window` tokens, special tokens included. `tokens` > 0 takes a seeded sample of so many tokens.
PseudoPerplexity pseudo_perplexity(const Model& model, const Tokenizer& tokenizer,
                                   const std::filesystem::path& file, int64_t window,
                                   int64_t tokens, uint64_t seed, int threads);

/// One line of WikiText-2 as ordinary text.
std::string join_wikitext(std::string_view line);

}  // namespace engram::pretrain
