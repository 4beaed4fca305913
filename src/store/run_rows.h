#pragma once

// What every run holds, whatever was measured: the model's sizes, the facts and their prompts.

#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

namespace engram {

struct ModelRow {
  static constexpr const char* kTable = "model";
  static constexpr const char* kMeaning = "the model's sizes";
  static constexpr size_t kKey = 1;
  std::string name;
  int64_t value = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"name", &ModelRow::name, "layers, d_ff (neurons of a layer), d_model, vocabulary"},
        Field{"value", &ModelRow::value, ""}};
  }
};

struct RelationRow {
  static constexpr const char* kTable = "relation";
  static constexpr const char* kMeaning = "relations with a fact that can be used";
  static constexpr size_t kKey = 1;
  std::string relation;
  int64_t facts = 0;
  int64_t prompts = 0;
  int64_t held_out = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"relation", &RelationRow::relation, "as the fact set names it"},
                      Field{"facts", &RelationRow::facts, "that can be used"},
                      Field{"prompts", &RelationRow::prompts, "that locate"},
                      Field{"held_out", &RelationRow::held_out, "prompts that only test"}};
  }
};

struct FactRow {
  static constexpr const char* kTable = "fact";
  static constexpr const char* kMeaning = "facts that can be used";
  static constexpr size_t kKey = 1;
  int64_t fact = 0;
  std::string relation;
  std::string subject;
  std::string object;
  int64_t answer_tokens = 0;
  bool copies = false;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &FactRow::fact, "place in the fact set, from 0"},
                      Field{"relation", &FactRow::relation, "as the fact set names it", "relation"},
                      Field{"subject", &FactRow::subject, ""},
                      Field{"object", &FactRow::object, "the answer"},
                      Field{"answer_tokens", &FactRow::answer_tokens, "tokens of the answer"},
                      Field{"copies", &FactRow::copies,
                            "1: the subject holds the object, left out of all effects"}};
  }
};

struct PromptRow {
  static constexpr const char* kTable = "prompt";
  static constexpr const char* kMeaning = "their prompts";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  bool held_out = false;
  int64_t prompt = 0;
  std::string text;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &PromptRow::fact, "", "fact"},
                      Field{"held_out", &PromptRow::held_out, "1: only tests"},
                      Field{"prompt", &PromptRow::prompt, "place in the fact's list, from 0"},
                      Field{"text", &PromptRow::text, "written with [MASK]"}};
  }
};

struct ProblemRow {
  static constexpr const char* kTable = "problem";
  static constexpr const char* kMeaning = "facts and lines that cannot be used";
  static constexpr size_t kKey = 1;
  int64_t problem = 0;
  int64_t line = 0;
  std::string message;
  static constexpr auto fields() {
    return std::tuple{
        Field{"problem", &ProblemRow::problem, "from 0"},
        Field{"line", &ProblemRow::line, "of the fact set's file; 0: the file as a whole"},
        Field{"message", &ProblemRow::message, "got and expected"}};
  }
};

}  // namespace engram
