#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "engram/text/facts.h"

namespace engram {

/// A fact with texts that were found for it ("distant supervision": they hold the names, nobody
/// looked whether they state the fact). docs/formats.md.
struct DistantFact {
  std::string relation, subject, object;
  std::vector<std::string> with_both;     ///< texts that name subject and object
  std::vector<std::string> with_subject;  ///< texts that name the subject but not the object
};

/// A relation's file in a folder of distant texts.
struct DistantFile {
  std::string relation;
  std::filesystem::path path;
};

/// The files RELATION.jsonl of a folder, plain or packed (RELATION.jsonl.xz), by relation. Throws
/// FileError (no folder), InputError (a relation that has two, or no such file at all).
std::vector<DistantFile> distant_files(const std::filesystem::path& folder);

/// Reads such a file line by line and holds one line at a time. Lines that cannot be used, and a
/// fact's second line, go to
/// `problems` with file and line. Throws as LineReader (engram/base/lines.h), and what `use`
/// throws.
void read_distant(const DistantFile& file, std::vector<FactProblem>& problems,
                  const std::function<void(DistantFact&&)>& use);

}  // namespace engram
