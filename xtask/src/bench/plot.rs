//! The ratios as a picture (SVG) for the README.

use std::path::Path;

use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color, DrawingArea, DrawingBackend, EmptyElement, IntoDrawingArea, IntoFont,
        IntoLogRange, PathElement, RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, Text, WHITE,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::Outcome;

/// One row: what was done, and how many times faster havre did it than each of the others (`None`: not measured).
pub(super) struct Bars {
    pub(super) work: String,
    pub(super) ratios: Vec<Option<f64>>,
}

const WIDTH: u32 = 1040;
const ROW: u32 = 34;
const MARGIN: u32 = 70;
const COLOURS: [RGBColor; 2] = [RGBColor(0x2b, 0x6c, 0xb0), RGBColor(0x8e, 0x5a, 0xa8)];
const FONT: &str = "system-ui, sans-serif";

/// Draws `rows`, from top to bottom, on a logarithmic axis; `engines` names the ratios of a row.
pub(super) fn draw(path: &Path, engines: &[&str], rows: &[Bars]) -> Outcome {
    let height = ROW * u32::try_from(rows.len())? + 2 * MARGIN;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    chart(&area, engines, rows).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    engines: &[&str],
    rows: &[Bars],
) -> Result<(), Box<dyn std::error::Error>>
where
    B::ErrorType: 'static,
{
    area.fill(&WHITE)?;
    let all = rows.iter().flat_map(|row| row.ratios.iter().flatten().copied());
    let longest = all.clone().fold(10.0, f64::max) * 1.4;
    let shortest = all.fold(1.0, f64::min) * 0.9;
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption("times faster than …", (FONT, 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(380)
        .build_cartesian_2d((shortest..longest).log_scale(), 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_label_formatter(&|x| format!("{x}x"))
        .x_label_style((FONT, 13))
        .light_line_style(RGBColor(0xee, 0xee, 0xee))
        .draw()?;
    let text = |size: u32, horizontal| {
        (FONT, size)
            .into_font()
            .color(&BLACK)
            .pos(Pos::new(horizontal, VPos::Center))
    };
    let thickness = 0.72 / engines.len() as f64;
    for (index, engine) in engines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let bars: Vec<_> = rows
            .iter()
            .enumerate()
            .filter_map(|(row, bars)| {
                let ratio = (*bars.ratios.get(index)?)?;
                let top = count - row as f64 - 0.14 - index as f64 * thickness;
                Some((ratio, top))
            })
            .collect();
        chart
            .draw_series(bars.iter().map(|(ratio, top)| {
                Rectangle::new([(1.0, *top), (*ratio, top - thickness * 0.9)], colour.filled())
            }))?
            .label(*engine)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()));
        chart.draw_series(bars.iter().map(|(ratio, top)| {
            let label = if *ratio < 10.0 {
                format!("{ratio:.1}")
            } else {
                format!("{ratio:.0}")
            };
            EmptyElement::at((ratio.max(1.0), top - thickness / 2.0))
                + Text::new(label, (5, 0), text(12, HPos::Left))
        }))?;
    }
    chart.draw_series(rows.iter().enumerate().map(|(row, bars)| {
        EmptyElement::at((shortest, count - row as f64 - 0.5))
            + Text::new(bars.work.clone(), (-8, 0), text(14, HPos::Right))
    }))?;
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, count)], BLACK)])?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(0xcc, 0xcc, 0xcc))
        .label_font((FONT, 14))
        .draw()?;
    area.present()?;
    Ok(())
}
