// The command `engram`: its commands and what all of them are run by.
#include "cli/attribute.h"
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

int main(int argc, char** argv) {
  using namespace engram::cli;
  const auto set_up = [](CLI::App& app) {
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
    add_texts_command(app);
    add_report_command(app);
    add_status_command(app);
    add_merge_command(app);
    add_export_command(app);
    add_help_command(app);
  };
  return run_program("engram", "knowledge neurons: find, test and edit them", set_up, argc, argv);
}
