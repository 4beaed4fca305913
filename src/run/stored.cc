#include "engram/run/stored.h"

#include <set>
#include <utility>

#include "engram/neurons/selection.h"
#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "run/sets.h"
#include "store/run_rows.h"

namespace engram {
namespace {

using experiments::locate::SelectionRow;

LocatedSet stored_set(RunStore& run, FactRow fact) {
  LocatedSet set;
  set.neurons = stored_neurons(run, sources::kIg, fact.fact);
  for (PromptRow& row : read_all<PromptRow>(run, {is(&PromptRow::fact, fact.fact)})) {
    (row.held_out ? set.held_out : set.prompts).push_back(std::move(row.text));
  }
  set.refined = std::cmp_greater_equal(set.prompts.size(), kLocatingPrompts);
  set.relation = std::move(fact.relation);
  set.subject = std::move(fact.subject);
  set.object = std::move(fact.object);
  return set;
}

}  // namespace

LocatedFile stored_located(RunStore& run, std::string_view relation) {
  LocatedFile file;
  file.path = run.path().string();
  for (const ModelRow& row : read_all<ModelRow>(run)) {
    if (row.name == "layers") file.layers = row.value;
    if (row.name == "d_ff") file.d_ff = row.value;
  }
  std::set<std::string> chosen;
  for (SelectionRow& row : read_all<SelectionRow>(run, {is(&SelectionRow::source, sources::kIg)})) {
    if (relation.empty() || row.relation == relation) chosen.insert(std::move(row.relation));
  }
  for (FactRow& fact : read_all<FactRow>(run)) {
    if (chosen.contains(fact.relation)) file.facts.push_back(stored_set(run, std::move(fact)));
  }
  return file;
}

}  // namespace engram
