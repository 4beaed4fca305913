#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "engram/store/schema.h"

// Values as text.
namespace engram {

/// The fewest digits that give the same number back; "inf", "-inf".
std::string shortest(double value);
/// For messages: 0.1, "text", NULL, 12 bytes.
std::string show_value(const Value& value);
std::string show_key(const Row& row, std::size_t key);

/// A row of RFC 4180: fields between commas, ended by CR LF. Text with a comma, quote or line break
/// in it, and empty text, are quoted; NULL is an empty field without quotes; bytes are base64.
std::string csv_row(const Row& row);
std::string csv_header(std::span<const Column> columns);

}  // namespace engram
