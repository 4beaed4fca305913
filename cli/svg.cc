#include "cli/svg.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "cli/terminal.h"
#include "engram/base/utf8.h"
#include "engram/report/markup.h"

namespace engram::cli::svg {

std::string themed(Theme theme, const std::string& light, const std::string& dark) {
  if (theme == Theme::kLight) return light;
  if (theme == Theme::kDark) return light + dark;
  return light + "@media (prefers-color-scheme:dark){" + dark + "}\n";
}

std::string escape(const std::string& text) { return escaped_markup(printable(text)); }

std::string px(double value) {
  std::array<char, 32> buffer{};
  const int length = std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return {buffer.data(), static_cast<size_t>(length)};
}

std::string text_at(double x, double y, const std::string& css, const std::string& text,
                    const std::string& anchor) {
  return "<text x=\"" + px(x) + "\" y=\"" + px(y) + "\" class=\"" + css + "\" text-anchor=\"" +
         anchor + "\">" + text + "</text>\n";
}

std::string rectangle(double x, double y, double width, double height, const std::string& css,
                      const std::string& title) {
  return "<rect x=\"" + px(x) + "\" y=\"" + px(y) + "\" width=\"" + px(std::max(width, 0.0)) +
         "\" height=\"" + px(height) + "\" rx=\"2\" class=\"" + css + "\">" +
         (title.empty() ? "" : "<title>" + title + "</title>") + "</rect>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& css) {
  return "<line x1=\"" + px(x1) + "\" y1=\"" + px(y1) + "\" x2=\"" + px(x2) + "\" y2=\"" + px(y2) +
         "\" class=\"" + css + "\"/>\n";
}

std::string circle(double x, double y, double radius, const std::string& css,
                   const std::string& title) {
  return "<circle cx=\"" + px(x) + "\" cy=\"" + px(y) + "\" r=\"" + px(radius) + "\" class=\"" +
         css + "\">" + (title.empty() ? "" : "<title>" + title + "</title>") + "</circle>\n";
}

}  // namespace engram::cli::svg
