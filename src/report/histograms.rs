//! Histograms of scores: a panel for each score, with the densities of several sets.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, Axis};
use super::canvas::{self, PlotError, Root};
use super::captions::{AXIS_NAME, BESIDE, COLORS, Heading, Legend, Mark, Title};
use crate::error::{Error, Result};

/// The maximum number of sets.
pub const SETS: usize = COLORS.len();
/// The number of bins of a panel.
const BINS: usize = 50;
/// The shares of the values outside the bins, at each end.
const OUTSIDE: f64 = 0.005;
/// The maximum number of panels in a row, and the width of a full row, in pixels.
const COLUMNS: usize = 3;
const WIDTH: u32 = 1200;
/// The space to the left of a panel for its vertical axis, in pixels.
const AXIS: u32 = 72;
/// A peak above this many times the median peak is cut off.
const PEAK: f64 = 2.0;

/// A score with its values for each set.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The panel's title.
    pub name: String,
    /// Text under the title, such as the AUROC of each set.
    pub note: String,
    /// The values of each set, in any order. Values that are not finite are left out; the note says how many.
    pub sets: Vec<Vec<f64>>,
}

/// Writes a PNG with a panel for each score, up to three in a row, 1200 pixels wide (640 for a single panel). A panel
/// has the density of each set over 50 bins: the first filled, the others as lines. The bins reach from the 0.5% to the
/// 99.5% quantile of all values of the panel, with the same weight for every set, so that a small one is not lost;
/// values beyond are counted in the first and the last bin. A peak more than twice as high as the median of the
/// sets' peaks is cut off, with a triangle in its place. `names` are those of the sets, 1 to 8.
///
/// # Errors
/// [`Error::Shape`] when there are no sets or more than [`SETS`], no scores, or a score has another number of sets;
/// [`Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, scores: &[Score], names: &[String], title: &str) -> Result<()> {
    let wrong = |message: String| Err(Error::Shape { operation: "histograms", message });
    if !(1..=SETS).contains(&names.len()) || scores.is_empty() {
        return wrong(format!(
            "expected a score and 1 to {SETS} sets, got {} and {}",
            scores.len(),
            names.len()
        ));
    }
    if let Some(score) = scores.iter().find(|score| score.sets.len() != names.len()) {
        return wrong(format!("expected {} sets of {}, got {}", names.len(), score.name, score.sets.len()));
    }
    let columns = scores.len().min(COLUMNS);
    let rows = scores.len().div_ceil(columns);
    let (width, height) = if columns == 1 { (640, 340) } else { (WIDTH, 250) };
    let panel = width / columns as u32;
    let headings: Vec<_> = scores.iter().map(|score| heading(score, panel - AXIS - 16)).collect();
    // The same for all panels, so that their axes are in line.
    let above = headings.iter().map(Heading::height).max().unwrap_or(0);
    let title = Title::new(title, width);
    let first = Mark::Area(COLORS[0].mix(0.3), COLORS[0]);
    let marks = std::iter::once(first).chain(COLORS[1..].iter().map(|&color| Mark::Line(color)));
    let legend = Legend::new(marks.zip(names.iter().map(String::as_str)), width - 2 * BESIDE);
    let top = title.height() + legend.height();
    canvas::write_png(path, (width, top + rows as u32 * (above + height)), |root| {
        title.draw(root)?;
        let (_, rest) = root.split_vertically(title.height());
        legend.draw(&rest, BESIDE)?;
        let (_, rest) = rest.split_vertically(legend.height());
        for (index, area) in rest.split_evenly((rows, columns)).iter().enumerate().take(scores.len()) {
            headings[index].draw(area, AXIS)?;
            draw_panel(area, &Histograms::of(&scores[index].sets), above, index % columns == 0)?;
        }
        Ok(())
    })
}

/// The heading of a score's panel, with the number of values that are not finite.
fn heading(score: &Score, room: u32) -> Heading {
    let values = score.sets.iter().flatten();
    let lost = values.clone().filter(|value| !value.is_finite()).count();
    let missing = match values.count() {
        all if all == lost => "no finite values".to_owned(),
        all if lost > 0 => format!("{lost} of {all} values are not finite"),
        _ => String::new(),
    };
    let joint = if score.note.is_empty() || missing.is_empty() { "" } else { "; " };
    Heading::new(&score.name, &format!("{}{joint}{missing}", score.note), room)
}

/// The densities of the sets of a panel, over bins of equal width; a set without values has none.
struct Histograms {
    range: Range<f64>,
    densities: Vec<Vec<f64>>,
}

impl Histograms {
    fn of(sets: &[Vec<f64>]) -> Self {
        let finite: Vec<Vec<f64>> =
            sets.iter().map(|set| set.iter().copied().filter(|value| value.is_finite()).collect()).collect();
        let range = inner_range(&finite);
        let bin = (range.end - range.start) / BINS as f64;
        let densities = finite.iter().map(|set| {
            let mut counts = vec![0_u32; if set.is_empty() { 0 } else { BINS }];
            for value in set {
                // Values below the range are in the first bin: a negative number becomes 0.
                counts[(((value - range.start) / bin) as usize).min(BINS - 1)] += 1;
            }
            counts.into_iter().map(|count| f64::from(count) / (set.len() as f64 * bin)).collect()
        });
        Self { densities: densities.collect(), range: range.clone() }
    }

