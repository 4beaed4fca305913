#include "cli/edit.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/edit_make.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/edit/difference.h"
#include "engram/edit/working_copy.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kEditHelp =
    R"(Edits of a model: `update`, `erase` and `rome` compute one and write it to a file, a
delta; `apply` makes a working copy of the model with deltas applied, which knows its
history; `list`, `undo` and `export` work on that copy. MODEL is never touched.

Example:
  engram edit update models/engram-base --relation P36 --subject France --to Rome \
                     --out rome.safetensors
  engram edit apply  models/engram-base rome.safetensors --to edited
  engram predict     edited "The capital of France is [MASK]."
  engram edit undo   edited
  engram edit export edited --to plain
)";

constexpr const char* kApplyHelp =
    R"(Makes DIR, a copy of MODEL's files with the deltas applied in the order given, all
or nothing. Where DIR is a working copy of MODEL already, they are applied on top,
one after the other; MODEL may then be DIR itself.

Only the value vectors of a delta's neurons change, bit for bit to what it holds. A
neuron that two edits change holds the later one's value; this is said. Weights in
other formats than safetensors and lists of checksums are not copied. A process that
is killed leaves DIR as it was, or as it should be: the next `engram edit` command
puts it right.

A delta of another model is refused with both fingerprints.

Example:
  engram edit apply models/engram-base rome.safetensors --to edited
)";

constexpr const char* kUndoHelp =
    R"(Takes the newest edit of a working copy back, bit for bit. Any other ID is refused:
the edits after it were applied to what it left.

Example:
  engram edit undo edited
)";

constexpr const char* kDiffHelp =
    R"(Which tensors of two checkpoints differ, by value; of second FFN matrices, which
neurons' value vectors: their lengths in A and B, the length of the difference and
its largest number.

Example:
  engram edit diff models/engram-base edited
)";

constexpr const char* kExportHelp =
    R"(Writes the working copy as a plain checkpoint: the files of the model with the
weights as they are now, no history, nothing of engram's. DIR2 must not exist yet, or
be empty.

Example:
  engram edit export edited --to plain
)";

constexpr const char* kListHelp =
    R"(The edits of a working copy, the newest last.

Example:
  engram edit list edited
)";

std::string neurons_text(const std::vector<NeuronId>& neurons, size_t most) {
  std::string text;
  for (size_t i = 0; i < neurons.size() && i < most; ++i) {
    text += (i > 0 ? " " : "") + std::to_string(neurons[i].layer) + ":" +
            std::to_string(neurons[i].neuron);
  }
  return neurons.size() > most
             ? text + " and " + format_count(static_cast<int64_t>(neurons.size() - most)) + " more"
             : text;
}

std::string what_text(const EditReason& why) {
  if (why.kind == EditKind::kErase) {
    return why.relation + " (" + erase_mode_name(why.mode) + ")";
  }
  return why.relation + " " + why.subject + ": " + why.object + " → " + why.target +
         (why.kind == EditKind::kRome ? " (ROME)" : "");
}

Json edit_json(int64_t number, const Delta& delta) {
  const EditReason& why = delta.why;
  Json out = {{"id", number}, {"kind", edit_kind_name(why.kind)}, {"relation", why.relation}};
  if (why.kind == EditKind::kErase) {
    out["mode"] = erase_mode_name(why.mode);
  } else {
    out["subject"] = why.subject;
    out["object"] = why.object;
    out["target"] = why.target;
  }
  if (why.kind == EditKind::kUpdate) {
    out["lambda1"] = why.lambda1;
    out["lambda2"] = why.lambda2;
  }
  out["score"] = why.score;
  out["rule"] = why.rule;
  out["selection"] = why.selection;
  out["version"] = why.version;
  out["side_effects"] = side_effects_json(why.side_effects);
  auto& neurons = out["neurons"] = Json::array();
  for (const NeuronId id : delta.neurons()) neurons.push_back({id.layer, id.neuron});
  return out;
}

