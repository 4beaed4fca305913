// Fact updates o -> o' (METHOD section 5). Sampled facts of every relation are edited one at a
// time, in several variants that differ in what is edited, and every edit is measured on the same
// prompts.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "engram/evaluation/answers.h"
#include "engram/run/experiment.h"
#include "run/parts.h"
#include "run/scopes.h"
#include "run/seeds.h"
#include "run/sets.h"
#include "run/update.h"
#include "run/values.h"

namespace engram {
namespace {

constexpr int64_t kFewestPerEdit = 20;  // text positions that an edit sees
constexpr int64_t kMostPerEdit = 40;
constexpr size_t kReportedVariants = 16;  // of a fact that is reported, about: what a part takes
constexpr size_t kPublishedVariants = 2;
constexpr size_t kSweepVariants = 10;

enum EditScope : size_t {
  kOwn,
  kHeldOut,
  kSameRelation,
  kOtherRelations,
  kText,
  kOneOwn,
  kEditScopes
};
constexpr std::array<const char*, kEditScopes> kEditScopeNames = {
    "own", "held-out", "same-relation", "other-relations", "text", "one-own"};

/// Sums over the prompts of a scope.
struct ScopeSums {
  int64_t prompts = 0;
  int64_t right = 0, changed = 0, success = 0;
  int64_t wrong_success = 0, wrong_target_before = 0;
  double log_p_before = 0, log_p_after = 0;
  double other_before = 0, other_after = 0;
  bool has_other = false;

  void add(const Answered& before, const Answered& after, const Answered& target_before,
           const Answered& target_after) {
    ++prompts;
    log_p_before += before.log_p;
    log_p_after += after.log_p;
    const bool hit = target_after.rank == 1;
    if (before.top()) {
      ++right;
      if (!after.top()) ++changed;
      if (hit) ++success;
    } else {
      if (hit) ++wrong_success;
      if (target_before.rank == 1) ++wrong_target_before;
    }
    if (target_before.rank == 0) return;
    has_other = true;
    other_before += target_before.log_p;
    other_after += target_after.log_p;
  }
};

/// The work of one part.
class UpdatePart {
 public:
  UpdatePart(const RunContext& run, std::string_view relation, RunText& text)
      : run_(run), relation_(relation), text_(text), clozes_(run) {}

  /// `turn` is the first reported fact's place among all edited facts of the run.
  std::vector<TableRows> rows(const UpdateSample& sample, int64_t turn) {
    for (const auto& [id, target] : sample.reported) {
      subjects_.push_back(update_subject(run_, id, target));
      subjects_.back().turn = turn++;
    }
    for (const auto& [id, target] : sample.tuning) {
      subjects_.push_back(update_subject(run_, id, target));
      subjects_.back().tuning = true;
    }
    look_before();
    variants_ = update_variants(run_, relation_, subjects_);
    plan();
    measured_ = measure_edits(run_.model, clozes_.clozes(), edits_, others_, trials_, run_.measure);
    return {edit_rows(), effect_rows()};
  }

 private:
  uint32_t other(std::vector<int64_t> ids) {
    const auto [it, fresh] =
        other_place_.try_emplace(std::move(ids), static_cast<uint32_t>(others_.size()));
    if (fresh) others_.push_back(it->first);
    return it->second;
  }

  /// What the model answers without edits; a wrong answer becomes the one to be replaced by the
  /// right one.
  void look_before() {
    ClozeList clozes(run_);
    std::vector<std::pair<size_t, uint32_t>> asked;  // fact and cloze
    for (size_t s = 0; s < subjects_.size(); ++s) {
      for (const PromptPlace& place : subjects_[s].own) asked.emplace_back(s, clozes.add(place));
    }
    const EditMeasured found = measure_edits(run_.model, clozes.clozes(), {}, {}, {}, run_.measure);
    struct Wrong {
      WrittenToken token;
      int64_t prompts = 0;
    };
    std::vector<std::map<std::string, Wrong>> wrong(subjects_.size());  // by the written answer
    std::vector<int64_t> right(subjects_.size(), 0);
    for (const auto& [s, cloze] : asked) {
      if (found.before[cloze].top()) {
        ++right[s];
        continue;
      }
      WrittenToken token = written_token(run_.tokenizer, found.top[cloze]);
      Wrong& one = wrong[s][token.text];
      if (one.prompts++ == 0) one.token = std::move(token);
    }
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto most = std::ranges::max_element(
          wrong[s], {}, [](const auto& entry) { return entry.second.prompts; });
      if (most == wrong[s].end() || most->second.prompts <= right[s]) continue;
      UpdateSubject& one = subjects_[s];
      one.right = false;
      one.target = one.old;
      one.old = most->first;
      one.replaced = most->second.token;
    }
  }

