#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// What triggers a sample of keys, and whether their values predict what follows.
namespace engram::experiments::memories {

struct KeyRow {
  static constexpr const char* kTable = "memory_key";
  static constexpr const char* kMeaning =
      "keys of a seeded sample of every layer, over the first lines of the corpus";
  static constexpr size_t kKey = 2;
  int64_t layer = 0;
  int64_t neuron = 0;
  int64_t triggers = 0;
  std::optional<std::string> pattern;
  int64_t shared = 0;
  bool has_pattern = false;
  bool direction_pattern = false;
  bool shuffled_pattern = false;
  std::optional<std::string> top_token;
  double top_p = 0;
  std::optional<bool> agrees;
  std::optional<int64_t> rank;
  double chance = 0;
  std::optional<int64_t> chance_rank;
  std::optional<std::string> trigger;
  std::optional<std::string> next;
  static constexpr auto fields() {
    return std::tuple{
        Field{"layer", &KeyRow::layer, ""},
        Field{"neuron", &KeyRow::neuron, ""},
        Field{"triggers", &KeyRow::triggers, "texts that were kept, at most 25"},
        Field{"pattern", &KeyRow::pattern,
              "the rare n-gram that most triggers share; NULL: none is shared by two"},
        Field{"shared", &KeyRow::shared, "triggers that share it"},
        Field{"has_pattern", &KeyRow::has_pattern, "1: at least 3 do"},
        Field{"direction_pattern", &KeyRow::direction_pattern,
              "the same of a random direction in the key's place"},
        Field{"shuffled_pattern", &KeyRow::shuffled_pattern,
              "the same of triggers dealt from all keys of the layer"},
        Field{"top_token", &KeyRow::top_token,
              "that the value raises most; NULL: a row of the decoder without a token"},
        Field{"top_p", &KeyRow::top_p, "the value's largest P"},
        Field{"agrees", &KeyRow::agrees,
              "1: it is the token behind the top trigger (that was masked there); this and what "
              "follows are NULL where the key has no trigger"},
        Field{"rank", &KeyRow::rank, "of that token in the value's distribution, from 1"},
        Field{"chance", &KeyRow::chance, "share of the layer's other keys that would agree"},
        Field{"chance_rank", &KeyRow::chance_rank, "its rank in the value of another key"},
        Field{"trigger", &KeyRow::trigger, "the last tokens of the top trigger, as text"},
        Field{"next", &KeyRow::next, "the token behind it, as text"}};
  }
};

}  // namespace engram::experiments::memories
