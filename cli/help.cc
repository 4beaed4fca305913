#include "cli/help.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/usage.h"
#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kColumn = 26;  // where descriptions start

constexpr const char* kOverview =
    R"(Finds the neurons of a language model that carry a fact, and shows what happens
to that fact and to others when they are switched off or doubled.

A MODEL is a Hugging Face folder with config.json, model.safetensors (or shards)
and a tokenizer: a masked model (BERT, RoBERTa, DistilBERT, ELECTRA's generator)
or a causal one (GPT-2, GPT-NeoX, Llama, Mistral, Qwen2, Qwen3, Gemma). A prompt is
a sentence with [MASK] in the place of the answer; that of a causal model ends where
the answer begins, with or without the [MASK].

A tour, with the model that comes with the program:
  engram inspect   models/engram-base
  engram predict   models/engram-base "The capital of France is [MASK]."
  engram attribute models/engram-base --prompt "The capital of France is [MASK]." \
                   --answer Paris --picture paris.svg
  engram locate    models/engram-base --facts models/engram-base/facts.jsonl \
                   --limit 20 --out neurons.jsonl
  engram intervene models/engram-base --facts models/engram-base/facts.jsonl \
                   --neurons neurons.jsonl --do zero
)";

constexpr const char* kExitCodes = R"(Exit codes:
    0  done
    2  usage: invalid option or argument
    3  input: a model, fact set or prompt that cannot be used
    4  files and disk: cannot be read or written, full, closed
   70  internal error: please report it
  130  interrupted (Ctrl-C); a second Ctrl-C stops at once
  141  the reader of the output went away (`| head`); there is no message

Messages go to stderr, results to stdout. `engram help COMMAND` explains a command.
)";

/// `text` in lines of at most kWidth columns, all but the first indented by kColumn.
std::string wrapped(const std::string& text) {
  std::istringstream words(text);
  std::string out;
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && kColumn + display_width(line) + 1 + display_width(word) > kWidth) {
      out += line + "\n" + std::string(kColumn, ' ');
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return out + line;
}

std::string entry(const std::string& left, const std::string& description) {
  std::string out = "  " + left;
  const std::size_t width = display_width(out);
  if (description.empty()) return out + "\n";
  out += width + 2 > kColumn ? "\n" + std::string(kColumn, ' ') : std::string(kColumn - width, ' ');
  return out + wrapped(description) + "\n";
}

/// "IN..." where several values are taken.
std::string positional_name(const CLI::Option& option) {
  return option.get_name(true) + (option.get_items_expected_max() > 1 ? "..." : "");
}

std::string option_name(const CLI::Option& option) {
  if (option.get_positional()) return positional_name(option);
  std::string name = option.get_name(false, true);
  const bool takes_value = option.get_items_expected_max() > 0;
  return takes_value ? name + " " + option.get_type_name() : name;
}

std::string make_help(const CLI::App& app, const std::string& name) {
  const bool top = app.get_parent() == nullptr;
  std::string out = top ? "engram " ENGRAM_VERSION ": " + app.get_description() + "\n\n"
                        : name + ": " + app.get_description() + "\n\n";
  const bool has_commands = !app.get_subcommands({}).empty();
  std::string usage =
      "Usage: " + name + (has_commands ? " COMMAND" : "") + (top ? " [OPTIONS]" : "");
  std::string arguments;
  std::vector<std::pair<std::string, std::string>> groups;
  for (const CLI::Option* option : app.get_options()) {
    const std::string line = entry(option_name(*option), option->get_description());
    if (option->get_positional()) {
      const std::string positional = positional_name(*option);
      usage += option->get_required() ? " " + positional : " [" + positional + "]";
      arguments += line;
      continue;
    }
    const std::string& group = option->get_group();
    auto found = groups.begin();
    while (found != groups.end() && found->first != group) ++found;
    if (found == groups.end()) found = groups.insert(found, {group, ""});
    found->second += line;
  }
  out += usage + (top ? "" : " [OPTIONS]") + "\n\n";
  if (top) out += std::string(kOverview) + "\n";
  if (!app.get_footer().empty()) out += app.get_footer() + "\n";
  if (has_commands) {
    out += "Commands:\n";
    for (const CLI::App* command : app.get_subcommands({})) {
      out += entry(command->get_name(), command->get_description());
    }
    out += "\n";
  }
  if (!arguments.empty()) out += "Arguments:\n" + arguments + "\n";
  // A command's own options first, then those that all have.
  for (const bool own : {true, false}) {
    for (const auto& [group, lines] : groups) {
      if ((group == "Options") == own) out += group + ":\n" + lines + "\n";
    }
  }
  return out + (top ? kExitCodes : "Exit codes: `engram help`.\n");
}

}  // namespace

void set_up_help(CLI::App& app) {
  app.set_help_flag("-h,--help", "Print this help.");
  app.set_version_flag("--version", std::string("engram ") + ENGRAM_VERSION, "Print the version.");
  app.formatter_fn([](const CLI::App* of, const std::string& name, CLI::AppFormatMode) {
    return make_help(*of, name);
  });
}

void add_help_command(CLI::App& app) {
  auto topic = std::make_shared<std::vector<std::string>>();
  auto common = std::make_shared<CommonOptions>();
  CLI::App* command = add_command(app, "help", "explain a command",
                                  "Examples:\n  engram help\n  engram help edit update\n");
  command->add_option("COMMAND", *topic, "The command to explain. Default: all of them, in short.");
  add_common_options(*command, *common, kUsesNothing);
  command->callback([&app, topic, common] {
    const CLI::App* about = &app;
    std::string name = app.get_name();
    for (const std::string& word : *topic) {
      const auto commands = about->get_subcommands({});
      const auto found = std::ranges::find(commands, word, &CLI::App::get_name);
      if (found == commands.end()) {
        std::vector<std::string> names;
        for (const CLI::App* one : commands) names.push_back(one->get_name());
        const std::string near = nearest_name(word, names);
        throw UsageError("there is no command \"" + printable(word) + "\"" +
                         (near.empty() ? "" : " (did you mean " + near + "?)") + "; see `" +
                         (about == &app ? "engram help" : "engram help " + about->get_name()) +
                         "`");
      }
      about = *found;
      name += " " + word;
    }
    print(make_help(*about, name));
  });
}

}  // namespace engram::cli
