#include "text/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json.h"
#include "engram/base/lines.h"
#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram {

namespace {

using nlohmann::json;

/// A name that comes twice in `line`'s object would overwrite the first one's value.
json parse_once(std::string_view line) {
  std::set<std::string> names;
  return parse_json(line, [&](int depth, json::parse_event_t event, const json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key) {
      const auto& name = parsed.get_ref<const std::string&>();
      if (!names.insert(name).second) {
        throw LineError{"got " + in_quotes(name) + " twice, expected each name once"};
      }
    }
    return true;
  });
}

}  // namespace

json parse_object(std::string_view line) {
  const size_t bad = invalid_utf8(line);
  if (bad != std::string_view::npos) {
    throw LineError{"got bytes that are not UTF-8 at byte " + std::to_string(bad + 1) +
                    ", expected UTF-8"};
  }
  try {
    json object = parse_once(line);
    if (object.is_object()) return object;
    throw LineError{"got a JSON " + std::string(object.type_name()) + ", expected a JSON object"};
  } catch (const JsonFault& fault) {
    throw LineError{fault.message + ", expected a JSON object"};
  }
}

namespace {

/// "{...}," stands in the middle of a list, whose last object alone would be a line of its own.
bool is_piece_of_list(std::string_view line) {
  const size_t end = line.find_last_not_of(" \t\r\n");
  const size_t begin = line.find_first_not_of(" \t");
  if (end == std::string_view::npos || line[end] != ',' || line[begin] != '{') return false;
  return json::accept(line.substr(begin, end - begin));
}

}  // namespace

void ProblemSink::malformed(const std::string& file, int64_t line, const std::string& message) {
  if (strict_) throw InputError(file + ":" + std::to_string(line) + ": " + message);
  problems_.push_back({file, line, message});
}

void ProblemSink::skipped(const std::string& file, int64_t line, const std::string& message) {
  problems_.push_back({file, line, message});
}

namespace {

constexpr std::string_view kBlanks = " \t\r\n\v\f";

/// Takes the objects of one source, line by line or out of one array.
class ObjectReader {
 public:
  ObjectReader(LineReader& lines, const std::string& source, ProblemSink& sink,
               const UseObject& use, const std::function<bool()>& stop)
      : lines_(lines), source_(source), sink_(sink), use_(use), stop_(stop) {}

  void read() {
    skip_byte_order_mark(lines_);
    const char first = next_byte();
    if (first == '[') read_array();
    if (first == '{' && is_spread()) read_spread();
    read_lines();
  }

 private:
  /// The first byte that is no blank, counting lines; 0 at the end.
  char next_byte() {
    for (std::string_view rest = lines_.rest(); !rest.empty(); rest = lines_.rest()) {
      const size_t blanks = std::min(rest.find_first_not_of(kBlanks), rest.size());
      pass(rest.substr(0, blanks));
      if (blanks < rest.size()) return rest[blanks];
    }
    return 0;
  }
  void pass(std::string_view text) {
    number_ += std::ranges::count(text, '\n');
    lines_.take(text.size());
  }

  /// An object over many lines: nothing but its brace stands on the first.
  bool is_spread() {
    const std::string_view rest = lines_.rest();
    const size_t next = rest.find_first_not_of(" \t\r", 1);
    return next != std::string_view::npos && rest[next] == '\n';
  }
  void read_spread() {
    const int64_t first = number_;
    int64_t depth = 0;
    bool quoted = false;
    bool escaped = false;
    element_.clear();
    for (std::string_view rest = lines_.rest(); !rest.empty(); rest = lines_.rest()) {
      size_t at = 0;
      for (; at < rest.size(); ++at) {
        const char c = rest[at];
        if (quoted) {
          quoted = escaped || c != '"';
          escaped = !escaped && c == '\\';
          continue;
        }
        if (c == '"') quoted = true;
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
        if (depth == 0) break;
      }
      const bool ended = at < rest.size();
      const size_t taken = at + (ended ? 1 : 0);
      if (element_.size() + taken > kLongestObject) {
        throw InputError(where(first) + ": got an object of more than " +
                         std::to_string(kLongestObject) + " bytes, expected at most so many");
      }
      element_ += rest.substr(0, taken);
      pass(rest.substr(0, taken));
      if (ended) {
        length_ = 0;  // the limit of a line does not hold here
        return use(element_, length_, first);
      }
    }
    throw InputError(where(number_) + ": got the end of the file inside the object of line " +
                     std::to_string(first) + ", expected its }");
  }

  void read_lines() {
    std::string line;
    for (; !stopped_ && lines_.next(line); ++number_) {
      if (is_piece_of_list(line)) {
        throw InputError(where(number_) +
                         ": got an object with a comma behind it, a piece of a JSON array; "
                         "expected one object a line, or a file that is one array of objects");
      }
      use(line, lines_.length(), number_);
    }
  }