Json header(const char* record, const std::string& directory) {
  return {{"schema", "engram.edit/1"}, {"record", record}, {"directory", directory}};
}

WorkingCopy open_copy(const std::string& directory, const CommonOptions& common) {
  WorkingCopy copy = WorkingCopy::open(directory);
  if (copy.repaired()) {
    note(common, directory + ": an edit that was cut off has been taken back");
  }
  return copy;
}

// ---- apply ------------------------------------------------------------------------------------

struct ApplyOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::string> deltas;
  std::string to;
};

void run_apply(const ApplyOptions& options) {
  std::vector<Delta> deltas;
  for (const std::string& file : options.deltas) deltas.push_back(read_delta(file));
  std::vector<AppliedEdit> done;
  const bool fresh = !WorkingCopy::is_one(options.to);
  const WorkingCopy copy = [&] {
    if (fresh) return WorkingCopy::create(options.model, options.to, deltas, &done);
    WorkingCopy there = open_copy(options.to, options.common);
    there.check_base(options.model);
    for (const Delta& delta : deltas) there.check(delta);
    for (const Delta& delta : deltas) done.push_back(there.apply(delta));
    return there;
  }();
  if (options.common.json) {
    Json out = header("apply", options.to);
    out["base"] = copy.base();
    out["new"] = fresh;
    auto& list = out["edits"] = Json::array();
    for (size_t i = 0; i < done.size(); ++i) {
      Json edit = edit_json(done[i].number, deltas[i]);
      edit["changed"] = done[i].changed;
      edit["replaced"] = done[i].replaced;
      list.push_back(edit);
    }
    print_json(out);
    return;
  }
  Table table({{"id"}, {"edit", Table::Align::kLeft}, {"neurons"}, {"changed"}, {"replaced"}});
  int64_t replaced = 0;
  for (size_t i = 0; i < done.size(); ++i) {
    table.add_row({std::to_string(done[i].number), printable(what_text(deltas[i].why)),
                   format_count(done[i].neurons), format_count(done[i].changed),
                   format_count(done[i].replaced)});
    replaced += done[i].replaced;
  }
  print((fresh ? "new working copy " : "working copy ") + printable(options.to) + "\n\n" +
        table.str());
  if (replaced > 0) {
    print("\nreplaced: value vectors that did not hold what the edit was made from, because " +
          std::string("another edit had changed them; the newest values hold\n"));
  }
}

// ---- list, undo, export
// ---------------------------------------------------------------------------

struct CopyOptions {
  CommonOptions common;
  std::string directory;
  std::optional<int64_t> id;  ///< undo
  std::string to;             ///< export
};

/// What each edit did to other facts when it was made.
void print_side_effects(std::span<const Delta> edits) {
  std::string text;
  for (size_t i = 0; i < edits.size(); ++i) {
    for (const SideEffect& one : edits[i].why.side_effects) {
      if (one.facts > 0) text += "  " + std::to_string(i + 1) + "  " + side_effect_text(one) + "\n";
    }
  }
  if (!text.empty()) print("\nOther facts, as measured when the edit was made\n" + text);
}

void run_list(const CopyOptions& options) {
  const WorkingCopy copy = open_copy(options.directory, options.common);
  if (options.common.json) {
    Json out = header("list", options.directory);
    out["base"] = copy.base();
    auto& list = out["edits"] = Json::array();
    for (size_t i = 0; i < copy.edits().size(); ++i) {
      list.push_back(edit_json(static_cast<int64_t>(i) + 1, copy.edits()[i]));
    }
    print_json(out);
    return;
  }
  print("working copy of " + printable(copy.base()) + "\n\n");
  if (copy.edits().empty()) {
    print("  no edits: the weights are the model's\n");
    return;
  }
  Table table({{"id"},
               {"kind", Table::Align::kLeft},
               {"what", Table::Align::kLeft},
               {"neurons", Table::Align::kLeft},
               {"located by", Table::Align::kLeft},
               {"engram", Table::Align::kLeft}});
  for (size_t i = 0; i < copy.edits().size(); ++i) {
    const Delta& edit = copy.edits()[i];
    table.add_row({std::to_string(i + 1), edit_kind_name(edit.why.kind),
                   shorten(printable(what_text(edit.why)), 48), neurons_text(edit.neurons(), 4),
                   printable(edit.why.score + " " + edit.why.rule), printable(edit.why.version)});
  }
  print(table.str());
  print_side_effects(copy.edits());
}

