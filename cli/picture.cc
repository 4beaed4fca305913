#include "cli/picture.h"

#include <algorithm>
#include <cmath>

#include "cli/convert.h"
#include "cli/ranking.h"
#include "cli/svg.h"
#include "cli/terminal.h"
#include "engram/base/utf8.h"
#include "engram/error.h"

namespace engram::cli {
namespace {

using svg::circle;
using svg::escape;
using svg::line;
using svg::px;
using svg::rectangle;
using svg::text_at;
using svg::themed;

// Pixels. Text is measured by a rough average, since a file cannot ask a font.
constexpr double kPictureWidth = 1120;
constexpr double kMargin = 28;
constexpr double kLabels = 46;  // layer numbers left of the lanes
constexpr double kLanes = 610;  // width of the neurons' panel
constexpr double kGutter = 34;
constexpr double kTop = 132;
constexpr double kLetter = 6.1;  // width of a letter at 11 px
constexpr double kRow = 12;      // height of a row of labels
constexpr double kLaneGap = 4;   // between two lanes
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
.engram .rule{stroke:#d4d9e0;stroke-width:1} .engram .leader{stroke:#8b96a3;stroke-width:.7}
.engram .plus{fill:#1769aa} .engram .minus{fill:#c2571a}
.engram .dot{fill-opacity:.75} .engram .dim{fill-opacity:.35} .engram .dot:hover{fill-opacity:1}
.engram .label{font-size:10px;paint-order:stroke;stroke:#f2f4f7;stroke-width:3px}
.engram .bar{fill:#9dbfdc} .engram .barminus{fill:#e6b596}
.engram .delta{stroke:#1c2430;stroke-width:2}
)";
constexpr const char* kDarkStyle = R"(
.engram text{fill:#e8ecf1}
.engram .soft{fill:#9aa5b1} .engram .answer{fill:#4fce98}
.engram .paper{fill:#12161c} .engram .lane{fill:#1b212a}
.engram .rule{stroke:#38414d} .engram .leader{stroke:#6d7986}
.engram .plus{fill:#62b0ee} .engram .minus{fill:#f0945a}
.engram .label{stroke:#1b212a}
.engram .bar{fill:#2f5f88} .engram .barminus{fill:#7d4a29}
.engram .delta{stroke:#e8ecf1}
)";
constexpr const char* kPageStyle = R"(
body{margin:0 auto;max-width:1120px;padding:8px;background:#ffffff;color:#1c2430;
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
svg{width:100%;height:auto;display:block}
table{border-collapse:collapse;margin:8px 28px 28px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;font-size:13px;padding:8px 0}
th,td{text-align:right;padding:3px 18px 3px 0;border-bottom:1px solid #d4d9e0}
th{font-weight:500;color:#5d6875}
)";
constexpr const char* kDarkPageStyle = R"(
body{background:#12161c;color:#e8ecf1}
th,td{border-color:#38414d} th{color:#9aa5b1}
)";

double radius_of(double share, double band) {
  return std::max(1.2, std::sqrt(share) * std::min(15.0, band * 0.46));
}

/// One neuron as a dot, and its number where it has one.
struct Dot {
  RankedNeuron neuron;
  double share = 0;  ///< |score| of the largest
  double x = 0;
  double radius = 0;
  double offset = 0;  ///< from the middle of its layer's band
  std::string label;  ///< empty: none
  double label_x = 0;
  int row = 0;  ///< of labels above the band, from the lowest
};

/// Where everything lies. A layer has a band of dots, and above it as many rows as its numbers need
/// to stand side by side.
struct Layout {
  int64_t layers, d_ff;
  double band;  ///< height of a layer's dots
  std::vector<Dot> dots;
  std::vector<double> tops;     ///< of each layer
  std::vector<double> heights;  ///< of each layer
  double bottom = kTop;         ///< of the panels
  double height = 0;
  double lanes_left = kMargin + kLabels;
  double bars_left = kMargin + kLabels + kLanes + kGutter;
  double bars_width = kPictureWidth - kMargin - bars_left - 112;

  Layout(const at::Tensor& scores, const std::vector<RankedNeuron>& ranked)
      : layers(scores.size(0)), d_ff(scores.size(1)) {
    band = std::clamp(380.0 / static_cast<double>(layers), 15.0, 40.0);
    place_dots(ranked);
    std::vector<int> rows(static_cast<size_t>(layers), 0);
    for (int64_t layer = 0; layer < layers; ++layer) {
      spread_dots(layer);
      rows[static_cast<size_t>(layer)] = place_labels(layer);
    }
    tops.resize(rows.size());
    heights.resize(rows.size());
    for (size_t i = rows.size(); i-- > 0;) {  // the last layer is on top
      tops[i] = bottom;
      heights[i] = band + kLaneGap + kRow * rows[i];
      bottom += heights[i];
    }
    height = bottom + 102;
  }
  [[nodiscard]] double top_of(int64_t layer) const { return tops[static_cast<size_t>(layer)]; }
  [[nodiscard]] double height_of(int64_t layer) const {
    return heights[static_cast<size_t>(layer)];
  }
  [[nodiscard]] double band_top(int64_t layer) const {
    return top_of(layer) + height_of(layer) - kLaneGap / 2 - band;
  }
  [[nodiscard]] double middle_of(int64_t layer) const { return band_top(layer) + band / 2; }
  [[nodiscard]] double x_of(int64_t neuron) const {
    const double inset = 16;
    return lanes_left + inset +
           (kLanes - 2 * inset) * (static_cast<double>(neuron) + 0.5) / static_cast<double>(d_ff);
  }

 private:
  static double label_width(const Dot& dot) {
    return kLetter * static_cast<double>(dot.label.size());
  }
  std::vector<Dot*> of_layer(int64_t layer) {
    std::vector<Dot*> list;
    for (Dot& dot : dots) {
      if (dot.neuron.layer == layer) list.push_back(&dot);
    }
    return list;
  }

  void place_dots(const std::vector<RankedNeuron>& ranked) {
    const double largest = ranked.empty() ? 0 : std::fabs(ranked.front().score);
    size_t labelled = 0;
    for (const RankedNeuron& neuron : ranked) {
      const double share = largest > 0 ? std::fabs(neuron.score) / largest : 0;
      if (share < kLeastShare || largest == 0) break;
      Dot& dot = dots.emplace_back();
      dot.neuron = neuron;
      dot.share = share;
      dot.x = x_of(neuron.neuron);
      dot.radius = radius_of(share, band);
      if (share >= kPaperShare && labelled++ < kMostLabels) {
        dot.label = std::to_string(neuron.neuron);
      }
    }
  }

  /// Moves dots of a layer that would cover each other up and down, as far as the band goes; the
  /// largest stay in the middle.
  void spread_dots(int64_t layer) {
    std::vector<const Dot*> placed;
    for (Dot* dot : of_layer(layer)) {
      const double reach = std::max(0.0, band / 2 - dot->radius);
      for (const double share : {0.0, -0.35, 0.35, -0.7, 0.7, -1.0, 1.0}) {
        const double offset = share * reach;
        const bool free = std::ranges::none_of(placed, [&](const Dot* other) {
          return std::hypot(dot->x - other->x, offset - other->offset) <
                 dot->radius + other->radius;
        });
        if (!free) continue;
        dot->offset = offset;
        break;
      }
      placed.push_back(dot);
    }
  }

  /// Gives every number of a layer a place in a row where none is near. Returns the rows.
  int place_labels(int64_t layer) {
    std::vector<Dot*> named = of_layer(layer);
    std::erase_if(named, [](const Dot* dot) { return dot->label.empty(); });
    std::ranges::sort(named, {}, &Dot::x);
    std::vector<double> ends;  // of each row
    for (Dot* dot : named) {
      const double half = label_width(*dot) / 2;
      dot->label_x = std::clamp(dot->x, lanes_left + half + 2, lanes_left + kLanes - half - 2);
      size_t row = 0;
      while (row < ends.size() && dot->label_x - half < ends[row] + 5) ++row;
      if (row == ends.size()) ends.push_back(0);
      ends[row] = dot->label_x + half;
      dot->row = static_cast<int>(row);
    }
    return static_cast<int>(ends.size());
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
    while (character_start(head, cut) != cut) ++cut;
    head = "…" + head.substr(cut);
  }
  return escape(head) + answer + escape(shorten(after, kRoom));
}

std::string lanes(const Layout& layout) {
  std::string out =
      text_at(layout.lanes_left, kTop - 14, "head", "Neurons of the feed-forward layers, by score");
  for (int64_t layer = 0; layer < layout.layers; ++layer) {
    out += rectangle(layout.lanes_left, layout.top_of(layer) + 1.5, kLanes,
                     layout.height_of(layer) - 3, "lane");
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

std::string dot_class(double share, bool positive) {
  return std::string("dot ") + (share < kPaperShare ? "dim " : "") + (positive ? "plus" : "minus");
}

/// The strongest neurons as dots, the largest drawn first so that small ones stay reachable; over
/// all of them the numbers of the strongest, each with a line to its dot.
std::string dots(const Layout& layout) {
  std::string leaders;
  std::string circles;
  std::string labels;
  for (const Dot& dot : layout.dots) {
    const RankedNeuron& n = dot.neuron;
    const double y = layout.middle_of(n.layer) + dot.offset;
    circles += circle(dot.x, y, dot.radius, dot_class(dot.share, n.score >= 0),
                      "layer " + std::to_string(n.layer) + ", neuron " + std::to_string(n.neuron) +
                          ": score " + format_signed(n.score) + ", activation " +
                          format_number(n.activation));
    if (dot.label.empty()) continue;
    const double base = layout.band_top(n.layer) - 2 - kRow * dot.row;
    leaders += line(dot.label_x, base, dot.x, y - dot.radius, "leader");
    labels += text_at(dot.label_x, base, "label num", dot.label, "middle");
  }
  return leaders + circles + labels;
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
    const double height = layout.height_of(i);
    const double thick = layout.band * 0.56;
    const double middle = y + height / 2;
    const std::string title = "layer " + std::to_string(i) + ": sum " + format_signed(l.sum) +
                              ", F(a) − F(0) " + format_signed(l.delta) + ", gap " +
                              format_number(l.gap);
    out += rectangle(layout.bars_left, y + 1.5, layout.bars_width, height - 3, "lane", title);
    out += rectangle(x_of(std::min(l.sum, 0.0)), middle - thick / 2,
                     std::fabs(l.sum) / span * layout.bars_width, thick,
                     l.sum >= 0 ? "bar" : "barminus", title);
    out +=
        line(x_of(l.delta), middle - thick / 2 - 2, x_of(l.delta), middle + thick / 2 + 2, "delta");
    const double share = std::fabs(l.delta) > 0 ? l.gap / std::fabs(l.delta) : 0;
    out += text_at(gap_column, middle + 4, "soft num", format_percent(share, 2), "end");
    out += text_at(nodes_column, middle + 4, "soft num", std::to_string(l.nodes), "end");
  }
  out += line(x_of(0), kTop, x_of(0), layout.bottom, "rule");
  out += text_at(x_of(0), layout.bottom + 15, "soft num", "0", "middle");
  const double far = most >= -least ? most : least;
  if (far != 0) {
    out += text_at(x_of(far), layout.bottom + 15, "soft num", format_signed(far, 3), "middle");
  }
  return out;
}

/// Marks and what they mean, one behind the other.
class Legend {
 public:
  Legend(double x, double y) : x_(x), y_(y) {}
  void add_circle(double radius, const std::string& css, const std::string& label) {
    out_ += circle(x_ + radius, y_, radius, css);
    add_text(2 * radius, label);
  }
  void add_bar(const std::string& css, const std::string& label) {
    out_ += rectangle(x_, y_ - 5, 18, 10, css);
    add_text(18, label);
  }
  void add_mark(const std::string& label) {
    out_ += line(x_ + 1, y_ - 7, x_ + 1, y_ + 7, "delta");
    add_text(2, label);
  }
  [[nodiscard]] const std::string& str() const { return out_; }

 private:
  void add_text(double mark, const std::string& label) {
    out_ += text_at(x_ + mark + 5, y_ + 4, "soft num", label);
    x_ += mark + 21 + kLetter * static_cast<double>(display_width(label));
  }
  double x_, y_;
  std::string out_;
};

std::string legend(const Layout& layout, double largest) {
  const double first = layout.bottom + 44;
  const double second = first + 28;
  Legend sizes(layout.lanes_left + 10, first);
  for (const double share : {0.05, kPaperShare, 1.0}) {
    sizes.add_circle(
        radius_of(share, layout.band), dot_class(share, true),
        format_number(share * largest, 2) + (share == 1.0 ? " (largest |score|)" : ""));
  }
  sizes.add_circle(5, "dot plus", "positive score");
  sizes.add_circle(5, "dot minus", "negative score");
  std::string out = sizes.str();
  const auto named =
      std::ranges::count_if(layout.dots, [](const Dot& dot) { return !dot.label.empty(); });
  const auto strong =
      std::ranges::count_if(layout.dots, [](const Dot& dot) { return dot.share >= kPaperShare; });
  std::string numbers = "numbered and dark: from 20 % of the largest |score|";
  if (named < strong) {
    numbers += " (the " + std::to_string(named) + " largest of " +
               format_count(static_cast<int64_t>(strong)) + ")";
  }
  out += text_at(layout.lanes_left + 10, second + 4, "soft",
                 numbers + "; not drawn: under 1 %" +
                     (layout.dots.size() >= static_cast<size_t>(kMostDots)
                          ? ", and all after the first " + format_count(kMostDots)
                          : ""));
  Legend bars(layout.bars_left, first);
  bars.add_bar("bar", "sum of the scores");
  bars.add_bar("barminus", "negative");
  bars.add_mark("F(a) − F(0)");
  out += bars.str();
  return out + text_at(layout.bars_left, second + 4, "soft",
                       "gap: between the two, of F(a) − F(0); nodes: exact evaluations");
}

std::string drawing(const PictureInput& input, bool standalone) {
  const Attribution& attribution = *input.attribution;
  const auto ranked = rank_neurons(attribution, kMostDots, RankBy::kMagnitude);
  const Layout layout(attribution.scores, ranked);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"engram\" viewBox=\"0 0 " +
                    px(kPictureWidth) + " " + px(layout.height) + "\"";
  if (standalone)
    out += " width=\"" + px(kPictureWidth) + "\" height=\"" + px(layout.height) + "\"";
  out +=
      " role=\"img\">\n<title>" + escape(input.prompt) + " " + escape(input.answer) + "</title>\n";
  if (standalone)
    out += std::string("<style>") + themed(input.theme, kStyle, kDarkStyle) + "</style>\n";
  out += rectangle(0, 0, kPictureWidth, layout.height, "paper");
  out += text_at(kMargin, 44, "title", title_of(input));
  out += text_at(kMargin, 70, "soft",
                 "P = " + format_number(attribution.p) + "  ·  scores: " + escape(input.method) +
                     " of " + escape(input.target) +
                     "  ·  model: " + escape(shorten(printable(input.model), 60)));
  out += line(kMargin, 88, kPictureWidth - kMargin, 88, "rule");
  // Numbers last: no mark covers them.
  out += lanes(layout) + bars(layout, attribution.layers);
  out += legend(layout, ranked.empty() ? 0 : std::fabs(ranked.front().score));
  out += dots(layout);
  return out + "</svg>\n";
}

std::string html(const PictureInput& input) {
  const std::string scheme = input.theme == Theme::kLight  ? "light"
                             : input.theme == Theme::kDark ? "dark"
                                                           : "light dark";
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"" +
      scheme + "\">\n<title>" + escape(input.prompt) + " " + escape(input.answer) +
      "</title>\n<style>" +
      themed(input.theme, std::string(kPageStyle) + kStyle,
             std::string(kDarkPageStyle) + kDarkStyle) +
      "</style>\n</head>\n<body>\n";
  out += drawing(input, false);
  out +=
      "<table>\n<caption>Top neurons by "
      "|score|</caption>\n<tr><th>layer</th><th>neuron</th><th>score</th>"
      "<th>share of the largest</th><th>activation</th></tr>\n";
  const auto ranked = rank_neurons(*input.attribution, 20, RankBy::kMagnitude);
  const double largest = ranked.empty() ? 0 : std::fabs(ranked.front().score);
  for (const RankedNeuron& neuron : ranked) {
    const double share = largest > 0 ? neuron.score / largest : NAN;
    out += "<tr><td>" + std::to_string(neuron.layer) + "</td><td>" + std::to_string(neuron.neuron) +
           "</td><td>" + format_signed(neuron.score) + "</td><td>" + format_percent(share, 0) +
           "</td><td>" + format_number(neuron.activation) + "</td></tr>\n";
  }
  return out + "</table>\n</body>\n</html>\n";
}

}  // namespace

PictureFormat picture_format(const std::string& path) {
  if (path.ends_with(".svg")) return PictureFormat::kSvg;
  if (path.ends_with(".html")) return PictureFormat::kHtml;
  const bool is_png = path.ends_with(".png");
  if (!is_png && !path.ends_with(".pdf")) {
    throw UsageError("--picture: got \"" + printable(path) +
                     "\", expected a name ending in .svg, .html, .png or .pdf");
  }
  check_converter();
  return is_png ? PictureFormat::kPng : PictureFormat::kPdf;
}

std::string make_picture(const PictureInput& input, PictureFormat format) {
  if (format == PictureFormat::kHtml) return html(input);
  PictureInput drawn = input;
  const bool converted = format != PictureFormat::kSvg;
  if (converted && drawn.theme == Theme::kAuto) drawn.theme = Theme::kLight;
  std::string text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + drawing(drawn, true);
  if (!converted) return text;
  return convert_svg(text, format == PictureFormat::kPng ? "png" : "pdf");
}

}  // namespace engram::cli
