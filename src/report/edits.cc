#include "report/edits.h"

#include <algorithm>
#include <tuple>

namespace engram {
namespace {

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

bool is_sweep(const std::string& variant) { return variant.starts_with("sweep/"); }

Edits read_edits(const ReportInput& input) {
  Edits edits;
  std::map<std::string, std::map<int64_t, size_t>> places;
  const Table& edit = run_table("edit");
  const size_t fact = edit.column("fact"), variant = edit.column("variant"),
               target_p = edit.column("target_p"), target_rank = edit.column("target_rank"),
               right = edit.column("right"), neurons = edit.column("neurons"),
               written = edit.column("written");
  for_rows(input.run, "edit", {}, [&](const Cells& row) {
    const std::string name = variant_of(row.text(variant));
    std::vector<Edit>& list = edits[name];
    const auto [at, fresh] = places[name].emplace(row.integer(fact), list.size());
    if (fresh) list.emplace_back();
    Edit& one = list[at->second];
    one.fact = row.integer(fact);
    one.target_p = row.real(target_p);
    one.target_rank = row.real(target_rank);
    one.right = row.integer(right) != 0;
    one.neurons = std::max(one.neurons, row.integer(neurons));
    if (row.integer(neurons) == 0) return;
    one.written += row.real(written);
    ++one.draws;
  });
  const Table& effect = run_table("edit_effect");
  const size_t of = effect.column("fact"), by = effect.column("variant"),
               scope = effect.column("scope"), prompts = effect.column("prompts"),
               was_right = effect.column("right"), changed = effect.column("changed"),
               success = effect.column("success"), before = effect.column("log_p_before"),
               after = effect.column("log_p_after");
  std::map<std::tuple<std::string, int64_t, size_t>, double> draws;
  for_rows(input.run, "edit_effect", {}, [&](const Cells& row) {
    const std::string name = variant_of(row.text(by));
    const auto at = places[name].find(row.integer(of));
    const auto* where = std::ranges::find(kScopeNames, row.text(scope));
    if (at == places[name].end() || where == kScopeNames.end()) return;
    const auto s = static_cast<size_t>(where - kScopeNames.begin());
    add_draw(edits[name][at->second].scopes[s],
             {row.real(prompts), row.real(was_right), row.real(changed), row.real(success),
              row.real(before), row.real(after)},
             ++draws[{name, row.integer(of), s}]);
  });
  return edits;
}

double written_share(const Edits& edits, const std::vector<Edit>& variant, const KeepEdit& keep) {
  const auto knowledge = edits.find("knowledge");
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
