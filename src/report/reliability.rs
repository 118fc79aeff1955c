//! Reliability diagrams side by side: accuracy over confidence, such as before and after temperature scaling.

use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, Axis};
use super::canvas::{self, PlotError, Root};
use super::captions::{AXIS_NAME, BESIDE, Heading, Legend, Mark, Title};
use super::curves::panels::{BLUE, GREEN, ORANGE};
use crate::error::{Error, Result};

/// The maximum number of diagrams.
pub const DIAGRAMS: usize = 4;
/// The width of a diagram for each number of them, in pixels.
const WIDTHS: [u32; DIAGRAMS] = [440, 440, 400, 300];
/// The space to the left of a panel for its vertical axis, and to its right, in pixels.
const AXIS: u32 = 72;
const RIGHT: u32 = 18;
/// The height of the histogram and of the labels under it, in pixels.
const HISTOGRAM: u32 = 84;
const LABELS: u32 = 44;

/// The images of a range of confidences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The bounds of the confidence, in [0, 1].
    pub bounds: [f64; 2],
    /// The number of images.
    pub images: usize,
    /// The mean confidence of the images, in [0, 1].
    pub confidence: f64,
    /// The accuracy of the images, in [0, 1].
    pub accuracy: f64,
}

/// The diagram of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagram {
    /// The panel's title.
    pub name: String,
    /// Text under the title, such as the ECE.
    pub note: String,
    /// Bins in any order. Those without images, and those with values that are not finite, are left out.
    pub bins: Vec<Bin>,
}

/// Writes a PNG of 1 to 4 reliability diagrams (Guo et al. 2017, figure 1) side by side, 300 to 440 pixels wide each. A
/// bar for each bin reaches to its accuracy; the gap from there to its mean confidence is shaded, in one colour where
/// the classifier is overconfident, in another where it is underconfident. The dashed diagonal is perfect calibration.
/// A histogram under each diagram shows the number of images of the bins.
///
/// # Errors
/// [`Error::Shape`] when there is no diagram or more than [`DIAGRAMS`]; [`Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, diagrams: &[Diagram], title: &str) -> Result<()> {
    if !(1..=DIAGRAMS).contains(&diagrams.len()) {
        return Err(Error::Shape {
            operation: "reliability diagrams",
            message: format!("expected 1 to {DIAGRAMS} diagrams, got {}", diagrams.len()),
        });
    }
    let columns = diagrams.len();
    let panel = WIDTHS[columns - 1];
    let width = panel * columns as u32;
    let headings: Vec<_> = diagrams
        .iter()
        .map(|diagram| Heading::new(&diagram.name, &diagram.note, panel - AXIS - RIGHT))
        .collect();
    let above = headings.iter().map(Heading::height).max().unwrap_or(0);
    let title = Title::new(title, width);
    let legend = [
        (accuracy_mark(), "accuracy"),
        (gap_mark(ORANGE), "mean confidence above it"),
        (gap_mark(GREEN), "mean confidence below it"),
    ];
    let legend = Legend::new(legend, width - 2 * BESIDE);
    // The diagrams are square.
    let square = above + panel - AXIS - RIGHT;
    let top = title.height() + legend.height();
    canvas::write_png(path, (width, top + square + HISTOGRAM + LABELS), |root| {
        title.draw(root)?;
        let (_, rest) = root.split_vertically(title.height());
        legend.draw(&rest, BESIDE)?;
        let (_, rest) = rest.split_vertically(legend.height());
        for (index, area) in rest.split_evenly((1, columns)).iter().enumerate() {
            let (upper, lower) = area.split_vertically(square);
            headings[index].draw(&upper, AXIS)?;
            let shown = |bin: &&Bin| bin.images > 0 && bin.confidence.is_finite() && bin.accuracy.is_finite();
            let bins: Vec<&Bin> = diagrams[index].bins.iter().filter(shown).collect();
            draw_diagram(&upper, &bins, above, index == 0)?;
            draw_histogram(&lower, &bins, index == 0)?;
        }
        Ok(())
    })
}

fn accuracy_mark() -> Mark {
    Mark::Area(BLUE.mix(0.55), BLUE)
}

fn gap_mark(color: RGBColor) -> Mark {
    Mark::Area(color.mix(0.4), color)
}

fn draw_diagram(area: &Root, bins: &[&Bin], above: u32, first: bool) -> Result<(), PlotError> {
    let axes = Axes {
        x: Axis::from(0.0..1.0),
        y: 0.0..1.0,
        margins: [above, RIGHT, 0, AXIS_NAME],
        // The labels are below the histogram.
        areas: [0, AXIS - AXIS_NAME],
        labels: [6, 6],
        x_label: &|_| String::new(),
        names: ["", if first { "accuracy" } else { "" }],
        fonts: [14, 14],
    };
    let mut chart = axes.draw(area)?;
    for bin in bins {
        let [left, right] = bin.bounds;
        let (accuracy, confidence) = (bin.accuracy, bin.confidence);
        let bar = [(left, 0.0), (right, accuracy.min(confidence))];
        chart.draw_series([Rectangle::new(bar, BLUE.mix(0.55).filled())])?;
        let color = if confidence > accuracy { ORANGE } else { GREEN };
        let gap = [(left, accuracy), (right, confidence)];
        chart.draw_series([Rectangle::new(gap, color.mix(0.4).filled())])?;
        chart.draw_series([Rectangle::new(gap, color.stroke_width(1))])?;
        chart.draw_series([Rectangle::new([(left, 0.0), (right, accuracy)], BLUE.stroke_width(1))])?;
        let level = [(left, accuracy), (right, accuracy)];
        chart.draw_series([PathElement::new(level, BLUE.stroke_width(3))])?;
    }
    let diagonal = [(0.0, 0.0), (1.0, 1.0)];
    chart.draw_series(DashedLineSeries::new(diagonal, 6, 4, BLACK.mix(0.7).stroke_width(2)))?;
    Ok(())
}