    /// The height of the panel: that of the highest peak, if it is not too far above the others.
    fn top(&self) -> f64 {
        let peaks = self.densities.iter().filter(|bins| !bins.is_empty());
        let mut peaks: Vec<f64> = peaks.map(|bins| bins.iter().copied().fold(0.0, f64::max)).collect();
        peaks.sort_by(f64::total_cmp);
        let (Some(&highest), Some(&median)) = (peaks.last(), peaks.get(peaks.len().saturating_sub(1) / 2))
        else {
            return 1.0;
        };
        1.08 * highest.min(PEAK * median)
    }

    /// The outline of a set: two points for each bin.
    fn steps(&self, densities: &[f64], top: f64) -> Vec<(f64, f64)> {
        let edge =
            |bin: usize| self.range.start + (self.range.end - self.range.start) * bin as f64 / BINS as f64;
        let points = densities.iter().enumerate();
        points.flat_map(|(bin, &y)| [(edge(bin), y.min(top)), (edge(bin + 1), y.min(top))]).collect()
    }
}

/// The range between the quantiles, with the same weight for every set; wider if it is empty.
fn inner_range(sets: &[Vec<f64>]) -> Range<f64> {
    let weighted = |set: &Vec<f64>| {
        let weight = 1.0 / set.len() as f64;
        set.iter().map(|&value| (value, weight)).collect::<Vec<_>>()
    };
    let mut values: Vec<(f64, f64)> = sets.iter().flat_map(weighted).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = values.iter().map(|value| value.1).sum();
    let quantile = |share: f64| {
        let mut below = 0.0;
        let reached = values.iter().find(|value| {
            below += value.1;
            below >= share * total
        });
        reached.or(values.last()).map(|value| value.0)
    };
    let (Some(low), Some(high)) = (quantile(OUTSIDE), quantile(1.0 - OUTSIDE)) else {
        return 0.0..1.0;
    };
    // So that the length of the range is finite.
    let (low, high) = (low.clamp(-1e300, 1e300), high.clamp(-1e300, 1e300));
    let size = low.abs().max(high.abs());
    if high - low > 1e-9 * size { low..high } else { low - 0.05 * size.max(1.0)..high + 0.05 * size.max(1.0) }
}

