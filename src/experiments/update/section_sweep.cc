// The sweep over lambda1, lambda2 and the number of neurons.
#include "experiments/update/section_sweep.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <tuple>

#include "report/text.h"

namespace engram::experiments::update {
namespace {

/// A setting, out of the variant's name "sweep/l1=1,l2=8,n=all".
struct Setting {
  std::string variant;
  double lambda1 = 0, lambda2 = 0;
  std::string neurons;
};

std::optional<Setting> parse_setting(const std::string& variant) {
  const auto field = [&](const std::string& name) -> std::string {
    const size_t at = variant.find(name);
    if (at == std::string::npos) return "";
    const size_t begin = at + name.size();
    return variant.substr(begin, variant.find(',', begin) - begin);
  };
  Setting setting;
  setting.variant = variant;
  const auto number = [](const std::string& text, double& value) {
    const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
    return end.ec == std::errc() && end.ptr == text.data() + text.size();
  };
  setting.neurons = field("n=");
  if (!number(field("l1="), setting.lambda1) || !number(field("l2="), setting.lambda2) ||
      setting.neurons.empty()) {
    return {};
  }
  return setting;
}

struct Swept {
  Setting setting;
  Rates own, held_out, same;
};

std::vector<Swept> read_sweep(const ReportInput& input, const Edits& edits) {
  std::vector<Swept> sweep;
  for (const auto& [variant, list] : edits) {
    if (!is_sweep(variant)) continue;
    const std::optional<Setting> setting = parse_setting(variant);
    if (!setting) continue;
    sweep.push_back({*setting, rates(input, list, kOwn, right_before),
                     rates(input, list, kHeldOut, right_before),
                     rates(input, list, kSameRelation, right_before)});
  }
  const auto count = [](const std::string& neurons) {
    return neurons == "all" ? 1e9 : std::strtod(neurons.c_str(), nullptr);
  };
  std::ranges::sort(sweep, {}, [&](const Swept& one) {
    return std::tuple(one.setting.lambda1, one.setting.lambda2, count(one.setting.neurons));
  });
  return sweep;
}

ReportTable update_sweep_table(const ReportInput& input, const std::vector<Swept>& sweep) {
  ReportTable table = make_table(
      "update-sweep", "Sweep over strength and number of neurons",
      "The paper's setting is lambda1 = 1, lambda2 = 8, all neurons. These are other facts than "
      "those reported above.",
      "Rates as above; n neurons are those that pass the most prompts.",
      {{"lambda1", CellFormat::kText},
       {"lambda2", CellFormat::kText},
       {"neurons", CellFormat::kText},
       {"facts edited", CellFormat::kCount},
       {"own: change rate", CellFormat::kPercent},
       {"own: success rate", CellFormat::kPercent},
       {"held-out: change rate", CellFormat::kPercent},
       {"held-out: success rate", CellFormat::kPercent},
       {"other facts of the relation: rise of perplexity", CellFormat::kSignedPercent}});
  for (const Swept& one : sweep) {
    table.rows.push_back(
        {text_cell(csv_number(one.setting.lambda1)), text_cell(csv_number(one.setting.lambda2)),
         text_cell(one.setting.neurons), number_cell(one.own.edits), interval_cell(one.own.change),
         interval_cell(one.own.success), interval_cell(one.held_out.change),
         interval_cell(one.held_out.success), interval_cell(one.same.relative)});
  }
  if (table.rows.empty()) table.skipped = missing_reason(input, "update");
  return table;
}

/// One parameter's line through the setting that most others share the rest with.
Chart update_sweep_chart(const std::vector<Swept>& sweep, size_t parameter) {
  constexpr std::array<const char*, 3> kNames = {"lambda1", "lambda2", "n"};
  const auto value = [&](const Setting& setting) {
    const std::array<std::string, 3> all = {std::to_string(setting.lambda1),
                                            std::to_string(setting.lambda2), setting.neurons};
    return all[parameter];
  };
  const auto rest = [&](const Setting& setting) {
    std::array<std::string, 3> all = {std::to_string(setting.lambda1),
                                      std::to_string(setting.lambda2), setting.neurons};
    all[parameter].clear();
    return all;
  };
  std::map<std::array<std::string, 3>, std::vector<const Swept*>> lines;
  for (const Swept& one : sweep) lines[rest(one.setting)].push_back(&one);
  const auto longest =
      std::ranges::max_element(lines, {}, [](const auto& line) { return line.second.size(); });
  Chart chart;
  chart.id = std::string("update-sweep-") + kNames[parameter] + "-chart";
  chart.title =
      std::string("Sweep over ") + (parameter == 2 ? "the number of neurons" : kNames[parameter]);
  chart.kind = parameter == 2 ? ChartKind::kBars : ChartKind::kLines;
  chart.x = {parameter == 2 ? "neurons" : std::string(kNames[parameter]) + " (no unit)", false,
             false};
  chart.y = {"rate (%)", false, true};
  if (longest == lines.end() || longest->second.size() < 2) return chart;
  const std::vector<const Swept*>& line = longest->second;
  const Setting& first = line.front()->setting;
  const std::array<std::string, 3> settings = {"lambda1 = " + csv_number(first.lambda1),
                                               "lambda2 = " + csv_number(first.lambda2),
                                               "neurons: " + first.neurons};
  chart.meaning = "The other settings stay as they are: ";
  for (size_t s = 0, shown = 0; s < settings.size(); ++s) {
    if (s != parameter) chart.meaning += (shown++ > 0 ? ", " : "") + settings[s];
  }
  using Get = const Interval& (*)(const Swept&);
  const std::array<std::pair<const char*, Get>, 4> series = {
      std::pair<const char*, Get>{"own: change rate",
                                  [](const Swept& s) -> const Interval& { return s.own.change; }},
      {"own: success rate", [](const Swept& s) -> const Interval& { return s.own.success; }},
      {"held-out: change rate",
       [](const Swept& s) -> const Interval& { return s.held_out.change; }},
      {"held-out: success rate",
       [](const Swept& s) -> const Interval& { return s.held_out.success; }}};
  for (const Swept* one : line) chart.categories.push_back(value(one->setting));
  for (const auto& [name, get] : series) {
    ChartSeries out{name, {}};
    for (size_t i = 0; i < line.size(); ++i) {
      const double x = parameter == 0   ? line[i]->setting.lambda1
                       : parameter == 1 ? line[i]->setting.lambda2
                                        : static_cast<double>(i);
      out.points.push_back({x, 0, get(*line[i])});
    }
    chart.series.push_back(std::move(out));
  }
  if (parameter != 2) chart.categories.clear();
  return chart;
}

}  // namespace

void add_update_sweep(const ReportInput& input, const Edits& edits, ReportSection& section) {
  const std::vector<Swept> sweep = read_sweep(input, edits);
  section.blocks.emplace_back(update_sweep_table(input, sweep));
  for (size_t parameter = 0; parameter < 3; ++parameter) {
    Chart swept = update_sweep_chart(sweep, parameter);
    if (!swept.series.empty()) section.blocks.emplace_back(std::move(swept));
  }
}

}  // namespace engram::experiments::update
