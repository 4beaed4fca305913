// Fact updates o -> o' (METHOD section 5): which facts of a relation are edited in which part.
#include "experiments/update/experiment.h"

#include <algorithm>
#include <utility>

#include "engram/run/experiment.h"
#include "run/parts.h"
#include "run/sets.h"

namespace engram::experiments::update {
namespace {

constexpr size_t kReportedVariants = 16;  // of a fact that is reported, about: what a part takes
constexpr size_t kPublishedVariants = 2;
constexpr size_t kSweepVariants = 10;

class UpdateExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "update"; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return static_cast<int64_t>(cut(run, sampled(run, relation)).size());
  }
  [[nodiscard]] int64_t facts(const RunContext& run, std::string_view relation,
                              int64_t part) const override {
    const UpdateSample sample = part_sample(run, relation, part).first;
    return static_cast<int64_t>(sample.reported.size() + sample.tuning.size());
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    const auto& relations = run.facts.relations();
    const int64_t before = (std::ranges::find(relations, relation) - relations.begin()) *
                           std::max<int64_t>(0, run.options.update_facts);
    const auto [sample, first] = part_sample(run, relation, part);
    return update_rows(run, relation, sample, before + static_cast<int64_t>(first), &text_,
                       [&](const std::vector<UpdateSubject>& subjects) {
                         return update_variants(run, relation, subjects);
                       });
  }

 private:
  /// What the edits of one fact take: a run with each on the fact's prompts and on others.
  static double cost(const RunContext& run, int64_t id, bool tuning) {
    const RunOptions& options = run.options;
    const Fact& fact = run.facts.fact(id);
    const auto own = static_cast<double>(fact.prompts.size() + fact.held_out.size());
    const auto others =
        static_cast<double>(options.same_relation + (tuning ? 0 : options.other_relations));
    const auto text = static_cast<double>(tuning || options.corpus.empty() ? 0 : kMostTextPerEdit);
    const double one = own * changed_run_flops(run, run.facts.size(id)) +
                       others * changed_run_flops(run, run.facts.mean_size()) +
                       text * changed_run_flops(run, text_size(run));
    const size_t reported = options.as_published ? kPublishedVariants : kReportedVariants;
    return one * static_cast<double>(tuning ? kSweepVariants : reported);
  }

  /// Parts of a sample: its reported facts, behind them those of the sweep.
  static std::vector<PartRange> cut(const RunContext& run, const UpdateSample& sample) {
    std::vector<double> costs;
    for (const auto& [id, target] : sample.reported) costs.push_back(cost(run, id, false));
    for (const auto& [id, target] : sample.tuning) costs.push_back(cost(run, id, true));
    return cut_parts(costs, kPartFacts, run.part_flops);
  }

  /// The part's share of the sample, and the place of its first fact in it.
  std::pair<UpdateSample, size_t> part_sample(const RunContext& run, std::string_view relation,
                                              int64_t part) const {
    const UpdateSample& sample = sampled(run, relation);
    const PartRange range = cut(run, sample).at(static_cast<size_t>(part));
    UpdateSample mine;
    const size_t reported = sample.reported.size();
    for (size_t i = range.begin; i < range.end; ++i) {
      if (i < reported) {
        mine.reported.push_back(sample.reported[i]);
      } else {
        mine.tuning.push_back(sample.tuning[i - reported]);
      }
    }
    return {std::move(mine), range.begin};
  }

  /// The sample of the relation at work, which takes a while to draw.
  const UpdateSample& sampled(const RunContext& run, std::string_view relation) const {
    if (sampled_.facts != &run.facts || sampled_.relation != relation) {
      sampled_ = {&run.facts, std::string(relation), sample_updates(run, relation)};
    }
    return sampled_.sample;
  }

  struct Sampled {
    const RunFacts* facts = nullptr;
    std::string relation;
    UpdateSample sample;
  };
  mutable Sampled sampled_;
  RunText text_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<UpdateExperiment>(); }

}  // namespace engram::experiments::update
