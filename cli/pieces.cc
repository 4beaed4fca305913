#include "cli/pieces.h"

#include "cli/terminal.h"
#include "engram/base/utf8.h"

namespace engram::cli {

Piece piece_of(const Tokenizer& tokenizer, int64_t id) {
  const std::string token = tokenizer.token_of(id);
  const std::string& mark = tokenizer.word_mark();
  Piece piece;
  if (mark == "##") {
    piece.begins = !token.starts_with(mark);
    piece.text = piece.begins ? token : token.substr(mark.size());
    return piece;
  }
  // The others mark what a space stands before. What they write for bytes only decode() undoes.
  piece.begins = !mark.empty() && token.starts_with(mark);
  piece.text = tokenizer.decode({id}, false);
  if (piece.begins && piece.text.starts_with(' ')) piece.text.erase(0, 1);
  return piece;
}

std::string running_text(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  std::string out;
  for (const int64_t id : ids) {
    const Piece piece = piece_of(tokenizer, id);
    if (piece.begins && !out.empty()) out += ' ';
    out += piece.text;
  }
  return printable(out);
}

}  // namespace engram::cli
