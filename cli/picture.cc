#include "cli/picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "cli/ranking.h"
#include "cli/terminal.h"
#include "engram/report/markup.h"

namespace engram::cli {
namespace {

// Pixels. Text is measured by a rough average, since a file cannot ask a font.
constexpr double kPictureWidth = 1120;
constexpr double kMargin = 28;
constexpr double kLabels = 46;  // layer numbers left of the lanes
constexpr double kLanes = 610;  // width of the neurons' panel
constexpr double kGutter = 34;
constexpr double kTop = 132;
constexpr double kLetter = 6.1;  // width of a letter at 11 px
constexpr int64_t kMostDots = 1500;
constexpr double kLeastShare = 0.01;  // of the largest |score|: smaller dots would not be seen
constexpr double kPaperShare = 0.2;   // threshold of the preset dai2022
constexpr size_t kMostLabels = 24;

// Colours stand in the rules themselves, not in CSS variables, which converters to PNG and PDF do
// not know; the dark set overrides the light one.
constexpr const char* kStyle = R"(
.engram{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.engram text{fill:#1c2430;font-size:11px}
.engram .title{font-size:21px;font-weight:600}
.engram .head{font-size:13px;font-weight:600}
.engram .num{font-variant-numeric:tabular-nums}
.engram .soft{fill:#5d6875} .engram .answer{fill:#0f7b4f}
.engram .paper{fill:#ffffff} .engram .lane{fill:#f2f4f7}
.engram .rule{stroke:#d4d9e0;stroke-width:1}
.engram .plus{fill:#1769aa} .engram .minus{fill:#c2571a}
.engram .dot{fill-opacity:.75} .engram .dim{fill-opacity:.35} .engram .dot:hover{fill-opacity:1}
.engram .label{font-size:10px;paint-order:stroke;stroke:#f2f4f7;stroke-width:3px}
.engram .bar{fill:#9dbfdc} .engram .barminus{fill:#e6b596}
.engram .delta{stroke:#1c2430;stroke-width:2}
@media (prefers-color-scheme:dark){
.engram text{fill:#e8ecf1}
.engram .soft{fill:#9aa5b1} .engram .answer{fill:#4fce98}
.engram .paper{fill:#12161c} .engram .lane{fill:#1b212a}
.engram .rule{stroke:#38414d}
.engram .plus{fill:#62b0ee} .engram .minus{fill:#f0945a}
.engram .label{stroke:#1b212a}
.engram .bar{fill:#2f5f88} .engram .barminus{fill:#7d4a29}
.engram .delta{stroke:#e8ecf1}
}
)";
constexpr const char* kPageStyle = R"(
body{margin:0 auto;max-width:1120px;padding:8px;background:#ffffff;color:#1c2430;
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
svg{width:100%;height:auto;display:block}
table{border-collapse:collapse;margin:8px 28px 28px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;font-size:13px;padding:8px 0}
th,td{text-align:right;padding:3px 18px 3px 0;border-bottom:1px solid #d4d9e0}
th{font-weight:500;color:#5d6875}
@media (prefers-color-scheme:dark){
body{background:#12161c;color:#e8ecf1}
th,td{border-color:#38414d} th{color:#9aa5b1}
}
)";

std::string escape(const std::string& text) { return escaped_markup(printable(text)); }

/// A coordinate.
std::string px(double value) {
  std::array<char, 32> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return {buffer.data(), static_cast<size_t>(length)};
}

std::string text_at(double x, double y, const std::string& css, const std::string& text,
                    const std::string& anchor = "start") {
  return "<text x=\"" + px(x) + "\" y=\"" + px(y) + "\" class=\"" + css + "\" text-anchor=\"" +
         anchor + "\">" + text + "</text>\n";
}

std::string rectangle(double x, double y, double width, double height, const std::string& css,
                      const std::string& title = "") {
  return "<rect x=\"" + px(x) + "\" y=\"" + px(y) + "\" width=\"" + px(std::max(width, 0.0)) +
         "\" height=\"" + px(height) + "\" rx=\"2\" class=\"" + css + "\">" +
         (title.empty() ? "" : "<title>" + title + "</title>") + "</rect>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& css) {
  return "<line x1=\"" + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) + "\" y2=\"" + px(y2) +
         "\" class=\"" + css + "\"/>\n";
}

/// Where everything lies.
struct Layout {
  int64_t layers, d_ff;
  double lane;    ///< height of a lane with its gap
  double bottom;  ///< of the panels
  double height;
  double lanes_left = kMargin + kLabels;
  double bars_left = kMargin + kLabels + kLanes + kGutter;
  double bars_width = kPictureWidth - kMargin - bars_left - 112;

  explicit Layout(const at::Tensor& scores) : layers(scores.size(0)), d_ff(scores.size(1)) {
    lane = std::clamp(440.0 / static_cast<double>(layers), 17.0, 46.0);
    bottom = kTop + lane * static_cast<double>(layers);
    height = bottom + 74;
  }
  /// The last layer is on top.
  [[nodiscard]] double top_of(int64_t layer) const {
    return kTop + lane * static_cast<double>(layers - 1 - layer);
  }
  [[nodiscard]] double middle_of(int64_t layer) const { return top_of(layer) + lane / 2; }
  [[nodiscard]] double x_of(int64_t neuron) const {
    const double inset = 10;
    return lanes_left + inset +
           (kLanes - 2 * inset) * (static_cast<double>(neuron) + 0.5) / static_cast<double>(d_ff);
  }
};

/// The prompt with the answer in the mask's place.
std::string title_of(const PictureInput& input) {
  const std::string answer = "<tspan class=\"answer\">" + escape(input.answer) + "</tspan>";
  const size_t at = input.prompt.find(input.mask);
  if (input.mask.empty() || at == std::string::npos) return escape(input.prompt) + " " + answer;
  const std::string before = input.prompt.substr(0, at);
  const std::string after = input.prompt.substr(at + input.mask.size());
  // Long prompts lose their far ends, not the words around the answer.
  constexpr size_t kRoom = 44;
  std::string head = before;
  if (display_width(head) > kRoom) {
    size_t cut = head.size();
    while (cut > 0 && display_width(head.substr(cut)) < kRoom - 1) --cut;
    while (cut < head.size() && (static_cast<unsigned char>(head[cut]) & 0xC0U) == 0x80U) ++cut;
    head = "…" + head.substr(cut);
  }
  return escape(head) + answer + escape(shorten(after, kRoom));
}

std::string lanes(const Layout& layout) {
  std::string out =
      text_at(layout.lanes_left, kTop - 14, "head", "Neurons of the feed-forward layers, by score");
  for (int64_t layer = 0; layer < layout.layers; ++layer) {
    out +=
        rectangle(layout.lanes_left, layout.top_of(layer) + 1.5, kLanes, layout.lane - 3, "lane");
    out += text_at(layout.lanes_left - 8, layout.middle_of(layer) + 4, "soft num",
                   std::to_string(layer), "end");
  }
  out += "<text transform=\"translate(" + px(kMargin + 6) + " " + px((kTop + layout.bottom) / 2) +
         ") rotate(-90)\" class=\"soft\" text-anchor=\"middle\">" + "layer</text>\n";
  for (int tick = 0; tick <= 4; ++tick) {
    const int64_t neuron = std::min(layout.d_ff - 1, layout.d_ff * tick / 4);
    out += text_at(layout.x_of(neuron), layout.bottom + 15, "soft num", std::to_string(neuron),
                   "middle");
  }
  return out;
}

double radius_of(double share, double lane) {
  return std::max(1.2, std::sqrt(share) * std::min(15.0, lane * 0.46));
}

/// The strongest neurons as dots, the largest drawn first so that small ones stay reachable, and
/// numbers beside the top ones where there is room.
std::string dots(const Layout& layout, const std::vector<RankedNeuron>& ranked) {
  struct Taken {
    int64_t layer;
    double left, right;
  };
  std::string circles;
  std::string labels;
  std::vector<Taken> taken;
  const double largest = ranked.empty() ? 0 : std::fabs(ranked.front().score);
  size_t labelled = 0;
  for (const RankedNeuron& neuron : ranked) {
    const double share = largest > 0 ? std::fabs(neuron.score) / largest : 0;
    if (share < kLeastShare || largest == 0) break;
    const double x = layout.x_of(neuron.neuron);
    const double y = layout.middle_of(neuron.layer);
    const double radius = radius_of(share, layout.lane);
    circles += "<circle cx=\"" + px(x) + "\" cy=\"" + px(y) + "\" r=\"" + px(radius) +
               "\" class=\"dot " + (share < kPaperShare ? "dim " : "") +
               (neuron.score >= 0 ? "plus" : "minus") + "\"><title>layer " +
               std::to_string(neuron.layer) + ", neuron " + std::to_string(neuron.neuron) +
               ": score " + format_signed(neuron.score) + ", activation " +
               format_number(neuron.activation) + "</title></circle>\n";
    if (share < kPaperShare || labelled >= kMostLabels) continue;
    const std::string name = std::to_string(neuron.neuron);
    const double width = kLetter * static_cast<double>(name.size());
    for (const bool right : {true, false}) {
      const double left = right ? x + radius + 3 : x - radius - 3 - width;
      const bool inside = left > layout.lanes_left && left + width < layout.lanes_left + kLanes;
      const bool free = std::none_of(taken.begin(), taken.end(), [&](const Taken& other) {
        return other.layer == neuron.layer && left < other.right + 2 &&
               left + width > other.left - 2;
      });
      if (!inside || !free) continue;
      labels += text_at(left, y + 3.5, "label num", name);
      taken.push_back({neuron.layer, left, left + width});
      ++labelled;
      break;
    }
    taken.push_back({neuron.layer, x - radius, x + radius});
  }
  return circles + labels;
}

std::string bars(const Layout& layout, const std::vector<LayerReport>& layers) {
  double least = 0;
  double most = 0;
  for (const LayerReport& l : layers) {
    least = std::min({least, l.sum, l.delta});
    most = std::max({most, l.sum, l.delta});
  }
  const double span = most > least ? most - least : 1;
  const auto x_of = [&](double value) {
    return layout.bars_left + layout.bars_width * (value - least) / span;
  };
  const double gap_column = kPictureWidth - kMargin - 44;
  const double nodes_column = kPictureWidth - kMargin;
  std::string out =
      text_at(layout.bars_left, kTop - 14, "head", "Sum of each layer against F(a) − F(0)");
  out += text_at(gap_column, kTop - 14, "soft", "gap", "end");
  out += text_at(nodes_column, kTop - 14, "soft", "nodes", "end");
  for (int64_t i = 0; i < layout.layers; ++i) {
    const LayerReport& l = layers.at(static_cast<size_t>(i));
    const double y = layout.top_of(i);
    const double inset = layout.lane * 0.22;
    const std::string title = "layer " + std::to_string(i) + ": sum " + format_signed(l.sum) +
                              ", F(a) − F(0) " + format_signed(l.delta) + ", gap " +
                              format_number(l.gap);
    out += rectangle(layout.bars_left, y + 1.5, layout.bars_width, layout.lane - 3, "lane", title);
    out += rectangle(x_of(std::min(l.sum, 0.0)), y + inset,
                     std::fabs(l.sum) / span * layout.bars_width, layout.lane - 2 * inset,
                     l.sum >= 0 ? "bar" : "barminus", title);
    out += line(x_of(l.delta), y + inset - 2, x_of(l.delta), y + layout.lane - inset + 2, "delta");
    const double share = std::fabs(l.delta) > 0 ? l.gap / std::fabs(l.delta) : 0;
    out +=
        text_at(gap_column, y + layout.lane / 2 + 4, "soft num", format_percent(share, 2), "end");
    out +=
        text_at(nodes_column, y + layout.lane / 2 + 4, "soft num", std::to_string(l.nodes), "end");
  }
  out += line(x_of(0), kTop, x_of(0), layout.bottom, "rule");
  out += text_at(x_of(0), layout.bottom + 15, "soft num", "0", "middle");
  const double far = most >= -least ? most : least;
  if (far != 0) {
    out += text_at(x_of(far), layout.bottom + 15, "soft num", format_signed(far, 3), "middle");
  }
  return out;
}

std::string legend(const Layout& layout, double largest) {
  const double y = layout.bottom + 44;
  double x = layout.lanes_left + 10;
  std::string out;
  for (const double share : {0.05, 0.2, 1.0}) {
    const double radius = radius_of(share, layout.lane);
    out += "<circle cx=\"" + px(x + radius) + "\" cy=\"" + px(y) + "\" r=\"" + px(radius) +
           "\" class=\"dot plus" + (share < kPaperShare ? " dim" : "") + "\"/>\n";
    const std::string label = format_signed(share * largest, 2);
    out += text_at(x + 2 * radius + 5, y + 4, "soft num", label);
    x += 2 * radius + 17 + kLetter * static_cast<double>(display_width(label));
  }
  out += "<circle cx=\"" + px(x + 5) + "\" cy=\"" + px(y) + "\" r=\"5\" class=\"dot minus\"/>\n";
  out += text_at(x + 15, y + 4, "soft", "negative");
  out += text_at(x + 80, y + 4, "soft", "numbered from 20 % of the largest score");
  const double bars_y = y;
  out += rectangle(layout.bars_left, bars_y - 5, 18, 10, "bar");
  out += text_at(layout.bars_left + 24, bars_y + 4, "soft", "sum of the scores");
  out += line(layout.bars_left + 132, bars_y - 7, layout.bars_left + 132, bars_y + 7, "delta");
  out += text_at(layout.bars_left + 140, bars_y + 4, "soft", "F(a) − F(0)");
  return out;
}

std::string svg(const PictureInput& input, bool standalone) {
  const Attribution& attribution = *input.attribution;
  const Layout layout(attribution.scores);
  const auto ranked = rank_neurons(attribution, kMostDots, RankBy::kMagnitude);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"engram\" viewBox=\"0 0 " +
                    px(kPictureWidth) + " " + px(layout.height) + "\"";
  if (standalone)
    out += " width=\"" + px(kPictureWidth) + "\" height=\"" + px(layout.height) + "\"";
  out +=
      " role=\"img\">\n<title>" + escape(input.prompt) + " " + escape(input.answer) + "</title>\n";
  if (standalone) out += std::string("<style>") + kStyle + "</style>\n";
  out += rectangle(0, 0, kPictureWidth, layout.height, "paper");
  out += text_at(kMargin, 44, "title", title_of(input));
  out += text_at(kMargin, 70, "soft",
                 "P = " + format_number(attribution.p) + "  ·  scores: " + escape(input.method) +
                     " of " + escape(input.target) +
                     "  ·  model: " + escape(shorten(printable(input.model), 60)));
  out += line(kMargin, 88, kPictureWidth - kMargin, 88, "rule");
  out += lanes(layout) + dots(layout, ranked) + bars(layout, attribution.layers);
  out += legend(layout, ranked.empty() ? 0 : std::fabs(ranked.front().score));
  return out + "</svg>\n";
}

}  // namespace

std::string svg_picture(const PictureInput& input) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + svg(input, true);
}

std::string html_picture(const PictureInput& input) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
      escape(input.prompt) + " " + escape(input.answer) + "</title>\n<style>" + kPageStyle +
      kStyle + "</style>\n</head>\n<body>\n";
  out += svg(input, false);
  out +=
      "<table>\n<caption>Top neurons</caption>\n<tr><th>layer</th><th>neuron</th><th>score</th>"
      "<th>share of the largest</th><th>activation</th></tr>\n";
  const auto ranked = rank_neurons(*input.attribution, 20, RankBy::kScore);
  for (const RankedNeuron& neuron : ranked) {
    const double share = ranked.front().score > 0 ? neuron.score / ranked.front().score : NAN;
    out += "<tr><td>" + std::to_string(neuron.layer) + "</td><td>" + std::to_string(neuron.neuron) +
           "</td><td>" + format_signed(neuron.score) + "</td><td>" + format_percent(share, 0) +
           "</td><td>" + format_number(neuron.activation) + "</td></tr>\n";
  }
  return out + "</table>\n</body>\n</html>\n";
}

}  // namespace engram::cli
