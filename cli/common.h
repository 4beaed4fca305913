#pragma once

#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/terminal.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/statistics/bootstrap.h"
#include "engram/text/facts.h"
#include "engram/text/tokenizer.h"

// What all commands share. A command is one pair of files:
//
//   // locate.h
//   struct LocateOptions { CommonOptions common; std::string model; ... };
//   void add_locate_command(CLI::App& app);
//
//   // locate.cc
//   void add_locate_command(CLI::App& app) {
//     auto options = std::make_shared<LocateOptions>();
//     CLI::App* command = add_command(app, "locate", "facts in, knowledge neurons out", kHelp);
//     add_path(*command, "MODEL", options->model, "...")->required();
//     add_integer(*command, "--limit", options->limit, 1, 1'000'000'000, "...");
//     add_common_options(*command, options->common);
//     command->callback([options] { run_locate(*options); });
//   }
//
// A command throws what the library throws; main() maps it to the exit code. Results go through
// print() or print_json(), remarks for people through note() and warn(); nothing else writes to
// stdout or stderr.
namespace engram::cli {

/// Options that every command takes.
struct CommonOptions {
  bool json = false;           ///< results for machines instead of tables
  std::string device = "cpu";  ///< "cpu", "cuda" or "auto"; see open_device()
  int threads = 0;             ///< workers; 0: one per core
  int64_t memory_bytes = 0;    ///< budget for buffers; 0: half of what is free
  uint64_t seed = 0;           ///< of every random choice
  bool quiet = false;          ///< no remarks and no progress, only results and errors
};

/// Adds a subcommand: `summary` in one line for `engram help`, `text` the paragraphs of its own
/// help (what is computed, examples), printed between usage and options.
CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& summary,
                      const std::string& text);

/// Which of the options below change something in a command.
struct Uses {
  bool device = true;
  bool threads = true;
  bool memory = true;
  bool seed = true;
};
constexpr Uses kUsesNothing{false, false, false, false};

/// Adds --json, --device, --threads, --memory, --seed and --quiet, as far as the command has no
/// option of its own by that name. Every command takes all of them, so that a script can pass them
/// on; one that changes nothing in this command says so in the help, and in a remark when it is
/// given. `options` must outlive `command`.
void add_common_options(CLI::App& command, CommonOptions& options, const Uses& uses = {});

/// An option that takes a whole decimal number from `low` to `high`; anything else is a usage error
/// that says so. `low` and `high` bound what `value` (int, int64_t, uint64_t, optional of them)
/// gets.
CLI::Option* add_integer(CLI::App& command, const std::string& name,
                         std::function<void(int64_t)> set, int64_t low, int64_t high,
                         const std::string& description);
template <typename T>
CLI::Option* add_integer(CLI::App& command, const std::string& name, T& value, int64_t low,
                         int64_t high, const std::string& description) {
  return add_integer(
      command, name, [&value](int64_t parsed) { value = static_cast<T>(parsed); }, low, high,
      description);
}
template <typename T>
CLI::Option* add_integer(CLI::App& command, const std::string& name, std::optional<T>& value,
                         int64_t low, int64_t high, const std::string& description) {
  return add_integer(
      command, name, [&value](int64_t parsed) { value = static_cast<T>(parsed); }, low, high,
      description);
}

/// A range of numbers with or without its ends.
struct Range {
  double low = 0;
  double high = 0;
  bool above_low = false;   ///< `low` itself is not in it
  bool below_high = false;  ///< `high` itself is not in it
};
/// The numbers above 0 up to `high`.
constexpr Range above_zero(double high) { return {0, high, true, false}; }

/// The same as add_integer for finite numbers.
CLI::Option* add_number(CLI::App& command, const std::string& name, std::function<void(double)> set,
                        const Range& range, const std::string& description);
template <typename T>  // double or optional<double>
CLI::Option* add_number(CLI::App& command, const std::string& name, T& value, const Range& range,
                        const std::string& description) {
  return add_number(command, name, [&value](double parsed) { value = parsed; }, range, description);
}
template <typename T>
CLI::Option* add_number(CLI::App& command, const std::string& name, T& value, double low,
                        double high, const std::string& description) {
  return add_number(command, name, value, Range{low, high}, description);
}

/// An option that takes one of a few names; any other is a usage error that lists them.
CLI::Option* add_choice(CLI::App& command, const std::string& name,
                        const std::vector<std::string>& names, std::function<void(size_t)> set,
                        const std::string& description);
template <typename T>
CLI::Option* add_choice(CLI::App& command, const std::string& name, T& value,
                        const std::vector<std::pair<std::string, T>>& choices,
                        const std::string& description) {
  std::vector<std::string> names;
  for (const auto& [text, meant] : choices) names.push_back(text);
  return add_choice(
      command, name, names, [&value, choices](size_t i) { value = choices[i].second; },
      description);
}

/// Whole text as a number in the range, or UsageError that names `what` (for lists and the like).
int64_t parse_integer(std::string_view text, int64_t low, int64_t high, const std::string& what);
double parse_number(std::string_view text, const Range& range, const std::string& what);
/// "4G", "512M", "1.5GiB", "1000000" -> bytes. Throws UsageError.
int64_t parse_size(std::string_view text, const std::string& what);

/// A model with its tokenizer.
struct LoadedModel {
  Model model;
  Tokenizer tokenizer;
};
/// Opens the device, loads both, and checks that they fit each other. Also bounds libtorch's own
/// threads: library calls that run one worker per core set theirs themselves.
LoadedModel load_model(const std::filesystem::path& directory, const CommonOptions& common);

/// Nobody reads stdout any more, as with `| head`: the program ends without a message.
class ReaderLeft : public Error {
 public:
  ReaderLeft() : Error(ExitCode::kReaderLeft, "stdout: its reader went away") {}
};

/// While it lives, what this thread prints goes to `sink` instead of stdout: for a program that
/// runs a command inside itself. Not nested.
class OutputTo {
 public:
  explicit OutputTo(std::function<void(std::string_view)> sink);
  ~OutputTo();
  OutputTo(const OutputTo&) = delete;
  OutputTo& operator=(const OutputTo&) = delete;

 private:
  std::function<void(std::string_view)> sink_;
};

/// Whether such a program runs this command.
bool output_is_taken();

/// Writes to stdout. Throws FileError when stdout is closed or full, ReaderLeft.
void print(std::string_view text);
/// Writes one JSON value and '\n' to stdout; `indent` < 0: on one line. Numbers that JSON cannot
/// hold (NaN) become null, invalid UTF-8 is replaced.
void print_json(const nlohmann::ordered_json& value, int indent = -1);
/// The same text for a file.
std::string json_text(const nlohmann::ordered_json& value, int indent = -1);
/// Flushes stdout. Throws as print(). main() calls it before it returns 0.
void flush_output();

/// An object of `value`, `low` and `high`.
nlohmann::ordered_json interval_json(const Interval& interval);

/// What could not be used, under `heading`: the first 20, and how many more. Empty without any.
std::string problems_text(const std::vector<FactProblem>& problems, const std::string& heading);

/// A remark for people, on stderr, "engram: TEXT"; nothing with --quiet.
void note(const CommonOptions& common, std::string_view text);
/// The same with "engram: warning: TEXT"; also with --quiet.
void warn(std::string_view text);

}  // namespace engram::cli
