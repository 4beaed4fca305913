#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/texts/experiment_mask.h"
#include "text/distant.h"

namespace engram::experiments::texts {

/// Texts of one fact, by kind.
struct FactTexts {
  std::string subject, object;
  std::array<std::vector<std::string>, kTextKinds.size()> texts;
  [[nodiscard]] const std::vector<std::string>& of(TextKind kind) const {
    return texts[static_cast<size_t>(kind)];
  }
};

/// The texts of a folder (text/distant.h) as the experiment takes them: a seeded sample of at most
/// `per_kind` texts of each kind. What a fact gets depends on the folder and the seed alone.
/// Tails come from texts with head and tail of the relation's other facts with the same object,
/// random ones from all texts of other relations, of which a seeded sample of kRandomPool for each
/// relation is kept in memory. Both must not hold the fact's other names.
class TextSource {
 public:
  static constexpr int64_t kRandomPool = 200;

  /// Reads every file once. Throws as distant_files() and read_distant().
  TextSource(const std::filesystem::path& folder, int64_t per_kind, uint64_t seed);

  /// Texts of the relation's facts that the folder has, by subject and object; reads its file.
  [[nodiscard]] std::map<std::pair<std::string, std::string>, FactTexts> of(
      const std::string& relation) const;
  /// Lines of the relation's file that could not be used.
  [[nodiscard]] std::span<const FactProblem> problems(const std::string& relation) const;

 private:
  int64_t per_kind_;
  uint64_t seed_;
  std::vector<DistantFile> files_;
  std::vector<std::vector<std::string>> pools_;     ///< per file
  std::vector<std::vector<FactProblem>> problems_;  ///< per file

  [[nodiscard]] std::vector<std::string> sample(std::vector<std::string> texts,
                                                uint64_t seed) const;
  [[nodiscard]] std::vector<std::string> random_texts(const DistantFact& fact) const;
};

}  // namespace engram::experiments::texts
