#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "engram/intervention/intervention.h"
#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/neurons/locate.h"
#include "engram/store/run_store.h"
#include "engram/text/facts.h"
#include "engram/text/prepare.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// How many facts an audit takes (docs/method.md, "The audit").
struct AuditSample {
  int64_t known = 200;  ///< that the model knows
  int64_t never = 150;  ///< that it never gives
};

/// Everything about a run that changes what it contains; all of it is part of the identity.
struct RunOptions {
  uint64_t seed = 0;
  FactChoice choice;             ///< of the fact set; and as FactSetOptions
  double held_out_share = 0.3;   ///< as FactSetOptions
  std::string device = "cpu";    ///< type of the device
  SelectionOptions baseline;     ///< selection of the activation baseline
  LocateOptions locate;          ///< threads and memory in it are no part of the identity
  int64_t draws = 20;            ///< random sets per fact and strength, on own and held-out prompts
  bool random_from_all = false;  ///< random sets may hold neurons that were located for other facts
  int64_t side_draws = 1;        ///< the same on other prompts
  int64_t same_relation = 20;    ///< side-effect facts of the relation per fact
  int64_t other_relations = 100;  ///< and of other relations
  int64_t sentences = 20;         ///< of ordinary text per fact
  int64_t stability_facts = 10;   ///< per relation, attributed by another rule too, at most
  int64_t update_facts = 20;      ///< facts per relation that are edited at most
  int64_t size_facts = 10;        ///< facts per relation that numbers of neurons are tried on
  int64_t planted_facts = 16;     ///< of an audit, whose planted neurons are to be found
  int64_t truth_facts = 0;        ///< of an audit, of which every neuron is ablated
  int64_t memory_keys = 20;       ///< keys per layer whose triggers and values are looked at
  int64_t text_positions = 2000;  ///< of ordinary text for pseudo-perplexity
  bool keep_scores = false;       ///< all scores as blobs
  /// As the paper's released code does: copies take part in everything, o' is drawn by how often
  /// the relation has it, knowledge neurons of an update are filtered by its double count, an
  /// update is tested on one random own prompt too, and no controls but the paper's own.
  bool as_published = false;
  std::optional<AuditSample> audit;    ///< of an audit; unset: a plain run
  std::optional<double> norm_epsilon;  ///< in place of the checkpoint's
  std::string texts;                   ///< folder of distant texts; empty: none
  std::string corpus;                  ///< file of ordinary text; empty: none
  std::vector<std::string> non_facts;  ///< of an audit: fact sets of other associations
};

/// Size of a prompt, in tokens.
struct TokenCounts {
  int64_t tokens = 0;
  int64_t masks = 0;
};

/// The facts of a run. Fact ids are places in the whole fact set, so that every shard has the same
/// ones. Texts are kept, token ids are made when asked for.
class RunFacts {
 public:
  /// `unread`: what was left out when the facts were read. `keep_copies`: no fact is a copy.
  RunFacts(std::vector<Fact> facts, const Tokenizer& tokenizer, const ModelConfig& config,
           std::vector<FactProblem> unread = {}, bool keep_copies = false);

  /// Relations that have a usable fact, in the order of the fact set.
  [[nodiscard]] const std::vector<std::string>& relations() const { return relations_; }
  /// Ids of the relation's usable facts, ascending.
  [[nodiscard]] const std::vector<int64_t>& of(std::string_view relation) const;
  /// Ids of all usable facts, ascending.
  [[nodiscard]] const std::vector<int64_t>& usable() const { return usable_; }
  [[nodiscard]] const Fact& fact(int64_t id) const { return facts_[static_cast<size_t>(id)]; }
  /// Takes the facts of these ids alone, whose order does not matter; all others are not usable any
  /// more. REQUIRES: each is usable.
  void keep(const std::vector<int64_t>& ids);
  /// Token ids of a usable fact's prompts.
  [[nodiscard]] PreparedFact prepared(int64_t id) const;
  /// The subject holds the object: left out of all effects.
  [[nodiscard]] bool copies(int64_t id) const;
  /// Size of a usable fact's longest prompt.
  [[nodiscard]] const TokenCounts& size(int64_t id) const {
    return sizes_[static_cast<size_t>(id)];
  }
  /// The mean of it over all usable facts.
  [[nodiscard]] const TokenCounts& mean_size() const { return mean_size_; }
  /// Facts that cannot be used, then lines that could not be read as facts.
  [[nodiscard]] const std::vector<FactProblem>& problems() const { return problems_; }
  /// The first of them, those of facts.
  [[nodiscard]] std::span<const FactProblem> fact_problems() const {
    return std::span(problems_).first(of_facts_);
  }

