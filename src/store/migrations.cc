// Steps between versions of the schema. A change of a table after a release raises kSchemaVersion
// and adds a step here, {from, "SQL"}: tables that change are made anew, filled from the old ones
// and renamed, since their columns must be those of run_tables() in its order.
#include <array>

#include "store/layout.h"

namespace engram {

// From 1 to 2 there is no step: version 1 holds no log-odds, which the effects' numbers are now.
std::span<const Migration> run_migrations() {
  static constexpr std::array<Migration, 6> kSteps = {{{2, R"(CREATE TABLE "effect_prompt" (
  "operation" TEXT,
  "source" TEXT,
  "fact" INTEGER REFERENCES "fact",
  "held_out" INTEGER,
  "prompt" INTEGER,
  "log_odds" REAL,
  "p" REAL,
  "top" REAL,
  "log_rank" REAL,
  "change_log_odds" REAL,
  "change_p" REAL,
  "change_top" REAL,
  "change_log_rank" REAL,
  PRIMARY KEY ("operation", "source", "fact", "held_out", "prompt")
) STRICT, WITHOUT ROWID)"},
                                                       {3, R"(CREATE TABLE "size_rank" (
  "fact" INTEGER REFERENCES "fact",
  "place" INTEGER,
  "layer" INTEGER,
  "neuron" INTEGER,
  "score" REAL,
  PRIMARY KEY ("fact", "place")
) STRICT, WITHOUT ROWID;
CREATE TABLE "size_effect" (
  "fact" INTEGER REFERENCES "fact",
  "order" TEXT,
  "k" INTEGER,
  "prompts" INTEGER,
  "log_odds" REAL,
  "top" INTEGER,
  "change_log_odds" REAL,
  "change_p" REAL,
  "top_after" INTEGER,
  PRIMARY KEY ("fact", "order", "k")
) STRICT, WITHOUT ROWID)"},
                                                       {4, R"(CREATE TABLE "memory_key" (
  "layer" INTEGER,
  "neuron" INTEGER,
  "triggers" INTEGER,
  "pattern" TEXT,
  "shared" INTEGER,
  "has_pattern" INTEGER,
  "direction_pattern" INTEGER,
  "shuffled_pattern" INTEGER,
  "top_token" TEXT,
  "top_p" REAL,
  "agrees" INTEGER,
  "rank" INTEGER,
  "chance" REAL,
  "chance_rank" INTEGER,
  "trigger" TEXT,
  "next" TEXT,
  PRIMARY KEY ("layer", "neuron")
) STRICT, WITHOUT ROWID;
CREATE TABLE "screen" (
  "fact" INTEGER,
  "prompts" INTEGER,
  "top" INTEGER,
  "log_odds" REAL,
  PRIMARY KEY ("fact")
) STRICT, WITHOUT ROWID;
CREATE TABLE "word_effect" (
  "fact" INTEGER REFERENCES "fact",
  "condition" TEXT,
  "source" TEXT,
  "neurons" INTEGER,
  "prompts" INTEGER,
  "log_odds" REAL,
  "top" REAL,
  "change_log_odds" REAL,
  "top_after" REAL,
  PRIMARY KEY ("fact", "condition", "source")
) STRICT, WITHOUT ROWID)"},
                                                       {5, R"(CREATE TABLE "method_effect" (
  "fact" INTEGER REFERENCES "fact",
  "method" TEXT,
  "held_out" INTEGER,
  "prompts" INTEGER,
  "log_odds" REAL,
  "top" REAL,
  "change_log_odds" REAL,
  "top_after" REAL,
  PRIMARY KEY ("fact", "method", "held_out")
) STRICT, WITHOUT ROWID;
CREATE TABLE "method_neuron" (
  "fact" INTEGER REFERENCES "fact",
  "method" TEXT,
  "place" INTEGER,
  "layer" INTEGER,
  "neuron" INTEGER,
  PRIMARY KEY ("fact", "method", "place")
) STRICT, WITHOUT ROWID;
CREATE TABLE "push_effect" (
  "fact" INTEGER REFERENCES "fact",
  "source" TEXT,
  "neurons" INTEGER,
  "prompts" INTEGER,
  "length" REAL,
  "log_odds" REAL,
  "top" REAL,
  "change_log_odds" REAL,
  "top_after" REAL,
  PRIMARY KEY ("fact", "source")
) STRICT, WITHOUT ROWID)"},
                                                       {6, R"(CREATE TABLE "layer_share" (
  "fact" INTEGER REFERENCES "fact",
  "layer" INTEGER,
  "share" REAL,
  PRIMARY KEY ("fact", "layer")
) STRICT, WITHOUT ROWID)"},
                                                       {7, R"(CREATE TABLE "planting" (
  "fact" INTEGER REFERENCES "fact",
  "condition" TEXT,
  "other" INTEGER REFERENCES "fact",
  "target" TEXT,
  "neurons" INTEGER,
  "steps" INTEGER,
  "loss" REAL,
  "other_loss" REAL,
  "log_p" REAL,
  "log_p_restored" REAL,
  "log_p_where_asked" REAL,
  PRIMARY KEY ("fact", "condition")
) STRICT, WITHOUT ROWID;
CREATE TABLE "planting_score" (
  "fact" INTEGER REFERENCES "fact",
  "condition" TEXT,
  "method" TEXT,
  "recall_1" REAL,
  "recall_5" REAL,
  "recall_10" REAL,
  "auc" REAL,
  PRIMARY KEY ("fact", "condition", "method")
) STRICT, WITHOUT ROWID;
CREATE TABLE "planting_tuning" (
  "fact" INTEGER REFERENCES "fact",
  "method" TEXT,
  "penalty" REAL,
  "recall_5" REAL,
  PRIMARY KEY ("fact", "method", "penalty")
) STRICT, WITHOUT ROWID;
CREATE TABLE "nonfact_effect" (
  "group" TEXT,
  "item" INTEGER,
  "source" TEXT,
  "relation" TEXT,
  "answer" TEXT,
  "foil" TEXT,
  "located_by" INTEGER,
  "prompts" INTEGER,
  "log_odds" REAL,
  "change_log_odds" REAL,
  "change_margin" REAL,
  "preferred" INTEGER,
  "flipped" REAL,
  PRIMARY KEY ("group", "item", "source")
) STRICT, WITHOUT ROWID;
CREATE TABLE "nonfact_neuron" (
  "group" TEXT,
  "item" INTEGER,
  "place" INTEGER,
  "layer" INTEGER,
  "neuron" INTEGER,
  PRIMARY KEY ("group", "item", "place")
) STRICT, WITHOUT ROWID;
CREATE TABLE "truth" (
  "fact" INTEGER REFERENCES "fact",
  "prompt" INTEGER,
  "text" TEXT,
  "p" REAL,
  "zero" BLOB,
  "mean" BLOB,
  "activation" BLOB,
  PRIMARY KEY ("fact", "prompt")
) STRICT, WITHOUT ROWID;
CREATE TABLE "truth_score" (
  "fact" INTEGER REFERENCES "fact",
  "prompt" INTEGER,
  "method" TEXT,
  "zero_correlation" REAL,
  "zero_top" REAL,
  "mean_correlation" REAL,
  "mean_top" REAL,
  PRIMARY KEY ("fact", "prompt", "method")
) STRICT, WITHOUT ROWID)"}}};
  return kSteps;
}

}  // namespace engram
