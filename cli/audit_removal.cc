#include "cli/audit_removal.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/fact_options.h"
#include "engram/base/utf8.h"
#include "engram/edit/delta.h"
#include "engram/edit/working_copy.h"
#include "engram/removal/removal.h"
#include "engram/removal/sample.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

/// What is examined: of which relation, and of which subject where it is one fact's edit.
struct Erasure {
  std::string relation;
  std::string subject;  ///< empty: the whole relation
  std::string object;
  Model edited;
};

Model edited_model(const RemovalAuditOptions& options, const LoadedModel& loaded,
                   std::optional<Delta>& delta) {
  if (options.edit.empty()) {
    LoadedModel other = load_model(options.edited, options.common);
    const ModelConfig& a = loaded.model.config();
    const ModelConfig& b = other.model.config();
    if (a.family != b.family || a.layers != b.layers || a.d_model != b.d_model ||
        a.d_ff != b.d_ff || a.vocabulary != b.vocabulary) {
      throw InputError(options.edited + ": is a model of another shape than " + options.model +
                       ", expected the same one, edited");
    }
    return std::move(other.model);
  }
  delta = read_delta(options.edit);
  const std::string base = edit_base(options.model);
  if (delta->base != base) {
    throw InputError(options.edit + ": is an edit of the model " + delta->base + ", expected " +
                     base + ", which " + options.model + " is or was made from");
  }
  return with_values(loaded.model, delta->values());
}

Erasure erasure_of(const RemovalAuditOptions& options, const LoadedModel& loaded) {
  std::optional<Delta> delta;
  Model edited = edited_model(options, loaded, delta);
  Erasure erasure{"", "", "", std::move(edited)};
  if (options.relations.size() == 1) erasure.relation = options.relations.front();
  if (!delta) return erasure;
  if (erasure.relation.empty()) erasure.relation = delta->why.relation;
  if (delta->why.kind != EditKind::kErase && erasure.relation == delta->why.relation) {
    erasure.subject = delta->why.subject;
    erasure.object = delta->why.object;
  }
  return erasure;
}

std::string with_interval(const Interval& interval) {
  std::string text = format_number(interval.value, 2);
  if (std::isnan(interval.low)) return text;
  return text + " [" + format_number(interval.low, 2) + ", " + format_number(interval.high, 2) +
         "]";
}

std::string sentence_of(const RemovalReport& report) {
  switch (report.verdict) {
    case RemovalVerdict::kRemoved:
      return "removed: no attack brings back more than a tenth of it.";
    case RemovalVerdict::kHidden: {
      const auto worst = std::ranges::max_element(
          report.attacks, {}, [](const AttackShare& one) { return one.beyond.low; });
      return "hidden, not removed: " + worst->name + " brings back " +
             (worst->beyond.low < 1 ? "at least " + format_percent(worst->beyond.low, 0) + " of it."
                                    : "all of it.");
    }
    case RemovalVerdict::kNothingTaken:
      return "the edit has taken next to nothing away: there is nothing to bring back.";
    case RemovalVerdict::kUndecided:
      return "undecided: these facts do not decide it.";
  }
  throw InternalError("sentence_of: unknown verdict");
}

