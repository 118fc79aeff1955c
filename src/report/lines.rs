//! Lines with bands in one panel: risk over coverage, accuracy over the radius of an attack, energies over steps.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

pub use super::axes::Scale;
use super::axes::{Axes, Axis};
use super::canvas::{self, PlotError, Root};
use super::captions::{AXIS_NAME, BESIDE, COLORS, Legend, Mark, Title};
use super::curves::SPARSE;
use crate::error::{Error, Result};

/// The maximum number of lines.
pub const LINES: usize = COLORS.len();
/// The width of the picture, the height of the panel with its labels, and the space for the vertical axis, in pixels.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
const AXIS: u32 = 90;

/// A line with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The name in the legend.
    pub name: String,
    /// Points in the order of the first coordinate; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// The lower and the upper end of the band at each point, such as an interval of confidence. Ends that are not
    /// finite are left out.
    pub band: Option<Vec<[f64; 2]>>,
}

/// The title and the axes of a picture of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<'a> {
    /// The title; may be empty.
    pub title: &'a str,
    /// The names of the horizontal and the vertical axis.
    pub names: [&'a str; 2],
    /// The scale of the horizontal axis. On [`Scale::Log10`] points at 0 and below are left out.
    pub scale: Scale,
    /// The range of the vertical axis; values outside are drawn at the edge. `None`: all lines and bands.
    pub range: Option<Range<f64>>,
}

/// Writes a PNG of 1 to 8 lines, 960 pixels wide, with a legend above the panel. A line of fewer than 40 points has a
/// marker at each.
///
/// # Errors
/// [`Error::Shape`] when there is no line or more than [`LINES`], or a band has another length than its line;
/// [`Error::Setting`] when the range is empty or not finite; [`Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, lines: &[Line], frame: &Frame<'_>) -> Result<()> {
    let wrong = |message: String| Err(Error::Shape { operation: "lines", message });
    if !(1..=LINES).contains(&lines.len()) {
        return wrong(format!("expected 1 to {LINES} lines, got {}", lines.len()));
    }
    let differs = |line: &&Line| line.band.as_ref().is_some_and(|band| band.len() != line.points.len());
    if let Some(line) = lines.iter().find(differs) {
        let ends = line.band.as_ref().map_or(0, Vec::len);
        return wrong(format!(
            "expected a band of {} points for {}, got {ends}",
            line.points.len(),
            line.name
        ));
    }
    let is_wrong = |range: &&Range<f64>| range.is_empty() || !(range.end - range.start).is_finite();
    if let Some(range) = frame.range.as_ref().filter(is_wrong) {
        return Err(Error::setting("range", format!("expected a finite and ascending one, got {range:?}")));
    }
    let shown: Vec<Shown> = lines.iter().map(|line| Shown::of(line, frame.scale)).collect();
    let title = Title::new(frame.title, WIDTH);
    let entries = lines.iter().zip(COLORS).map(|(line, color)| (Mark::Line(color), line.name.as_str()));
    let legend = Legend::new(entries, WIDTH - AXIS - BESIDE);
    let above = title.height() + legend.height();
    canvas::write_png(path, (WIDTH, above + HEIGHT), |root| {
        title.draw(root)?;
        let (_, rest) = root.split_vertically(title.height());
        legend.draw(&rest, AXIS)?;
        let (_, rest) = rest.split_vertically(legend.height());
        draw_panel(&rest, &shown, frame)
    })
}

/// The finite points of a line and of its band.
struct Shown {
    points: Vec<(f64, f64)>,
    band: Vec<(f64, [f64; 2])>,
}

impl Shown {
    fn of(line: &Line, scale: Scale) -> Self {
        let on_axis = |x: f64| x.is_finite() && (scale == Scale::Linear || x > 0.0);
        let points = line.points.iter().copied().filter(|&(x, y)| on_axis(x) && y.is_finite());
        let ends = line.points.iter().map(|point| point.0).zip(line.band.iter().flatten().copied());
        let band = ends.filter(|&(x, ends)| on_axis(x) && ends.iter().all(|end| end.is_finite()));
        Self { points: points.collect(), band: band.collect() }
    }
}

