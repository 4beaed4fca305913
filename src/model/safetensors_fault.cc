#include "safetensors_fault.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace engram {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

/// Bytes of one element; 0 for other types.
uint64_t width_of(std::string_view dtype) {
  if (dtype.starts_with("F8_")) return 1;
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 14> kWidths{{{"BOOL", 1},
                                                                                  {"U8", 1},
                                                                                  {"I8", 1},
                                                                                  {"I16", 2},
                                                                                  {"U16", 2},
                                                                                  {"F16", 2},
                                                                                  {"BF16", 2},
                                                                                  {"I32", 4},
                                                                                  {"U32", 4},
                                                                                  {"F32", 4},
                                                                                  {"C64", 8},
                                                                                  {"I64", 8},
                                                                                  {"U64", 8},
                                                                                  {"F64", 8}}};
  for (const auto& [name, width] : kWidths) {
    if (name == dtype) return width;
  }
  return 0;
}

/// `text` of a header, which can be of any length, for a message.
std::string cut(const std::string& text) {
  constexpr size_t kLongest = 200;
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

std::string tensor(const std::string& name) { return "tensor \"" + cut(name) + "\": "; }

std::string shape_text(const Entry& entry) {
  std::string text;
  for (const uint64_t size : entry.shape) {
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  }
  return "[" + cut(text) + "] of " + entry.dtype;
}

/// A list of whole numbers from 0 up; false for anything else.
bool read_numbers(const json& list, std::vector<uint64_t>& out) {
  if (!list.is_array()) return false;
  for (const json& number : list) {
    if (!number.is_number_unsigned()) return false;
    out.push_back(number.get<uint64_t>());
  }
  return true;
}

/// One tensor of the header; returns what is wrong with it. No part of the header is copied or
/// printed: it may be nested too deeply for that.
std::string read_entry(const std::string& name, const json& value, Entry& entry) {
  entry.name = name;
  const auto lacks = [&](const char* what) { return tensor(name) + "expected " + what; };
  if (!value.is_object()) return lacks("an object");
  const auto dtype = value.find("dtype");
  if (dtype == value.end() || !dtype->is_string()) return lacks("a \"dtype\"");
  entry.dtype = dtype->get<std::string>();
  const auto shape = value.find("shape");
  if (shape == value.end() || !read_numbers(*shape, entry.shape)) {
    return lacks("a \"shape\" of whole numbers from 0 up");
  }
  std::vector<uint64_t> numbers;
  const auto offsets = value.find("data_offsets");
  if (offsets == value.end() || !read_numbers(*offsets, numbers) || numbers.size() != 2) {
    return lacks("\"data_offsets\" of two whole numbers from 0 up");
  }
  entry.begin = numbers[0];
  entry.end = numbers[1];
  return "";
}

/// What is wrong with a tensor by itself.
std::string check_entry(const Entry& entry) {
  const std::string offsets =
      "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
  if (entry.end < entry.begin)
    return tensor(entry.name) + "got " + offsets + ", which run backwards";
  uint64_t bytes = width_of(entry.dtype);
  if (bytes == 0) return "";
  for (const uint64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) {
      return tensor(entry.name) + "got a shape of more than 2^64 bytes";
    }
  }
  if (bytes == entry.end - entry.begin) return "";
  return tensor(entry.name) + "got " + std::to_string(entry.end - entry.begin) + " bytes (" +
         offsets + "), expected " + std::to_string(bytes) + " for " + shape_text(entry);
}

/// What is wrong with how the tensors, sorted by place, follow each other.
std::string check_order(const std::vector<Entry>& entries) {
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t due = i == 0 ? 0 : entries[i - 1].end;
    const Entry& entry = entries[i];
    if (entry.begin == due) continue;
    const std::string before =
        i == 0 ? "the start of the data" : "the end of tensor \"" + entries[i - 1].name + "\"";
    return tensor(entry.name) + "got a start at byte " + std::to_string(entry.begin) +
           " of the data, expected " + std::to_string(due) + ", " + before +
           (entry.begin < due ? " (the two overlap)" : " (a gap lies between)");
  }
  return "";
}

}  // namespace

std::string safetensors_fault(std::span<const std::byte> file) {
  uint64_t header = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) header |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, header);
  json object;
  try {
    object = parse_json(text);
  } catch (const JsonFault& fault) {
    return "its header of " + std::to_string(header) +
           " bytes is no JSON object in UTF-8: " + fault.message;
  }
  if (!object.is_object()) {
    return "its header of " + std::to_string(header) + " bytes is no JSON object in UTF-8";
  }
  std::vector<Entry> entries;
  std::string unknown;
  for (const auto& [name, value] : object.items()) {
    if (name == "__metadata__") continue;
    Entry entry;
    std::string fault = read_entry(name, value, entry);
    if (fault.empty()) fault = check_entry(entry);
    if (!fault.empty()) return fault;
    const bool packed = entry.dtype.starts_with("F4") || entry.dtype.starts_with("F6_");
    if (width_of(entry.dtype) == 0 && !packed) {
      unknown = tensor(name) + "got the dtype \"" + cut(entry.dtype) +
                "\", expected one of the format, such as F32, F16 or BF16";
    }
    entries.push_back(std::move(entry));
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  if (std::string fault = check_order(entries); !fault.empty()) return fault;
  const uint64_t data = entries.empty() ? 0 : entries.back().end;
  const uint64_t there = file.size() - kLengthBytes - header;
  if (data != there) {
    return "got " + std::to_string(there) + " bytes of data after its header, expected the " +
           std::to_string(data) + " that the header asks for" +
           (there < data ? " (the file is cut off)" : "") + "; the file has " +
           std::to_string(file.size()) + " bytes";
  }
  return unknown;
}

}  // namespace engram