 private:
  void use(const std::vector<int64_t>& ids);

  std::vector<Fact> facts_;
  const Tokenizer* tokenizer_;
  PromptForm form_;
  std::vector<std::string> relations_;
  std::vector<std::vector<int64_t>> by_relation_;
  std::vector<int64_t> usable_;
  std::vector<bool> copies_;
  std::vector<TokenCounts> sizes_;
  TokenCounts mean_size_;
  std::vector<FactProblem> problems_;
  size_t of_facts_ = 0;
};

/// Neuron sets of a whole run, read from its store once (src/run/sets.h).
struct RunSets {
  /// Source -> neurons that are in a fact's set.
  std::map<std::string, std::unordered_set<NeuronId>, std::less<>> located;
};

/// Floating-point operations of a part: 15 s at 100 GFLOP/s, which two cores without AVX-512 do.
/// What a kill can cost at most, but for a piece that cannot be cut.
constexpr double kPartFlops = 1.5e12;

/// What an experiment works with. `store` is read for the results of earlier experiments; rows go
/// back to the driver, which writes them.
struct RunContext {
  const Model& model;
  const Tokenizer& tokenizer;
  const RunFacts& facts;
  const RunOptions& options;
  RunStore& store;
  MeasureOptions measure;          ///< threads and memory
  double part_flops = kPartFlops;  ///< parts are cut by it: the same throughout a run
  std::shared_ptr<RunSets> sets = std::make_shared<RunSets>();
};

/// One experiment of a run. A part's rows must be a function of model, facts, options, relation
/// and part alone (and of what experiments before it have stored for the relation): every random
/// choice comes from a seed made of those (fact_seed() in random.h), never from a running state.
class Experiment {
 public:
  virtual ~Experiment() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// Version of the algorithm, part of a run's identity: raised by every change after which other
  /// numbers come out or parts are cut elsewhere, so that no run mixes both.
  [[nodiscard]] virtual int version() const = 0;
  /// Options that are this experiment's alone, in words: part of the run's identity beside the
  /// version, so that a run begun before the experiment was there goes on.
  [[nodiscard]] virtual std::string details(const RunOptions&) const { return {}; }
  /// Names of the experiments whose results it reads.
  [[nodiscard]] virtual std::vector<std::string_view> needs() const { return {}; }
  /// Why it cannot run (an input that is missing), for the report; nothing: it can.
  [[nodiscard]] virtual std::optional<std::string> skipped(const RunContext&) const { return {}; }
  /// Part of an audit and of no plain run.
  [[nodiscard]] virtual bool of_audit() const { return false; }
  /// True: its only relation is "" (all relations), done last and never in a shard.
  [[nodiscard]] virtual bool across() const { return false; }
  /// Parts of the relation, cut from the fact list alone; parts are run in order.
  [[nodiscard]] virtual int64_t parts(const RunContext&, std::string_view relation) const = 0;
  /// Facts that the part is about, for progress.
  [[nodiscard]] virtual int64_t facts(const RunContext&, std::string_view relation,
                                      int64_t part) const = 0;
  virtual std::vector<TableRows> run(const RunContext&, std::string_view relation,
                                     int64_t part) = 0;
};

/// All of them, in the order in which they run: that of src/experiments/list.inc.
std::vector<std::unique_ptr<Experiment>> make_experiments();
/// The one of them with this name. Throws UsageError where there is none.
std::unique_ptr<Experiment> make_experiment(std::string_view name);

}  // namespace engram
