// Fact sets, and the neurons that are located on them.
#include "engram/text/facts.h"

#include <string>
#include <vector>

#include "call.h"
#include "cli/common.h"
#include "engram/neurons/located.h"
#include "engram/text/subject.h"
#include "options.h"
#include "parts.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;

nb::dict dict_of(const Fact& fact) {
  nb::dict out;
  out["relation"] = fact.relation;
  out["subject"] = fact.subject;
  out["object"] = fact.object;
  out["prompts"] = fact.prompts;
  out["held_out"] = fact.held_out;
  out["origin"] = fact.origin;
  out["uuid"] = fact.uuid;
  out["new_object"] = fact.new_object;
  out["neighbours"] = fact.neighbours;
  return out;
}

Fact fact_of(const nb::dict& given) {
  Fact fact;
  Options options(given);
  options.take("relation", fact.relation);
  options.take("subject", fact.subject);
  options.take("object", fact.object);
  options.take("prompts", fact.prompts);
  options.take("held_out", fact.held_out);
  options.take("origin", fact.origin);
  options.take("uuid", fact.uuid);
  options.take("new_object", fact.new_object);
  options.take("neighbours", fact.neighbours);
  options.done();
  return fact;
}

nb::dict load_facts(const std::string& path, const nb::dict& given) {
  FactSetOptions how;
  Options options(given);
  take_choice(options, how.choice);
  options.take("strict", how.strict);
  options.take("seed", how.seed);
  options.take("held_out_share", how.held_out_share);
  options.take("answer_last", how.answer_last);
  options.done();
  const FactSet set = call([&] { return read_facts(path, how); });
  nb::list facts;
  for (const Fact& fact : set.facts) facts.append(dict_of(fact));
  nb::list problems;
  for (const FactProblem& problem : set.problems) problems.append(problem_text(problem));
  nb::dict out;
  out["facts"] = facts;
  out["problems"] = problems;
  out["unsplit_relations"] = set.unsplit_relations;
  return out;
}

/// The lines of engram.locate/1 but the first.
std::vector<std::string> locate_facts(const LoadedModel& loaded, const std::vector<nb::dict>& given,
                                      const nb::dict& options, const nb::object& progress) {
  std::vector<Fact> facts;
  facts.reserve(given.size());
  for (const nb::dict& one : given) facts.push_back(fact_of(one));
  LocateOptions how;
  Options reader(options);
  take_attribution(reader, how.attribution);
  std::string preset = "dai2022";
  reader.take("preset", preset);
  how.selection = selection_preset(preset, how.attribution.score);
  reader.take("ratio", how.selection.ratio);
  reader.take("above_ratio", how.selection.above_ratio);
  reader.take("share", how.selection.share);
  reader.take("above_share", how.selection.above_share);
  reader.take("min_prompts", how.selection.min_prompts);
  reader.take("min_bag", how.selection.min_bag);
  reader.take("adapt", how.selection.adapt);
  reader.take("step", how.selection.step);
  reader.take("fewest", how.selection.fewest);
  reader.take("most", how.selection.most);
  reader.take("passes", how.selection.passes);
  reader.text("at", [&](const std::string& name) { how.neurons_at = parse_neuron_place(name); });
  reader.take("strict", how.strict);
  reader.done();
  check_selection(how.selection);
  std::vector<std::string> lines;
  LocateSink sink;
  sink.on_progress = progress_of(progress);
  sink.on_relation = [&](LocatedRelation&& relation, std::vector<LocatedFact>&& done) {
    for (const LocatedFact& fact : done) lines.push_back(located_fact_line(fact));
    lines.push_back(located_relation_line(relation));
  };
  call([&] {
    const LocateSummary summary = locate(loaded.model, loaded.tokenizer, facts, how, sink);
    for (const FactProblem& problem : summary.problems) {
      lines.push_back(located_problem_line(problem));
    }
    lines.push_back(located_summary_line(summary));
  });
  return lines;
}

nb::dict selection_dict(const std::string& preset, const std::string& score) {
  const SelectionOptions s = selection_preset(preset, parse_score(score));
  nb::dict out;
  out["ratio"] = s.ratio;
  out["above_ratio"] = s.above_ratio;
  out["share"] = s.share;
  out["above_share"] = s.above_share;
  out["min_prompts"] = s.min_prompts;
  out["min_bag"] = s.min_bag;
  out["adapt"] = s.adapt;
  out["step"] = s.step;
  out["fewest"] = s.fewest;
  out["most"] = s.most;
  out["passes"] = s.passes;
  return out;
}

}  // namespace

void add_facts(nb::module_& module) {
  module.def("load_facts", load_facts, nb::arg("path"), nb::arg("options"));
  module.def(
      "fact_json", [](const nb::dict& fact) { return fact_to_json(fact_of(fact)); },
      nb::arg("fact"));
  module.def("locate", locate_facts, nb::arg("model"), nb::arg("facts"), nb::arg("options"),
             nb::arg("progress").none());
  module.def("selection", selection_dict, nb::arg("preset"), nb::arg("score"));
  module.def("fact_defaults", [] {
    const FactSetOptions how;
    nb::dict out;
    out["strict"] = how.strict;
    out["seed"] = how.seed;
    out["held_out_share"] = how.held_out_share;
    out["limit_order"] = std::string(limit_order_name(how.choice.order));
    return out;
  });
}

}  // namespace engram::python
