#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace engram::pretrain {

/// What `prepare` reads and how it chooses.
struct PrepareOptions {
  std::filesystem::path source;      ///< folder with facts/ and wiki/
  std::filesystem::path phrasings;   ///< phrasings.json
  std::filesystem::path out;         ///< folder to be made
  std::filesystem::path vocabulary;  ///< folder of a ready tokenizer; empty: one is trained
  int64_t vocabulary_size = 10000;
  int64_t text_bytes = 30'000'000;  ///< of general text
  int64_t max_tokens = 128;         ///< of a sequence, special tokens included
  int64_t min_sentences = 2;        ///< a fact needs as many usable sentences
  int64_t facts_per_relation = 130;
  int64_t facts_per_object = 20;  ///< of one relation, so that no object rules it
  int64_t min_facts = 15;         ///< a relation with fewer is left out
};

/// What came out.
struct PrepareReport {
  int64_t rows = 0;        ///< fact sentences under a free licence
  int64_t candidates = 0;  ///< (relation, subject) with an object, before vocabulary and caps
  int64_t facts = 0, relations = 0, objects = 0;
  int64_t sentences = 0, texts = 0, prompts = 0;  ///< sequences
  int64_t sentence_tokens = 0, text_tokens = 0;
  int64_t vocabulary = 0;
};

/// Makes a training's folder: the tokenizer's files, facts.jsonl, data.bin. The facts are chosen by
/// the number of sentences that state them and by the vocabulary, before there is any model. The
/// same input gives the same files. `say` gets a line now and then. Throws FileError, InputError.
PrepareReport prepare(const PrepareOptions& options,
                      const std::function<void(const std::string&)>& say);

}  // namespace engram::pretrain
