#include "engram/neurons/located.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "engram/base/lines.h"
#include "engram/error.h"
#include "engram/text/subject.h"

namespace engram {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "engram.locate/1";

Json record(const char* name) { return {{"schema", kSchema}, {"record", name}}; }

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json counted(const std::vector<CountedNeuron>& neurons) {
  Json list = Json::array();
  for (const CountedNeuron& n : neurons) {
    list.push_back({{"layer", n.id.layer},
                    {"neuron", n.id.neuron},
                    {"prompts", n.prompts},
                    {"score", number(static_cast<double>(n.score))}});
  }
  return list;
}

Json frequent(const std::vector<NeuronFacts>& neurons) {
  Json list = Json::array();
  for (const NeuronFacts& n : neurons) {
    list.push_back({{"layer", n.id.layer}, {"neuron", n.id.neuron}, {"facts", n.facts}});
  }
  return list;
}

[[noreturn]] void malformed(const std::string& where, const std::string& what) {
  throw InputError(where + ": " + what);
}

int32_t index_of(const nlohmann::json& neuron, const char* key, const std::string& where) {
  const auto it = neuron.find(key);
  if (it == neuron.end() || !it->is_number_integer()) {
    malformed(where, std::string("a neuron has no whole number \"") + key + "\"");
  }
  const auto value = it->get<int64_t>();
  if (value < 0 || value > INT32_MAX) {
    malformed(where, std::string("\"") + key + "\" is " + std::to_string(value) +
                         ", expected a number from 0 up");
  }
  return static_cast<int32_t>(value);
}

std::string string_of(const nlohmann::json& line, const char* key, const std::string& where) {
  const auto it = line.find(key);
  if (it == line.end() || !it->is_string()) {
    malformed(where, std::string("has no text \"") + key + "\"");
  }
  return it->get<std::string>();
}

const nlohmann::json& list_of(const nlohmann::json& line, const char* key,
                              const std::string& where) {
  const auto it = line.find(key);
  if (it == line.end() || !it->is_array()) {
    malformed(where, std::string("has no list \"") + key + "\"");
  }
  return *it;
}

std::vector<NeuronId> neurons_of(const nlohmann::json& list, const std::string& where) {
  std::vector<NeuronId> neurons;
  for (const nlohmann::json& neuron : list) {
    if (!neuron.is_object()) malformed(where, "\"neurons\" holds something that is no object");
    neurons.push_back({index_of(neuron, "layer", where), index_of(neuron, "neuron", where)});
  }
  std::ranges::sort(neurons);
  if (std::ranges::adjacent_find(neurons) != neurons.end()) {
    malformed(where, "a neuron appears twice");
  }
  return neurons;
}

/// A line {"uuid", "neurons": [[layer, neuron], ...]}.
LocatedSet parse_published(const nlohmann::json& line, const std::string& where) {
  LocatedSet fact;
  fact.uuid = string_of(line, "uuid", where);
  nlohmann::json list = nlohmann::json::array();
  for (const nlohmann::json& pair : list_of(line, "neurons", where)) {
    if (!pair.is_array() || pair.size() != 2) {
      malformed(where, "\"neurons\" holds something that is no pair of layer and neuron");
    }
    list.push_back({{"layer", pair[0]}, {"neuron", pair[1]}});
  }
  fact.neurons = neurons_of(list, where);
  return fact;
}

LocatedSet parse_fact(const nlohmann::json& line, const std::string& where) {
  LocatedSet fact;
  fact.relation = string_of(line, "relation", where);
  fact.subject = string_of(line, "subject", where);
  fact.object = string_of(line, "object", where);
  if (const auto it = line.find("refined"); it != line.end() && it->is_boolean()) {
    fact.refined = it->get<bool>();
  }
  for (const nlohmann::json& prompt : list_of(line, "prompts", where)) {
    if (!prompt.is_object()) malformed(where, "\"prompts\" holds something that is no object");
    fact.prompts.push_back(string_of(prompt, "prompt", where));
  }
  if (fact.prompts.empty()) malformed(where, "has no prompt in \"prompts\"");
  for (const nlohmann::json& prompt : list_of(line, "held_out", where)) {
    if (!prompt.is_string()) malformed(where, "\"held_out\" holds something that is no text");
    fact.held_out.push_back(prompt.get<std::string>());
  }
  fact.neurons = neurons_of(list_of(line, "neurons", where), where);
  if (!fact.refined && line.contains("unrefined"))
    fact.unrefined = neurons_of(list_of(line, "unrefined", where), where);
  if (line.contains("near")) fact.near = neurons_of(list_of(line, "near", where), where);
  if (line.contains("uuid")) fact.uuid = string_of(line, "uuid", where);
  return fact;
}

}  // namespace

std::string located_fact_line(const LocatedFact& fact) {
  Json line = record("fact");
  line["relation"] = fact.relation;
  line["subject"] = fact.subject;
  line["object"] = fact.object;
  if (!fact.uuid.empty()) line["uuid"] = fact.uuid;
  line["origin"] = fact.origin;
  line["answer_tokens"] = fact.answer_tokens;
  line["target"] = fact.answer_tokens > 1 ? "mean-logprob" : "prob";
  line["refined"] = fact.refined;
  line["neurons"] = counted(fact.neurons);
  if (!fact.refined) line["unrefined"] = counted(fact.unrefined);
  Json& near = line["near"] = Json::array();
  for (const NeuronId& id : fact.near) near.push_back({{"layer", id.layer}, {"neuron", id.neuron}});
  Json& prompts = line["prompts"] = Json::array();
  for (const LocatedPrompt& p : fact.prompts) {
    prompts.push_back({{"prompt", p.prompt},
                       {"row", p.row},
                       {"p", number(p.p)},
                       {"largest", number(static_cast<double>(p.largest))},
                       {"neurons", p.neurons},
                       {"converged", p.converged}});
  }
  line["held_out"] = fact.held_out;
  return text_of(line);
}

