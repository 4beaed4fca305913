#include "cli/common.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/base/utf8.h"
#include "engram/edit/working_copy.h"
#include "engram/model/device.h"

namespace engram::cli {
namespace {

constexpr const char* kCommonGroup = "Options of every command";

std::string got(std::string_view text) { return "got \"" + printable(text) + "\""; }

/// A limit as a person writes it: 0.01, 1000000000.
std::string limit_text(double value) {
  std::string text = std::to_string(value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string range_text(const Range& range) {
  const std::string low = limit_text(range.low);
  const std::string high = limit_text(range.high);
  if (!range.above_low && !range.below_high) return "a number from " + low + " to " + high;
  return std::string("a number ") + (range.above_low ? "above " : "of at least ") + low + " and " +
         (range.below_high ? "below " : "at most ") + high;
}

bool holds(const Range& range, double value) {
  return std::isfinite(value) && (range.above_low ? value > range.low : value >= range.low) &&
         (range.below_high ? value < range.high : value <= range.high);
}

/// Turns our own usage errors into CLI11's, which stop its parsing.
template <typename Parse>
auto while_parsing(const Parse& parse) {
  try {
    return parse();
  } catch (const UsageError& error) {
    // An empty option name: the message names the option already.
    throw CLI::ValidationError(error.what());
  }
}

}  // namespace

int64_t parse_integer(std::string_view text, int64_t low, int64_t high, const std::string& what) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc() || stop != end || value < low || value > high) {
    throw UsageError(what + ": " + got(text) + ", expected a whole number from " +
                     std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

double parse_number(std::string_view text, const Range& range, const std::string& what) {
  // strtod instead of from_chars: clang 14's library has no from_chars for double.
  const std::string copy(text);
  char* stop = nullptr;
  const bool plain = !copy.empty() && copy.find_first_not_of("0123456789+-.eE") == copy.npos;
  const double value = plain ? std::strtod(copy.c_str(), &stop) : 0;
  if (!plain || *stop != '\0' || !holds(range, value)) {
    throw UsageError(what + ": " + got(text) + ", expected " + range_text(range));
  }
  return value;
}

int64_t parse_size(std::string_view text, const std::string& what) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  std::string_view unit = digits == text.npos ? std::string_view() : text.substr(digits);
  double factor = 1;
  bool known = true;
  if (!unit.empty()) {
    const std::string_view prefixes = "KMGT";
    const auto power = prefixes.find(static_cast<char>(std::toupper(unit.front())));
    const std::string_view rest = unit.substr(power == prefixes.npos ? 0 : 1);
    known = rest.empty() || rest == "B" || (rest == "iB" && power != prefixes.npos);
    if (power != prefixes.npos) factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  double value = -1;
  if (known && digits != 0) {
    try {
      value = factor * parse_number(text.substr(0, digits), {0, 1e18}, what);
    } catch (const UsageError&) {
      value = -1;
    }
  }
  constexpr double kLeast = 1 << 20;
  if (value < kLeast || value > 1e18) {
    throw UsageError(what + ": " + got(text) +
                     ", expected a size of at least 1M, like 512M, 4G or 1.5GiB");
  }
  return static_cast<int64_t>(value);
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& summary,
                      const std::string& text) {
  CLI::App* command = app.add_subcommand(name, summary);
  command->footer(text);
  return command;
}

CLI::Option* add_integer(CLI::App& command, const std::string& name,
                         std::function<void(int64_t)> set, int64_t low, int64_t high,
                         const std::string& description) {
  const auto parse = [=, set = std::move(set)](const std::string& text) {
    set(while_parsing([&] { return parse_integer(text, low, high, name); }));
  };
  return command.add_option_function<std::string>(name, parse, description)->type_name("N");
}

CLI::Option* add_number(CLI::App& command, const std::string& name, std::function<void(double)> set,
                        const Range& range, const std::string& description) {
  const auto parse = [=, set = std::move(set)](const std::string& text) {
    set(while_parsing([&] { return parse_number(text, range, name); }));
  };
  return command.add_option_function<std::string>(name, parse, description)->type_name("X");
}

CLI::Option* add_choice(CLI::App& command, const std::string& name,
                        const std::vector<std::string>& names, std::function<void(size_t)> set,
                        const std::string& description) {
  std::string listed;
  std::string type;
  for (size_t i = 0; i < names.size(); ++i) {
    listed += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
    type += (i == 0 ? "" : "|") + names[i];
  }
  const auto parse = [=, set = std::move(set)](const std::string& text) {
    const auto found = std::ranges::find(names, text);
    if (found == names.end()) {
      throw CLI::ValidationError(name + ": " + got(text) + ", expected " + listed);
    }
    set(static_cast<size_t>(found - names.begin()));
  };
  return command.add_option_function<std::string>(name, parse, description)->type_name(type);
}

namespace {

/// Adds the options that all commands share to one command.
class CommonGroup {
 public:
  CommonGroup(CLI::App& command, CommonOptions& options)
      : command_(command),
        options_(options),
        unused_(std::make_shared<std::vector<std::string>>()) {}

  void add_json() {
    if (has("--json")) return;
    command_
        .add_flag("--json", options_.json,
                  "Print the result as JSON (docs/formats.md) instead of tables.")
        ->group(kCommonGroup);
  }
  void add_quiet() {
    if (has("--quiet")) return;
    command_
        .add_flag("--quiet", options_.quiet, "No remarks and no progress: only results and errors.")
        ->group(kCommonGroup);
  }
  /// An option with a value; `used`: it changes something in this command.
  void add(const std::string& name, const std::string& type,
           std::function<void(const std::string&)> parse, bool used, const std::string& text) {
    if (has(name)) return;
    const auto unused = unused_;
    command_
        .add_option_function<std::string>(
            name,
            [=, parse = std::move(parse)](const std::string& value) {
              while_parsing([&] { parse(value); });
              if (!used) unused->push_back(name);
            },
            used ? text : "Changes nothing in this command.")
        ->type_name(type)
        ->group(kCommonGroup);
  }
  /// Before the command runs: what was given for nothing.
  void remark_on_unused() {
    command_.parse_complete_callback([unused = unused_, &options = options_, &command = command_] {
      for (const std::string& name : *unused) {
        note(options, name + " changes nothing in `" + command.get_name() + "`");
      }
    });
  }

 private:
  [[nodiscard]] bool has(const std::string& name) const {
    return command_.get_option_no_throw(name) != nullptr;
  }
  CLI::App& command_;
  CommonOptions& options_;
  std::shared_ptr<std::vector<std::string>> unused_;
};

}  // namespace

void add_common_options(CLI::App& command, CommonOptions& options, const Uses& uses) {
  CommonGroup group(command, options);
  group.add_json();
  group.add(
      "--device", "cpu|cuda|auto",
      [&options](const std::string& text) {
        if (text != "cpu" && text != "cuda" && text != "auto") {
          throw UsageError("--device: " + got(text) + ", expected cpu, cuda or auto");
        }
        options.device = text;
      },
      uses.device,
      "Where to compute: cpu (default), cuda, or auto, which takes the GPU where there is one. "
      "cuda needs `make cuda` once.");
  group.add(
      "--threads", "N",
      [&options](const std::string& text) {
        options.threads = static_cast<int>(parse_integer(text, 1, 4096, "--threads"));
      },
      uses.threads,
      "Workers, each on one core. Default: one per core. Results do not depend on it.");
  group.add(
      "--memory", "SIZE",
      [&options](const std::string& text) { options.memory_bytes = parse_size(text, "--memory"); },
      uses.memory,
      "Budget for the buffers of all workers, like 512M or 4G (the weights come on top). "
      "Default: half of what is free, and 256M for each worker that attributes. A run (--run) "
      "cuts its batches without it, so that its results are the same bits, and takes as many "
      "workers as fit in.");
  group.add(
      "--seed", "N",
      [&options](const std::string& text) {
        options.seed = static_cast<uint64_t>(
            parse_integer(text, 0, std::numeric_limits<int64_t>::max(), "--seed"));
      },
      uses.seed, "Seed of every random choice. Default: 0.");
  group.add_quiet();
  group.remark_on_unused();
}

LoadedModel load_model(const std::filesystem::path& directory, const CommonOptions& common) {
  WorkingCopy::check_whole(directory);
  const at::Device device = open_device(common.device);
  // More than there are cores would only wait; OpenMP ends a program that it cannot have them in.
  const int cores = usable_cores();
  at::set_num_threads(common.threads > 0 ? std::min(common.threads, cores) : cores);
  LoadedModel loaded{Model::load(directory, device), Tokenizer::load(directory)};
  const int64_t rows = loaded.model.config().vocabulary;
  const int64_t tokens = loaded.tokenizer.vocabulary();
  if (tokens > rows) {
    throw InputError(directory.string() + ": the tokenizer has " + std::to_string(tokens) +
                     " tokens, expected at most the " + std::to_string(rows) +
                     " of config.json's vocab_size: they belong to different models");
  }
  Interrupt::check();
  return loaded;
}

namespace {

thread_local const std::function<void(std::string_view)>* output_sink = nullptr;

[[noreturn]] void throw_output_error() {
  if (errno == EPIPE) throw ReaderLeft();
  throw FileError(std::string("stdout: cannot write: ") + system_message(errno));
}

}  // namespace

OutputTo::OutputTo(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {
  output_sink = &sink_;
}

OutputTo::~OutputTo() { output_sink = nullptr; }

bool output_is_taken() { return output_sink != nullptr; }

void print(std::string_view text) {
  if (output_sink != nullptr) {
    (*output_sink)(text);
    return;
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) throw_output_error();
}

void flush_output() {
  if (output_sink != nullptr) return;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) throw_output_error();
}

std::string json_text(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void print_json(const nlohmann::ordered_json& value, int indent) {
  print(json_text(value, indent) + "\n");
}

nlohmann::ordered_json interval_json(const Interval& interval) {
  return {{"value", interval.value}, {"low", interval.low}, {"high", interval.high}};
}

std::string problems_text(const std::vector<FactProblem>& problems, const std::string& heading) {
  constexpr std::size_t kMost = 20;
  if (problems.empty()) return "";
  std::string out = "\n" + heading + ":\n";
  for (std::size_t i = 0; i < problems.size() && i < kMost; ++i) {
    out += "  " + printable(problem_text(problems[i])) + "\n";
  }
  if (problems.size() > kMost) {
    out += "  and " + format_count(static_cast<int64_t>(problems.size() - kMost)) +
           " more (--json and --out list all)\n";
  }
  return out;
}

void note(const CommonOptions& common, std::string_view text) {
  if (common.quiet) return;
  const std::string line = "engram: " + printable(text) + "\n";
  std::fputs(line.c_str(), stderr);
}

void warn(std::string_view text) {
  const std::string line = "engram: warning: " + printable(text) + "\n";
  std::fputs(line.c_str(), stderr);
}

}  // namespace engram::cli