/// The lowest and the highest of `values`.
fn extremes(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found, value| {
        let (low, high) = found.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// The horizontal axis of `lines`, from the first point to the last; wider for a single point.
fn horizontal(lines: &[Shown], scale: Scale) -> Axis {
    let xs = lines.iter().flat_map(|line| line.points.iter().map(|point| point.0));
    let range = match (extremes(xs), scale) {
        (None, Scale::Linear) => 0.0..1.0,
        (None, Scale::Log10) => 1.0..10.0,
        (Some((low, high)), _) if high - low > 1e-9 * low.abs().max(high.abs()) => low..high,
        (Some((low, _)), Scale::Linear) => low - 0.1 * low.abs().max(1.0)..low + 0.1 * low.abs().max(1.0),
        (Some((low, _)), Scale::Log10) => low / 2.0..low * 2.0,
    };
    Axis { range, scale }
}

/// The range of all lines and bands, with a margin.
fn vertical(lines: &[Shown]) -> Range<f64> {
    let points = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let bands = lines.iter().flat_map(|line| line.band.iter().flat_map(|band| band.1));
    let Some((low, high)) = extremes(points.chain(bands)) else { return 0.0..1.0 };
    // So that the length of the range is finite.
    let (low, high) = (low.clamp(-1e300, 1e300), high.clamp(-1e300, 1e300));
    let margin = (0.05 * (high - low)).max(1e-3 * low.abs().max(high.abs())).max(1e-6);
    low - margin..high + margin
}

/// Leaves out points nearer to their predecessor than a pixel: a thick line through them would be uneven.
fn thinned(points: Vec<(f64, f64)>, x: &Axis, range: &Range<f64>) -> Vec<(f64, f64)> {
    let place = |&(at, y): &(f64, f64)| {
        (f64::from(WIDTH) * x.share(at), f64::from(HEIGHT) * (y - range.start) / (range.end - range.start))
    };
    let mut kept: Vec<(f64, f64)> = Vec::new();
    let last = points.len().saturating_sub(1);
    for (index, point) in points.into_iter().enumerate() {
        let is_far = kept.last().is_none_or(|before| {
            let (from, to) = (place(before), place(&point));
            (to.0 - from.0).hypot(to.1 - from.1) >= 2.0
        });
        if is_far || index == last {
            kept.push(point);
        }
    }
    kept
}

fn draw_panel(area: &Root, lines: &[Shown], frame: &Frame<'_>) -> Result<(), PlotError> {
    let x = horizontal(lines, frame.scale);
    let range = frame.range.clone().unwrap_or_else(|| vertical(lines));
    let axes = Axes {
        x: x.clone(),
        y: range.clone(),
        margins: [8, 34, 4, AXIS_NAME],
        areas: [46, AXIS - AXIS_NAME],
        labels: [11, 7],
        x_label: &|value| x.label(value),
        names: frame.names,
        fonts: [16, 16],
    };
    let mut chart = axes.draw(area)?;
    let clipped = |y: f64| y.clamp(range.start, range.end);
    for (line, color) in lines.iter().zip(COLORS) {
        if line.band.len() > 1 {
            let lower = line.band.iter().map(|&(x, [low, _])| (x, clipped(low)));
            let upper = line.band.iter().rev().map(|&(x, [_, high])| (x, clipped(high)));
            let outline: Vec<_> = lower.chain(upper).collect();
            chart.draw_series([Polygon::new(outline, color.mix(0.16).filled())])?;
        }
    }
    for (line, color) in lines.iter().zip(COLORS) {
        let points: Vec<_> = line.points.iter().map(|&(x, y)| (x, clipped(y))).collect();
        if points.len() < SPARSE {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, color.filled())))?;
        }
        chart.draw_series(LineSeries::new(thinned(points, &x, &range), color.stroke_width(2)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame<'_> = Frame {
        title: "Robust accuracy of ResNet-20 and JEM on 1,000 test images of CIFAR-10",
        names: ["L-infinity radius (1/255)", "accuracy"],
        scale: Scale::Linear,
        range: None,
    };

    fn line(name: &str, points: impl Iterator<Item = (f64, f64)>, width: Option<f64>) -> Line {
        let points: Vec<_> = points.collect();
        let band = width.map(|width| points.iter().map(|&(_, y)| [y - width, y + width]).collect());
        Line { name: name.into(), points, band }
    }

    fn draw(lines: &[Line], frame: &Frame<'_>, keep: &str) -> image::RgbImage {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.png");
        plot(&path, lines, frame).unwrap();
        if let Some(folder) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&folder).join(format!("lines-{keep}.png"))).unwrap();
        }
        image::open(&path).unwrap().into_rgb8()
    }

    fn count(picture: &image::RgbImage, color: RGBColor) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn every_line_is_drawn_in_its_colour() {
        let curve = |index: usize| {
            let steepness = 0.4 / (index + 1) as f64;
            let points = (0..=8).map(move |radius| {
                let radius = f64::from(radius);
                (radius, 0.92 * (-steepness * radius).exp())
            });
            line(&format!("model {index}, PGD"), points, Some(0.03))
        };
        for n in [1, 4, 8] {
            let lines: Vec<_> = (0..n).map(curve).collect();
            let frame = Frame { range: Some(0.0..1.0), ..FRAME };
            let picture = draw(&lines, &frame, &n.to_string());
            assert_eq!(picture.width(), WIDTH);
            let panel =
                image::imageops::crop_imm(&picture, 0, picture.height() - HEIGHT, WIDTH, HEIGHT).to_image();
            for (index, color) in COLORS[..n].iter().enumerate() {
                assert!(count(&panel, *color) > 400, "{index} of {n}: {}", count(&panel, *color));
            }
        }
    }

    #[test]
    fn a_decade_has_the_same_width_everywhere() {
        // Points at 10, 100, 1,000 and 10,000 steps: four markers at equal distances.
        let points = [(0.0, 7.0), (10.0, 1.0), (100.0, 3.0), (1e3, 2.5), (1e4, 1.0)];
        let data = line("data", [(10.0, 2.0), (1e4, 2.0)].into_iter(), None);
        let frame = Frame { names: ["SGLD steps", "energy (nats)"], scale: Scale::Log10, ..FRAME };
        let chains = line("fresh chains", points.into_iter(), Some(0.4));
        let picture = draw(&[chains, data], &frame, "log");
        let top = picture.height() - HEIGHT;
        let is_blue =
            |x: u32| (top..picture.height()).filter(|&y| picture.get_pixel(x, y).0 == [0, 114, 178]).count();
        // A marker is 9 pixels high, a line less.
        let markers: Vec<u32> = (0..WIDTH).filter(|&x| is_blue(x) >= 8).collect();
        let first = |from: u32, to: u32| markers.iter().copied().filter(|&x| x >= from && x < to).min();
        let span = WIDTH - AXIS - 34;
        for decade in 0..4 {
            let at = AXIS + decade * span / 3;
            assert!(first(at - 6, at + 7).is_some(), "{decade}: none near {at} of {markers:?}");
        }
    }

    #[test]
    fn the_axis_of_values_holds_all_bands() {
        let line = line(
            "risk",
            (1..=10_000).map(|i| (f64::from(i) / 1e4, 0.1 * (f64::from(i) / 1e4).powi(3))),
            Some(0.02),
        );
        let range = vertical(&[Shown::of(&line, Scale::Linear)]);
        assert!(range.start < -0.02 && range.end > 0.12 && range.end < 0.14, "{range:?}");
        let frame = Frame { names: ["coverage", "risk"], ..FRAME };
        let picture = draw(&[line], &frame, "dense");
        assert!(count(&picture, COLORS[0]) > 1000);
    }

    #[test]
    fn damaged_lines_can_be_drawn_and_wrong_ones_are_errors() {
        let nan = [(f64::NAN, 1.0), (1.0, f64::INFINITY), (2.0, 0.5), (f64::INFINITY, 1.0)];
        for scale in [Scale::Linear, Scale::Log10] {
            let damaged = Line {
                name: "damaged".into(),
                points: nan.to_vec(),
                band: Some(vec![[f64::NAN, 1.0], [0.0, 1.0], [f64::NEG_INFINITY, 1.0], [0.0, 1.0]]),
            };
            let nothing = line("nothing", [].into_iter(), None);
            let frame = Frame { scale, ..FRAME };
            let marker = draw(&[damaged, nothing.clone()], &frame, "damaged");
            assert!(count(&marker, COLORS[0]) > 80, "the one point has a marker");
            draw(&[nothing], &frame, "nothing");
            draw(&[line("huge", [(1e-300, -1e308), (1e300, 1e308)].into_iter(), None)], &frame, "huge");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines.png");
        let one = line("one", [(0.0, 1.0)].into_iter(), None);
        let message = |lines: &[Line], frame: &Frame<'_>| plot(&path, lines, frame).unwrap_err().to_string();
        assert!(message(&[], &FRAME).contains("got 0"));
        assert!(message(&vec![one.clone(); 9], &FRAME).contains("got 9"));
        let short = Line { band: Some(vec![]), ..one.clone() };
        assert!(message(&[short], &FRAME).contains("a band of 1 points for one, got 0"));
        for range in [1.0..1.0, 0.0..f64::NAN, 0.0..f64::INFINITY] {
            assert!(
                message(std::slice::from_ref(&one), &Frame { range: Some(range), ..FRAME })
                    .contains("ascending")
            );
        }
    }
}
