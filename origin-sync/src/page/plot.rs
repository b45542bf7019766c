//! One measure over the last ten minutes, as SVG that stands in the page.
//!
//! Colours are the page's: what is drawn here in a fixed colour, `status.css` draws anew for light and for dark.

use crate::history::HISTORY;
use headwater::id::TimestampMs;
use plotters::prelude::*;

const SIZE: (u32, u32) = (400, 200);
const FONT: (&str, i32) = ("sans-serif", 17);
const GRID: RGBColor = RGBColor(200, 200, 200);
const AXIS: RGBColor = RGBColor(120, 120, 120);

/// In the order of the lines; `status.css` knows them.
const LINES: [(RGBColor, u32); 2] = [(RGBColor(20, 90, 160), 2), (RGBColor(200, 80, 20), 2)];

/// A measure over time.
pub(super) struct Plot {
    /// For the page: letters only, and no two alike.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line>,
}

/// A name and the points: none where nothing was measured.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) points: Vec<(TimestampMs, Option<f64>)>,
}

/// Means that the library could not draw.
#[derive(Debug, thiserror::Error)]
#[error("the plot could not be drawn: {0}")]
pub(super) struct PlotError(String);

impl Plot {
    /// The drawing, as it was at `now`.
    ///
    /// # Errors
    /// [`PlotError`]
    pub(super) fn svg(&self, now: TimestampMs) -> Result<String, PlotError> {
        let mut svg = String::new();
        self.draw(now, &mut svg).map_err(|error| PlotError(error.to_string()))?;
        let Self { id, title, .. } = self;
        let named = format!(r#"<svg role="img" aria-labelledby="{id}-title {id}-desc" "#);
        let words = format!(r#"<title id="{id}-title">{title}</title><desc id="{id}-desc">{}</desc>"#, self.words());
        // The tag of the library ends with the first bracket.
        let svg = svg.replacen("<svg ", &named, 1);
        let (tag, rest) = svg.split_once('>').ok_or_else(|| PlotError("it is no SVG".to_owned()))?;
        Ok(format!("{tag}>{words}{rest}"))
    }

    /// What the lines show, for those who do not see them: the latest of each, and the greatest.
    pub(super) fn words(&self) -> String {
        let line = |line: &Line| {
            let values = || line.points.iter().filter_map(|(_, value)| *value);
            let Some(greatest) = values().reduce(f64::max) else { return format!("{}: nothing measured", line.name) };
            let latest = line.points.last().and_then(|(_, value)| *value);
            let latest = latest.map_or_else(|| "nothing".to_owned(), number);
            format!("{}: {latest} now, {} at most, {}", line.name, number(greatest), self.unit)
        };
        self.lines.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    fn draw(&self, now: TimestampMs, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let minutes = |at: TimestampMs| -ms_to_f64(now.since_ms(at)) / 60_000.0;
        let greatest =
            self.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value).fold(0.0, f64::max);
        let top = if greatest > 0.0 { greatest * 1.1 } else { 1.0 };
        let begin = -HISTORY.as_secs_f64() / 60.0;
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(begin..0.0, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(6)
            .y_labels(5)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(AXIS)
            .x_label_formatter(&|at| if *at > -0.05 { "now".to_owned() } else { format!("{at:.0} min") })
            .y_label_formatter(&|value| number(*value))
            .label_style(FONT)
            .draw()?;
        for (line, (colour, width)) in self.lines.iter().zip(LINES) {
            for run in line.points.split(|(_, value)| value.is_none()) {
                let points: Vec<(f64, f64)> = run
                    .iter()
                    .filter_map(|(at, value)| Some((minutes(*at), (*value)?)))
                    .filter(|(at, _)| *at >= begin)
                    .collect();
                if let [alone] = points.as_slice() {
                    chart.draw_series([Circle::new(*alone, width, colour.filled())])?;
                } else {
                    chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
                }
            }
        }
        area.present()?;
        Ok(())
    }
}

/// Of some minutes.
fn ms_to_f64(ms: i64) -> f64 {
    i32::try_from(ms).map_or(f64::MAX, f64::from)
}

/// As short as a tick's label should be.
pub(super) fn number(value: f64) -> String {
    match value {
        value if value >= 10_000_000.0 => format!("{:.0}M", value / 1_000_000.0),
        value if value >= 10_000.0 => format!("{:.0}k", value / 1_000.0),
        value if value >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: &[Option<f64>]) -> Plot {
        let points = values.iter().enumerate().map(|(at, value)| (TimestampMs(at as i64 * 2_000), *value)).collect();
        Plot { id: "lag", title: "Lag", unit: "milliseconds", lines: vec![Line { name: "p99", points }] }
    }

    #[test]
    fn what_is_drawn_is_named_and_in_words() {
        let svg = plot(&[Some(1.0), None, Some(30.5), Some(2.0), Some(4.0)]).svg(TimestampMs(8_000)).unwrap();
        assert!(svg.starts_with(r#"<svg role="img" aria-labelledby="lag-title lag-desc" "#), "{svg}");
        assert!(svg.contains(r#"<title id="lag-title">Lag</title>"#), "{svg}");
        assert!(svg.contains("p99: 4 now, 30.5 at most, milliseconds</desc>"), "{svg}");
        // The one alone is a dot, and the rest is a line.
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count() > 0), (1, true), "{svg}");
    }

    #[test]
    fn where_nothing_was_measured_there_is_nothing_to_see() {
        for values in [&[][..], &[None, None]] {
            let svg = plot(values).svg(TimestampMs(8_000)).unwrap();
            assert!(svg.contains("p99: nothing measured</desc>"), "{svg}");
        }
    }

    /// The page's policy forbids styles and scripts in it.
    #[test]
    fn no_style_and_no_script_is_in_it() {
        let svg = plot(&[Some(1.0), Some(2e9)]).svg(TimestampMs(8_000)).unwrap();
        assert!(!svg.contains("style=") && !svg.contains("<script") && !svg.contains("<style"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 1.25, 12.0, 123.4, 12_345.0, 123_456_789.0].map(number);
        assert_eq!(shown, ["0", "0.25", "1.2", "12", "123", "12k", "123M"]);
    }
}
