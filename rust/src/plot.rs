//! Charts as SVG, drawn by `plotters`. The chart comes as JSON; engram_crates.h describes it.
//!
//! Colours are fixed and stand for roles, so that a page can recolour a chart by attribute
//! selectors ([fill="#1B1F24"]) for dark mode.

use std::os::raw::c_char;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::Value;

use crate::{guarded, text, to_c};

const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
const AXIS: RGBColor = RGBColor(0x8A, 0x92, 0x9B);
const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
const SERIES: [RGBColor; 6] = [
    RGBColor(0x0B, 0x6E, 0x99),
    RGBColor(0xC8, 0x55, 0x3D),
    RGBColor(0x5E, 0x8C, 0x31),
    RGBColor(0x86, 0x61, 0xA8),
    RGBColor(0xB0, 0x7D, 0x12),
    RGBColor(0x5B, 0x67, 0x70),
];
const LEGEND_LINE: i32 = 20;
/// Width of a character as a share of the font size, generous for what the page's fonts need.
const CHARACTER: f64 = 0.58;
const FONT: i32 = 13;
/// Marker and gaps of a legend's entry.
const ENTRY: i32 = 34;
/// Share of the width that the names of rows may take.
const NAMES: f64 = 0.4;
const LINE: i32 = 15;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lines,
    Bars,
    Rows,
    Histogram,
}

struct Axis {
    title: String,
    log: bool,
    percent: bool,
}

/// A point: `x` counts categories for bars and rows. NaN: not there.
struct Point {
    x: f64,
    x2: f64,
    y: f64,
    low: f64,
    high: f64,
}

struct Series {
    name: String,
    points: Vec<Point>,
}

/// A published figure: a dashed line at a value.
struct Mark {
    name: String,
    value: f64,
}

struct Chart {
    kind: Kind,
    width: u32,
    height: u32,
    x: Axis,
    y: Axis,
    categories: Vec<String>,
    series: Vec<Series>,
    marks: Vec<Mark>,
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn string(value: &Value) -> String {
    // Control characters are not allowed in SVG.
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    value
        .as_str()
        .unwrap_or_default()
        .chars()
        .map(clean)
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn parse(json: &str) -> Result<Chart, String> {
    let root: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let kind = match root["kind"].as_str() {
        Some("lines") => Kind::Lines,
        Some("bars") => Kind::Bars,
        Some("rows") => Kind::Rows,
        Some("histogram") => Kind::Histogram,
        other => {
            return Err(format!(
                "got a chart of kind {other:?}, expected lines, bars, rows or histogram"
            ))
        }
    };
    let axis = |value: &Value| Axis {
        title: string(&value["title"]),
        log: value["log"].as_bool().unwrap_or(false),
        percent: value["percent"].as_bool().unwrap_or(false),
    };
    let point = |value: &Value| Point {
        x: number(&value["x"]),
        x2: number(&value["x2"]),
        y: number(&value["y"]),
        low: number(&value["low"]),
        high: number(&value["high"]),
    };
    let size = |value: &Value| u32::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0);
    let mut chart = Chart {
        kind,
        width: size(&root["width"]),
        height: size(&root["height"]),
        x: axis(&root["x"]),
        y: axis(&root["y"]),
        categories: list(&root["categories"]).iter().map(string).collect(),
        series: list(&root["series"])
            .iter()
            .map(|s| Series {
                name: string(&s["name"]),
                points: list(&s["points"]).iter().map(point).collect(),
            })
            .collect(),
        marks: list(&root["marks"])
            .iter()
            .map(|m| Mark {
                name: string(&m["name"]),
                value: number(&m["value"]),
            })
            .collect(),
    };
    if chart.height == 0 {
        chart.height = needed_height(&chart);
    }
    if !(200..=4000).contains(&chart.width) || !(120..=8000).contains(&chart.height) {
        return Err(format!(
            "got a chart of {} x {}, expected 200 x 120 to 4000 x 8000",
            chart.width, chart.height
        ));
    }
    if chart.x.title.is_empty() || chart.y.title.is_empty() {
        return Err("a chart needs a title on both axes".to_string());
    }
    Ok(chart)
}

impl Axis {
    /// Where a value stands on the axis; NaN where it has no place.
    fn place(&self, value: f64) -> f64 {
        match self.log {
            true if value > 0.0 => value.log10(),
            true => f64::NAN,
            false => value,
        }
    }

