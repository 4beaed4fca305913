#pragma once

// What reads a config.json: fields with messages that name the file, the field, got and expected.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "engram/error.h"
#include "engram/model/config.h"

namespace engram {

/// Reads fields of a config.json with messages that name the file, the field, got and expected.
class ConfigFields {
 public:
  ConfigFields(const nlohmann::json& object, const std::string& source)
      : object_(object), source_(source) {}

  [[noreturn]] void refuse(const std::string& field, const std::string& expected) const {
    // Escaped to ASCII, so that the cut does not fall into a character.
    const std::string got =
        object_.contains(field) ? object_[field].dump(-1, ' ', true) : "nothing";
    throw InputError(source_ + ": field \"" + field + "\": got " + got.substr(0, 80) +
                     ", expected " + expected);
  }

  int64_t size(const std::string& field, int64_t least = 1) const {
    if (!object_.contains(field)) refuse(field, "a whole number");
    return checked_size(field, least);
  }
  int64_t size_or(const std::string& field, int64_t fallback, int64_t least = 1) const {
    return present(field) ? checked_size(field, least) : fallback;
  }
  double number_or(const std::string& field, double fallback) const {
    if (!present(field)) return fallback;
    if (!object_[field].is_number()) refuse(field, "a number");
    return object_[field].get<double>();
  }
  bool flag_or(const std::string& field, bool fallback) const {
    if (!present(field)) return fallback;
    if (!object_[field].is_boolean()) refuse(field, "true or false");
    return object_[field].get<bool>();
  }
  std::string text_or(const std::string& field, const std::string& fallback) const {
    if (!present(field)) return fallback;
    if (!object_[field].is_string()) refuse(field, "a string");
    return object_[field].get<std::string>();
  }
  /// Whether the field is there, null or not.
  bool has(const std::string& field) const { return object_.contains(field); }
  /// Whether it is there with a value.
  bool present(const std::string& field) const {
    return object_.contains(field) && !object_[field].is_null();
  }
  const nlohmann::json& at(const std::string& field) const { return object_[field]; }

 private:
  static constexpr int64_t kLargestSize = 1 << 24;  // of any one dimension: far above real models

  int64_t checked_size(const std::string& field, int64_t least) const {
    const nlohmann::json& value = object_[field];
    const std::string expected =
        "a whole number of " + std::to_string(least) + ".." + std::to_string(kLargestSize);
    if (!value.is_number_integer()) refuse(field, expected);
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kLargestSize)) {
      refuse(field, expected);
    }
    const int64_t number = value.get<int64_t>();
    if (number < least || number > kLargestSize) refuse(field, expected);
    return number;
  }

  const nlohmann::json& object_;
  const std::string& source_;
};

/// The activation that a field names, by the names of transformers.
Activation parse_activation(const ConfigFields& fields, const std::string& field,
                            const std::string& fallback = "gelu");

/// Fields that change the result in a way that no family computes: refused.
void refuse_unsupported(const ConfigFields& fields);

/// The fields of a decoder's config.json; `config` has its family and vocabulary.
void read_decoder(const ConfigFields& fields, const std::string& source, ModelConfig& config);

}  // namespace engram
