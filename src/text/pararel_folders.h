#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace engram {

/// Where ParaRel's two halves lie: a file RELATION.jsonl in each.
struct PararelPlace {
  std::filesystem::path facts;
  std::filesystem::path patterns;
  std::string relation;  ///< the only one that is meant; empty: all
};

/// The place that `folder` stands for: a folder with facts/ and patterns/, a checkout of ParaRel
/// (data/trex_lms_vocab/ and data/pattern_data/graphs_json/) or of the paper's code
/// (data/LAMA/raw_data/TREx/ and data/PARAREL/raw_data/patterns/), or any folder inside these on
/// the way to one of the two halves. Throws InputError with the half that is missing.
PararelPlace pararel_folder(const std::filesystem::path& folder);

/// The same for one relation's file in either half; nothing where it has no other half.
std::optional<PararelPlace> pararel_file(const std::filesystem::path& file);

/// The relation whose file has this name: RELATION.jsonl, also packed (RELATION.jsonl.gz).
std::optional<std::string> relation_of(const std::filesystem::path& file);

/// The files of a folder by relation. Throws FileError (no such folder), InputError for a relation
/// that has two.
std::map<std::string, std::filesystem::path> relation_files(const std::filesystem::path& folder);

}  // namespace engram