  /// One array of objects, over however many lines: what stands between its commas is an object
  /// each. Only one of them is held in memory.
  void read_array() {
    const int64_t first = number_;
    pass(lines_.rest().substr(0, 1));
    if (next_byte() == ']') return pass(lines_.rest().substr(0, 1));
    while (!stopped_) {
      if (next_byte() == 0) throw_unended(first);
      const int64_t start = number_;
      const char end = read_element();
      if (end == 0) throw_unended(first);
      if (is_blank(element_)) {
        report(start, "got nothing between two commas of an array, expected a JSON object");
      } else {
        use(element_, length_, start);
      }
      if (end == ']') return;
    }
  }
  [[noreturn]] void throw_unended(int64_t first) const {
    throw InputError(where(number_) + ": got the end of the file inside the JSON array of line " +
                     std::to_string(first) + ", expected its ]");
  }

  /// Into element_, up to a comma or bracket of the array itself, which is passed and returned; 0:
  /// the file ends before.
  char read_element() {
    element_.clear();
    length_ = 0;
    int64_t depth = 0;
    bool quoted = false;
    bool escaped = false;
    for (std::string_view rest = lines_.rest(); !rest.empty(); rest = lines_.rest()) {
      size_t at = 0;
      bool ended = false;
      for (; at < rest.size(); ++at) {
        const char c = rest[at];
        if (quoted) {
          quoted = escaped || c != '"';
          escaped = !escaped && c == '\\';
          continue;
        }
        ended = depth == 0 && (c == ',' || c == ']');
        if (ended) break;
        if (c == '"') quoted = true;
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
      }
      element_ += rest.substr(0, std::min(at, kLongestLine - element_.size()));
      length_ += at;
      const char end = ended ? rest[at] : '\0';
      pass(rest.substr(0, at + (ended ? 1 : 0)));
      if (ended) return end;
    }
    return 0;
  }

  void use(std::string_view text, size_t length, int64_t number) {
    try {
      if (length > kLongestLine) {
        throw LineError{"got a line of " + std::to_string(length) + " bytes, expected at most " +
                        std::to_string(kLongestLine)};
      }
      if (!is_blank(text)) use_(parse_object(text), number);
    } catch (const LineError& error) {
      report(number, error.message);
    }
  }
  void report(int64_t number, const std::string& message) {
    sink_.malformed(source_, number, message);
    stopped_ = stop_ && stop_();
  }
  [[nodiscard]] std::string where(int64_t number) const {
    return source_ + ":" + std::to_string(number);
  }

  LineReader& lines_;
  const std::string& source_;
  ProblemSink& sink_;
  const UseObject& use_;
  const std::function<bool()>& stop_;
  int64_t number_ = 1;  ///< of the line that is read
  bool stopped_ = false;
  std::string element_;
  size_t length_ = 0;
};

}  // namespace

void skip_byte_order_mark(LineReader& text) {
  if (text.rest().starts_with("\xEF\xBB\xBF")) text.take(3);
}

void read_json_objects(LineReader& text, const std::string& source, ProblemSink& sink,
                       const UseObject& use, const std::function<bool()>& stop) {
  ObjectReader(text, source, sink, use, stop).read();
}

void read_json_lines(const std::filesystem::path& path, ProblemSink& sink, const UseObject& use,
                     const std::function<bool()>& stop) {
  LineReader lines(path, kLongestLine);
  read_json_objects(lines, path.string(), sink, use, stop);
}

std::string text_value(const json& value, const std::string& what) {
  if (!value.is_string()) {
    throw LineError{"got a JSON " + std::string(value.type_name()) + " as " + what +
                    ", expected a string"};
  }
  std::string text = value.get<std::string>();
  if (text.find('\0') != std::string::npos) {
    throw LineError{"got a NUL character in " + what + ", expected text"};
  }
  return text;
}

std::string text_field(const json& object, const char* key) {
  const std::string name = '"' + std::string(key) + '"';
  const auto found = object.find(key);
  if (found == object.end()) throw LineError{"got no " + name + ", expected a string"};
  std::string text = text_value(*found, name);
  if (is_blank(text)) throw LineError{"got an empty " + name + ", expected text"};
  return text;
}

std::string optional_text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string one_line(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20U || byte == 0x7FU) {
      line += "\\x";
      line += kDigits[byte >> 4U];
      line += kDigits[byte & 0xFU];
    } else {
      line += c;
    }
  }
  return line;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kLongest = 120;
  const size_t end = character_start(text, kLongest);
  return '"' + one_line(text.substr(0, end)) + (end < text.size() ? "...\"" : "\"");
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

int64_t count_masks(std::string_view text) {
  int64_t count = 0;
  for (const std::string_view mask : {std::string_view("[MASK]"), std::string_view("<mask>")}) {
    for (size_t at = text.find(mask); at != std::string_view::npos;
         at = text.find(mask, at + mask.size())) {
      ++count;
    }
  }
  return count;
}

std::string fact_key(const std::string& relation, const std::string& subject,
                     const std::string& object) {
  // NUL cannot stand in any of the three.
  return relation + '\0' + subject + '\0' + object;
}

uint64_t seeded_number(uint64_t seed, std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325ULL ^ (seed * 0x9E3779B97F4A7C15ULL);  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  hash += seed;
  hash = (hash ^ (hash >> 30U)) * 0xBF58476D1CE4E5B9ULL;  // SplitMix64's finaliser
  hash = (hash ^ (hash >> 27U)) * 0x94D049BB133111EBULL;
  return hash ^ (hash >> 31U);
}

}  // namespace engram