  /// The prompts of every fact's scopes, and the trials of all its variants on them.
  void plan() {
    const std::vector<int64_t> same = facts_for_effects(run_, relation_, true);
    const std::vector<int64_t> elsewhere = facts_for_effects(run_, relation_, false);
    std::vector<uint32_t> text(text_.positions(run_).size(), kNoIndex);
    for (size_t v = 0; v < variants_.size();) {
      const size_t s = variants_[v].subject;
      size_t end = v;
      while (end < variants_.size() && variants_[end].subject == s) ++end;
      plan_base(s);
      std::vector<std::pair<EditScope, EditTrial>> jobs;
      add_own_jobs(subjects_[s], jobs);
      add_side_jobs(subjects_[s], same, elsewhere, jobs);
      if (!subjects_[s].tuning) add_text_jobs(subjects_[s], text, jobs);
      for (; v < end; ++v) {
        if (variants_[v].neurons == 0) continue;
        const auto edit = static_cast<uint32_t>(edits_.size());
        edits_.push_back(std::move(variants_[v].edit));
        for (const auto& [scope, job] : jobs) {
          const bool of_others = scope != kOwn && scope != kHeldOut && scope != kOneOwn;
          if (of_others && !variants_[v].aside) continue;
          trials_.push_back({job.cloze, edit, job.other});
          places_.emplace_back(v, scope);
        }
      }
    }
  }

  /// Asks for o' on own prompts without an edit.
  void plan_base(size_t s) {
    base_.emplace_back(trials_.size(), subjects_[s].own.size());
    for (const PromptPlace& place : subjects_[s].own) {
      trials_.push_back({old_cloze(subjects_[s], place), kNoIndex, target_at(s, place)});
      places_.emplace_back(variants_.size(), kOwn);
    }
  }

  /// The prompt with o for its answer.
  uint32_t old_cloze(const UpdateSubject& one, const PromptPlace& place) {
    return one.replaced ? clozes_.add(place, old_at(run_, one, place)) : clozes_.add(place);
  }

  uint32_t target_at(size_t s, const PromptPlace& place) {
    return other(ids_at(run_, place, subjects_[s].target));
  }

  void add_own_jobs(const UpdateSubject& one, std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto s = static_cast<size_t>(&one - subjects_.data());
    for (const EditScope scope : {kOwn, kHeldOut}) {
      for (const PromptPlace& place : scope == kOwn ? one.own : one.held_out) {
        jobs.emplace_back(scope, EditTrial{old_cloze(one, place), kNoIndex, target_at(s, place)});
      }
    }
    if (!run_.options.as_published) return;
    const Fact& fact = run_.facts.fact(one.id);
    const PromptPlace& place =
        one.own[choice_seed(run_.options.seed, "update one prompt", fact) % one.own.size()];
    jobs.emplace_back(kOneOwn, EditTrial{old_cloze(one, place), kNoIndex, target_at(s, place)});
  }

  void add_side_jobs(const UpdateSubject& one, const std::vector<int64_t>& same,
                     const std::vector<int64_t>& elsewhere,
                     std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto s = static_cast<size_t>(&one - subjects_.data());
    Random random(choice_seed(run_.options.seed, "update side effects", run_.facts.fact(one.id)));
    // Where o' is right already it is no harm.
    std::vector<int64_t> others;
    std::ranges::copy_if(same, std::back_inserter(others), [&](int64_t id) {
      return id != one.id && run_.facts.fact(id).object != one.target;
    });
    for (const uint64_t i :
         random.sample(others.size(), static_cast<uint64_t>(run_.options.same_relation))) {
      const PromptPlace place = side_prompt(run_, others[i]);
      jobs.emplace_back(kSameRelation,
                        EditTrial{clozes_.add(place), kNoIndex, target_at(s, place)});
    }
    if (one.tuning) return;
    for (const uint64_t i :
         random.sample(elsewhere.size(), static_cast<uint64_t>(run_.options.other_relations))) {
      jobs.emplace_back(kOtherRelations, EditTrial{clozes_.add(side_prompt(run_, elsewhere[i])),
                                                   kNoIndex, kNoIndex});
    }
  }

