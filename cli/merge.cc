#include "cli/merge.h"

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/store/run_store.h"

namespace engram::cli {
namespace {

constexpr const char* kMergeHelp =
    R"(Joins the parts of a run that several machines made (`engram reproduce --shard 1/4`
and so on) into one new file with the same content as one run over everything.

The parts must be of one run: the same model, facts, seed and options. Where two
parts hold the same piece of work, they must agree to the last bit. What does not
belong together is refused with the difference, and nothing is written.

What needs all relations at once is made afterwards: the `reproduce` command without
--shard, on the joined file, does it and whatever else the parts left open. What that
is, and the command, is said when the parts are joined.

Example:
  engram merge run.db part-1.db part-2.db part-3.db part-4.db
)";

struct MergeOptions {
  CommonOptions common;
  std::string out;
  std::vector<std::string> in;
};

/// Experiments that are not done for every relation, in the order of their names; the run's
/// identity names all that there are.
std::vector<std::string> open_experiments(RunStore& run) {
  const size_t relations = run.read("relation").size();
  std::map<std::string, std::set<std::string>> done;
  for (const Unit& unit : run.units()) done[unit.experiment].insert(unit.relation);
  std::vector<std::string> open;
  for (const auto& [name, version] : run.identity()) {
    if (!name.starts_with(kAlgorithmPrefix)) continue;
    const std::string experiment = name.substr(kAlgorithmPrefix.size());
    const std::set<std::string>& relations_done = done[experiment];
    if (!relations_done.contains("") && relations_done.size() < relations) {
      open.push_back(experiment);
    }
  }
  return open;
}

/// The command of the parts' last session, on the joined file and for all relations. Empty: none of
/// them names a run.
std::string command_to_go_on(RunStore& run, const std::string& out) {
  const std::vector<RunSession> sessions = run.sessions();
  if (sessions.empty()) return {};
  static const std::regex kOfAPart(R"( --(shard|only)[ =]\S+)");
  static const std::regex kRun(R"( --run[ =]('[^']*'|\S+))");
  const std::string command = std::regex_replace(sessions.back().command, kOfAPart, "");
  if (!std::regex_search(command, kRun)) return {};
  // A "$" in the name would be read as a group.
  const std::string shown = std::regex_replace(out, std::regex(R"(\$)"), "$$$$");
  return std::regex_replace(command, kRun, " --run " + shown);
}

void run_merge(const MergeOptions& options) {
  merge_runs(options.out, {options.in.begin(), options.in.end()});
  RunStore run = RunStore::open(options.out, RunStore::Mode::kRead);
  const auto units = static_cast<int64_t>(run.units().size());
  const std::vector<std::string> open = open_experiments(run);
  const std::string command = open.empty() ? "" : command_to_go_on(run, options.out);
  if (options.common.json) {
    nlohmann::ordered_json out = {{"schema", "engram.merge/1"}, {"run", options.out}};
    out["parts"] = options.in;
    out["units"] = units;
    out["open"] = open;
    out["command"] = command;
    print_json(out);
    return;
  }
  note(options.common, "wrote " + options.out + ": " + format_count(units, "work unit") + " from " +
                           format_count(static_cast<int64_t>(options.in.size()), "file"));
  if (open.empty()) return;
  std::string names;
  for (const std::string& name : open) names += (names.empty() ? "" : ", ") + name;
  note(options.common, "not done yet for all relations: " + names +
                           "; the command without --shard does it" +
                           (command.empty() ? "" : ": " + command));
}

}  // namespace

void add_merge_command(CLI::App& app) {
  auto options = std::make_shared<MergeOptions>();
  CLI::App* command = add_command(app, "merge", "parts of a run into one", kMergeHelp);
  add_path(*command, "OUT.db", options->out, "File to make; it must not exist.")->required();
  command->add_option("IN.db", options->in, "Files of the parts.")->type_name("FILE")->required();
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_merge(*options); });
}

}  // namespace engram::cli
