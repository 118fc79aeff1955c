//! Small multiples: a panel for each curve, with all other curves faint behind it.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, Axis, short};
use super::canvas::{self, FONT, PlotError, Root};
use super::captions::Title;
use super::curves::panels::BLUE;
use crate::error::Result;

/// The size of a panel in pixels.
const PANEL: (u32, u32) = (310, 244);
/// The number of panels in a row.
const COLUMNS: usize = 4;
/// The space above each panel for its name and note, in pixels.
const HEADING: u32 = 44;
/// The space to the left of the name and the note of a panel, in pixels.
const AXIS: u32 = 48;

/// A curve with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The panel's title.
    pub name: String,
    /// A line under the title.
    pub note: String,
    /// Points in the order of the first coordinate.
    pub points: Vec<(f64, f64)>,
}

/// Writes a PNG of panels, four in a row, each 310x244 pixels. All have the same axes, from 0 to the last point and
/// over `range`; values outside are drawn at the edge. `x` names the horizontal axis. A title that is wider than the
/// picture takes several lines.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, curves: &[Curve], range: Range<f64>, title: &str, x: &str) -> Result<()> {
    let columns = curves.len().clamp(1, COLUMNS);
    let rows = curves.len().div_ceil(columns).max(1);
    let width = columns as u32 * PANEL.0;
    let title = Title::new(title, width);
    let above = title.height();
    let size = (width, above + rows as u32 * PANEL.1);
    let xs = curves.iter().flat_map(|curve| &curve.points).map(|point| point.0);
    let last = xs.filter(|x| x.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let clipped = |curve: &Curve| -> Vec<(f64, f64)> {
        let points = curve.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        points.map(|&(x, y)| (x, y.clamp(range.start, range.end))).collect()
    };
    let lines: Vec<_> = curves.iter().map(clipped).collect();
    canvas::write_png(path, size, |root| {
        title.draw(root)?;
        let (_, below) = root.split_vertically(above);
        for (index, area) in below.split_evenly((rows, columns)).iter().enumerate().take(curves.len()) {
            let name = if index + columns >= curves.len() { x } else { "" };
            draw_panel(area, (&curves[index], &lines[index]), &lines, (last, &range), name)?;
        }
        Ok(())
    })
}

fn draw_panel(
    area: &Root,
    (curve, line): (&Curve, &[(f64, f64)]),
    all: &[Vec<(f64, f64)>],
    (last, range): (f64, &Range<f64>),
    x: &str,
) -> Result<(), PlotError> {
    let axes = Axes {
        x: Axis::from(0.0..last),
        y: range.clone(),
        margins: [HEADING, 18, 0, 0],
        areas: [42, AXIS],
        labels: [5, 5],
        x_label: &|x| short(x, last),
        names: [x, ""],
        fonts: [14, 14],
    };
    let mut chart = axes.draw(area)?;
    for other in all {
        chart.draw_series(LineSeries::new(other.iter().copied(), BLACK.mix(0.16)))?;
    }
    chart.draw_series(LineSeries::new(line.iter().copied(), BLUE.stroke_width(3)))?;
    if let [point] = line {
        // A line with a single point is invisible.
        chart.draw_series([Circle::new(*point, 4, BLUE.filled())])?;
    }
    let (left, room) = (AXIS as i32, PANEL.0 - AXIS - 8);
    let name = (FONT, 16, FontStyle::Bold).into_font();
    let name = canvas::fitted(&curve.name, name, room);
    let note = canvas::fitted(&curve.note, (FONT, 14).into_font(), room);
    area.draw(&Text::new(curve.name.as_str(), (left, 6), name))?;
    area.draw(&Text::new(curve.note.as_str(), (left, 25), note.color(&BLACK.mix(0.75))))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_its_curve() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("multiples.png");
        for count in [0, 1, 3, 6] {
            let curve = |i: usize| Curve {
                name: format!("curve {i}"),
                note: "a note".into(),
                points: (0..=10).map(|x| (f64::from(x), 0.1 * f64::from(x) / (i + 1) as f64)).collect(),
            };
            let mut curves: Vec<Curve> = (0..count).map(curve).collect();
            if count == 6 {
                curves[4].points = vec![(4.0, 0.5)];
                curves[5].points = vec![(0.0, f64::NAN), (1.0, 7.0), (2.0, 0.5)];
            }
            let title = "Validation accuracy on SYNTHETIC shapes, mean of the seeds";
            plot(&path, &curves, 0.0..1.0, title, "iteration").unwrap();
            let picture = image::open(&path).unwrap().into_rgb8();
            let columns = count.clamp(1, COLUMNS) as u32;
            let rows = (count as u32).div_ceil(columns).max(1);
            // A narrow picture has a title of several lines, which end before its edge.
            let lines = if columns == 1 { 3 } else { 1 };
            let above = 18 + 26 * lines;
            assert_eq!(picture.dimensions(), (columns * PANEL.0, above + rows * PANEL.1));
            let beside = image::imageops::crop_imm(&picture, columns * PANEL.0 - 8, 0, 8, above).to_image();
            assert!(beside.pixels().all(|pixel| pixel.0 == [255; 3]), "the title is cut");
            for index in 0..count as u32 {
                let (x, y) = (index % columns * PANEL.0, above + index / columns * PANEL.1);
                let panel = image::imageops::crop_imm(&picture, x, y, PANEL.0, PANEL.1).to_image();
                let blue = panel.pixels().filter(|pixel| pixel.0 == [BLUE.0, BLUE.1, BLUE.2]).count();
                assert!(blue > 30, "{index} of {count}: {blue}");
            }
        }
    }
}
