#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>

#include "engram/attribution/attribution.h"
#include "engram/error.h"
#include "engram/text/facts.h"

namespace engram::python {

/// Options out of a dict: what is None or not there keeps the library's default.
class Options {
 public:
  explicit Options(const nanobind::dict& values)
      : left_(nanobind::cast<nanobind::dict>(values.attr("copy")())) {}

  template <class T>
  void take(const char* name, T& value) {
    const nanobind::str key(name);
    if (!left_.contains(key)) return;
    const nanobind::object given = left_[key];
    PyDict_DelItem(left_.ptr(), key.ptr());
    if (given.is_none()) return;
    try {
      value = nanobind::cast<T>(given);
    } catch (const nanobind::cast_error&) {
      throw UsageError(std::string(name) + ": got " +
                       nanobind::cast<std::string>(nanobind::repr(given)) +
                       ", which is of another type or out of range");
    }
  }
  template <class T>
  void take(const char* name, std::optional<T>& value) {
    T given{};
    const nanobind::str key(name);
    const bool there = left_.contains(key) && !nanobind::object(left_[key]).is_none();
    take(name, given);
    if (there) value = given;
  }
  /// One that is read by a function of its text.
  template <class Use>
  void text(const char* name, const Use& use) {
    std::optional<std::string> given;
    take(name, given);
    if (given) use(*given);
  }
  /// Throws where something is left that nobody took.
  void done() const {
    for (const auto& [key, value] : left_) {
      throw InternalError("no option is called " + nanobind::cast<std::string>(key));
    }
  }

 private:
  nanobind::dict left_;
};

inline void take_attribution(Options& options, AttributionOptions& how) {
  options.text("score", [&](const std::string& name) { how.score = parse_score(name); });
  options.text("rule", [&](const std::string& name) { how.integration.rule = parse_rule(name); });
  options.take("steps", how.integration.steps);
  options.take("interpolate", how.integration.interpolate);
  options.take("max_steps", how.integration.max_steps);
  options.take("tolerance", how.integration.tolerance);
  options.take("threads", how.threads);
  options.take("memory_bytes", how.memory_bytes);
}

inline void take_choice(Options& options, FactChoice& choice) {
  options.take("relations", choice.relations);
  options.take("per_relation", choice.per_relation);
  options.take("limit", choice.limit);
  options.text("limit_order",
               [&](const std::string& name) { choice.order = parse_limit_order(name); });
}

}  // namespace engram::python
