#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

// What is wrong with a command line that CLI11 reports late, in another order or not at all.
namespace engram::cli {

/// Of `names`, the one that was probably meant by `word` (a slip or two of the fingers, or its
/// beginning); empty where none is near.
std::string nearest_name(const std::string& word, const std::vector<std::string>& names);

/// The first fault of the words after the program's name: a command that is not there, or all
/// options that the command does not have, in their order, each with "did you mean". Empty: none.
/// CLI11 would name what is missing before it, and the unknown ones backwards.
std::string unknown_words(const CLI::App& app, const std::vector<std::string>& words);

/// The command that the words name, as far as they do: "engram edit undo".
std::string command_of(const CLI::App& app, const std::vector<std::string>& words);

}  // namespace engram::cli
