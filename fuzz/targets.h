#pragma once

// What the fuzz targets do with one input, as plain functions: libFuzzer calls them through
// fuzz/<target>.cc, and the test suite replays the corpus with them under any compiler. An input
// may be refused with InputError; whatever is accepted must keep the readers' promises, or
// std::logic_error is thrown.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engram/base/lines.h"
#include "engram/edit/delta.h"
#include "engram/edit/moments.h"
#include "engram/error.h"
#include "engram/model/config.h"
#include "engram/model/safetensors.h"
#include "engram/report/tables.h"
#include "engram/store/run_store.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"

namespace engram::fuzz {

inline void require(bool holds, const std::string& promise) {
  if (!holds) throw std::logic_error("broken promise: " + promise);
}

/// Bytes of the UTF-8 character at the start of `text`, or 0 when there is none.
inline size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;  // longer than needed
  if (first == 0xED && byte(1) > 0x9F) return 0;  // half of a surrogate pair
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

/// Messages go to terminals and into JSON: one line of UTF-8.
inline void check_message(std::string_view message) {
  require(!message.empty(), "a message says something");
  while (!message.empty()) {
    require(static_cast<unsigned char>(message[0]) >= 0x20, "a message is one line");
    const size_t length = utf8_length(message);
    require(length > 0, "a message is UTF-8");
    message.remove_prefix(length);
  }
}

/// A file in memory that readers can open by its path.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(descriptor_ >= 0, "the system has memory files");
    require(::write(descriptor_, data, size) == static_cast<ssize_t>(size),
            "the input fits into memory");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  [[nodiscard]] std::filesystem::path path() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

/// A folder for facts/ and patterns/ that goes when the program ends.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "engram-fuzz-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "a temporary folder can be made");
    path_ = name;
    std::filesystem::create_directory(path_ / "facts");
    std::filesystem::create_directory(path_ / "patterns");
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A safetensors file: accepted tensors lie inside the file, apart from each other, and are as long
/// as their shapes say; what is written from them reads back the same.
inline void safetensors(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  std::map<std::string, StoredTensor> tensors;
  try {
    tensors = open_safetensors(file.path());
  } catch (const InputError& error) {
    return check_message(error.what());
  }
  size_t total = 0;
  size_t sum = 0;
  std::vector<TensorToWrite> copies;
  for (const auto& [name, tensor] : tensors) {
    require(name == tensor.name, "a tensor stands under its name");
    require(tensor.bytes <= size, "a tensor is no longer than the file");
    total += tensor.bytes;
    for (size_t i = 0; i < tensor.bytes; ++i) {
      sum += std::to_integer<size_t>(tensor.data[i]);  // a sanitizer sees a bad read
    }
    size_t elements = 1;
    for (const int64_t dimension : tensor.shape) {
      require(dimension >= 0, "no dimension is negative");
      elements *= static_cast<size_t>(dimension);
    }
    if (tensor.storage == Storage::kOther) continue;
    const size_t width = tensor.storage == Storage::kF32 ? 4 : 2;
    require(elements * width == tensor.bytes, "a tensor is as long as its shape says");
    copies.push_back({name, tensor.storage, tensor.shape, {tensor.data, tensor.bytes}});
  }
  require(total <= size, "tensors do not overlap");
  require(sum <= 255 * total, "bytes are bytes");

  static const std::filesystem::path written =
      std::filesystem::temp_directory_path() / ("engram-fuzz-" + std::to_string(::getpid()));
  write_safetensors(written, copies, {{"format", "pt"}});
  const auto again = open_safetensors(written);
  std::filesystem::remove(written);
  require(again.size() == copies.size(), "as many tensors are read as were written");
  for (const TensorToWrite& copy : copies) {
    const StoredTensor& read = again.at(copy.name);
    require(read.shape == copy.shape && read.storage == copy.storage, "shape and type are kept");
    require(std::ranges::equal(copy.bytes, std::span(read.data, read.bytes)), "the bytes are kept");
  }
}

inline size_t masks(std::string_view text) {
  size_t number = 0;
  for (size_t at = text.find("[MASK]"); at != std::string_view::npos;
       at = text.find("[MASK]", at + 1)) {
    ++number;
  }
  return number;
}

inline void check_facts(const FactSet& set) {
  require(!set.facts.empty(), "a fact set has a fact");
  std::set<std::string> past;
  for (size_t i = 0; i < set.facts.size(); ++i) {
    const Fact& fact = set.facts[i];
    require(!fact.relation.empty() && !fact.subject.empty() && !fact.object.empty(),
            "a fact has a relation, a subject and an object");
    require(!fact.prompts.empty(), "a fact has a prompt");
    if (i > 0 && set.facts[i - 1].relation != fact.relation) {
      past.insert(set.facts[i - 1].relation);
    }
    require(!past.contains(fact.relation), "facts of a relation stand together");
    for (const std::string& prompt : fact.held_out) {
      for (const std::string& locating : fact.prompts) {
        require(prompt != locating, "no prompt is held out and located on");
      }
    }
  }
  for (const FactProblem& problem : set.problems) check_message(problem.message);
}

/// `path` as a fact set, or nothing when it is refused.
inline std::optional<FactSet> try_facts(const std::filesystem::path& path,
                                        const FactSetOptions& options) {
  try {
    FactSet set = read_facts(path, options);
    check_facts(set);
    return set;
  } catch (const InputError& error) {
    check_message(error.what());
    return std::nullopt;
  }
}

/// Our own format. Accepted facts are whole, and written out they read back the same.
inline void facts(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  FactSetOptions strict;
  strict.strict = true;
  const auto strictly = try_facts(file.path(), strict);
  const auto set = try_facts(file.path(), {});
  require(set || !strictly, "what is read strictly is read");
  if (!set) return;
  require(!strictly || strictly->facts.size() == set->facts.size(), "strictly the same is read");

  std::string lines;
  for (const Fact& fact : set->facts) {
    for (const auto* prompts : {&fact.prompts, &fact.held_out}) {
      for (const std::string& prompt : *prompts) {
        require(masks(prompt) <= 1, "a prompt has one mask");
      }
    }
    lines += fact_to_json(fact) + "\n";
  }
  const MemoryFile copy(reinterpret_cast<const uint8_t*>(lines.data()), lines.size());
  const auto again = try_facts(copy.path(), strict);
  require(again && again->facts.size() == set->facts.size() && again->problems.empty(),
          "written facts are read");
  for (size_t i = 0; i < set->facts.size(); ++i) {
    require(fact_to_json(again->facts[i]) == fact_to_json(set->facts[i]), "facts are kept");
  }
  FactSetOptions limited;
  limited.choice.limit = 1 + static_cast<int64_t>(size % 7);
  const auto few = try_facts(copy.path(), limited);
  require(few && std::cmp_less_equal(few->facts.size(), limited.choice.limit), "a limit holds");
}

/// ParaRel's files of one relation: the input is the facts, a byte 0xFF, the patterns.
inline void pararel(const uint8_t* data, size_t size) {
  static const TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\xFF'), text.size());
  std::ofstream(folder / "facts" / "P1.jsonl", std::ios::binary) << text.substr(0, end);
  std::ofstream(folder / "patterns" / "P1.jsonl", std::ios::binary)
      << text.substr(std::min(end + 1, text.size()));
  for (const bool strict : {false, true}) {
    FactSetOptions options;
    options.strict = strict;
    options.seed = size;
    const auto set = try_facts(folder, options);
    if (!set) continue;
    for (const Fact& fact : set->facts) {
      require(fact.prompts.size() == set->facts.front().prompts.size() &&
                  fact.held_out.size() == set->facts.front().held_out.size(),
              "all facts of a relation have the same patterns");
      require(fact.held_out.empty() == !set->unsplit_relations.empty(),
              "a relation without held-out patterns is listed");
    }
  }
}

/// A text file, packed or not: its lines are the same however they are taken, no longer than the
/// bound, and read as facts they are facts or problems.
inline void text(const uint8_t* data, size_t size) {
  constexpr size_t kBound = 100;
  const MemoryFile file(data, size);
  std::string joined;
  try {
    LineReader lines(file.path(), kBound);
    for (std::string line; lines.next(line);) {
      require(line.size() <= kBound && line.size() <= lines.length(), "lines are cut at the bound");
      if (joined.size() < (size_t{1} << 24U)) joined += line + "\n";
    }
  } catch (const InputError& error) {
    return check_message(error.what());
  }
  LineReader again = LineReader::of_text(joined);
  std::string second;
  for (std::string line; again.next(line);) second += line + "\n";
  require(second == joined, "what is read is read again");
  (void)try_facts(file.path(), {});
}

/// A whole run of two facts, as bytes.
inline const std::string& whole_run() {
  static const std::string bytes = [] {
    const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                       ("engram-fuzz-whole-" + std::to_string(::getpid()));
    std::filesystem::remove(path);
    {
      RunStore run = RunStore::open(path, RunStore::Mode::kContinue, {{"model", "m"}});
      run.begin_session("engram reproduce", "0.1");
      TableRows facts{"fact", {}};
      TableRows neurons{"neuron", {}};
      for (int64_t id = 0; id < 2; ++id) {
        facts.rows.push_back({id, std::string("P36"), "subject " + std::to_string(id),
                              std::string("object"), int64_t{3}, int64_t{1}});
        neurons.rows.push_back({std::string("ig"), id, int64_t{1}, 7 + id, int64_t{3}, 0.5});
      }
      run.write({"locate", "P36", 0},
                {{"relation", {{std::string("P36"), int64_t{2}, int64_t{6}, int64_t{2}}}},
                 std::move(facts),
                 std::move(neurons)});
      run.write({"problems", "", 0},
                {{"problem", {{int64_t{0}, int64_t{3}, std::string("facts.jsonl: no fact")}}},
                 {"model",
                  {{std::string("layers"), int64_t{2}},
                   {std::string("d_ff"), int64_t{16}},
                   {std::string("d_model"), int64_t{8}},
                   {std::string("vocabulary"), int64_t{30}}}}});
      run.flush();
      run.end_session();
    }
    std::ifstream in(path, std::ios::binary);
    std::string whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    in.close();
    std::filesystem::remove(path);
    return whole;
  }();
  return bytes;
}

/// A run file, as `status`, `report` and `export` read it. An input that begins with "P" is a list
/// of patches to a whole run, each a place (4 bytes), a length (1) and as many bytes; every other
/// input is the file. What is refused is refused with one line.
inline void run(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string file(input);
  if (input.starts_with('P')) {
    file = whole_run();
    input.remove_prefix(1);
    while (input.size() > 5) {
      size_t place = 0;
      for (size_t i = 0; i < 4; ++i) place = place << 8U | static_cast<unsigned char>(input[i]);
      const auto length = static_cast<unsigned char>(input[4]);
      const std::string_view bytes = input.substr(5, length);
      place %= file.size();
      file.replace(place, std::min(bytes.size(), file.size() - place),
                   bytes.substr(0, file.size() - place));
      input.remove_prefix(5 + bytes.size());
    }
  }
  static const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("engram-fuzz-run-" + std::to_string(::getpid()));
  std::ofstream(path, std::ios::binary) << file;
  try {
    RunStore store = RunStore::open(path, RunStore::Mode::kRead);
    for (const RunSession& session : store.sessions()) require(session.session >= 0, "numbered");
    // Where a page is damaged, the list and the index of units need not agree.
    for (const Unit& unit : store.units()) static_cast<void>(store.done(unit));
    ReportOptions options;
    options.bootstrap.draws = 3;
    const RunReport report = make_report(store, options);
    require(!report.sections.empty(), "a report has sections");
    require(!report_html(report).empty() && !report_json(report).empty(), "and is written");
  } catch (const InputError& error) {
    check_message(error.what());
  } catch (const FileError& error) {
    check_message(error.what());
  }
  for (const char* beside : {"", "-wal", "-shm", "-lock"}) {
    std::filesystem::remove(path.string() + beside);
  }
}

/// A second moment of keys: what is accepted is square, symmetric and finite, and comes back the
/// same.
inline void moments(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  KeyMoments read;
  try {
    read = read_key_moments(file.path());
  } catch (const InputError& error) {
    return check_message(error.what());
  }
  require(read.tokens > 0 && read.layer >= 0, "it is of some tokens and a layer");
  require(read.moment.isfinite().all().item<bool>(), "moments are finite");
  require(read.moment.equal(read.moment.t()), "a second moment is symmetric");
  static const std::filesystem::path written =
      std::filesystem::temp_directory_path() /
      ("engram-fuzz-moments-" + std::to_string(::getpid()));
  write_key_moments(written, read);
  const KeyMoments again = read_key_moments(written);
  std::filesystem::remove(written);
  require(again.moment.equal(read.moment) && again.texts == read.texts &&
              again.corpus == read.corpus && again.base == read.base,
          "what is written reads back the same");
}

/// An edit: what is accepted is whole, finite and in order, and written out it reads back the same.
inline void delta(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  Delta read;
  try {
    read = read_delta(file.path());
  } catch (const InputError& error) {
    return check_message(error.what());
  }
  require(!read.layers.empty() && read.d_model > 0, "an edit changes something");
  const ValueEdit edit = read.values();
  require(edit.values.isfinite().all().item<bool>(), "new values are finite");
  require(std::is_sorted(edit.neurons.begin(), edit.neurons.end()) &&
              std::adjacent_find(edit.neurons.begin(), edit.neurons.end()) == edit.neurons.end(),
          "neurons come in order, each once");
  static const std::filesystem::path written =
      std::filesystem::temp_directory_path() / ("engram-fuzz-delta-" + std::to_string(::getpid()));
  write_delta(written, read);
  const Delta again = read_delta(written);
  std::filesystem::remove(written);
  require(again.neurons() == read.neurons() && again.why.relation == read.why.relation &&
              again.base == read.base,
          "what is written is read");
  for (size_t i = 0; i < read.layers.size(); ++i) {
    require(again.layers[i].before == read.layers[i].before &&
                again.layers[i].after == read.layers[i].after,
            "the bytes are kept");
  }
}

/// config.json: accepted sizes fit together.
inline void config(const uint8_t* data, size_t size) {
  try {
    const ModelConfig config =
        parse_config({reinterpret_cast<const char*>(data), size}, "config.json");
    require(config.layers > 0 && config.d_ff > 0 && config.vocabulary > 0, "sizes are positive");
    require(config.heads > 0 && config.heads * config.head_size == config.d_model,
            "the heads share the width");
    require(config.max_tokens() > 0, "a prompt has room");
    require(config.norm_epsilon > 0 && config.norm_epsilon < 1, "epsilon is small");
    require(!family_name(config.family).empty() && !activation_name(config.activation).empty(),
            "kinds have names");
  } catch (const InputError& error) {
    check_message(error.what());
  }
}

/// A model folder's tokenizer files, with a byte 0xFF between them, an empty one left out. What is
/// accepted encodes any text into tokens of its vocabulary.
inline void tokenizer(const uint8_t* data, size_t size) {
  static const TemporaryFolder temporary;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "config.json", "vocab.txt", "added_tokens.json",
        "special_tokens_map.json", "vocab.json", "merges.txt"}) {
    const size_t end = std::min(rest.find('\xFF'), rest.size());
    const std::filesystem::path path = temporary.path() / name;
    std::filesystem::remove(path);
    if (end > 0) std::ofstream(path, std::ios::binary) << rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  try {
    const Tokenizer tokenizer = Tokenizer::load(temporary.path());
    require(tokenizer.vocabulary() > 0, "a vocabulary has tokens");
    for (const char* text :
         {"The capital of France is Paris.", "\xE6\x9D\xB1\xE4\xBA\xAC \x01 [MASK]", ""}) {
      const std::vector<int64_t> ids = tokenizer.encode(text);
      require(tokenizer.tokens_of(ids).size() == ids.size(), "every id has its token");
      for (const int64_t id : ids) {
        require(id >= 0 && id < tokenizer.vocabulary(), "an id is in the vocabulary");
      }
    }
  } catch (const InputError& error) {
    check_message(error.what());
  } catch (const FileError& error) {
    check_message(error.what());
  }
}

}  // namespace engram::fuzz
