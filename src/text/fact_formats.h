#pragma once

// Fact sets as other projects write them. A format is an entry of one list: how its records are
// known, and the function that makes facts of one.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engram/text/facts.h"

namespace engram {

/// Records of one kind of JSON.
struct FactFormat {
  std::string_view name;  ///< for messages: "CounterFact"
  /// The fields of which a record has every one.
  std::vector<std::string_view> fields;
  /// The facts of a record; their origin is set by the caller. Throws LineError.
  std::vector<Fact> (*read)(const nlohmann::json& record);
  bool prompts_come = false;  ///< a fact that comes again brings more of its prompts
};

/// The first format whose fields `record` has; null: none.
const FactFormat* fact_format_of(const nlohmann::json& record);

/// A prompt that ends where the answer begins, with a mask and a full stop behind it, and `subject`
/// in the place of {} where there is one. A prompt with a mask stays as it is. Throws LineError for
/// a blank one, and for more than one {} or mask.
std::string prompt_of(std::string_view text, const std::string& subject);

std::vector<Fact> read_own_fact(const nlohmann::json& record);
std::vector<Fact> read_counterfact(const nlohmann::json& record);
std::vector<Fact> read_lre_relation(const nlohmann::json& record);
std::vector<Fact> read_known_fact(const nlohmann::json& record);
std::vector<Fact> read_minimal_pair(const nlohmann::json& record);
std::vector<Fact> read_easyedit(const nlohmann::json& record);

/// Columns of CSV and TSV by their names in the header.
class FactColumns {
 public:
  /// Throws LineError, which names the columns that are expected, where one is missing or comes
  /// twice.
  explicit FactColumns(const std::vector<std::string>& header);
  /// A record as a fact with one prompt, which locates or is held out. Throws LineError.
  [[nodiscard]] Fact read(const std::vector<std::string>& fields) const;

 private:
  static constexpr size_t kNone = SIZE_MAX;
  size_t columns_ = 0;
  size_t relation_ = kNone, subject_ = kNone, object_ = kNone, prompt_ = kNone;
  size_t held_out_ = kNone, new_object_ = kNone, uuid_ = kNone;
};

/// Whether a text begins with a header that has a subject and an object, and its delimiter, if it
/// has; 0: it is no table. `start`: its first bytes.
char table_delimiter(std::string_view start);

}  // namespace engram
