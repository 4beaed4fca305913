#pragma once

#include <cmath>
#include <string>
#include <variant>

#include "engram/store/schema.h"

namespace engram {

/// A double as a value: NULL where it is not a number.
inline Value real(double value) { return std::isnan(value) ? Value() : Value(value); }
inline Value flag(bool value) { return Value(static_cast<int64_t>(value ? 1 : 0)); }
inline Value count(int64_t value) { return {value}; }

inline int64_t integer_of(const Value& value) { return std::get<int64_t>(value); }
/// NaN for NULL.
inline double real_of(const Value& value) {
  return std::holds_alternative<double>(value) ? std::get<double>(value) : std::nan("");
}
inline const std::string& text_of(const Value& value) { return std::get<std::string>(value); }

}  // namespace engram
