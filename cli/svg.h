#pragma once

#include <string>

// What the commands' pictures are drawn with. Text goes in escaped (svg::escape).
namespace engram::cli {

/// Colours of a picture; kAuto: light or dark by the viewer's preference.
enum class Theme { kAuto, kLight, kDark };

namespace svg {

/// The rules of a theme; kAuto leaves the choice to the viewer.
std::string themed(Theme theme, const std::string& light, const std::string& dark);

/// Any text as content or attribute, control characters made visible.
std::string escape(const std::string& text);

/// A coordinate.
std::string px(double value);

std::string text_at(double x, double y, const std::string& css, const std::string& text,
                    const std::string& anchor = "start");
/// With round corners; `title` is shown on hover. A negative width counts as none.
std::string rectangle(double x, double y, double width, double height, const std::string& css,
                      const std::string& title = "");
std::string line(double x1, double y1, double x2, double y2, const std::string& css);
std::string circle(double x, double y, double radius, const std::string& css,
                   const std::string& title = "");

}  // namespace svg
}  // namespace engram::cli
