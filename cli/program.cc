#include "cli/program.h"

#include "cli/attribute.h"
#include "cli/audit.h"
#include "cli/common.h"
#include "cli/compare.h"
#include "cli/edit.h"
#include "cli/export.h"
#include "cli/help.h"
#include "cli/inspect.h"
#include "cli/intervene.h"
#include "cli/lens.h"
#include "cli/locate.h"
#include "cli/memories.h"
#include "cli/merge.h"
#include "cli/neuron.h"
#include "cli/predict.h"
#include "cli/process.h"
#include "cli/report.h"
#include "cli/reproduce.h"
#include "cli/status.h"
#include "cli/texts.h"

namespace engram::cli {
namespace {

constexpr const char* kName = "engram";
constexpr const char* kDescription = "knowledge neurons: find, test and edit them";

void set_up(CLI::App& app) {
  set_up_help(app);
  add_inspect_command(app);
  add_predict_command(app);
  add_attribute_command(app);
  add_lens_command(app);
  add_neuron_command(app);
  add_memories_command(app);
  add_locate_command(app);
  add_compare_command(app);
  add_intervene_command(app);
  add_edit_command(app);
  add_reproduce_command(app);
  add_audit_command(app);
  add_texts_command(app);
  add_report_command(app);
  add_status_command(app);
  add_merge_command(app);
  add_export_command(app);
  add_help_command(app);
}

}  // namespace

int run_engram(int argc, char** argv) {
  return run_program(kName, kDescription, set_up, argc, argv);
}

void call_engram(const std::vector<std::string>& words,
                 const std::function<void(std::string_view)>& out) {
  const OutputTo captured(out);
  run_words(kName, kDescription, set_up, words);
}

}  // namespace engram::cli
