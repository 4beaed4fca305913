#include "cli/report.h"

#include <limits>
#include <memory>
#include <string>

#include "cli/common.h"
#include "cli/paths.h"
#include "engram/base/file.h"
#include "engram/report/tables.h"
#include "engram/store/run_store.h"

namespace engram::cli {
namespace {

constexpr const char* kReportHelp =
    R"(One page with everything that a run holds: what was run, on what and in how long, and
every table and figure of the paper with this run's numbers, 95 % intervals and the
published figures side by side. The page is a single HTML file that fetches nothing;
it reads on a screen, a phone and paper, light and dark, and every table and figure
links to its data. It opens with a verdict of six lines, by the fixed rules of
docs/method.md, and one plot of the neurons beside their controls. What the run does
not hold is listed with the reason in one line at the end.

Intervals come from the bootstrap: relations and, independently, objects are
resampled; with fewer than 10 objects there is none. The report may be made while the run goes on.

Example:
  engram report run.db -o report.html --json tables.json
)";

struct ReportCommand {
  CommonOptions common;
  std::string run;
  std::string out;
  std::string json;
  std::string markdown;
  ReportOptions report;
};

void run_report(const ReportCommand& options) {
  check_outputs(
      {{"--out", options.out}, {"--json", options.json}, {"--markdown", options.markdown}},
      {{"RUN", options.run}});
  RunStore run = RunStore::open(options.run, RunStore::Mode::kRead);
  const RunReport report = make_report(run, options.report);
  const auto write = [](const std::string& path, const std::string& text) {
    AtomicFile file(path);
    file.write(text);
    file.commit();
  };
  write(options.out, report_html(report));
  std::string written = options.out;
  const auto write_also = [&](const std::string& path, const std::string& text) {
    if (path.empty()) return;
    write(path, text);
    written += " and " + path;
  };
  write_also(options.json, report_json(report));
  write_also(options.markdown, report_markdown(report));
  note(options.common, "wrote " + written);
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto options = std::make_shared<ReportCommand>();
  CLI::App* command =
      add_command(app, "report", "a run's tables and figures as one page", kReportHelp);
  add_path(*command, "RUN", options->run, "File of the run.")->required();
  add_path(*command, "-o,--out", options->out, "The page, an HTML file.")->required();
  add_path(*command, "--json", options->json, "All tables and figures as numbers too.");
  add_path(*command, "--markdown", options->markdown, "The tables as a Markdown file too.");
  add_integer(*command, "--draws", options->report.bootstrap.draws, 1, 1'000'000,
              "Draws of the bootstrap. Default: 2000.");
  add_integer(
      *command, "--seed",
      [options](int64_t seed) {
        options->report.seed = static_cast<uint64_t>(seed);
        options->report.bootstrap.seed = static_cast<uint64_t>(seed);
      },
      0, std::numeric_limits<int64_t>::max(),
      "Of the bootstrap and of the random sets in the statistics. Default: 0.");
  command->add_flag("--known-only", options->report.known_only,
                    "Suppression and amplification of facts that the model knows, alone: the "
                    "answer is the top one on at least half of the own prompts.");
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_report(*options); });
}

}  // namespace engram::cli
