#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace engram::pretrain {

/// Trains a cased WordPiece vocabulary of at most `size` tokens ([PAD], [UNK], [CLS], [SEP], [MASK]
/// first) on `corpus` with the `tokenizers` crate, each of `whole_words` a token of its own, and
/// writes tokenizer.json, vocab.txt and tokenizer_config.json into `directory`. The same input
/// gives the same files. Throws InputError (a word that cannot be one token), FileError.
void train_wordpiece(const std::vector<std::string>& corpus,
                     const std::set<std::string>& whole_words, int64_t size,
                     const std::filesystem::path& directory);

}  // namespace engram::pretrain
