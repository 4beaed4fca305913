#include "pretrain/corpus.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/base/file.h"
#include "engram/base/lines.h"
#include "engram/error.h"
#include "src/base/json.h"

namespace engram::pretrain {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (true) {
    const size_t end = text.find(by, at);
    parts.emplace_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) return parts;
    at = end + 1;
  }
}

size_t occurrences(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

void replace_first(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

}  // namespace

void for_each_line(const fs::path& file, const std::function<bool(std::string_view)>& line) {
  LineReader lines(file);
  std::string text;
  while (lines.next(text) && line(text)) {
  }
}

std::vector<fs::path> files_of(const fs::path& directory, const std::string& prefix) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename().string().starts_with(prefix)) files.push_back(entry.path());
  }
  if (files.empty()) {
    throw FileError(directory.string() + ": no file that starts with \"" + prefix + "\"");
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<FactRow> read_fact_rows(const fs::path& directory) {
  std::vector<FactRow> rows;
  for (const fs::path& file : files_of(directory, "sentences-")) {
    int64_t number = 0;
    for_each_line(file, [&](std::string_view line) {
      ++number;
      std::vector<std::string> cells = split(line, '\t');
      if (cells.size() != 5) {
        throw InputError(file.string() + ":" + std::to_string(number) + ": " +
                         std::to_string(cells.size()) + " columns, expected 5");
      }
      if (cells[4] == "wikiA" || cells[4] == "wikiB") {
        rows.push_back(
            {split(cells[0], ','), std::move(cells[1]), std::move(cells[2]), std::move(cells[3])});
      }
      return true;
    });
  }
  return rows;
}

std::vector<std::string> read_paragraphs(const fs::path& directory, size_t bytes) {
  std::vector<std::string> paragraphs;
  size_t read = 0;
  for (const fs::path& file : files_of(directory, "wiki-")) {
    bool title = true;  // the first line of an article; a blank line ends the article
    for_each_line(file, [&](std::string_view line) {
      if (line.empty()) {
        title = true;
      } else if (title) {
        title = false;
      } else {
        paragraphs.emplace_back(line);
        read += line.size();
      }
      return read < bytes;
    });
    if (read >= bytes) break;
  }
  return paragraphs;
}

PhrasingFile read_phrasings(const fs::path& file) {
  PhrasingFile result;
  const auto fail = [&](const std::string& what) { throw InputError(file.string() + ": " + what); };
  try {
    const nlohmann::json json = read_json_file(file, 64 << 20);
    json.at("openers").get_to(result.openers);
    json.at("closers").get_to(result.closers);
    for (const auto& [relation, entry] : json.at("relations").items()) {
      Phrasings& phrasings = result.relations[relation];
      entry.at("label").get_to(phrasings.label);
      entry.at("trained").get_to(phrasings.trained);
      entry.at("held_out").get_to(phrasings.held_out);
      if (phrasings.trained.empty() || phrasings.held_out.empty()) {
        fail(relation + " needs phrasings under \"trained\" and under \"held_out\"");
      }
      std::set<std::string> seen;
      for (const auto* list : {&phrasings.trained, &phrasings.held_out}) {
        for (const std::string& phrasing : *list) {
          if (occurrences(phrasing, "[X]") != 1 || occurrences(phrasing, "[Y]") != 1) {
            fail(relation + ": \"" + phrasing + "\" must have one [X] and one [Y]");
          }
          if (!seen.insert(phrasing).second) {
            fail(relation + ": \"" + phrasing + "\" stands there twice");
          }
        }
      }
    }
  } catch (const nlohmann::json::exception& error) {
    fail(error.what());
  }
  return result;
}

std::string fill_phrasing(const std::string& phrasing, const std::string& subject) {
  std::string text = phrasing;
  replace_first(text, "[Y]", "[MASK]");  // first, since a subject may hold anything
  replace_first(text, "[X]", subject);
  return text;
}

}  // namespace engram::pretrain