fn draw_panel(area: &Root, histograms: &Histograms, above: u32, first: bool) -> Result<(), PlotError> {
    let top = histograms.top();
    let x = Axis::from(histograms.range.clone());
    let axes = Axes {
        x: x.clone(),
        y: 0.0..top,
        margins: [above, 20, 8, AXIS_NAME],
        areas: [26, AXIS - AXIS_NAME],
        labels: [8, 4],
        x_label: &|value| x.label(value),
        names: ["", if first { "density" } else { "" }],
        fonts: [14, 14],
    };
    let mut chart = axes.draw(area)?;
    for (index, (densities, color)) in histograms.densities.iter().zip(COLORS).enumerate() {
        let steps = histograms.steps(densities, top);
        if index == 0 {
            let ends = [(histograms.range.end, 0.0), (histograms.range.start, 0.0)];
            let outline: Vec<_> = steps.iter().copied().chain(ends).collect();
            chart.draw_series([Polygon::new(outline, color.mix(0.3).filled())])?;
        }
        chart.draw_series(LineSeries::new(steps, color.stroke_width(2)))?;
        let (start, end) = (histograms.range.start, histograms.range.end);
        let cut = densities.iter().enumerate().filter(|(_, density)| **density > top);
        chart.draw_series(cut.map(|(bin, _)| {
            let middle = start + (end - start) * (bin as f64 + 0.5) / BINS as f64;
            TriangleMarker::new((middle, top), 6, color.filled())
        }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;

    /// Normal values by the sum of uniform ones.
    fn normal(n: usize, mean: f64, deviation: f64, seed: u32) -> Vec<f64> {
        let mut random = SplitMix::new(u64::from(seed), 1);
        let mut sum = || (0..12).map(|_| f64::from(random.uniform(-0.5, 0.5))).sum::<f64>();
        (0..n).map(|_| mean + deviation * sum()).collect()
    }

    fn score(name: &str, sets: usize) -> Score {
        let set = |index: usize| normal(4000, -1.5 * index as f64, 1.0 + 0.2 * index as f64, index as u32);
        Score { name: name.into(), note: "AUROC 0.87".into(), sets: (0..sets).map(set).collect() }
    }

    fn names(sets: usize) -> Vec<String> {
        let all =
            ["CIFAR-10", "CIFAR-100", "SVHN", "Fashion-MNIST", "CelebA", "noise", "interpolated", "constant"];
        all[..sets].iter().map(|&name| name.to_owned()).collect()
    }

    fn draw(scores: &[Score], names: &[String], keep: &str) -> image::RgbImage {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("histograms.png");
        plot(&path, scores, names, "Scores of ResNet-20 on CIFAR-10 and other sets").unwrap();
        if let Some(folder) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&folder).join(format!("histograms-{keep}.png"))).unwrap();
        }
        image::open(&path).unwrap().into_rgb8()
    }

    fn count(picture: &image::RgbImage, color: RGBColor) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn every_panel_has_every_set() {
        for (scores, sets) in [(1, 1), (1, 2), (2, 3), (5, 4), (9, 8)] {
            let scores: Vec<Score> = (0..scores).map(|i| score(&format!("score {i}"), sets)).collect();
            let picture = draw(&scores, &names(sets), &format!("{}x{sets}", scores.len()));
            let columns = scores.len().min(COLUMNS) as u32;
            let panel = picture.width() / columns;
            let rows = (scores.len() as u32).div_ceil(columns);
            assert_eq!(picture.width(), if columns == 1 { 640 } else { 1200 });
            // The last panel of the first row; the lowest pixels of the picture are those of the last row.
            let height = (picture.height() - 90) / rows;
            let last = (scores.len() as u32 - 1) % columns * panel;
            let area = image::imageops::crop_imm(&picture, last, picture.height() - height, panel, height);
            let area = area.to_image();
            for (index, color) in COLORS[..sets].iter().enumerate() {
                assert!(count(&area, *color) > 60, "{} scores: set {index} of {sets}", scores.len());
            }
            let beside =
                image::imageops::crop_imm(&picture, picture.width() - 4, 0, 4, picture.height()).to_image();
            assert_eq!(count(&beside, WHITE), 4 * picture.height() as usize, "something is cut");
        }
    }

    #[test]
    fn densities_integrate_to_one_and_the_edges_count_what_is_beyond() {
        let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        values.extend([1e6, -1e6, f64::NAN, f64::INFINITY]);
        let found = Histograms::of(&[values]);
        let bin = (found.range.end - found.range.start) / BINS as f64;
        approx::assert_abs_diff_eq!(found.densities[0].iter().sum::<f64>() * bin, 1.0, epsilon = 1e-12);
        // 1002 values: the sixth and the 997th are the ends.
        assert_eq!(found.range, 0.004..0.995);
        let share = |bin_index: usize| found.densities[0][bin_index] * bin * 1002.0;
        // 0.004 to 0.02382, and five below; 0.97518 to 1, and one above.
        approx::assert_abs_diff_eq!(share(0), 25.0, epsilon = 1e-9);
        approx::assert_abs_diff_eq!(share(BINS - 1), 25.0, epsilon = 1e-9);
        approx::assert_abs_diff_eq!(share(1), 20.0, epsilon = 1.0);
    }

    #[test]
    fn a_small_set_weighs_as_much_as_a_large_one() {
        let sets = [normal(10_000, 0.0, 1.0, 1), normal(20, 40.0, 1.0, 2)];
        let range = inner_range(&sets);
        assert!(range.start > -4.0 && range.end > 40.0, "{range:?}");
        assert_eq!(inner_range(&[vec![], vec![]]), 0.0..1.0);
        let constant = inner_range(&[vec![5.0; 3]]);
        assert!(constant.start < 5.0 && constant.end > 5.0, "{constant:?}");
    }

    #[test]
    fn a_high_peak_is_cut_and_marked() {
        let peaked = Score {
            name: "log p(x)".into(),
            note: "AUROC: noise 0.99".into(),
            sets: vec![normal(4000, 0.0, 1.0, 1), normal(4000, 2.0, 1.0, 2), vec![-2.0; 4000]],
        };
        let found = Histograms::of(&peaked.sets);
        let peak = found.densities[0].iter().copied().fold(0.0, f64::max);
        assert!(found.top() < 2.4 * peak && found.top() > 1.6 * peak);
        let picture = draw(&[peaked], &names(3), "peak");
        // More than the line of two pixels.
        let color = [COLORS[2].0, COLORS[2].1, COLORS[2].2];
        let wide = picture.rows().skip(80).any(|row| row.filter(|pixel| pixel.0 == color).count() >= 9);
        assert!(wide, "no triangle");
    }

    #[test]
    fn missing_values_are_told_and_wrong_numbers_of_sets_are_errors() {
        let mut damaged = score("max p(y|x)", 2);
        damaged.sets[1] = vec![f64::NAN, f64::INFINITY];
        let empty = Score { sets: vec![vec![], vec![]], ..damaged.clone() };
        let huge = Score { sets: vec![vec![-1e308, 1e308], vec![0.0]], ..damaged.clone() };
        draw(&[damaged.clone(), empty, huge], &names(2), "damaged");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("histograms.png");
        let message =
            |scores: &[Score], names: &[String]| plot(&path, scores, names, "").unwrap_err().to_string();
        assert!(message(&[damaged.clone()], &names(3)).contains("expected 3 sets of max p(y|x), got 2"));
        assert!(message(&[], &names(1)).contains("got 0 and 1"));
        assert!(message(&[damaged], &vec![String::new(); 9]).contains("got 1 and 9"));
        assert!(!path.exists());
    }
}
