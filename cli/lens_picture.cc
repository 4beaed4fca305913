#include "cli/lens_picture.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/svg.h"
#include "cli/terminal.h"
#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

// Pixels.
constexpr double kLensWidth = 1000;
constexpr double kLensMargin = 24;
constexpr double kLensTop = 122;
constexpr double kLane = 28;
constexpr double kCell = 244;
constexpr double kCellGap = 6;
constexpr double kCellsLeft = kLensMargin + 66;
constexpr double kAddsLeft = kCellsLeft + 2 * (kCell + kCellGap) + 40;
constexpr double kAddsWidth = kLensWidth - kLensMargin - kAddsLeft;

// Colours stand in the rules themselves: converters do not know CSS variables.
constexpr const char* kLensStyle = R"(
.lens{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.lens text{fill:#1c2430;font-size:12px}
.lens .title{font-size:19px;font-weight:600} .lens .head{font-size:12px;font-weight:600}
.lens .num{font-variant-numeric:tabular-nums} .lens .soft{fill:#5d6875} .lens .answer{fill:#0f7b4f}
.lens .paper{fill:#ffffff} .lens .lane{fill:#f2f4f7} .lens .rule{stroke:#b4bcc6;stroke-width:1}
.lens .heat{fill:#1a936a} .lens .plus{fill:#1769aa} .lens .minus{fill:#c2571a}
)";
constexpr const char* kDarkLensStyle = R"(
.lens text{fill:#e8ecf1} .lens .soft{fill:#9aa5b1} .lens .answer{fill:#4fce98}
.lens .paper{fill:#12161c} .lens .lane{fill:#1b212a} .lens .rule{stroke:#4b5663}
.lens .heat{fill:#1f8a66} .lens .plus{fill:#62b0ee} .lens .minus{fill:#f0945a}
)";

std::string stage_name(const LensStage& stage) {
  if (stage.place == LensPlace::kEmbedding) return "embedding";
  return "layer " + std::to_string(stage.layer) +
         (stage.place == LensPlace::kAttention ? ", attention" : ", FFN");
}

/// How much ink a rank has: 1 at the top, 0 at the end.
double heat_of(int64_t rank, int64_t rows) {
  if (rows <= 1) return 1;
  return 1 - std::log(static_cast<double>(rank)) / std::log(static_cast<double>(rows));
}

class LensDrawing {
 public:
  explicit LensDrawing(const LensPicture& input)
      : input_(input),
        stages_(input.lens->stages),
        layers_(static_cast<int64_t>(stages_.size() / 2)),
        shares_(input.lens->bias_share.has_value()),
        bottom_(kLensTop + kLane * static_cast<double>(layers_ + 1)) {}

  [[nodiscard]] std::string str() const {
    const double height = bottom_ + 66;
    std::string out =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
        "class=\"lens\" viewBox=\"0 0 " +
        svg::px(kLensWidth) + " " + svg::px(height) + "\" width=\"" + svg::px(kLensWidth) +
        "\" height=\"" + svg::px(height) + "\" role=\"img\">\n<title>" + svg::escape(input_.text) +
        "</title>\n<style>" + svg::themed(Theme::kAuto, kLensStyle, kDarkLensStyle) + "</style>\n";
    out += svg::rectangle(0, 0, kLensWidth, height, "paper");
    return out + heading() + cells() + bars() + legend() + "</svg>\n";
  }

 private:
  /// Top of a stage's lane; the embedding lies below layer 0.
  [[nodiscard]] double lane_top(int64_t layer) const {
    return bottom_ - kLane * static_cast<double>(layer + 2);
  }

  [[nodiscard]] std::string heading() const {
    const LensStage& last = stages_.back();
    std::string out =
        svg::text_at(kLensMargin, 40, "title", svg::escape(shorten(printable(input_.text), 90)));
    out += svg::text_at(kLensMargin, 64, "soft",
                        "<tspan class=\"answer\">" + svg::escape(shorten(input_.answer, 40)) +
                            "</tspan>  P = " + format_number(last.p) + ", rank " +
                            format_count(last.rank) + " of " + format_count(input_.rows) +
                            "  ·  model: " + svg::escape(shorten(printable(input_.model), 60)));
    out += svg::line(kLensMargin, 80, kLensWidth - kLensMargin, 80, "rule");
    out += svg::text_at(kCellsLeft, kLensTop - 12, "head", "behind attention");
    out += svg::text_at(kCellsLeft + kCell + kCellGap, kLensTop - 12, "head", "behind the FFN");
    return out + svg::text_at(kAddsLeft, kLensTop - 12, "head",
                              shares_ ? "adds to the last logit" : "change of the answer's logit");
  }

  [[nodiscard]] std::string cells() const {
    std::string out;
    for (size_t i = 0; i < stages_.size(); ++i) {
      const LensStage& stage = stages_[i];
      const double y = lane_top(stage.layer);
      const double x = kCellsLeft + (stage.place == LensPlace::kFfn ? kCell + kCellGap : 0);
      if (stage.place != LensPlace::kFfn) {
        out += svg::text_at(kCellsLeft - 8, y + 18, "soft num",
                            stage.layer < 0 ? "embedded" : std::to_string(stage.layer), "end");
      }
      out += svg::rectangle(x, y + 2, kCell, kLane - 4, "lane");
      const std::string title = stage_name(stage) + ": rank " + format_count(stage.rank) + ", P " +
                                format_number(stage.p) + ", logit " + format_signed(stage.logit);
      out += "<g fill-opacity=\"" + format_number(0.9 * heat_of(stage.rank, input_.rows), 2) +
             "\">" + svg::rectangle(x, y + 2, kCell, kLane - 4, "heat", title) + "</g>\n";
      out += svg::text_at(x + 8, y + 18, "", svg::escape(shorten(input_.tokens.at(i), 22)));
      out += svg::text_at(x + kCell - 8, y + 18, "num", "#" + format_count(stage.rank), "end");
    }
    return out;
  }

  [[nodiscard]] std::string bars() const {
    double least = 0;
    double most = 0;
    for (const LensStage& stage : stages_) {
      least = std::min(least, amount(stage));
      most = std::max(most, amount(stage));
    }
    const double span = most > least ? most - least : 1;
    const auto x_of = [&](double value) { return kAddsLeft + kAddsWidth * (value - least) / span; };
    std::string out;
    for (const LensStage& stage : stages_) {
      const double value = amount(stage);
      // Attention above, the FFN below; the embedding alone in its lane.
      const double offset = stage.place == LensPlace::kEmbedding   ? 9
                            : stage.place == LensPlace::kAttention ? 4
                                                                   : 15;
      out += svg::rectangle(x_of(std::min(value, 0.0)), lane_top(stage.layer) + offset,
                            std::fabs(value) / span * kAddsWidth, 9, value < 0 ? "minus" : "plus",
                            stage_name(stage) + ": " + format_signed(value));
    }
    out += svg::line(x_of(0), kLensTop, x_of(0), bottom_, "rule");
    out += svg::text_at(x_of(0), bottom_ + 16, "soft num", "0", "middle");
    const double far = most >= -least ? most : least;
    if (far != 0) {
      out += svg::text_at(x_of(far), bottom_ + 16, "soft num", format_signed(far, 3),
                          far > 0 ? "end" : "start");
    }
    return out;
  }

  [[nodiscard]] std::string legend() const {
    std::string out = svg::text_at(kCellsLeft, bottom_ + 24, "soft",
                                   "The darker a cell, the nearer the answer is to the top.");
    out += svg::text_at(kCellsLeft, bottom_ + 42, "soft",
                        "In a cell: the top token, and the answer's rank.");
    std::string second = "Upper bar: attention, lower bar: FFN.";
    if (shares_) second += " Biases: " + format_signed(*input_.lens->bias_share, 3) + ".";
    return out + svg::text_at(kAddsLeft, bottom_ + 42, "soft", second);
  }

  [[nodiscard]] double amount(const LensStage& stage) const {
    return shares_ ? stage.share : stage.change;
  }

  const LensPicture& input_;
  const std::vector<LensStage>& stages_;
  int64_t layers_;
  bool shares_;
  double bottom_;
};

}  // namespace

std::string lens_picture(const LensPicture& input) { return LensDrawing(input).str(); }

}  // namespace engram::cli
