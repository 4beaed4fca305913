#pragma once

// How a folder's tokenizer is read. The work lies in four files: which class (tokenizer_class.cc),
// added and special tokens (tokenizer_added.cc), what each class makes (tokenizer_making.cc), and
// the rest (tokenizer_files.cc).

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/tokenizer_decoders.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_parts.h"

namespace engram::tokenizer_files {

using nlohmann::json;

/// How a class of transformers makes its tokenizer. All but kAsFile take no more than the
/// vocabulary (and merges) out of tokenizer.json: the rest comes from the class and the settings.
enum class Making { kWordPiece, kByteLevel, kUnigram, kDecoder, kAsFile };

inline constexpr std::array<const char*, 7> kNamedTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/// Whether there is something at `path`; a folder that cannot be entered is an error.
bool is_there(const std::filesystem::path& path);
/// The text under `key`; "" where there is none or something else.
std::string text_at(const json& object, const char* key);

/// The folder, file by file; what is not there is an empty object.
struct Folder {
  explicit Folder(const std::filesystem::path& place);
  std::filesystem::path path;
  json config;
  json settings;
  json special_map;
  json added;
  std::optional<json> file;  ///< tokenizer.json
};

/// Reads one folder. A class so that the parts of it share the folder and the list of decisions.
class Planner {
 public:
  explicit Planner(const std::filesystem::path& directory) : folder_(directory) {}
  TokenizerPlan plan();

 private:
  struct NamedToken {
    AddedToken token;
    std::string source;
  };
  using Named = std::optional<NamedToken>;

  void find_class();
  /// Whether tokenizer.json splits text into bytes.
  [[nodiscard]] bool file_has_bytes() const;
  /// For a folder that tells nothing: the file itself, or the family whose files they are.
  std::string class_of_files(std::string& from) const;
  [[noreturn]] void throw_no_tokenizer() const;
  [[noreturn]] void fail(const std::string& file, const std::string& what) const;
  void refuse_unsupported() const;
  void decide(const std::string& name, const std::string& value, const std::string& source,
              const std::string& instead = "");
  /// A setting of tokenizer_config.json that is true, false, or (where `nullable`) null.
  json flag(const char* key, const json& fallback, bool nullable) const;
  /// A setting with its decision: `said` is what tokenizer.json has in its place.
  json decided_flag(const std::string& what, const char* key, const json& fallback, bool nullable,
                    const std::optional<json>& said);
  /// Named tokens and added ones, in the order and with the precedence of transformers 5: with
  /// added_tokens_decoder in tokenizer_config.json that list alone, without it
  /// special_tokens_map.json over the settings, added_tokens.json, and tokenizer.json's own.
  void collect_tokens();
  void read_decoder(const json& decoder);
  void read_added_tokens(const json& named);
  void read_tokens_of_file();
  /// The token that the folder, or else the class, gives this name.
  void take_named(const json& named, const char* key);
  [[nodiscard]] bool from_map(const char* key) const;
  [[nodiscard]] std::string default_token(std::string_view key) const;
  /// Puts the tokens into the pipeline. A token of the class that no file has is left out: it
  /// would get a row that the model has not.
  void add_tokens();
  /// The mask of a folder that names none: what the families call it.
  void find_mask(const std::vector<std::string>& there,
                 const std::function<void(const AddedToken&)>& put_if_new);
  /// Whether the pipeline's model has this token.
  [[nodiscard]] bool in_vocabulary(const std::string& token) const;
  /// The id of a token of the class, in the vocabulary or added to it; refused if it has none.
  json id_of(const char* key) const;
  /// tokenizer.json's part, or null.
  [[nodiscard]] json part(const char* key) const;
  /// tokenizer.json's model, which must be of this type with a vocabulary of this JSON type.
  json model_of_file(const char* type, bool object);
  void decide_ends(const char* begin, const char* end);
  void make_wordpiece();
  /// A vocabulary with its merges, of tokenizer.json or of the older files.
  std::pair<json, json> read_merges();
  void make_byte_level();
  void make_unigram();
  void make_decoder();
  void take_file();

  Folder folder_;
  Making making_ = Making::kAsFile;
  const DecoderClass* decoder_ = nullptr;  ///< where making_ is kDecoder
  std::string class_;                      ///< without "Fast"
  std::string instead_of_class_;
  std::map<int64_t, NamedToken> listed_;  ///< added tokens by the id that their file gives
  std::map<std::string, Named> named_;
  std::vector<AddedToken> extra_;
  std::vector<std::string> map_keys_;  ///< of special_tokens_map.json, where it is in force
  json pipeline_;
  TokenizerPlan plan_;
};

}  // namespace engram::tokenizer_files
