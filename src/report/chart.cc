#include "engram/report/chart.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "engram/error.h"
#include "engram_crates.h"
#include "report/json.h"
#include "report/relations.h"

namespace engram {
namespace {

using Text = std::unique_ptr<char, decltype(&engram_crates_free_text)>;

}  // namespace

std::string chart_svg(const Chart& chart, int width) {
  nlohmann::ordered_json json = chart_json(chart);
  if (chart.relations) {
    for (auto& name : json["categories"]) name = relation_title(name.get<std::string>());
  }
  json["width"] = width;
  json["height"] = chart.height;
  const std::string text = dump_json(json);
  char* error = nullptr;
  const Text svg(
      engram_crates_chart_svg(reinterpret_cast<const uint8_t*>(text.data()), text.size(), &error),
      engram_crates_free_text);
  const Text message(error, engram_crates_free_text);
  if (!svg) {
    throw InternalError("chart " + chart.id + ": " + (message ? message.get() : "no reason given"));
  }
  return svg.get();
}

}  // namespace engram