std::string located_relation_line(const LocatedRelation& relation) {
  Json line = record("relation");
  line["relation"] = relation.relation;
  line["facts"] = relation.facts;
  line["prompts"] = relation.prompts;
  line["held_out"] = relation.held_out;
  line["p"] = number(relation.p);
  line["share"] = relation.selection.share;
  line["passes"] = relation.selection.passes;
  line["neurons_per_fact"] = number(relation.selection.mean);
  line["within"] = relation.selection.within;
  line["empty"] = relation.empty;
  line["unrefined"] = relation.selection.too_few;
  line["negative_prompts"] = relation.negative;
  line["unconverged_prompts"] = relation.unconverged;
  line["most_frequent"] = frequent(relation.neurons.most_frequent);
  line["common"] = frequent(relation.neurons.common);
  return text_of(line);
}

std::string located_problem_line(const FactProblem& problem) {
  Json line = record("problem");
  line["file"] = problem.file;
  line["line"] = problem.line;
  line["message"] = problem.message;
  return text_of(line);
}

std::string located_summary_line(const LocateSummary& summary) {
  const NeuronStatistics& s = summary.statistics;
  Json line = record("summary");
  line["facts"] = summary.facts;
  line["prompts"] = summary.prompts;
  line["several_tokens"] = summary.several_tokens;
  line["problems"] = summary.problems.size();
  line["empty"] = s.empty;
  line["neurons_per_fact"] = number(s.per_fact);
  line["distinct"] = s.distinct;
  line["intersection_within"] = number(s.intersection_within);
  line["intersection_across"] = number(s.intersection_across);
  line["layers"] = s.layers;
  line["hubs"] = frequent(s.hubs);
  return text_of(line);
}

namespace {

LocatedFile read_sets(const std::filesystem::path& path, bool published) {
  LineReader lines(path);
  LocatedFile file;
  file.path = path.string();
  std::map<std::string, int64_t> seen;
  const auto add = [&](LocatedSet set, const std::string& name, int64_t number,
                       const std::string& where) {
    const auto [first, added] = seen.try_emplace(name, number);
    if (!added) {
      malformed(where, "has the fact of line " + std::to_string(first->second) +
                           " again, expected each fact once");
    }
    file.facts.push_back(std::move(set));
  };
  std::string bytes;
  for (int64_t number = 1; lines.next(bytes); ++number) {
    if (bytes.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = path.string() + ":" + std::to_string(number);
    const nlohmann::json line = parse_json(bytes, where);
    if (!line.is_object())
      malformed(where, "is no JSON object, expected a line of " + std::string(kSchema));
    if (published && !line.contains("schema") && line.contains("uuid")) {
      LocatedSet set = parse_published(line, where);
      const std::string name = set.uuid;
      add(std::move(set), name, number, where);
      continue;
    }
    const std::string schema = string_of(line, "schema", where);
    if (schema != kSchema) {
      malformed(where, "has the schema \"" + schema + "\", expected \"" + kSchema + "\"");
    }
    const std::string kind = string_of(line, "record", where);
    if (kind == "fact") {
      file.has_near = file.has_near || line.contains("near");
      LocatedSet set = parse_fact(line, where);
      const std::string name = set.relation + '\n' + set.subject + '\n' + set.object;
      add(std::move(set), name, number, where);
    }
    if (kind == "run") {
      file.model = line.value("model", "");
      if (line.contains("at")) {
        try {
          file.neurons_at = parse_neuron_place(string_of(line, "at", where));
        } catch (const UsageError& error) {
          malformed(where, "\"at\": " + std::string(error.what()));
        }
      }
      for (const auto& [key, to] :
           {std::pair{"layers", &file.layers}, std::pair{"d_ff", &file.d_ff}}) {
        const auto it = line.find(key);
        if (it != line.end() && it->is_number_integer()) *to = it->get<int64_t>();
      }
    }
  }
  if (file.facts.empty()) {
    throw InputError(path.string() + ": holds no fact, expected what `engram locate --out` writes");
  }
  return file;
}

}  // namespace

LocatedFile read_located(const std::filesystem::path& path) { return read_sets(path, false); }

LocatedFile read_neuron_sets(const std::filesystem::path& path) { return read_sets(path, true); }

std::vector<NeuronId> parse_neurons(std::string_view text) {
  const auto wrong = [&] {
    throw UsageError("'" + std::string(text) +
                     "' is no list of neurons; expected LAYER:NEURON,..., as in 3:17,5:201");
  };
  std::vector<NeuronId> neurons;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (true) {
    NeuronId id;
    const auto layer = std::from_chars(at, end, id.layer);
    if (layer.ec != std::errc() || layer.ptr == end || *layer.ptr != ':' || id.layer < 0) wrong();
    const auto neuron = std::from_chars(layer.ptr + 1, end, id.neuron);
    if (neuron.ec != std::errc() || id.neuron < 0) wrong();
    neurons.push_back(id);
    at = neuron.ptr;
    if (at == end) break;
    if (*at != ',') wrong();
    ++at;
  }
  std::ranges::sort(neurons);
  neurons.erase(std::unique(neurons.begin(), neurons.end()), neurons.end());
  return neurons;
}

}  // namespace engram