void run_undo(const CopyOptions& options) {
  WorkingCopy copy = open_copy(options.directory, options.common);
  if (copy.edits().empty()) copy.undo();  // says why not
  const auto number = static_cast<int64_t>(copy.edits().size());
  const Delta edit = copy.edits().back();
  copy.undo(options.id.value_or(0));
  if (options.common.json) {
    Json out = header("undo", options.directory);
    out["undone"] = edit_json(number, edit);
    out["edits"] = copy.edits().size();
    print_json(out);
    return;
  }
  print("took back edit " + std::to_string(number) + ", " + printable(what_text(edit.why)) + "; " +
        (copy.edits().empty() ? std::string("the weights are the model's again")
                              : format_count(static_cast<int64_t>(copy.edits().size())) + " left") +
        "\n");
}

void run_export(const CopyOptions& options) {
  const WorkingCopy copy = open_copy(options.directory, options.common);
  copy.export_to(options.to);
  if (options.common.json) {
    Json out = header("export", options.directory);
    out["to"] = options.to;
    out["edits"] = copy.edits().size();
    print_json(out);
    return;
  }
  print("wrote " + printable(options.to) + ", a plain checkpoint with " +
        format_count(static_cast<int64_t>(copy.edits().size())) +
        (copy.edits().size() == 1 ? " edit" : " edits") + " in its weights\n");
}

// ---- diff
// -----------------------------------------------------------------------------------------

struct DiffOptions {
  CommonOptions common;
  std::string a, b;
  int64_t show = 20;
};

Json tensor_json(const TensorDifference& tensor) {
  Json out = {{"name", tensor.name}};
  out["a"] = tensor.shape_a.empty() ? Json(nullptr) : Json(tensor.shape_a);
  out["b"] = tensor.shape_b.empty() ? Json(nullptr) : Json(tensor.shape_b);
  out["elements"] = tensor.elements;
  out["different"] = tensor.different;
  out["change"] = tensor.change;
  out["largest"] = tensor.largest;
  if (tensor.layer < 0) return out;
  out["layer"] = tensor.layer;
  auto& neurons = out["neurons"] = Json::array();
  for (const ColumnDifference& column : tensor.columns) {
    neurons.push_back({{"neuron", column.id.neuron},
                       {"a", column.a},
                       {"b", column.b},
                       {"change", column.change},
                       {"largest", column.largest}});
  }
  return out;
}

std::string tensor_remark(const TensorDifference& tensor) {
  if (tensor.shape_a.empty()) return "only in B";
  if (tensor.shape_b.empty()) return "only in A";
  if (tensor.shape_a != tensor.shape_b) return tensor.shape_a + " against " + tensor.shape_b;
  if (tensor.layer < 0) return "";
  const size_t count = tensor.columns.size();
  return format_count(static_cast<int64_t>(count)) +
         (count == 1 ? " value vector" : " value vectors");
}

