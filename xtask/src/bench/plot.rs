//! Plots as SVG: ratios as bars, growth over size as lines.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::row::{Row, Unit, grouped, significant};

const WIDTH: u32 = 960;
const BAR_HEIGHT: u32 = 26;
const FONT: (&str, i32) = ("sans-serif", 14);
const AHEAD: RGBColor = RGBColor(31, 119, 80);
const BEHIND: RGBColor = RGBColor(190, 75, 49);
const LINES: [RGBColor; 6] = [
    RGBColor(20, 90, 160),
    RGBColor(214, 110, 20),
    RGBColor(110, 70, 160),
    RGBColor(60, 140, 60),
    RGBColor(190, 50, 60),
    RGBColor(90, 90, 90),
];

/// A bar for each row that has a ratio, from 1 to the right where ours is ahead, to the left where it is behind. The
/// axis is logarithmic, so twice as good and half as good are equally long. Nothing where no row has a ratio.
pub(super) fn ratios(rows: &[Row]) -> Result<Option<String>> {
    let bars: Vec<(&Row, f64)> = rows
        .iter()
        .filter_map(|row| row.ratio.filter(|ratio| is_plottable(*ratio)).map(|ratio| (row, ratio)))
        .collect();
    if bars.is_empty() {
        return Ok(None);
    }
    let low = bars.iter().fold(0.5, |low: f64, (_, ratio)| low.min(*ratio)) / 1.5;
    let high = bars.iter().fold(2.0, |high: f64, (_, ratio)| high.max(*ratio)) * 3.0;
    let rows = u32::try_from(bars.len())?;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, rows * BAR_HEIGHT + 50)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(430)
            .build_cartesian_2d((low..high).log_scale(), 0.0..f64::from(rows))
            .map_err(drawing)?;
        let label = |at: &f64| bars.get(*at as usize).map_or_else(String::new, |(row, _)| label(row));
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh().y_labels(0).x_label_formatter(&|ratio| format!("{}×", trimmed(*ratio))).label_style(FONT);
        mesh.draw().map_err(drawing)?;
        let drawn = bars.iter().enumerate().map(|(at, (_, ratio))| {
            let bottom = f64::from(rows) - at as f64 - 0.85;
            let colour = if *ratio >= 1.0 { AHEAD } else { BEHIND };
            Rectangle::new([(ratio.min(1.0), bottom), (ratio.max(1.0), bottom + 0.7)], colour.filled())
        });
        chart.draw_series(drawn).map_err(drawing)?;
        let figures = bars.iter().enumerate().map(|(at, (_, ratio))| {
            let top = f64::from(rows) - at as f64 - 0.22;
            Text::new(format!("{}×", significant(*ratio)), (ratio.max(1.0) * 1.08, top), FONT)
        });
        chart.draw_series(figures).map_err(drawing)?;
        chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, f64::from(rows))], BLACK)).map_err(drawing)?;
        for at in 0..bars.len() {
            let (_, y) = chart.backend_coord(&(1.0, f64::from(rows) - at as f64 - 0.22));
            area.draw(&Text::new(label(&(at as f64)), (12, y), FONT)).map_err(drawing)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(Some(svg))
}

/// The figures of one bench over its sizes, ours and each peer's, both axes logarithmic.
pub(super) fn growth(rows: &[&Row]) -> Result<Option<String>> {
    let lines = lines(rows);
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let Some((sizes, values)) = bounds(points()) else { return Ok(None) };
    if sizes.0 >= sizes.1 {
        return Ok(None);
    }
    let unit = rows.first().map_or(Unit::Nanoseconds, |row| row.unit);
    let of = rows.first().map_or("", |row| row.of.as_str());
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH / 2, 320)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(40)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((sizes.0..sizes.1 * 1.2).log_scale(), (values.0 / 2.0..values.1 * 4.0).log_scale())
            .map_err(drawing)?;
        mesh(&mut chart, of, unit)?;
        for ((name, points), colour) in lines.iter().zip(LINES.iter().cycle()) {
            let style = if name == "ours" { colour.stroke_width(3) } else { colour.stroke_width(1) };
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))
                .map_err(drawing)?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots).map_err(drawing)?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).label_font(FONT).background_style(WHITE.mix(0.8));
        legend.draw().map_err(drawing)?;
        area.present().map_err(drawing)?;
    }
    Ok(Some(svg))
}

fn mesh<'a, X, Y>(chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>, of: &str, unit: Unit) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(of)
        .y_desc(unit.to_string())
        .x_label_formatter(&|size| grouped(*size as u64))
        .y_label_formatter(&|value| trimmed(*value))
        .label_style(FONT)
        .draw()
        .map_err(drawing)
}

/// Ours first, then each peer, as points over size.
fn lines(rows: &[&Row]) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    let mut add = |name: &str, size: u64, value: Option<f64>| {
        let Some(value) = value.filter(|value| is_plottable(*value) && size > 0) else { return };
        let point = (size as f64, value);
        match lines.iter_mut().find(|(known, _)| known == name) {
            Some((_, points)) if points.contains(&point) => {}
            Some((_, points)) => points.push(point),
            None => lines.push((name.to_owned(), vec![point])),
        }
    };
    for row in rows {
        add("ours", row.size, Some(row.ours));
    }
    for row in rows.iter().filter(|row| !row.peer_name.is_empty()) {
        add(&row.peer_name, row.size, row.peer);
    }
    lines
}

type Extent = (f64, f64);

fn bounds(points: impl Iterator<Item = (f64, f64)>) -> Option<(Extent, Extent)> {
    points.fold(None, |bounds, (x, y)| {
        let ((x0, x1), (y0, y1)) = bounds.unwrap_or(((x, x), (y, y)));
        Some(((x0.min(x), x1.max(x)), (y0.min(y), y1.max(y))))
    })
}

/// A logarithmic axis has no place for anything else.
fn is_plottable(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn label(row: &Row) -> String {
    let size = if row.size == 0 { String::new() } else { format!(", {}", grouped(row.size)) };
    format!("{}{size}: {}", row.name, row.peer_name)
}

/// A tick's label.
fn trimmed(value: f64) -> String {
    if value >= 1.0 { grouped(value.round() as u64) } else { significant(value) }
}

/// The library's errors borrow from the drawing.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