    fn label(&self, place: f64, step: f64) -> String {
        let value = if self.log { 10f64.powf(place) } else { place };
        let (value, step) = match self.percent {
            true => (value * 100.0, step * 100.0),
            false => (value, step),
        };
        // As few digits as the tick needs, on a linear axis the same for all.
        let finest = if self.log { value } else { step };
        let exact = |digits: usize| {
            let power = 10f64.powi(digits as i32);
            ((finest * power).round() / power - finest).abs() < 1e-6 * finest.abs()
        };
        let digits = (0..=12).find(|d| exact(*d)).unwrap_or(12);
        let text = match value.abs() {
            large if large >= 1e6 => format!("{value:.0e}"),
            small if small > 0.0 && digits > 5 => format!("{value:.0e}"),
            _ => format!("{value:.digits$}"),
        };
        let bare = text.trim_start_matches('-');
        match bare.chars().all(|c| "0.".contains(c)) {
            true => bare.to_string(),
            false => text.replace('-', "\u{2212}"),
        }
    }
}

/// The height of a chart that names none: rows take what their names and series need.
fn needed_height(chart: &Chart) -> u32 {
    let legend_lines = legend(chart).len().max(1) as u32 - 1;
    let more = legend_lines * LEGEND_LINE as u32;
    if chart.kind != Kind::Rows {
        return 340 + more;
    }
    let lines = |name: &String| row_name(chart, name).len();
    let names = chart.categories.iter().map(lines).max().unwrap_or(1) as u32;
    let series = chart.series.len().max(1) as u32;
    let row = 18.max(9 * series + 4).max(LINE as u32 * names + 4);
    (110 + more + chart.categories.len().max(1) as u32 * row).min(8000)
}

/// A row's name in at most two lines that fit; the rest becomes an ellipsis.
fn row_name(chart: &Chart, name: &str) -> Vec<String> {
    let room = f64::from(chart.width) * NAMES / (f64::from(FONT) * CHARACTER);
    let room = (room as usize).max(8);
    let fits = |text: &str| text.chars().count() <= room;
    if fits(name) {
        return vec![name.to_string()];
    }
    let mut first = String::new();
    let mut words = name.split(' ').peekable();
    while let Some(word) = words.peek() {
        let longer = match first.is_empty() {
            true => (*word).to_string(),
            false => format!("{first} {word}"),
        };
        if !fits(&longer) {
            break;
        }
        first = longer;
        words.next();
    }
    let cut = |text: String| match fits(&text) {
        true => text,
        false => text.chars().take(room - 1).collect::<String>() + "…",
    };
    let rest = cut(words.collect::<Vec<_>>().join(" "));
    match first.is_empty() {
        true => vec![rest],
        false => vec![first, rest],
    }
}

/// Round ticks over `low`..`high`, with the range widened to hold the first and last one.
/// `most`: labels of a logarithmic axis.
fn ticks(axis: &Axis, low: f64, high: f64, wanted: f64, most: usize) -> (f64, f64, Vec<f64>, f64) {
    if axis.log {
        let decades = high - low;
        let steps: &[f64] = match decades {
            d if d < 0.15 => &[
                1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5,
                4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0,
            ],
            d if d < 0.5 => &[
                1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0,
            ],
            d if d < 1.5 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            d if d < 3.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let mut found = Vec::new();
        for decade in low.floor() as i32 - 1..=high.ceil() as i32 + 1 {
            found.extend(steps.iter().map(|s| s.log10() + f64::from(decade)));
        }
        let first = found.iter().rposition(|t| *t <= low + 1e-9).unwrap_or(0);
        let last = found
            .iter()
            .position(|t| *t >= high - 1e-9)
            .unwrap_or(found.len() - 1);
        let mut kept = found[first..=last].to_vec();
        let every = kept.len().div_ceil(most);
        kept = kept.into_iter().step_by(every).collect();
        return (found[first], found[last], kept, 1.0);
    }
    let rough = (high - low) / wanted;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil();
    let count = (last - first).round() as i64;
    let found: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
    (first * step, last * step, found, step)
}

struct Span {
    low: f64,
    high: f64,
}

impl Span {
    fn new() -> Self {
        Span {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }
    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
        }
    }
    /// A range that is not empty.
    fn settled(&self, log: bool) -> (f64, f64) {
        match (self.low, self.high) {
            (low, high) if low > high => (0.0, 1.0),
            (low, high) if low == high && log => (low - 0.3, high + 0.3),
            (low, high) if low == high => {
                let room = if low == 0.0 { 1.0 } else { low.abs() * 0.5 };
                (low - room, high + room)
            }
            found => found,
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

fn drawn<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

fn font(color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    // plotters-svg divides sizes by 1.24.
    ("sans-serif", f64::from(FONT) * 1.24)
        .into_font()
        .color(&color)
        .pos(Pos::new(h, v))
}

fn width_of(label: &str) -> i32 {
    (label.chars().count() as f64 * f64::from(FONT) * CHARACTER).ceil() as i32
}

fn draw_line(area: &Area, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    drawn(area.draw(&PathElement::new(vec![from, to], style)))
}

fn draw_dashes(area: &Area, from: (i32, i32), to: (i32, i32)) -> Drawn {
    let length = (to.0 - from.0).abs().max((to.1 - from.1).abs()).max(1);
    let at = |along: i32| {
        let part = |a: i32, b: i32| a + (b - a) * along.min(length) / length;
        (part(from.0, to.0), part(from.1, to.1))
    };
    for along in (0..length).step_by(9) {
        draw_line(area, at(along), at(along + 5), INK.stroke_width(1))?;
    }
    Ok(())
}

/// A series' marker, of another shape for each: print may have no colour.
fn draw_marker(area: &Area, series: usize, (x, y): (i32, i32)) -> Drawn {
    let color = SERIES[series % SERIES.len()].filled();
    match series % 4 {
        0 => drawn(area.draw(&Circle::new((x, y), 4, color))),
        1 => drawn(area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], color))),
        2 => drawn(area.draw(&Polygon::new(
            vec![(x, y - 5), (x + 5, y + 4), (x - 5, y + 4)],
            color,
        ))),
        _ => drawn(area.draw(&Polygon::new(
            vec![(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)],
            color,
        ))),
    }
}

/// The legend's lines: series with their markers, then published figures.
fn legend(chart: &Chart) -> Vec<Vec<usize>> {
    let mut lines: Vec<Vec<usize>> = Vec::new();
    let mut used = i32::MAX;
    for (entry, name) in entries(chart).iter().enumerate() {
        let width = ENTRY + width_of(name);
        if used.saturating_add(width) > chart.width as i32 - 20 {
            lines.push(Vec::new());
            used = 0;
        }
        used += width;
        if let Some(line) = lines.last_mut() {
            line.push(entry);
        }
    }
    lines
}

fn entries(chart: &Chart) -> Vec<&str> {
    let series = chart.series.iter().map(|s| s.name.as_str());
    series
        .filter(|_| chart.series.len() > 1 || !chart.marks.is_empty())
        .chain(chart.marks.iter().map(|m| m.name.as_str()))
        .collect()
}

fn draw_legend(area: &Area, chart: &Chart) -> Drawn {
    let names = entries(chart);
    let series = names.len() - chart.marks.len();
    for (row, line) in legend(chart).iter().enumerate() {
        let y = 12 + row as i32 * LEGEND_LINE;
        let mut x = 14;
        for &entry in line {
            if entry < series && matches!(chart.kind, Kind::Bars | Kind::Histogram) {
                let color = SERIES[entry % SERIES.len()].filled();
                let corners = [(x - 6, y - 5), (x + 6, y + 5)];
                drawn(area.draw(&Rectangle::new(corners, color)))?;
            } else if entry < series {
                draw_marker(area, entry, (x, y))?;
            } else {
                draw_dashes(area, (x - 8, y), (x + 8, y))?;
            }
            let style = font(INK, HPos::Left, VPos::Center);
            drawn(area.draw(&Text::new(names[entry], (x + 12, y), style)))?;
            x += ENTRY + width_of(names[entry]);
        }
    }
    Ok(())
}

/// A linear axis with ticks of our own.
struct Scale {
    inner: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Scale {
    fn new((low, high): (f64, f64), ticks: &[f64]) -> Self {
        Scale {
            inner: (low..high).into(),
            ticks: ticks.to_vec(),
        }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.inner.map(value, limit)
    }
    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.clone(),
        }
    }
    fn range(&self) -> std::ops::Range<f64> {
        self.inner.range()
    }
}

