#include "cli/usage.h"

#include <algorithm>

#include "cli/terminal.h"

namespace engram::cli {
namespace {

/// Letters to insert, remove, replace or swap with their neighbour to make `a` of `b`.
size_t slips_between(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool has_subcommand(const CLI::App& app, const std::string& word) {
  return std::ranges::count(command_names(app), word) > 0;
}

bool any_command_has(const CLI::App& app, const std::string& option) {
  const auto commands = app.get_subcommands({});
  return std::ranges::any_of(commands, [&](const CLI::App* command) {
    return command->get_option_no_throw(option) != nullptr || any_command_has(*command, option);
  });
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& names) {
  const std::string near = nearest_name(word, names);
  return near.empty() ? "" : " (did you mean " + near + "?)";
}

/// A walk over the words, as CLI11 takes them.
class Walk {
 public:
  Walk(const CLI::App& app, const std::vector<std::string>& words) : app_(&app), words_(words) {
    path_ = app.get_name();
    while (at_ < words_.size() && !done_) step(words_[at_++]);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string message() const {
    if (asks_for_help_) return "";
    if (!command_.empty()) return command_;
    if (unknown_.empty()) return "";
    std::string text = unknown_.size() == 1 ? "unknown option " : "unknown options ";
    for (size_t i = 0; i < unknown_.size(); ++i) text += (i > 0 ? ", " : "") + unknown_[i];
    return text;
  }

 private:
  void step(const std::string& word) {
    if (word == "--") {
      done_ = true;
    } else if (word.size() > 1 && word.front() == '-') {
      step_option(word);
    } else if (has_subcommand(*app_, word)) {
      app_ = app_->get_subcommand(word);
      path_ += " " + word;
    } else if (!command_names(*app_).empty() && unknown_.empty()) {
      command_ = "there is no command \"" + path_after_program() + word + "\"" +
                 did_you_mean(word, command_names(*app_));
      done_ = true;
    }
  }

  void step_option(const std::string& word) {
    const bool is_long = word[1] == '-';
    const size_t equals = word.find('=');
    const std::string name = is_long ? word.substr(0, equals) : word.substr(0, 2);
    const CLI::Option* option = app_->get_option_no_throw(name);
    if (option == nullptr) {
      const bool early = !command_names(*app_).empty() && any_command_has(*app_, name);
      unknown_.push_back(is_long ? name : word);
      unknown_.back() +=
          early ? " (options stand after the command)" : did_you_mean(name, option_names(*app_));
      // Whether a value follows is not known: no word is taken for a command after this one.
      done_ = !command_names(*app_).empty();
      return;
    }
    asks_for_help_ =
        asks_for_help_ || option == app_->get_help_ptr() || option == app_->get_version_ptr();
    const bool value_is_here = is_long ? equals != std::string::npos : word.size() > 2;
    if (value_is_here || option->get_items_expected_max() == 0) return;
    at_ += static_cast<size_t>(std::max(option->get_items_expected_min(), 1));
  }

  [[nodiscard]] std::string path_after_program() const {
    const size_t space = path_.find(' ');
    return space == std::string::npos ? "" : path_.substr(space + 1) + " ";
  }

  const CLI::App* app_;
  const std::vector<std::string>& words_;
  size_t at_ = 0;
  bool done_ = false;
  bool asks_for_help_ = false;
  std::string path_;
  std::string command_;
  std::vector<std::string> unknown_;
};

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& names) {
  std::string best;
  size_t fewest = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const bool begins = word.size() >= 4 && name.starts_with(word);
    const size_t slips = begins ? 1 : slips_between(word, name);
    if (slips >= fewest) continue;
    fewest = slips;
    best = name;
  }
  return best;
}

std::string unknown_words(const CLI::App& app, const std::vector<std::string>& words) {
  return Walk(app, words).message();
}

std::string command_of(const CLI::App& app, const std::vector<std::string>& words) {
  return Walk(app, words).path();
}

}  // namespace engram::cli
