#include "cli/texts.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/paths.h"
#include "engram/base/file.h"
#include "engram/base/utf8.h"
#include "engram/neurons/located.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kTextsHelp =
    R"(The texts of a file on which neurons are most and least active. Nothing is masked;
a text counts by its extreme activation over the tokens, and every token shows how
active the neuron is on it: by colour on a terminal, else in brackets: [so] for at
least half of the extreme one, [this 3.21] for the extreme one itself.

The file holds one sentence or paragraph per line, plain or .xz, .gz, .zst, and is streamed:
it may be of any size. Lines too long for the model are cut between sentences.

Examples:
  engram texts MODEL --neurons 3:17,3:201 --corpus wiki.txt.xz --top 5
  engram texts MODEL --neurons 3:17 --limit 10000 --json > texts.json
)";

/// A token of a byte-level vocabulary as text: its characters stand for bytes (GPT-2's table:
/// printable ones for themselves, the 68 others for U+0100 and up in their order).
std::string byte_level_text(std::string_view token) {
  std::array<char, 0x180> byte_of{};
  size_t next = 0x100;
  for (unsigned byte = 0; byte < 0x100; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    byte_of[itself ? byte : next++] = static_cast<char>(byte);
  }
  std::string out;
  for (size_t at = 0; at < token.size(); ++at) {
    const auto first = static_cast<unsigned char>(token[at]);
    if (first < 0x80 || at + 1 == token.size()) {
      out += token[at];
      continue;
    }
    const auto second = static_cast<unsigned char>(token[++at]);
    const size_t point = (first & 0x1FU) << 6U | (second & 0x3FU);
    if (point < byte_of.size()) out += byte_of[point];
  }
  return out;
}

/// A token as it reads in a text, with the space before it where there is one.
std::string readable(const std::string& token, bool byte_level, bool first) {
  if (byte_level) return byte_level_text(token);
  if (token.starts_with("##")) return token.substr(2);
  return first ? token : " " + token;
}

/// Share of the extreme activation, 0 on the other side of zero.
double strength(float value, double extreme) {
  return extreme == 0 ? 0.0 : std::clamp(value / extreme, 0.0, 1.0);
}

std::string coloured(const std::string& text, double strength, bool negative) {
  const auto step = static_cast<size_t>(strength * 5 + 1e-6);
  if (step == 0) return text;
  // Steps of the 256-colour cube from pale to deep: red where it is active, blue below zero.
  constexpr std::array<int, 6> kRed = {0, 224, 217, 210, 203, 196};
  constexpr std::array<int, 6> kBlue = {0, 189, 153, 117, 75, 33};
  const int colour = (negative ? kBlue : kRed).at(step);
  return "\x1b[30;48;5;" + std::to_string(colour) + "m" + text + "\x1b[0m";
}

bool in_colour() {
  const char* no = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  return (no == nullptr || *no == '\0') && ::isatty(STDOUT_FILENO) != 0;
}

Json example_json(const TextExample& example) {
  Json tokens = Json::array();
  for (const auto& [token, value] : example.tokens) tokens.push_back({token, value});
  return {{"activation", example.activation},
          {"line", example.line},
          {"text", example.text},
          {"tokens", std::move(tokens)}};
}

Json texts_json(const TextsOptions& options, const TopTexts& found) {
  Json out;
  out["schema"] = "engram.texts/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["corpus"] = options.corpus;
  out["limit"] = options.limit;
  out["top"] = options.top;
  for (const auto& [name, value] : {std::pair{"lines", found.lines},
                                    {"texts", found.texts},
                                    {"words", found.words},
                                    {"tokens", found.tokens},
                                    {"cut", found.cut},
                                    {"skipped", found.skipped}}) {
    out[name] = value;
  }
  Json& neurons = out["neurons"] = Json::array();
  for (const NeuronTexts& one : found.neurons) {
    Json entry{{"layer", one.neuron.layer}, {"neuron", one.neuron.neuron}};
    for (const auto& [name, list] : {std::pair{"highest", &one.highest}, {"lowest", &one.lowest}}) {
      Json& examples = entry[name] = Json::array();
      for (const TextExample& example : *list) examples.push_back(example_json(example));
    }
    neurons.push_back(std::move(entry));
  }
  return out;
}

