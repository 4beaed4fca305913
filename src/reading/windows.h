#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engram/base/lines.h"
#include "engram/model/model.h"
#include "engram/reading/corpus.h"
#include "engram/text/tokenizer.h"
#include "passes/chunk.h"
#include "passes/passes.h"

namespace engram {

/// A stretch of a line that the model reads at once.
struct Window {
  int64_t line = 0;          ///< of the file, from 1
  std::vector<int64_t> ids;  ///< as the model reads it
  int64_t first = 0;         ///< of the text's tokens among `ids`
  int64_t count = 0;         ///< of the text's tokens
  int64_t next = -1;         ///< token behind the window in its line; -1: the line ends
};

/// Whether a token stands for a piece of text: special ones do not, the unknown one does.
bool is_text(const Tokenizer& tokenizer, int64_t id);

/// The windows of a corpus in the order of the file. A causal model reads nothing behind a text.
class WindowReader {
 public:
  /// Throws UsageError for a window without room for a text, InputError for a tokenizer that does
  /// not put its special tokens around a text; as LineReader.
  WindowReader(const Tokenizer& tokenizer, const ModelConfig& config, const CorpusOptions& options);

  /// Windows of about `tokens` more tokens (at least one line's); empty at the end.
  std::vector<Window> next(int64_t tokens);
  [[nodiscard]] const CorpusCounts& counts() const { return counts_; }

 private:
  void add_line(std::vector<Window>& windows);

  const Tokenizer& tokenizer_;
  std::vector<int64_t> before_, behind_;  ///< special tokens around a text
  int64_t room_ = 0;                      ///< for a text's tokens in a window
  int64_t limit_;
  LineReader lines_;
  std::string line_;
  CorpusCounts counts_;
};

/// Runs windows through the model, those of about equal length together, without padding.
class WindowRunner {
 public:
  WindowRunner(const Model& model, int threads, int64_t memory_bytes);

  /// Calls work(members, chunk, passes) for batches of `windows`, which are cut from the windows
  /// alone: `members` are those of a batch in the order of their rows in `chunk`. On several
  /// threads, each with passes of its own. Throws what `work` throws, Interrupted.
  void run(std::span<const Window> windows,
           const std::function<void(const std::vector<size_t>& members, const Chunk& chunk,
                                    Passes& passes)>& work);

 private:
  int workers_;
  std::deque<Passes> passes_;  ///< [workers]
};

}  // namespace engram
