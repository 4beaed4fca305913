#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace engram::pretrain {

/// Calls `line` for every line (without its newline) of a text file, plain or packed, until it
/// returns false. Throws FileError (unreadable), InputError (a damaged packed file).
void for_each_line(const std::filesystem::path& file,
                   const std::function<bool(std::string_view)>& line);

/// The files of `directory` that start with `prefix`, sorted by name. Throws FileError when there
/// are none.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& directory,
                                            const std::string& prefix);

/// One row of the fact sentences.
struct FactRow {
  std::vector<std::string> relations;  ///< all that hold between subject and object
  std::string subject, object, sentence;
};

/// The rows of facts/sentences-*.tsv.xz whose source is wikiA or wikiB: text under CC BY-SA. The
/// other sources' licences do not allow a model that is free for all.
std::vector<FactRow> read_fact_rows(const std::filesystem::path& directory);

/// Paragraphs of wiki/wiki-*.txt.xz, without titles, until `bytes` are read.
std::vector<std::string> read_paragraphs(const std::filesystem::path& directory, size_t bytes);

/// What is said about one relation.
struct Phrasings {
  std::string label;
  std::vector<std::string> trained;   ///< with [X] for the subject and [Y] for the object
  std::vector<std::string> held_out;  ///< never trained on
};

/// All of phrasings.json.
struct PhrasingFile {
  std::map<std::string, Phrasings> relations;  ///< by Wikidata property
  std::vector<std::string> openers;            ///< put before a prompt now and then in training
  std::vector<std::string> closers;            ///< put behind one
};

/// Reads phrasings.json. Throws FileError, InputError (a phrasing without exactly one [X] and one
/// [Y], a phrasing twice, no phrasing held out).
PhrasingFile read_phrasings(const std::filesystem::path& file);

/// The phrasing with the subject put in and `[MASK]` for the object.
std::string fill_phrasing(const std::string& phrasing, const std::string& subject);

}  // namespace engram::pretrain
