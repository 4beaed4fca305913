// Sampled facts of a relation are edited one at a time, in several variants that differ in what is
// edited, and every edit is measured on the same prompts.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "experiments/update/experiment.h"
#include "experiments/update/rows.h"
#include "run/seeds.h"

namespace engram::experiments::update {
namespace {

constexpr int64_t kFewestPerEdit = 20;  // text positions that an edit sees

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
  UpdatePart(const RunContext& run, std::string_view relation, RunText* text)
      : run_(run), relation_(relation), text_(text), clozes_(run) {}

  std::vector<TableRows> rows(const UpdateSample& sample, int64_t turn, const MakeVariants& make) {
    for (const auto& [id, target] : sample.reported) {
      subjects_.push_back(update_subject(run_, id, target));
      subjects_.back().turn = turn++;
    }
    for (const auto& [id, target] : sample.tuning) {
      subjects_.push_back(update_subject(run_, id, target));
      subjects_.back().tuning = true;
    }
    look_before();
    variants_ = make(subjects_);
    if (variants_.empty()) return {};
    plan();
    measured_ = measure_edits(run_.model, clozes_.clozes(), edits_, others_, trials_, run_.measure);
    return {to_rows(edit_rows()), to_rows(effect_rows())};
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
    std::vector<uint32_t> text;
    if (text_ != nullptr) text.assign(text_->positions(run_).size(), kNoIndex);
    for (size_t v = 0; v < variants_.size();) {
      const size_t s = variants_[v].subject;
      size_t end = v;
      while (end < variants_.size() && variants_[end].subject == s) ++end;
      plan_base(s);
      std::vector<std::pair<EditScope, EditTrial>> jobs;
      add_own_jobs(subjects_[s], jobs);
      add_side_jobs(subjects_[s], same, elsewhere, jobs);
      if (text_ != nullptr && !subjects_[s].tuning) add_text_jobs(subjects_[s], text, jobs);
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
    const int64_t share =
        std::clamp((positions + edits - 1) / edits, kFewestPerEdit, kMostTextPerEdit);
    for (const size_t i : text_->turn(run_, one.turn, share)) {
      if (text[i] == kNoIndex) text[i] = clozes_.add(text_->positions(run_)[i]);
      jobs.emplace_back(kText, EditTrial{text[i], kNoIndex, kNoIndex});
    }
  }

  std::vector<EditRow> edit_rows() {
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
    std::vector<EditRow> rows;
    for (const UpdateVariant& variant : variants_) {
      const UpdateSubject& one = subjects_[variant.subject];
      EditRow& row = rows.emplace_back();
      row.fact = one.id;
      row.variant = variant.name;
      row.old = one.old;
      row.target = one.target;
      row.target_p = one.target_p;
      row.target_rank = std::exp(one.target_log_rank);
      row.right = one.right;
      row.neurons = variant.neurons;
      row.lambda1 = variant.lambda1;
      row.lambda2 = variant.lambda2;
      row.written =
          variant.neurons == 0 ? std::numeric_limits<double>::quiet_NaN() : variant.written;
      row.redraws = variant.redraws;
    }
    return rows;
  }

  std::vector<EditEffectRow> effect_rows() const {
    std::vector<std::array<ScopeSums, kEditScopes>> sums(variants_.size() + 1);
    for (size_t t = 0; t < trials_.size(); ++t) {
      const auto [variant, scope] = places_[t];
      if (variant == variants_.size()) continue;
      sums[variant][scope].add(measured_.before[trials_[t].cloze], measured_.after[t],
                               measured_.other_before[t], measured_.other_after[t]);
    }
    std::vector<EditEffectRow> rows;
    for (size_t v = 0; v < variants_.size(); ++v) {
      for (size_t scope = 0; scope < kEditScopes; ++scope) {
        const ScopeSums& one = sums[v][scope];
        if (one.prompts == 0) continue;
        EditEffectRow& row = rows.emplace_back();
        row.fact = subjects_[variants_[v].subject].id;
        row.variant = variants_[v].name;
        row.scope = kEditScopeNames[scope];
        row.prompts = one.prompts;
        row.right = one.right;
        row.changed = one.changed;
        row.log_p_before = one.log_p_before;
        row.log_p_after = one.log_p_after;
        row.target_log_p_before = std::numeric_limits<double>::quiet_NaN();
        row.target_log_p_after = row.target_log_p_before;
        if (!one.has_other) continue;
        row.success = one.success;
        row.wrong_success = one.wrong_success;
        row.wrong_target_before = one.wrong_target_before;
        row.target_log_p_before = one.other_before;
        row.target_log_p_after = one.other_after;
      }
    }
    return rows;
  }

  const RunContext& run_;
  std::string_view relation_;
  RunText* text_;
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

}  // namespace

std::vector<TableRows> update_rows(const RunContext& run, std::string_view relation,
                                   const UpdateSample& sample, int64_t turn, RunText* text,
                                   const MakeVariants& make) {
  return UpdatePart(run, relation, text).rows(sample, turn, make);
}

}  // namespace engram::experiments::update