/// Both axes with their ticks and labels, in places (log10 of values on a logarithmic axis).
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    x_ticks: Vec<f64>,
    y_ticks: Vec<f64>,
    x_step: f64,
    y_step: f64,
}

fn frame(chart: &Chart) -> Frame {
    let mut x = Span::new();
    let mut y = Span::new();
    // Bars start from zero, and the values of rows are seen against it.
    if matches!(chart.kind, Kind::Bars | Kind::Histogram) && !chart.y.log {
        y.add(0.0);
    }
    if chart.kind == Kind::Rows && !chart.x.log {
        x.add(0.0);
    }
    for point in chart.series.iter().flat_map(|s| &s.points) {
        for value in [point.y, point.low, point.high] {
            match chart.kind {
                Kind::Rows => x.add(chart.x.place(value)),
                _ => y.add(chart.y.place(value)),
            }
        }
        if matches!(chart.kind, Kind::Lines | Kind::Histogram) {
            x.add(chart.x.place(point.x));
            x.add(chart.x.place(point.x2));
        }
    }
    for mark in &chart.marks {
        match chart.kind {
            Kind::Rows | Kind::Histogram => x.add(chart.x.place(mark.value)),
            _ => y.add(chart.y.place(mark.value)),
        }
    }
    let scale = |axis: &Axis, span: &Span, wanted, most| {
        let (low, high) = span.settled(axis.log);
        ticks(axis, low, high, wanted, most)
    };
    let narrow = chart.width < 600;
    let (wanted, most) = if narrow { (3.0, 5) } else { (8.0, 12) };
    let count = chart.categories.len().max(1) as f64;
    let places: Vec<f64> = (0..chart.categories.len()).map(|i| i as f64).collect();
    let (x_low, x_high, x_ticks, x_step) = match chart.kind {
        Kind::Bars => (-0.5, count - 0.5, places.clone(), 1.0),
        Kind::Rows => scale(&chart.x, &x, if narrow { 3.0 } else { 6.0 }, most),
        Kind::Lines => {
            let (low, high, ticks, step) = scale(&chart.x, &x, wanted, most);
            let room = (high - low) * 0.02;
            (low - room, high + room, ticks, step)
        }
        Kind::Histogram => scale(&chart.x, &x, wanted, most),
    };
    let (y_low, y_high, y_ticks, y_step) = match chart.kind {
        // The first row is on top.
        Kind::Rows => (0.5 - count, 0.5, places.iter().map(|p| -p).collect(), 1.0),
        _ => scale(&chart.y, &y, 5.0, 12),
    };
    Frame {
        x: (x_low, x_high),
        y: (y_low, y_high),
        x_ticks,
        y_ticks,
        x_step,
        y_step,
    }
}

