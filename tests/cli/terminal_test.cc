#include "cli/terminal.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/common.h"
#include "cli/run_engram.h"
#include "engram/base/utf8.h"

namespace engram::cli {
namespace {

using engram::testing::lines_of;

TEST(Terminal, WidthsAreThoseOfTheTerminal) {
  EXPECT_EQ(display_width("Paris"), 5U);
  EXPECT_EQ(display_width("Müller"), 6U);
  EXPECT_EQ(display_width("東京"), 4U);
  EXPECT_EQ(display_width("e\u0301"), 1U);
  EXPECT_EQ(display_width("🗼"), 2U);
  EXPECT_EQ(display_width("\xff\xfe"), 2U) << "broken UTF-8 counts by bytes";
}

TEST(Terminal, ShortenedTextFits) {
  for (const char* text :
       {"", "a", "東京タワー", "a long text of letters", "e\u0301e\u0301e\u0301"}) {
    for (size_t width = 0; width < 12; ++width) {
      const std::string cut = shorten(text, width);
      EXPECT_LE(display_width(cut), width) << text;
      if (display_width(text) <= width) {
        EXPECT_EQ(cut, text);
      }
    }
  }
}

TEST(Terminal, ControlCharactersAreMadeVisible) {
  EXPECT_EQ(printable("a\nb\tc"), "a\\nb\\tc");
  EXPECT_EQ(printable("\x1b[31mred"), "\\x1b[31mred");
  EXPECT_EQ(printable("ok \xff"), "ok \\xff");
  EXPECT_EQ(printable("東京 é"), "東京 é");
}

TEST(Terminal, Numbers) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(-1234567), "-1,234,567");
  EXPECT_EQ(format_count(-123), "-123");
  EXPECT_EQ(format_number(0.1234567), "0.1235");
  EXPECT_EQ(format_number(123.4567), "123.5");
  EXPECT_EQ(format_number(1.2e-5), "1.20e-05");
  EXPECT_EQ(format_signed(0.5, 2), "+0.50");
  EXPECT_EQ(format_signed(-0.5, 2), "-0.50");
  EXPECT_EQ(format_percent(0.1234), "12.3 %");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_duration(0.44), "0.4 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(7500), "2 h 05 min");
}

TEST(Terminal, TableColumnsLineUp) {
  Table table({{"name", Table::Align::kLeft}, {"n"}});
  table.add_row({"東京", "1"});
  table.add_row({"Paris", "1,234"});
  table.add_row({"Zürich", "22"});
  const auto lines = lines_of(table.str());
  ASSERT_EQ(lines.size(), 5U);
  for (const auto& line : lines) EXPECT_EQ(display_width(line), display_width(lines[1])) << line;
  EXPECT_THROW(table.add_row({"one cell"}), InternalError);
}

TEST(Terminal, BarsGrowWithTheShareAndStayInside) {
  size_t before = 0;
  for (int i = -1; i <= 11; ++i) {
    const size_t width = display_width(bar(i / 10.0, 20));
    EXPECT_GE(width, before);
    EXPECT_LE(width, 20U);
    before = width;
  }
  EXPECT_EQ(before, 20U);
  EXPECT_EQ(bar(0, 20), "");
}

TEST(Terminal, HeatMapShowsTheLastLayerFirst) {
  const std::string map = heat_map({{0, 1, -0.3}, {0.06, 0, 0.5}}, {"0", "1"}, 0);
  EXPECT_EQ(map, "1 ░·▓\n0 ·█▒\n");
  const std::vector<float> values{0.1F, -0.9F, 0.2F, 0.3F};
  EXPECT_EQ(largest_per_bin(values.data(), 4, 2),
            (std::vector<double>{static_cast<double>(-0.9F), static_cast<double>(0.3F)}));
  EXPECT_EQ(largest_per_bin(values.data(), 4, 64).size(), 4U);
}

TEST(Parsing, Sizes) {
  EXPECT_EQ(parse_size("4G", "x"), int64_t{4} << 30);
  EXPECT_EQ(parse_size("512M", "x"), int64_t{512} << 20);
  EXPECT_EQ(parse_size("1.5GiB", "x"), int64_t{3} << 29);
  EXPECT_EQ(parse_size("2gB", "x"), int64_t{2} << 30);
  EXPECT_EQ(parse_size("2000000", "x"), 2000000);
  for (const char* bad : {"", "G", "-1G", "4X", "4GG", "nan", "0", "1e30", "1..5G", "4 G"}) {
    EXPECT_THROW((void)parse_size(bad, "x"), UsageError) << bad;
  }
}

/// What progress prints when `steps` are made, each so many seconds after the one before.
std::string progress_text(bool quiet, bool terminal,
                          const std::vector<std::pair<int, int64_t>>& steps) {
  std::chrono::steady_clock::time_point clock;
  std::FILE* file = std::tmpfile();
  if (file == nullptr) throw std::runtime_error("no temporary file");
  {
    Progress progress(quiet, "locate", 400, "facts", {file, terminal, [&] { return clock; }});
    for (const auto& [seconds, by] : steps) {
      clock += std::chrono::seconds(seconds);
      progress.advance(by);
    }
  }
  std::string text(static_cast<size_t>(std::ftell(file)), '\0');
  EXPECT_EQ(std::fseek(file, 0, SEEK_SET), 0);
  EXPECT_EQ(std::fread(text.data(), 1, text.size(), file), text.size());
  std::fclose(file);
  return text;
}

TEST(Progress, InAPipeIsALineAMinute) {
  const std::string text = progress_text(false, false, {{59, 50}, {1, 10}, {30, 10}, {40, 60}});
  EXPECT_EQ(text,
            "engram: locate 60 of 400 facts, 1.00 a second, 5 min 40 s left\n"
            "engram: locate 130 of 400 facts, 1.00 a second, 4 min 30 s left\n");
  EXPECT_EQ(progress_text(false, false, {{59, 400}}), "") << "short work says nothing";
  EXPECT_EQ(progress_text(true, false, {{100, 1}}), "") << "--quiet";
}

TEST(Progress, OnATerminalIsOneLineThatIsWiped) {
  const std::string text = progress_text(false, true, {{60, 60}});
  EXPECT_EQ(text.find('\n'), std::string::npos);
  EXPECT_NE(text.find("locate 60 of 400 facts"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\033[K"));
}

TEST(Parsing, WholeNumbers) {
  EXPECT_EQ(parse_integer("10", 1, 10, "x"), 10);
  EXPECT_EQ(parse_integer("010", 1, 10, "x"), 10) << "decimal, whatever it starts with";
  for (const char* bad :
       {"", "0", "11", "1.0", "1e1", "0x5", " 5", "5 ", "+5", "99999999999999999999"}) {
    EXPECT_THROW((void)parse_integer(bad, 1, 10, "x"), UsageError) << bad;
  }
}

TEST(Parsing, Numbers) {
  EXPECT_EQ(parse_number("0.25", {0, 1}, "x"), 0.25);
  EXPECT_EQ(parse_number("1e-3", {0, 1}, "x"), 1e-3);
  for (const char* bad : {"", "nan", "inf", "0x1p-2", "1.5", "-1", "1,0", "e", "."}) {
    EXPECT_THROW((void)parse_number(bad, {0, 1}, "x"), UsageError) << bad;
  }
}

}  // namespace
}  // namespace engram::cli
