#include "engram/report/markup.h"

#include "engram/base/utf8.h"

namespace engram {

std::string escaped_markup(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = code_point(text, at);
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (!point.valid || (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) {
      out += "\xEF\xBF\xBD";
      at += point.length;
      continue;
    }
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out.append(text, at, point.length);
    }
    at += point.length;
  }
  return out;
}

}  // namespace engram