void print_texts(const TopTexts& found, bool byte_level) {
  const Marking marking = in_colour() ? Marking::kColour : Marking::kBrackets;
  print(format_count(found.texts) + " texts, " + format_count(found.words) + " words, " +
        format_count(found.lines) + " lines (" + format_count(found.cut) +
        " cut between sentences, " + format_count(found.skipped) + " skipped)\n");
  for (const NeuronTexts& one : found.neurons) {
    const std::string name =
        std::to_string(one.neuron.layer) + ":" + std::to_string(one.neuron.neuron);
    for (const auto& [title, list] :
         {std::pair{"most active", &one.highest}, {"least active", &one.lowest}}) {
      print("\nneuron " + name + ", " + title + "\n");
      for (const TextExample& example : *list) {
        print("  " + format_number(example.activation, 3) + "  " +
              marked_text(example, byte_level, marking) + "\n");
      }
    }
  }
}

std::vector<NeuronId> wanted_neurons(const std::string& text) {
  try {
    return parse_neurons(text);
  } catch (const UsageError& error) {
    throw UsageError("--neurons: " + std::string(error.what()));
  }
}

void run_texts(const TextsOptions& given) {
  TextsOptions options = given;
  const std::vector<NeuronId> neurons = wanted_neurons(options.neurons);
  if (options.corpus.empty()) {
    options.corpus = (std::filesystem::path(options.model) / "corpus.txt").string();
    std::error_code failed;
    if (!std::filesystem::exists(options.corpus, failed)) {
      throw UsageError("--corpus: not given, and " + options.model + " has no corpus.txt");
    }
  }
  const LoadedModel loaded = load_model(options.model, options.common);
  const auto start = std::chrono::steady_clock::now();
  TopTextsOptions how;
  how.top = options.top;
  how.limit = options.limit;
  how.measure = {options.common.threads, options.common.memory_bytes};
  TopTexts found;
  {
    Progress progress(options.common.quiet, "reading texts", options.limit,
                      options.limit > 0 ? "lines" : "words");
    int64_t shown = 0;
    found = top_texts(loaded.model, loaded.tokenizer, options.corpus, neurons, how,
                      [&](int64_t lines, int64_t words) {
                        const int64_t done = options.limit > 0 ? lines : words;
                        progress.advance(done - shown);
                        shown = done;
                      });
  }
  if (options.common.json) {
    print_json(texts_json(options, found));
  } else {
    print_texts(found, loaded.tokenizer.byte_level());
  }
  flush_output();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const double rate = static_cast<double>(found.words) / std::max(time.count(), 1e-9);
  note(options.common, format_count(found.words) + " words in " + format_duration(time.count()) +
                           ", " + format_count(std::llround(rate)) + " words/s");
}

}  // namespace

std::string marked_text(const TextExample& example, bool byte_level, Marking marking) {
  std::string out;
  const bool negative = example.activation < 0;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    const auto& [token, value] = example.tokens[i];
    const std::string shown = printable(readable(token, byte_level, i == 0));
    const size_t letters = shown.starts_with(' ') ? 1 : 0;
    out += shown.substr(0, letters);
    const std::string word = shown.substr(letters);
    if (word.empty()) continue;  // a token that is nothing but the space
    if (marking == Marking::kColour) {
      out += coloured(word, strength(value, example.activation), negative);
    } else if (static_cast<double>(value) == example.activation) {
      out += "[" + word + " " + format_number(value, 3) + "]";
    } else if (strength(value, example.activation) >= 0.5) {
      out += "[" + word + "]";
    } else {
      out += word;
    }
  }
  return out;
}

void add_texts_command(CLI::App& app) {
  auto options = std::make_shared<TextsOptions>();
  CLI::App* command =
      add_command(app, "texts", "the texts on which neurons are most and least active", kTextsHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command->add_option("--neurons", options->neurons, "LAYER:NEURON,... (both from 0). Required.")
      ->type_name("LIST")
      ->required();
  add_path(
      *command, "--corpus", options->corpus,
      "Text, one sentence or paragraph per line, plain or packed. Default: corpus.txt of MODEL.")
      ->type_name("FILE");
  add_integer(*command, "--top", options->top, 1, 10'000,
              "Texts to keep for each neuron and end. Default: 10.");
  add_integer(*command, "--limit", options->limit, 1, 1'000'000'000'000,
              "Read N lines. Default: all.");
  add_common_options(*command, options->common, {.seed = false});
  command->callback([options] { run_texts(*options); });
}

}  // namespace engram::cli
