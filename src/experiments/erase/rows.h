#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// A relation's neurons erased, and whether it is gone.
namespace engram::experiments::erase {

/// What is erased, as the column `source` names it, beside random sets (engram/sources.h).
constexpr const char* kRelation = "relation";           ///< the relation's own neurons
constexpr const char* kOthers = "others";               ///< a union of other relations' neurons
constexpr const char* kRandomOthers = "random-others";  ///< as many random ones

/// The column `mode`, beside the names of erase_mode_name(): the embedding of a random token, as
/// long as that of the unknown token.
constexpr const char* kToken = "token";

struct EraseRow {
  static constexpr const char* kTable = "erase";
  static constexpr const char* kMeaning = "erasing value vectors: sums over the prompts of a scope";
  static constexpr size_t kKey = 6;
  std::string relation;
  std::string source;
  int64_t draw = 0;
  std::string mode;
  int64_t neurons = 0;
  std::string scope;
  int64_t prompts = 0;
  double log_p_before = 0;
  double log_p_after = 0;
  double p_before = 0;
  double p_after = 0;
  int64_t top_before = 0;
  int64_t top_after = 0;
  double log_rank_before = 0;
  double log_rank_after = 0;
  double log_odds_before = 0;
  double log_odds_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"relation", &EraseRow::relation, "that is to go", "relation"},
        Field{"source", &EraseRow::source,
              "relation (its own most frequent neurons), random-layer, random-activation, "
              "random-gradient (matched with those); others (a union of other relations' neurons), "
              "random-others (matched with it by layer)"},
        Field{"draw", &EraseRow::draw, "of random sets and tokens, from 0"},
        Field{"mode", &EraseRow::mode,
              "zero, unk, mean, token (the embedding of a random token, as long as that of unk)"},
        Field{"neurons", &EraseRow::neurons, "how many; 0: the relation has none"},
        Field{
            "scope", &EraseRow::scope,
            "own, held-out, other-relations, text; \"own known\", \"own never\", \"held-out "
            "known\", \"held-out never\": of facts that the model knows, and that it never gives"},
        Field{"prompts", &EraseRow::prompts, ""},
        Field{"log_p_before", &EraseRow::log_p_before, ""},
        Field{"log_p_after", &EraseRow::log_p_after, ""},
        Field{"p_before", &EraseRow::p_before, ""},
        Field{"p_after", &EraseRow::p_after, ""},
        Field{"top_before", &EraseRow::top_before, ""},
        Field{"top_after", &EraseRow::top_after, ""},
        Field{"log_rank_before", &EraseRow::log_rank_before, ""},
        Field{"log_rank_after", &EraseRow::log_rank_after, ""},
        Field{"log_odds_before", &EraseRow::log_odds_before, "of the answer: log P - log(1 - P)"},
        Field{"log_odds_after", &EraseRow::log_odds_after, ""}};
  }
};

struct LensRow {
  static constexpr const char* kTable = "lens";
  static constexpr const char* kMeaning =
      "the answer after every layer, read through the LM head, before and after erasing";
  static constexpr size_t kKey = 5;
  std::string relation;
  std::string mode;
  int64_t neurons = 0;
  bool held_out = false;
  int64_t layer = 0;
  int64_t prompts = 0;
  double log_p = 0;
  double log_rank = 0;
  int64_t top = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"relation", &LensRow::relation, "", "relation"},
        Field{"mode", &LensRow::mode, "none (before), zero, unk, mean"},
        Field{"neurons", &LensRow::neurons, "erased"},
        Field{"held_out", &LensRow::held_out, "1: prompts that only test"},
        Field{"layer", &LensRow::layer, "0: after the embedding, l: after layer l - 1"},
        Field{"prompts", &LensRow::prompts, ""},
        Field{"log_p", &LensRow::log_p, "summed"},
        Field{"log_rank", &LensRow::log_rank, "summed"},
        Field{"top", &LensRow::top, "prompts"}};
  }
};

}  // namespace engram::experiments::erase
