// The verdict: sentences that follow from the numbers by fixed rules (docs/method.md).
#include "report/verdict.h"

#include <algorithm>
#include <cmath>

namespace engram {
namespace {

enum class Sign {
  kNotMeasured,
  kNoInterval,
  kBelow,  ///< the whole interval
  kAbove,
  kUnclear,
};

bool with_interval(const Interval& value) {
  return !std::isnan(value.low) && !std::isnan(value.high);
}

Sign sign_of(const Interval& value) {
  if (std::isnan(value.value)) return Sign::kNotMeasured;
  if (!with_interval(value)) return Sign::kNoInterval;
  if (value.high < 0) return Sign::kBelow;
  return value.low > 0 ? Sign::kAbove : Sign::kUnclear;
}

std::string with_bounds(const Interval& value, CellFormat format = CellFormat::kSigned) {
  const ReportCell cell = interval_cell(value);
  const std::string interval = interval_text(cell, format);
  return cell_text(cell, format) + (interval.empty() ? "" : " " + interval);
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    out += (i == 0 ? "" : (i + 1 == names.size() ? " and " : ", ")) + names[i];
  }
  return out;
}

constexpr const char* kTooFew = "there are too few objects for an interval";

/// Is suppression's effect larger than that of each control?
std::string against_controls(const VerdictInput::Effect& effect) {
  const std::string change =
      "suppression changes the answer's log-odds by " + with_bounds(effect.change);
  switch (sign_of(effect.change)) {
    case Sign::kNotMeasured:
      return "Not measured.";
    case Sign::kNoInterval:
      return "Cannot be said: " + change + ", but " + kTooFew + ".";
    case Sign::kAbove:
    case Sign::kUnclear:
      return "No: " + change + ", which is not below zero.";
    case Sign::kBelow:
      break;
  }
  std::vector<std::string> beaten;
  std::vector<std::string> others;
  const VerdictInput::Control* closest = nullptr;
  for (const VerdictInput::Control& control : effect.controls) {
    const Sign sign = sign_of(control.difference);
    if (sign == Sign::kNotMeasured) continue;
    (sign == Sign::kBelow ? beaten : others)
        .push_back(control.name + " (" + with_bounds(control.difference) + ")");
    if (closest == nullptr || control.difference.value > closest->difference.value) {
      closest = &control;
    }
  }
  if (closest == nullptr) return "Cannot be said: " + change + ", but no control was measured.";
  if (others.empty()) {
    return "Yes: " + change + ", further than each of " + std::to_string(beaten.size()) +
           (beaten.size() == 1 ? " control" : " controls") + "; the smallest difference is " +
           with_bounds(closest->difference) + ", from " + closest->name + ".";
  }
  return (beaten.empty() ? "Not shown: " : "In part: ") + change +
         (beaten.empty() ? "" : ", further than " + listed(beaten)) +
         "; not shown to go further than " + listed(others) + ".";
}

/// Does the effect stay with the fact?
std::string specificity(const VerdictInput& input) {
  const bool held_out = !std::isnan(input.held_out.change.value);
  const VerdictInput::Effect& effect = held_out ? input.held_out : input.own;
  const std::string where = held_out ? "held-out prompts" : "own prompts";
  if (std::isnan(effect.change.value) || std::isnan(input.other_facts.value)) {
    return "Not measured.";
  }
  std::string found = "other facts of the relation change by " + with_bounds(input.other_facts);
  if (effect.change.value < 0) {
    const double share = std::max(0.0, input.other_facts.value / effect.change.value);
    found +=
        ", " + cell_text(number_cell(share), CellFormat::kPercent) + " of the effect on " + where;
  }
  const Sign set = sign_of(effect.other_set);
  if (set != Sign::kNotMeasured) {
    found += "; another fact's neurons do less to the fact by " + with_bounds(effect.other_set);
  }
  if (!with_interval(effect.change) || !with_interval(input.other_facts)) {
    return "Cannot be said: " + found + "; " + kTooFew + ".";
  }
  const bool less = input.other_facts.low > effect.change.high;
  const bool own_set = set == Sign::kBelow || set == Sign::kNotMeasured;
  if (!less || !own_set) return "Not shown: " + found + ".";
  return (sign_of(input.other_facts) == Sign::kBelow ? "More than others, not alone: " : "Yes: ") +
         found + ".";
}

/// Two groups of different facts: their difference against the widths of both intervals.
std::string known_and_never(const VerdictInput& input) {
  if (std::isnan(input.known.value) || std::isnan(input.never.value)) {
    return "Not measured: there are no facts of one of the two kinds.";
  }
  const std::string found = with_bounds(input.known) + " where the model knows the fact, " +
                            with_bounds(input.never) + " where it never gives the answer";
  if (!with_interval(input.known) || !with_interval(input.never)) {
    return "Cannot be said: " + found + "; " + kTooFew + ".";
  }
  const bool lower = input.known.value < input.never.value;
  const double towards_known =
      lower ? input.known.high - input.known.value : input.known.value - input.known.low;
  const double towards_never =
      lower ? input.never.value - input.never.low : input.never.high - input.never.value;
  const double apart = std::abs(input.known.value - input.never.value);
  if (apart > std::hypot(towards_known, towards_never)) {
    return std::string("Yes: the effect is ") + (lower ? "stronger" : "weaker") +
           " on known facts, " + found + ".";
  }
  return "Not shown: " + found +
         ". An effect that unknown facts share is no sign of stored knowledge.";
}

std::string updates(const VerdictInput& input) {
  if (!input.update || std::isnan(input.update->difference.value)) return "Not measured.";
  const std::string found = with_bounds(input.update_rate, CellFormat::kPercent) + " succeed, " +
                            with_bounds(input.update->difference, CellFormat::kSignedPercent) +
                            " against " + input.update->name;
  switch (sign_of(input.update->difference)) {
    case Sign::kAbove:
      return "Yes: " + found + ".";
    case Sign::kBelow:
      return "No: " + found + ".";
    case Sign::kNoInterval:
      return "Cannot be said: " + found + "; " + kTooFew + ".";
    default:
      return "Not shown: " + found + ".";
  }
}

}  // namespace

std::vector<VerdictLine> verdict(const VerdictInput& input) {
  return {
      {"More than the controls, on the prompts that located them?", against_controls(input.own)},
      {"And on held-out prompts?", against_controls(input.held_out)},
      {"Specific to the fact?", specificity(input)},
      {"Do known and unknown facts differ?", known_and_never(input)},
      {"Do updates succeed on held-out prompts, more than equal writes elsewhere?", updates(input)},
      {"What cannot be said",
       "That the fact is stored in these neurons, that they are special because they do more "
       "than matched ones, or that a fact whose neurons are off is removed: what is suppressed "
       "may be reached in other ways."}};
}

}  // namespace engram