fn category(chart: &Chart, place: f64) -> String {
    let at = place.abs().round() as usize;
    chart.categories.get(at).cloned().unwrap_or_default()
}

fn draw_chart(area: &Area, chart: &Chart) -> Drawn {
    let frame = frame(chart);
    let x_label = |place: &f64| match chart.kind {
        Kind::Bars => category(chart, *place),
        _ => chart.x.label(*place, frame.x_step),
    };
    let y_label = |place: &f64| match chart.kind {
        Kind::Rows => String::new(),
        _ => chart.y.label(*place, frame.y_step),
    };
    // Rows have names of up to two lines, which are written below.
    let rows = chart.kind == Kind::Rows;
    let names: Vec<Vec<String>> = match rows {
        true => chart
            .categories
            .iter()
            .map(|n| row_name(chart, n))
            .collect(),
        false => Vec::new(),
    };
    let widest = match rows {
        true => names.iter().flatten().map(|line| width_of(line)).max(),
        false => frame.y_ticks.iter().map(|t| width_of(&y_label(t))).max(),
    };
    let top = 8 + legend(chart).len() as i32 * LEGEND_LINE;
    let ink = |h, v| font(INK, h, v);
    let mut plane = drawn(
        ChartBuilder::on(area)
            .margin_top(top)
            .margin_right(18)
            .margin_bottom(4)
            .margin_left(4)
            .x_label_area_size(44)
            .y_label_area_size(widest.unwrap_or(0) + 38)
            .build_cartesian_2d(
                Scale::new(frame.x, &frame.x_ticks),
                Scale::new(frame.y, &frame.y_ticks),
            ),
    )?;
    let mut mesh = plane.configure_mesh();
    mesh.x_desc(chart.x.title.as_str())
        .y_desc(chart.y.title.as_str())
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label)
        .label_style(ink(HPos::Left, VPos::Top))
        .axis_desc_style(ink(HPos::Center, VPos::Center))
        .axis_style(AXIS)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT);
    if chart.kind == Kind::Bars {
        mesh.disable_x_mesh();
    }
    drawn(mesh.draw())?;
    let pixel = |x: f64, y: f64| plane.backend_coord(&(x, y));
    for (row, lines) in names.iter().enumerate() {
        let (x, y) = pixel(frame.x.0, -(row as f64));
        for (i, line) in lines.iter().enumerate() {
            let at = y + LINE * i as i32 - LINE * (lines.len() as i32 - 1) / 2;
            let style = font(INK, HPos::Right, VPos::Center);
            drawn(area.draw(&Text::new(line.as_str(), (x - 10, at), style)))?;
        }
    }
    draw_reference_lines(area, chart, &frame, &pixel)?;
    draw_series(area, chart, &frame, &pixel)
}