fn draw_histogram(area: &Root, bins: &[&Bin], first: bool) -> Result<(), PlotError> {
    let most = bins.iter().map(|bin| bin.images).max().unwrap_or(1) as f64;
    let x = Axis::from(0.0..1.0);
    let axes = Axes {
        x: x.clone(),
        y: 0.0..1.1 * most,
        margins: [14, RIGHT, 0, AXIS_NAME],
        areas: [LABELS, AXIS - AXIS_NAME],
        labels: [6, 3],
        x_label: &|value| x.label(value),
        names: ["confidence", if first { "images" } else { "" }],
        fonts: [14, 14],
    };
    let mut chart = axes.draw(area)?;
    // A bin with few images is a pixel high at least.
    let least = 1.1 * most / f64::from(HISTOGRAM - 14);
    let bar = |bin: &&Bin| {
        let height = (bin.images as f64).max(least);
        Rectangle::new([(bin.bounds[0], 0.0), (bin.bounds[1], height)], BLUE.mix(0.55).filled())
    };
    chart.draw_series(bins.iter().map(bar))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty bins of a classifier whose accuracy is its confidence plus `gap`.
    fn diagram(name: &str, gap: f64) -> Diagram {
        let bin = |i: usize| {
            let bounds = [i as f64 / 20.0, (i + 1) as f64 / 20.0];
            let confidence = (bounds[0] + bounds[1]) / 2.0;
            let accuracy = (confidence + gap).clamp(0.0, 1.0);
            Bin { bounds, images: 10 + i.pow(3), confidence, accuracy }
        };
        let note = "ECE 0.053 [0.049, 0.058]".into();
        Diagram { name: name.into(), note, bins: (4..20).map(bin).collect() }
    }

    fn draw(diagrams: &[Diagram], keep: &str) -> image::RgbImage {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reliability.png");
        plot(&path, diagrams, "Calibration of ResNet-20 on the 10,000 test images of CIFAR-10").unwrap();
        if let Some(folder) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&folder).join(format!("reliability-{keep}.png"))).unwrap();
        }
        image::open(&path).unwrap().into_rgb8()
    }

    fn count(picture: &image::RgbImage, color: RGBColor) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn every_diagram_has_its_gap() {
        let all = [
            diagram("resnet20", -0.08),
            diagram("resnet20, temperature 1.42", 0.05),
            diagram("jem-wideresnet-28-10-cifar10-epoch-150", -0.2),
            diagram("jem-wideresnet-28-10-cifar10-epoch-150, temperature 2.13", 0.02),
        ];
        for n in 1..=DIAGRAMS {
            let picture = draw(&all[..n], &n.to_string());
            assert_eq!(picture.width(), WIDTHS[n - 1] * n as u32);
            for (index, (color, other)) in
                [(ORANGE, GREEN), (GREEN, ORANGE), (ORANGE, GREEN), (GREEN, ORANGE)][..n].iter().enumerate()
            {
                let left = index as u32 * WIDTHS[n - 1];
                let panel = image::imageops::crop_imm(&picture, left, 130, WIDTHS[n - 1], 300).to_image();
                let (found, others) = (count(&panel, *color), count(&panel, *other));
                assert!(found > 100 && others < found / 4, "{index} of {n}: {found} and {others}");
                assert!(count(&panel, BLUE) > 200, "{index} of {n}");
            }
        }
    }

    #[test]
    fn a_bar_reaches_to_its_accuracy() {
        let bin = Bin { bounds: [0.4, 0.6], images: 7, confidence: 0.75, accuracy: 0.25 };
        let empty = Bin { bounds: [0.0, 0.2], images: 0, confidence: f64::NAN, accuracy: f64::NAN };
        let picture =
            draw(&[Diagram { name: "one".into(), note: String::new(), bins: vec![bin, empty] }], "bin");
        // The middle column of the panel, which is square.
        let side = f64::from(WIDTHS[0] - AXIS - RIGHT);
        let x = AXIS + (0.45 * side) as u32;
        let column: Vec<[u8; 3]> = (0..picture.height()).map(|y| picture.get_pixel(x, y).0).collect();
        let length = |color: RGBColor, alpha: f64| {
            let mixed = [color.0, color.1, color.2].map(|c| 255.0 + alpha * (f64::from(c) - 255.0));
            let near = |pixel: &&[u8; 3]| (0..3).all(|c| (f64::from(pixel[c]) - mixed[c]).abs() < 3.0);
            column.iter().filter(near).count() as f64
        };
        // The bar of the histogram is as high as its panel, less the margin.
        let bar = length(BLUE, 0.55) - f64::from(HISTOGRAM - 14) / 1.1;
        approx::assert_abs_diff_eq!(bar, 0.25 * side, epsilon = 8.0);
        approx::assert_abs_diff_eq!(length(ORANGE, 0.4), 0.5 * side, epsilon = 12.0);
    }

    #[test]
    fn no_diagram_and_five_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("reliability.png");
        for n in [0, 5] {
            let error = plot(&path, &vec![diagram("", 0.0); n], "").unwrap_err().to_string();
            assert!(error.contains(&format!("got {n}")), "{error}");
        }
        let nothing = Diagram { name: "no images".into(), note: String::new(), bins: vec![] };
        draw(&[nothing], "empty");
    }
}