  void add_text_jobs(const UpdateSubject& one, std::vector<uint32_t>& text,
                     std::vector<std::pair<EditScope, EditTrial>>& jobs) {
    const auto positions = static_cast<int64_t>(text.size());
    const int64_t edits = std::max<int64_t>(
        1, static_cast<int64_t>(run_.facts.relations().size()) * run_.options.update_facts);
    const int64_t share = std::clamp((positions + edits - 1) / edits, kFewestPerEdit, kMostPerEdit);
    for (const size_t i : text_.turn(run_, one.turn, share)) {
      if (text[i] == kNoIndex) text[i] = clozes_.add(text_.positions(run_)[i]);
      jobs.emplace_back(kText, EditTrial{text[i], kNoIndex, kNoIndex});
    }
  }

  TableRows edit_rows() {
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const auto [begin, number] = base_[s];
      UpdateSubject& one = subjects_[s];
      for (size_t t = begin; t < begin + number; ++t) {
        const Answered& target = measured_.other_before[t];
        one.target_p += target.p / static_cast<double>(number);
        one.target_log_rank +=
            std::log(static_cast<double>(target.rank)) / static_cast<double>(number);
      }
    }
    TableRows out{"edit", {}};
    for (const UpdateVariant& variant : variants_) {
      const UpdateSubject& one = subjects_[variant.subject];
      out.rows.push_back({one.id, variant.name, one.old, one.target, real(one.target_p),
                          real(std::exp(one.target_log_rank)), flag(one.right),
                          count(variant.neurons), real(variant.lambda1), real(variant.lambda2),
                          variant.neurons == 0 ? Value() : real(variant.written),
                          count(variant.redraws)});
    }
    return out;
  }

  TableRows effect_rows() const {
    std::vector<std::array<ScopeSums, kEditScopes>> sums(variants_.size() + 1);
    for (size_t t = 0; t < trials_.size(); ++t) {
      const auto [variant, scope] = places_[t];
      if (variant == variants_.size()) continue;
      sums[variant][scope].add(measured_.before[trials_[t].cloze], measured_.after[t],
                               measured_.other_before[t], measured_.other_after[t]);
    }
    TableRows out{"edit_effect", {}};
    for (size_t v = 0; v < variants_.size(); ++v) {
      for (size_t scope = 0; scope < kEditScopes; ++scope) {
        const ScopeSums& one = sums[v][scope];
        if (one.prompts == 0) continue;
        const auto asked = [&](double value) { return one.has_other ? real(value) : Value(); };
        const auto counted = [&](int64_t value) { return one.has_other ? Value(value) : Value(); };
        out.rows.push_back({subjects_[variants_[v].subject].id, variants_[v].name,
                            std::string(kEditScopeNames[scope]), count(one.prompts),
                            count(one.right), count(one.changed), counted(one.success),
                            counted(one.wrong_success), counted(one.wrong_target_before),
                            real(one.log_p_before), real(one.log_p_after), asked(one.other_before),
                            asked(one.other_after)});
      }
    }
    return out;
  }

  const RunContext& run_;
  std::string_view relation_;
  RunText& text_;
  std::vector<UpdateSubject> subjects_;
  std::vector<UpdateVariant> variants_;  ///< subject after subject
  ClozeList clozes_;
  std::vector<OutputEdit> edits_;
  std::vector<std::vector<int64_t>> others_;
  std::map<std::vector<int64_t>, uint32_t> other_place_;
  std::vector<EditTrial> trials_;
  std::vector<std::pair<size_t, EditScope>> places_;  ///< of trials: variant (or none) and scope
  std::vector<std::pair<size_t, size_t>> base_;       ///< of subjects: first trial and number
  EditMeasured measured_;
};

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
    return UpdatePart(run, relation, text_).rows(sample, before + static_cast<int64_t>(first));
  }

 private:
  /// What the edits of one fact take: a run with each on the fact's prompts and on others.
  static double cost(const RunContext& run, int64_t id, bool tuning) {
    const RunOptions& options = run.options;
    const Fact& fact = run.facts.fact(id);
    const auto own = static_cast<double>(fact.prompts.size() + fact.held_out.size());
    const auto others =
        static_cast<double>(options.same_relation + (tuning ? 0 : options.other_relations));
    const auto text = static_cast<double>(tuning || options.corpus.empty() ? 0 : kMostPerEdit);
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

std::unique_ptr<Experiment> make_update_experiment() {
  return std::make_unique<UpdateExperiment>();
}

}  // namespace engram