type Pixel<'a> = dyn Fn(f64, f64) -> (i32, i32) + 'a;

/// Zero, where it is inside, and the published figures.
fn draw_reference_lines(area: &Area, chart: &Chart, frame: &Frame, pixel: &Pixel) -> Drawn {
    let rows = chart.kind == Kind::Rows;
    let across = rows || chart.kind == Kind::Histogram;
    let ends = |place: f64| match across {
        true => (pixel(place, frame.y.0), pixel(place, frame.y.1)),
        false => (pixel(frame.x.0, place), pixel(frame.x.1, place)),
    };
    let (axis, range) = match across {
        true => (&chart.x, frame.x),
        false => (&chart.y, frame.y),
    };
    if !axis.log && range.0 < 0.0 && range.1 > 0.0 {
        let (from, to) = ends(0.0);
        draw_line(area, from, to, AXIS.stroke_width(1))?;
    }
    for mark in &chart.marks {
        let place = axis.place(mark.value);
        if place.is_finite() {
            let (from, to) = ends(place);
            draw_dashes(area, from, to)?;
        }
    }
    Ok(())
}

fn draw_series(area: &Area, chart: &Chart, frame: &Frame, pixel: &Pixel) -> Drawn {
    let count = chart.series.len().max(1) as f64;
    for (s, series) in chart.series.iter().enumerate() {
        let color = SERIES[s % SERIES.len()];
        // Series stand side by side within a category.
        let offset = (s as f64 + 0.5) / count - 0.5;
        let mut path = Vec::new();
        for point in &series.points {
            let value = match chart.kind {
                Kind::Rows => chart.x.place(point.y),
                _ => chart.y.place(point.y),
            };
            if !value.is_finite() {
                continue;
            }
            match chart.kind {
                Kind::Rows => {
                    let y = -(point.x + offset * 0.7);
                    let span = (chart.x.place(point.low), chart.x.place(point.high));
                    if span.0.is_finite() && span.1.is_finite() {
                        let style = color.stroke_width(2);
                        draw_line(area, pixel(span.0, y), pixel(span.1, y), style)?;
                    }
                    draw_marker(area, s, pixel(value, y))?;
                }
                Kind::Bars => {
                    let width = 0.8 / count;
                    let x = point.x + offset * 0.8;
                    let base = pixel(x - width * 0.45, if chart.y.log { frame.y.0 } else { 0.0 });
                    let tip = pixel(x + width * 0.45, value);
                    let corners = [(base.0, base.1.min(tip.1)), (tip.0, base.1.max(tip.1))];
                    drawn(area.draw(&Rectangle::new(corners, color.filled())))?;
                    draw_interval(area, chart, point, x, pixel, INK)?;
                }
                Kind::Histogram => {
                    let left = pixel(chart.x.place(point.x), 0.0);
                    let right = pixel(chart.x.place(point.x2), value);
                    let base = if chart.y.log { frame.y.0 } else { 0.0 };
                    let bottom = pixel(0.0, base).1;
                    let corners = [(left.0 + 1, right.1), (right.0, bottom)];
                    drawn(area.draw(&Rectangle::new(corners, color.filled())))?;
                }
                Kind::Lines => {
                    let x = chart.x.place(point.x);
                    if !x.is_finite() {
                        continue;
                    }
                    draw_interval(area, chart, point, x, pixel, color)?;
                    path.push(pixel(x, value));
                }
            }
        }
        if chart.kind == Kind::Lines {
            drawn(area.draw(&PathElement::new(path.clone(), color.stroke_width(2))))?;
            for at in path {
                draw_marker(area, s, at)?;
            }
        }
    }
    Ok(())
}

