#include "store/text.h"

#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/base64.h"

namespace engram {
namespace {

constexpr size_t kShown = 80;  // of a text, in a message

std::string csv_text(std::string_view text) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string csv_field(const Value& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return {};
        } else if constexpr (std::is_same_v<T, int64_t>) {
          return std::to_string(v);
        } else if constexpr (std::is_same_v<T, double>) {
          return shortest(v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return csv_text(v);
        } else {
          return v.empty() ? "\"\"" : base64(v);
        }
      },
      value);
}

}  // namespace

std::string shortest(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end.ptr};
}

std::string show_value(const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) return "NULL";
  if (const auto* bytes = std::get_if<std::vector<std::byte>>(&value)) {
    return std::to_string(bytes->size()) + " bytes";
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    std::string shown = "\"";
    for (const char c : text->substr(0, kShown))
      shown += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    return shown + (text->size() > kShown ? "...\"" : "\"");
  }
  return csv_field(value);
}

std::string show_key(const Row& row, size_t key) {
  std::string text = "(";
  for (size_t i = 0; i < key; ++i) text += (i == 0 ? "" : ", ") + show_value(row[i]);
  return text + ")";
}

std::string csv_row(const Row& row) {
  std::string line;
  for (size_t i = 0; i < row.size(); ++i) line += (i == 0 ? "" : ",") + csv_field(row[i]);
  return line + "\r\n";
}

std::string csv_header(std::span<const Column> columns) {
  std::string line;
  for (size_t i = 0; i < columns.size(); ++i) {
    line += (i == 0 ? "" : ",") + csv_text(columns[i].name);
  }
  return line + "\r\n";
}

}  // namespace engram
