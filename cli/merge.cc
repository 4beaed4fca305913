#include "cli/merge.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
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
--shard, on the joined file, does it and whatever else the parts left open.

Example:
  engram merge run.db part-1.db part-2.db part-3.db part-4.db
)";

struct MergeOptions {
  CommonOptions common;
  std::string out;
  std::vector<std::string> in;
};

void run_merge(const MergeOptions& options) {
  merge_runs(options.out, {options.in.begin(), options.in.end()});
  RunStore run = RunStore::open(options.out, RunStore::Mode::kRead);
  const auto units = static_cast<int64_t>(run.units().size());
  if (options.common.json) {
    nlohmann::ordered_json out = {{"schema", "engram.merge/1"}, {"run", options.out}};
    out["parts"] = options.in;
    out["units"] = units;
    print_json(out);
    return;
  }
  note(options.common, "wrote " + options.out + ": " + format_count(units) + " work units from " +
                           format_count(static_cast<int64_t>(options.in.size())) + " files");
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
