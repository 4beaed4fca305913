#pragma once

// From the files of a model folder to one tokenizer, as transformers' AutoTokenizer reads them.

#include <filesystem>
#include <string>
#include <vector>

#include "engram/text/tokenizer.h"

namespace engram {

/// A folder's tokenizer as the text of one tokenizer.json, and what was decided on the way.
struct TokenizerPlan {
  std::string json;
  std::filesystem::path source;  ///< the file with the vocabulary
  std::string mask;              ///< the mask token by name; "" if the folder names none
  std::string unknown;           ///< the unknown token; "" if there is none
  bool byte_level = false;
  std::string word_mark;          ///< see Tokenizer::word_mark()
  bool mask_takes_space = false;  ///< the mask token swallows the space before it
  std::vector<TokenizerSetting> settings;
};

/// Reads the tokenizer of `directory`. Throws FileError, InputError.
TokenizerPlan plan_tokenizer(const std::filesystem::path& directory);

}  // namespace engram