fn draw_interval(
    area: &Area,
    chart: &Chart,
    point: &Point,
    x: f64,
    pixel: &Pixel,
    color: RGBColor,
) -> Drawn {
    let (low, high) = (chart.y.place(point.low), chart.y.place(point.high));
    if !low.is_finite() || !high.is_finite() {
        return Ok(());
    }
    let (from, to) = (pixel(x, low), pixel(x, high));
    let style = color.stroke_width(1);
    draw_line(area, from, to, style)?;
    for end in [from, to] {
        draw_line(area, (end.0 - 3, end.1), (end.0 + 3, end.1), style)?;
    }
    Ok(())
}

fn draw(chart: &Chart) -> Result<String, String> {
    let mut svg = String::new();
    {
        let size = (chart.width, chart.height);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw_legend(&area, chart)?;
        draw_chart(&area, chart)?;
        drawn(area.present())?;
    }
    Ok(svg)
}

/// # Safety
/// `json` and `size` describe readable memory; `error` is writable or null.
#[no_mangle]
pub unsafe extern "C" fn engram_crates_chart_svg(
    json: *const u8,
    size: usize,
    error: *mut *mut c_char,
) -> *mut c_char {
    guarded(error, || draw(&parse(text(json, size)?)?))
        .map_or(std::ptr::null_mut(), |svg| to_c(&svg))
}
