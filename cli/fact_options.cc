#include "cli/fact_options.h"

#include <nlohmann/json.hpp>

#include "cli/paths.h"
#include "engram/model/config.h"

namespace engram::cli {

void add_facts_option(CLI::App& command, std::string& facts) {
  add_path(command, "--facts", facts,
           "Fact set: our own JSON Lines; ParaRel's folder or checkout, or one of its files; "
           "CounterFact, LRE, known facts, EasyEdit, CSV or TSV (docs/formats.md). "
           "Required.")
      ->type_name("FILE|DIR")
      ->required();
}

FactSet facts_for_model(const std::string& model, const std::string& facts, FactSetOptions reading,
                        const CommonOptions& common) {
  reading.answer_last = read_config(model).causal();
  FactSet set = read_facts(facts, reading);
  int64_t kept = 0;
  int64_t left_out = 0;
  for (const Fact& fact : set.facts) {
    kept += static_cast<int64_t>(fact.prompts.size() + fact.held_out.size());
    left_out += fact.left_out;
  }
  if (left_out > 0) {
    note(common, format_count(left_out) + " of " + format_count(kept + left_out) +
                     " prompts are left out: the model is causal, and they do not end with the "
                     "answer");
  }
  return set;
}

void add_choice_options(CLI::App& command, FactChoice& choice, const std::string& verb) {
  constexpr int64_t kMost = 1'000'000'000;
  command
      .add_option("--relations", choice.relations,
                  verb + " facts of these relations alone, with commas: P36,P103.")
      ->delimiter(',')
      ->type_name("NAME,...");
  add_integer(command, "--per-relation", choice.per_relation, 1, kMost,
              verb + " at most N facts of each relation, a seeded sample.");
  add_integer(command, "--limit", choice.limit, 1, kMost,
              verb + " at most N facts, spread evenly over the relations.");
  command
      .add_option_function<std::string>(
          "--limit-order",
          [&choice](const std::string& name) {
            try {
              choice.order = parse_limit_order(name);
            } catch (const UsageError& error) {
              throw CLI::ValidationError("--limit-order: " + std::string(error.what()));
            }
          },
          "Of --limit: spread (default), or whole: whole relations in seeded order and a sample of "
          "the next.")
      ->type_name("NAME");
}

void add_choice(const FactChoice& choice, nlohmann::ordered_json& out) {
  out["relations"] = choice.relations;
  out["per_relation"] = choice.per_relation;
  out["limit"] = choice.limit;
  out["limit_order"] = limit_order_name(choice.order);
}

}  // namespace engram::cli