void run_diff(const DiffOptions& options) {
  for (const std::string& directory : {options.a, options.b}) {
    WorkingCopy::check_whole(directory);
  }
  const CheckpointDifference found = diff_checkpoints(options.a, options.b);
  if (options.common.json) {
    Json out = {
        {"schema", "engram.edit/1"}, {"record", "diff"}, {"a", options.a}, {"b", options.b}};
    out["tensors"] = found.tensors;
    auto& list = out["changed"] = Json::array();
    for (const TensorDifference& tensor : found.changed) list.push_back(tensor_json(tensor));
    print_json(out);
    return;
  }
  print(format_count(static_cast<int64_t>(found.changed.size())) + " of " +
        format_count(found.tensors) + " tensors differ\n");
  if (found.changed.empty()) return;
  Table tensors({{"tensor", Table::Align::kLeft},
                 {"numbers"},
                 {"change"},
                 {"largest"},
                 {"", Table::Align::kLeft}});
  Table neurons({{"neuron"}, {"|A|"}, {"|B|"}, {"|B - A|"}, {"largest"}});
  int64_t columns = 0;
  for (const TensorDifference& tensor : found.changed) {
    tensors.add_row({printable(tensor.name), format_count(tensor.different),
                     format_number(tensor.change), format_number(tensor.largest),
                     printable(tensor_remark(tensor))});
    for (const ColumnDifference& column : tensor.columns) {
      if (++columns > options.show) continue;
      neurons.add_row({neuron_name(column.id), format_number(column.a), format_number(column.b),
                       format_number(column.change), format_number(column.largest)});
    }
  }
  print("\n" + tensors.str());
  if (columns == 0 || options.show == 0) return;
  print("\nValue vectors (" + format_count(std::min(columns, options.show)) + " of " +
        format_count(columns) + ")\n" + neurons.str());
}

void add_apply(CLI::App& edit) {
  auto options = std::make_shared<ApplyOptions>();
  CLI::App* command = add_command(edit, "apply", "a working copy with edits", kApplyHelp);
  add_model(*command, options->model, "Folder of the model that the edits are for.")->required();
  command->add_option("DELTA", options->deltas, "Files that update, erase or rome wrote.")
      ->required()
      ->expected(1, -1);
  add_path(*command, "--to", options->to, "The working copy. Required.")
      ->type_name("DIR")
      ->required();
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_apply(*options); });
}

std::shared_ptr<CopyOptions> add_copy_command(CLI::App& edit, const std::string& name,
                                              const std::string& summary, const std::string& text,
                                              void (*run)(const CopyOptions&), CLI::App*& command) {
  auto options = std::make_shared<CopyOptions>();
  command = add_command(edit, name, summary, text);
  add_path(*command, "DIR", options->directory, "The working copy.")->required();
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options, run] { run(*options); });
  return options;
}

void add_diff(CLI::App& edit) {
  auto options = std::make_shared<DiffOptions>();
  CLI::App* command = add_command(edit, "diff", "what differs between two checkpoints", kDiffHelp);
  add_path(*command, "A", options->a, "Folder of a model or working copy.")->required();
  add_path(*command, "B", options->b, "The other one.")->required();
  add_integer(*command, "--show", options->show, 0, 1'000'000'000,
              "Value vectors to print in the table. Default: 20.");
  add_common_options(*command, options->common, kUsesNothing);
  command->callback([options] { run_diff(*options); });
}

}  // namespace

void add_edit_command(CLI::App& app) {
  CLI::App* edit = add_command(app, "edit", "update facts, erase relations, undo it", kEditHelp);
  add_edit_update_command(*edit);
  add_edit_erase_command(*edit);
  add_edit_rome_command(*edit);
  add_apply(*edit);
  CLI::App* command = nullptr;
  add_copy_command(*edit, "list", "the edits of a working copy", kListHelp, run_list, command);
  auto undo =
      add_copy_command(*edit, "undo", "take the newest edit back", kUndoHelp, run_undo, command);
  add_integer(*command, "ID", undo->id, 1, 1'000'000'000,
              "The edit to take back, the newest one. Default: that.");
  add_diff(*edit);
  auto exporting = add_copy_command(*edit, "export", "a plain checkpoint of a working copy",
                                    kExportHelp, run_export, command);
  add_path(*command, "--to", exporting->to, "The new folder. Required.")
      ->type_name("DIR2")
      ->required();
}

}  // namespace engram::cli
