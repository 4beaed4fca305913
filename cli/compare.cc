#include "cli/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/neurons/compare.h"
#include "engram/run/stored.h"

namespace engram::cli {
namespace {

constexpr const char* kCompareHelp =
    R"(Do two sets of located neurons agree? Two rules, two checkpoints, two programs, on
the same facts: how many facts have identical sets, the Jaccard index of the sets,
neurons per fact, by relation, with intervals; and for each difference whether it is
a matter of rounding, a score within 1e-3 of the prompt's largest one from the
threshold.

A and B are what `engram locate --out` wrote, a run (RUN.db), or published sets, one
JSON object a line: {"uuid": "...", "neurons": [[layer, neuron], ...]}. Facts are
joined by relation, subject and object, or by their uuid where there is nothing else.

Examples:
  engram locate MODEL --facts pararel/ --rule linspace --steps 20 --out a.jsonl
  engram locate MODEL --facts pararel/ --out b.jsonl
  engram compare a.jsonl b.jsonl
  engram compare a.jsonl published.jsonl.xz --json
)";

using Json = nlohmann::ordered_json;

struct CompareOptions {
  CommonOptions common;
  std::string a, b;
  int64_t show = 10;
};

bool is_run(const std::string& path) {
  constexpr std::string_view kMagic = "SQLite format 3";
  std::string bytes(kMagic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) && bytes == kMagic;
}

/// A run does not say which scores were near a threshold: that takes `engram locate --run RUN.db
/// --out FILE`.
LocatedFile read_run(const std::string& path) {
  RunStore run = RunStore::open(path, RunStore::Mode::kRead);
  LocatedFile file;
  run.snapshot([&] { file = stored_located(run); });
  if (file.facts.empty()) throw InputError(path + ": no relation's neurons are located yet");
  return file;
}

LocatedFile read_side(const std::string& path) {
  return is_run(path) ? read_run(path) : read_neuron_sets(path);
}

std::string number_text(const Interval& interval, bool percent) {
  const auto number = [&](double value) {
    return percent ? format_percent(value) : format_number(value, 3);
  };
  if (std::isnan(interval.low)) return number(interval.value);
  return number(interval.value) + " [" + number(interval.low) + ", " + number(interval.high) + "]";
}

std::string names_of(const std::vector<NeuronId>& neurons) {
  std::string text;
  for (const NeuronId& id : neurons) {
    text += (text.empty() ? "" : " ") + neuron_name(id);
  }
  return text;
}

std::string agreement_table(const Comparison& found) {
  Table table({{"relation", Table::Align::kLeft},
               {"facts"},
               {"identical"},
               {"Jaccard index"},
               {"neurons, A"},
               {"neurons, B"},
               {"differences"},
               {"near"}});
  const auto add = [&](const Agreement& of, const std::string& name) {
    table.add_row({name, format_count(of.facts), format_percent(of.identical_share.value),
                   number_text(of.jaccard, false), number_text(of.neurons_a, false),
                   number_text(of.neurons_b, false), format_count(of.differences),
                   found.near_known ? format_count(of.near) : "?"});
  };
  for (const Agreement& of : found.relations) add(of, printable(of.relation));
  add(found.all, "all");
  return table.str();
}

std::string compare_text(const CompareOptions& options, const Comparison& found) {
  const Agreement& all = found.all;
  std::string text = "A: " + printable(options.a) + "\nB: " + printable(options.b) + "\n\n" +
                     format_count(all.identical) + " of " + format_count(all.facts, "fact") +
                     " identical: " + number_text(all.identical_share, true) + "\nJaccard index " +
                     number_text(all.jaccard, false) + ", neurons per fact " +
                     number_text(all.neurons_a, false) + " in A and " +
                     number_text(all.neurons_b, false) + " in B\n";
  if (all.differences > 0 && found.near_known) {
    text += format_count(all.near) + " of " + format_count(all.differences, "difference") +
            " within 1e-3 of a threshold; with these set aside " +
            format_count(all.identical + all.near_only) + " facts are identical\n";
  } else if (all.differences > 0) {
    text += format_count(all.differences, "difference") +
            "; neither file says which lie near a threshold\n";
  }
  if (found.unrefined > 0) {
    text += format_count(found.unrefined, "fact") +
            " had too few prompts to be refined: the prompts' own sets are compared\n";
  }
  if (found.only_a + found.only_b > 0) {
    text += "not compared: " + format_count(found.only_a, "fact") + " of A alone, " +
            format_count(found.only_b, "fact") + " of B alone\n";
  }
  text += "\n" + agreement_table(found);
  if (found.differing.empty() || options.show == 0) return text;
  Table facts({{"relation", Table::Align::kLeft},
               {"fact", Table::Align::kLeft},
               {"Jaccard index"},
               {"only in A", Table::Align::kLeft},
               {"only in B", Table::Align::kLeft},
               {"near a threshold", Table::Align::kLeft}});
  const size_t shown = std::min(found.differing.size(), static_cast<size_t>(options.show));
  for (const DifferingFact& fact : std::span(found.differing).first(shown)) {
    facts.add_row({printable(fact.relation),
                   shorten(printable(fact.subject + " → " + fact.object), 40),
                   format_number(fact.jaccard, 3), names_of(fact.only_a), names_of(fact.only_b),
                   found.near_known ? names_of(fact.near) : "?"});
  }
  return text + "\nFacts that differ (" + format_count(static_cast<int64_t>(shown)) + " of " +
         format_count(static_cast<int64_t>(found.differing.size())) + ")\n" + facts.str();
}

Json agreement_json(const Comparison& found, const Agreement& of) {
  Json out = {{"facts", of.facts}, {"identical", of.identical}, {"differences", of.differences}};
  out["near"] = found.near_known ? Json(of.near) : Json(nullptr);
  out["identical_or_near"] = found.near_known ? Json(of.identical + of.near_only) : Json(nullptr);
  out["identical_share"] = interval_json(of.identical_share);
  out["jaccard"] = interval_json(of.jaccard);
  out["neurons_a"] = interval_json(of.neurons_a);
  out["neurons_b"] = interval_json(of.neurons_b);
  return out;
}

Json neurons_json(const std::vector<NeuronId>& neurons) {
  Json list = Json::array();
  for (const NeuronId& id : neurons) list.push_back({{"layer", id.layer}, {"neuron", id.neuron}});
  return list;
}

Json compare_json(const CompareOptions& options, const Comparison& found) {
  Json out = {{"schema", "engram.compare/1"}, {"a", options.a}, {"b", options.b}};
  out["unrefined"] = found.unrefined;
  out["only_a"] = found.only_a;
  out["only_b"] = found.only_b;
  out["all"] = agreement_json(found, found.all);
  Json& relations = out["relations"] = Json::array();
  for (const Agreement& of : found.relations) {
    Json one = {{"relation", of.relation}};
    one.update(agreement_json(found, of));
    relations.push_back(std::move(one));
  }
  Json& differing = out["differing"] = Json::array();
  for (const DifferingFact& fact : found.differing) {
    Json one = {{"relation", fact.relation}, {"subject", fact.subject}, {"object", fact.object}};
    if (!fact.uuid.empty()) one["uuid"] = fact.uuid;
    one["jaccard"] = fact.jaccard;
    one["only_a"] = neurons_json(fact.only_a);
    one["only_b"] = neurons_json(fact.only_b);
    one["near"] = found.near_known ? neurons_json(fact.near) : Json(nullptr);
    differing.push_back(std::move(one));
  }
  return out;
}

void run_compare(const CompareOptions& options) {
  BootstrapOptions bootstrap;
  bootstrap.seed = options.common.seed;
  const Comparison found = compare_located(read_side(options.a), read_side(options.b), bootstrap);
  if (options.common.json) {
    print_json(compare_json(options, found), 2);
  } else {
    print(compare_text(options, found));
  }
}

}  // namespace

void add_compare_command(CLI::App& app) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = add_command(app, "compare", "two sets of located neurons", kCompareHelp);
  add_path(*command, "A", options->a, "Located neurons: JSON Lines or a run.")->required();
  add_path(*command, "B", options->b, "Others, on the same facts.")->required();
  add_integer(*command, "--show", options->show, 0, 1'000'000'000,
              "Facts that differ to print. Default: 10.");
  add_common_options(*command, options->common,
                     {.device = false, .threads = false, .memory = false});
  command->callback([options] { run_compare(*options); });
}

}  // namespace engram::cli
