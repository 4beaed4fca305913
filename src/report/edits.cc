#include "report/edits.h"

#include <algorithm>
#include <tuple>

namespace engram {
namespace {

using experiments::update::EditEffectRow;
using experiments::update::EditRow;
using experiments::update::kEditScopeNames;

/// "random-equal-write/3" is a draw of "random-equal-write".
std::string variant_of(std::string_view stored) {
  return std::string(is_sweep(std::string(stored)) ? stored : stored.substr(0, stored.find('/')));
}

/// Adds the sums of one draw in a scope; `draws` counts those that have it.
void add_draw(EditSums& to, const EditSums& draw, double draws) {
  const auto mean = [&](double& all, double one) { all += (one - all) / draws; };
  mean(to.prompts, draw.prompts);
  mean(to.right, draw.right);
  mean(to.changed, draw.changed);
  mean(to.success, draw.success);
  mean(to.before, draw.before);
  mean(to.after, draw.after);
}

}  // namespace

bool is_sweep(const std::string& name) { return name.starts_with(variant::kSweep); }

Edits read_edits(const ReportInput& input) {
  Edits edits;
  std::map<std::string, std::map<int64_t, size_t>> places;
  read_rows<EditRow>(input.run, {}, [&](const EditRow& row) {
    const std::string name = variant_of(row.variant);
    std::vector<Edit>& list = edits[name];
    const auto [at, fresh] = places[name].emplace(row.fact, list.size());
    if (fresh) list.emplace_back();
    Edit& one = list[at->second];
    one.fact = row.fact;
    one.target_p = row.target_p;
    one.target_rank = row.target_rank;
    one.right = row.right;
    one.neurons = std::max(one.neurons, row.neurons);
    if (row.neurons == 0) return;
    one.written += row.written;
    ++one.draws;
  });
  std::map<std::tuple<std::string, int64_t, size_t>, double> draws;
  read_rows<EditEffectRow>(input.run, {}, [&](const EditEffectRow& row) {
    const std::string name = variant_of(row.variant);
    const auto at = places[name].find(row.fact);
    const auto* where = std::ranges::find(kEditScopeNames, row.scope);
    if (at == places[name].end() || where == kEditScopeNames.end()) return;
    const auto s = static_cast<size_t>(where - kEditScopeNames.begin());
    const double success = row.success ? static_cast<double>(*row.success) : NAN;
    add_draw(edits[name][at->second].scopes[s],
             {static_cast<double>(row.prompts), static_cast<double>(row.right),
              static_cast<double>(row.changed), success, row.log_p_before, row.log_p_after},
             ++draws[{name, row.fact, s}]);
  });
  return edits;
}

double written_share(const Edits& edits, const std::vector<Edit>& variant, const KeepEdit& keep) {
  const auto knowledge = edits.find(variant::kKnowledge);
  if (knowledge == edits.end()) return NAN;
  std::map<int64_t, const Edit*> located;
  for (const Edit& edit : knowledge->second) located.emplace(edit.fact, &edit);
  double sum = 0;
  double all = 0;
  for (const Edit& edit : variant) {
    const auto match = located.find(edit.fact);
    if (!keep(edit) || edit.draws == 0 || match == located.end() || match->second->draws == 0) {
      continue;
    }
    sum += edit.written / static_cast<double>(edit.draws);
    all += match->second->written;
  }
  return ratio(sum, all);
}

void add_edit_sums(std::span<double> to, const EditSums& sums) {
  to[kPrompts] += sums.prompts;
  to[kRight] += sums.right;
  to[kChanged] += sums.changed;
  to[kSuccess] += std::isnan(sums.success) ? 0.0 : sums.success;
  to[kBefore] += sums.before;
  to[kAfter] += sums.after;
}

void edit_estimates(std::span<const double> sums, std::span<double> out) {
  out[kChangeRate] = ratio(sums[kChanged], sums[kRight]);
  out[kSuccessRate] = ratio(sums[kSuccess], sums[kRight]);
  out[kPplBefore] = std::exp(-ratio(sums[kBefore], sums[kPrompts]));
  out[kPplAfter] = std::exp(-ratio(sums[kAfter], sums[kPrompts]));
  out[kRise] = out[kPplAfter] - out[kPplBefore];
  out[kRelative] = out[kRise] / out[kPplBefore];
}

Rates rates(const ReportInput& input, const std::vector<Edit>& edits, EditScope scope,
            const KeepEdit& keep) {
  Rates found;
  FactSums sums(input.facts, kEditColumns);
  for (const Edit& edit : edits) {
    if (edit.neurons == 0 || !keep(edit) || edit.scopes[scope].prompts == 0) continue;
    found.edits += 1;
    found.prompts += edit.scopes[scope].prompts;
    found.right += edit.scopes[scope].right;
    add_edit_sums(sums.of(edit.fact), edit.scopes[scope]);
  }
  const std::vector<Interval> all = bootstrap(
      sums.sums(), kEstimates,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        edit_estimates(total_of(drawn), out);
      },
      input.options.bootstrap);
  found.change = all[kChangeRate];
  found.success = all[kSuccessRate];
  found.before = all[kPplBefore];
  found.after = all[kPplAfter];
  found.rise = all[kRise];
  found.relative = all[kRelative];
  return found;
}

}  // namespace engram
