//! Pictures of what was measured, as SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// A bar and what it says.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What is measured.
    pub label: String,
    /// How much it is.
    pub value: f64,
    /// Whether it is one of ours.
    pub is_ours: bool,
}

/// Points that are joined by a line.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What is measured.
    pub label: String,
    /// Where, and how much.
    pub points: Vec<(f64, f64)>,
}

const OURS: RGBColor = RGBColor(26, 115, 232);
const OTHERS: RGBColor = RGBColor(232, 163, 61);
const INK: RGBColor = RGBColor(32, 33, 36);
const CURVES: [RGBColor; 5] =
    [OURS, OTHERS, RGBColor(24, 128, 56), RGBColor(197, 34, 31), RGBColor(154, 160, 166)];

/// How wide pictures are, in pixels.
const WIDTH: u32 = 860;

/// How high a bar is with the space below it.
const ROW: i32 = 26;

/// Where bars begin, and how long the longest is.
const BARS: (i32, f64) = (400, 380.0);

/// Draws bars from the left, one below the other.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn bars(path: &Path, title: &str, bars: &[Bar]) -> Result<(), Box<dyn Error>> {
    let rows = u32::try_from(bars.len() + 1)?;
    let area = SVGBackend::new(path, (WIDTH, rows * ROW.cast_unsigned() + 12)).into_drawing_area();
    area.fill(&WHITE)?;
    let style = |size: i32| TextStyle::from(("sans-serif", size).into_font()).color(&INK);
    let left = style(13).pos(Pos::new(HPos::Left, VPos::Center));
    let right = style(13).pos(Pos::new(HPos::Right, VPos::Center));
    area.draw(&Text::new(title, (12, ROW / 2 + 2), left.clone()))?;
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    for (bar, row) in bars.iter().zip(1..) {
        let middle = row * ROW + ROW / 2 + 4;
        let end = BARS.0 + ((bar.value / longest * BARS.1) as i32).max(1);
        let color = if bar.is_ours { OURS } else { OTHERS };
        area.draw(&Text::new(bar.label.as_str(), (BARS.0 - 10, middle), right.clone()))?;
        area.draw(&Rectangle::new([(BARS.0, middle - 9), (end, middle + 9)], color.filled()))?;
        area.draw(&Text::new(format!("{:.1}x", bar.value), (end + 8, middle), left.clone()))?;
    }
    area.present()?;
    Ok(())
}

/// Draws curves over axes that are both logarithmic.
///
/// # Errors
///
/// Where the file cannot be written.
pub fn curves(
    path: &Path,
    title: &str,
    (x, y): (&str, &str),
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (WIDTH, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let range = |part: fn(&(f64, f64)) -> f64| {
        let least = points().map(part).fold(f64::INFINITY, f64::min);
        let most = points().map(part).fold(f64::MIN_POSITIVE, f64::max);
        (least * 0.8..most * 1.25).log_scale()
    };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))?;
    let number = |number: &f64| format!("{number}");
    let mut mesh = chart.configure_mesh();
    mesh.x_label_formatter(&number).y_label_formatter(&number);
    mesh.light_line_style(WHITE).x_desc(x).y_desc(y).draw()?;
    for (curve, color) in curves.iter().zip(CURVES.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), color.stroke_width(2)))?
            .label(curve.label.as_str())
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