void print_removal(const RemovalAuditOptions& options, const Erasure& erasure,
                   const RemovalSample& facts, const Removal& removal,
                   const RemovalReport& report) {
  if (options.common.json) {
    Json out = {{"schema", "engram.removal/1"},
                {"version", ENGRAM_VERSION},
                {"model", options.model},
                {"edit", options.edit.empty() ? Json(nullptr) : Json(options.edit)},
                {"edited", options.edited.empty() ? Json(nullptr) : Json(options.edited)},
                {"facts", options.facts},
                {"relation", erasure.relation},
                {"subject", erasure.subject.empty() ? Json(nullptr) : Json(erasure.subject)},
                {"seed", options.common.seed},
                {"erased", facts.erased.size()},
                {"never_known", facts.never.size()},
                {"drop", interval_json(report.drop)},
                {"own_drop", interval_json(report.own_drop)},
                {"top_before", removal.top_before},
                {"top_after", removal.top_after},
                {"verdict", removal_verdict_name(report.verdict)},
                {"sentence", sentence_of(report)}};
    Json& attacks = out["attacks"] = Json::array();
    for (const AttackShare& one : report.attacks) {
      attacks.push_back({{"attack", one.name},
                         {"share", interval_json(one.share)},
                         {"never_known", interval_json(one.line)},
                         {"beyond", interval_json(one.beyond)},
                         {"top", one.erased_top},
                         {"never_known_top", one.never_top}});
    }
    print_json(out);
    return;
  }
  print(
      printable(erasure.relation +
                (erasure.subject.empty() ? "" : " " + erasure.subject + ": " + erasure.object)) +
      ": " + format_count(facts.erased.size(), "erased fact") + ", beside " +
      format_count(facts.never.size(), "fact") +
      " that the model never knew\nthe edit lowers the answer's log-odds on held-out prompts by " +
      with_interval(report.drop) + ", on its own by " + with_interval(report.own_drop) +
      "\nright answer on top: " + format_percent(removal.top_before, 0) + " before, " +
      format_percent(removal.top_after, 0) + " after\n\nBrought back, as a share of that\n");
  Table table({{"attack", Table::Align::kLeft},
               {"erased facts"},
               {"never known ones"},
               {"difference"},
               {"on top"}});
  for (const AttackShare& one : report.attacks) {
    table.add_row({one.name, with_interval(one.share), with_interval(one.line),
                   with_interval(one.beyond), format_percent(one.erased_top, 0)});
  }
  print(table.str() + "\n" + sentence_of(report) + "\n");
}

}  // namespace

void run_removal_audit(const RemovalAuditOptions& options) {
  const LoadedModel loaded = load_model(options.model, options.common);
  const Erasure erasure = erasure_of(options, loaded);
  if (erasure.relation.empty()) {
    throw UsageError("--relations is required with --edited: the one relation that was erased");
  }
  RemovalOptions how;
  how.measure.threads = options.common.threads;
  how.measure.memory_bytes = options.common.memory_bytes;
  how.seed = options.common.seed;
  if (options.relearn) how.relearn_steps = *options.relearn;
  if (how.relearn_steps == std::vector<int64_t>{0}) how.relearn_steps.clear();
  if (std::ranges::adjacent_find(how.relearn_steps, std::greater_equal<>{}) !=
          how.relearn_steps.end() ||
      (!how.relearn_steps.empty() && how.relearn_steps.front() < 1)) {
    throw UsageError(
        "--relearn: expected numbers of steps above 0, each larger than the one before");
  }
  RemovalSampleOptions choice;
  choice.relation = erasure.relation;
  choice.subject = erasure.subject;
  choice.object = erasure.object;
  choice.per_relation = options.per_relation;
  choice.known = options.known;
  choice.never = options.never;
  choice.seed = options.common.seed;
  choice.measure = how.measure;
  FactSetOptions reading;
  reading.seed = options.common.seed;
  FactSet set = facts_for_model(options.model, options.facts, reading, options.common);
  const RemovalSample facts = sample_for_removal(loaded.model, loaded.tokenizer,
                                                 std::move(set.facts), options.facts, choice);
  Removal removal;
  {
    std::optional<Progress> progress;
    int64_t before = 0;
    removal = attack_edit(loaded.model, erasure.edited, facts.erased, facts.never, how,
                          [&](int64_t done, int64_t of) {
                            if (!progress) {
                              progress.emplace(options.common.quiet, "asking", of, "models");
                            }
                            progress->advance(done - std::exchange(before, done));
                          });
  }
  BootstrapOptions bootstrap;
  bootstrap.seed = options.common.seed;
  const RemovalReport report = judge_removal(removal, facts.erased, facts.never, bootstrap);
  print_removal(options, erasure, facts, removal, report);
}

}  // namespace engram::cli
