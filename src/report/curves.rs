//! The curves of a run: losses, energies and accuracies, one panel each.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, short};
use super::canvas::{self, FONT, PlotError, Root};
use super::metrics::MetricsTable;
use crate::error::Result;

/// The width of the picture and the height of a panel, in pixels.
const SIZE: (u32, u32) = (1200, 300);
/// The space left of the panels for the vertical axes, in pixels.
const LEFT: u32 = 84;
/// The space above a panel for its title and legend, in pixels.
const HEADING: u32 = 32;
/// The maximum number of groups of points of a line.
const COLUMNS: usize = 1100;
/// The approximate fraction of the run that a smoothed line averages over.
const SMOOTHING: f64 = 0.03;
/// Fewer points than this are drawn unsmoothed, with markers.
pub(super) const SPARSE: usize = 40;

/// One panel: its title, its lines (column and legend) and the fixed range of its axis, if any.
struct Panel {
    title: &'static str,
    lines: &'static [Line],
    range: Option<Range<f64>>,
}

/// A column and its style.
struct Line {
    column: &'static str,
    legend: &'static str,
    color: RGBColor,
}

// The colours of Okabe and Ito (2008), safe for colour-blind readers.
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
const GREEN: RGBColor = RGBColor(0, 158, 115);

const PANELS: [Panel; 3] = [
    Panel {
        title: "loss",
        lines: &[
            Line { column: "loss", legend: "total", color: BLUE },
            Line { column: "cross_entropy", legend: "cross-entropy", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "energy",
        lines: &[
            Line { column: "energy_data", legend: "data", color: BLUE },
            Line { column: "energy_samples", legend: "samples", color: ORANGE },
            Line { column: "energy_gap", legend: "gap (samples - data)", color: GREY },
        ],
        range: None,
    },
    Panel {
        title: "accuracy",
        lines: &[
            Line { column: "accuracy", legend: "training batch", color: BLUE },
            Line { column: "validation_accuracy", legend: "validation", color: ORANGE },
        ],
        range: Some(0.0..1.0),
    },
];

/// The panel of fresh chains, for runs that follow them at evaluations.
const FRESH: Panel = Panel {
    title: "fresh chains",
    lines: &[
        Line { column: "validation_energy", legend: "energy of held-out data", color: BLUE },
        Line { column: "fresh_energy_k", legend: "K steps", color: GREY },
        Line { column: "fresh_energy_10k", legend: "10 K", color: GREEN },
        Line { column: "fresh_energy_100k", legend: "100 K", color: ORANGE },
    ],
    range: None,
};

/// The panels on the health of chains and gradients.
const HEALTH: [Panel; 3] = [
    Panel {
        title: "gradient norms",
        lines: &[
            Line { column: "gradient_norm", legend: "loss, at the weights", color: BLUE },
            Line { column: "input_gradient_norm", legend: "log p(x), at the samples", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "chains",
        lines: &[
            Line { column: "displacement", legend: "way in an iteration", color: BLUE },
            Line { column: "saturated", legend: "fraction of saturated pixels", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "age of chains",
        lines: &[Line { column: "chain_age", legend: "SGLD steps", color: BLUE }],
        range: None,
    },
];

/// Draws the curves of `table` to a PNG file, written atomically, 1200 pixels wide and 300 high for each panel: `loss`
/// and `cross_entropy`; `energy_data`, `energy_samples` and `energy_gap`; `accuracy` and `validation_accuracy` (0 to
/// 1); and, if the run followed fresh chains, their energies beside `validation_energy`. Columns that the table lacks
/// are left out. Faint lines are the values, strong lines the smoothed values (local linear fits); a legend ends with
/// the last value.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, table: &MetricsTable, title: &str) -> Result<()> {
    let followed = !table.points("fresh_energy_k").is_empty();
    let panels: Vec<&Panel> = PANELS.iter().chain(followed.then_some(&FRESH)).collect();
    plot_panels(path, table, title, &panels)
}

/// Draws the health of a run like [`plot`]: panels of `gradient_norm` and `input_gradient_norm`; of `displacement` and
/// `saturated`; of `chain_age`.
///
/// # Errors
/// The errors of [`plot`].
pub fn plot_health(path: &Path, table: &MetricsTable, title: &str) -> Result<()> {
    plot_panels(path, table, title, &HEALTH.each_ref())
}

fn plot_panels(path: &Path, table: &MetricsTable, title: &str, panels: &[&Panel]) -> Result<()> {
    let size = (SIZE.0, SIZE.1 * panels.len() as u32);
    canvas::write_png(path, size, |root| {
        let font = canvas::fitted(title, (FONT, 20).into_font(), SIZE.0 - 16);
        let root = root.margin(8, 0, 0, 0).titled(title, font.color(&BLACK))?;
        let last = table.rows.iter().filter_map(|row| row.first().copied().flatten()).fold(1.0, f64::max);
        let areas = root.split_evenly((panels.len(), 1));
        for (index, (panel, area)) in panels.iter().zip(&areas).enumerate() {
            draw_panel(panel, area, table, last, index + 1 == panels.len())?;
        }
        Ok(())
    })
}

fn draw_panel(
    panel: &Panel,
    area: &Root,
    table: &MetricsTable,
    last: f64,
    lowest: bool,
) -> Result<(), PlotError> {
    let lines: Vec<_> = panel
        .lines
        .iter()
        .map(|line| (line, table.points(line.column)))
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let range = panel.range.clone().unwrap_or_else(|| range_of(lines.iter().map(|(_, points)| &points[..])));
    let extent = range.end - range.start;
    let axes = Axes {
        last,
        range: range.clone(),
        margins: [HEADING, 30, 4, 0],
        areas: [if lowest { 46 } else { 24 }, LEFT],
        labels: [11, 6],
        x_label: &|iteration| iterations(iteration, last),
        names: [if lowest { "iteration" } else { "" }, ""],
        fonts: [15, 17],
    };
    let mut chart = axes.draw(area)?;

    // Values outside the panel are drawn at its edge, so that it shows that they leave it.
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(line, points)| {
            let clipped = points.iter().map(|&(x, y)| (x, y.clamp(range.start, range.end)));
            (line, clipped.collect::<Vec<_>>())
        })
        .collect();
    for (line, points) in &lines {
        if points.len() >= SPARSE {
            chart.draw_series(LineSeries::new(extremes(points), line.color.mix(0.22)))?;
        }
    }
    let title = (FONT, 17, FontStyle::Bold).into_font();
    let legend = (FONT, 15).into_font();
    let mut x = LEFT as i32;
    area.draw(&Text::new(panel.title, (x, 9), title.clone()))?;
    x += title.box_size(panel.title)?.0 as i32 + 28;
    for (line, points) in &lines {
        let color = line.color;
        let strong = if points.len() < SPARSE { points.clone() } else { smooth(&means(points, COLUMNS)) };
        if points.len() < SPARSE {
            chart.draw_series(strong.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        }
        let value = strong.last().map_or(String::new(), |&(_, y)| short(y, extent));
        chart.draw_series(LineSeries::new(strong, color.stroke_width(2)))?;
        // The legend is above the panel, where it hides nothing.
        let text = format!("{} {value}", line.legend);
        area.draw(&PathElement::new([(x, 17), (x + 22, 17)], color.stroke_width(4)))?;
        area.draw(&Text::new(text.clone(), (x + 30, 10), legend.clone()))?;
        x += 30 + legend.box_size(&text)?.0 as i32 + 26;
    }
    Ok(())
}

/// The range of the values without the outermost hundredth at each end, with a margin.
pub(super) fn range_of<'a>(lines: impl Iterator<Item = &'a [(f64, f64)]>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for points in lines {
        let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        let trimmed = if values.len() < SPARSE { 0 } else { values.len().div_ceil(100) };
        low = low.min(values[trimmed]);
        high = high.max(values[values.len() - 1 - trimmed]);
    }
    if low > high {
        return 0.0..1.0;
    }
    let margin = (0.08 * (high - low)).max(1e-3 * low.abs().max(high.abs())).max(1e-6);
    low - margin..high + margin
}

/// Splits points into at most `count` groups of neighbours.
fn groups(points: &[(f64, f64)], count: usize) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunks(points.len().div_ceil(count.max(1)).max(1))
}

/// The lowest and the highest point of each of [`COLUMNS`] groups, finer than the pixels, in the order of the first
/// coordinate.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let pair = |group: &[(f64, f64)]| {
        let (low, high) = (*group.iter().min_by(by_value)?, *group.iter().max_by(by_value)?);
        Some(if low.0 <= high.0 { [low, high] } else { [high, low] })
    };
    groups(points, COLUMNS).filter_map(pair).flatten().collect()
}

/// The mean of each of at most `count` groups of neighbours.
pub(super) fn means(points: &[(f64, f64)], count: usize) -> Vec<(f64, f64)> {
    let mean = |group: &[(f64, f64)]| {
        let (x, y) = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / group.len() as f64, y / group.len() as f64)
    };
    groups(points, count).map(mean).collect()
}

/// Smooths by a line fitted around each point, with triangular weights over [`SMOOTHING`] of the points on each side:
/// unlike a mean it does not lag at the ends.
pub(super) fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = ((points.len() as f64 * SMOOTHING) as usize).max(2);
    (0..points.len())
        .map(|at| {
            let x0 = points[at].0;
            let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for (index, point) in
                points.iter().enumerate().take(at + reach + 1).skip(at.saturating_sub(reach))
            {
                let weight = (reach + 1 - at.abs_diff(index)) as f64;
                let (x, y) = (point.0 - x0, point.1);
                w += weight;
                wx += weight * x;
                wy += weight * y;
                wxx += weight * x * x;
                wxy += weight * x * y;
            }
            let determinant = w * wxx - wx * wx;
            let value = if determinant > 0.0 { (wxx * wy - wx * wxy) / determinant } else { wy / w };
            (x0, value)
        })
        .collect()
}

/// Formats an iteration, in thousands if the run has more than ten thousand.
pub(super) fn iterations(value: f64, last: f64) -> String {
    if last > 10_000.0 && value > 0.0 { format!("{}k", value / 1000.0) } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;

    /// A realistic run: noisy, with an outlier, and a validation every tenth row.
    fn run(rows: usize) -> MetricsTable {
        let columns = [
            "iteration",
            "loss",
            "cross_entropy",
            "energy_data",
            "energy_samples",
            "energy_gap",
            "accuracy",
            "validation_accuracy",
        ];
        let mut random = SplitMix::new(1, 1);
        let rows = (0..rows).map(|row| {
            let t = row as f64 / rows as f64;
            let mut noise = |size: f32| f64::from(random.uniform(-size, size));
            let cross_entropy = 0.6 + 1.7 * (-4.0 * t).exp() + noise(0.3);
            let (data, gap) = (-3.0 - 4.0 * t + noise(0.5), 0.8 * (-3.0 * t).exp() + noise(0.9));
            let loss = if row == rows / 2 { 900.0 } else { cross_entropy + gap };
            let accuracy = (0.8 - 0.7 * (-4.0 * t).exp() + noise(0.08)).clamp(0.0, 1.0);
            let validation = (row % (rows / 12).max(1) == 0).then(|| 0.72 - 0.62 * (-4.0 * t).exp());
            vec![
                Some(row as f64 * 10.0),
                Some(loss),
                Some(cross_entropy),
                Some(data),
                Some(data + gap),
                Some(gap),
                Some(accuracy),
                validation,
            ]
        });
        MetricsTable { columns: columns.map(String::from).to_vec(), rows: rows.collect() }
    }

    fn count(picture: &image::RgbImage, color: RGBColor) -> usize {
        picture.pixels().filter(|pixel| pixel.0 == [color.0, color.1, color.2]).count()
    }

    #[test]
    fn every_panel_has_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("curves.png");
        plot(&path, &run(1200), "cifar10, small").unwrap();
        // For visual inspection of the pictures.
        if let Some(keep) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&keep).join("curves.png")).unwrap();
        }
        let picture = image::open(&path).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (1200, 900));
        for (panel, third) in PANELS.iter().zip(0..) {
            let part = image::imageops::crop_imm(&picture, 0, 30 + third * 290, 1200, 290).to_image();
            for line in panel.lines {
                assert!(count(&part, line.color) > 300, "{} in {}", line.legend, panel.title);
            }
        }
    }

    #[test]
    fn fresh_chains_have_a_panel_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("curves.png");
        let mut table = run(1200);
        table.columns.extend(FRESH.lines.iter().map(|line| line.column.to_owned()));
        for (index, row) in table.rows.iter_mut().enumerate() {
            let t = index as f64 / 1200.0;
            let energies = [-3.0 - 4.0 * t, 5.0 * t, -3.0 + 2.0 * t, -3.5 - t];
            row.extend(energies.map(|energy| (index % 100 == 99).then_some(energy)));
            // No chain was followed for 100 K steps at some evaluations; one diverged.
            *row.last_mut().unwrap() = row.last().unwrap().filter(|_| index % 300 == 299);
        }
        table.rows[1199].pop();
        table.rows[1199].push(Some(f64::INFINITY));
        plot(&path, &table, "cifar10, small").unwrap();
        if let Some(keep) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&keep).join("curves-fresh.png")).unwrap();
        }
        let picture = image::open(&path).unwrap().into_rgb8();
        assert_eq!(picture.dimensions(), (1200, 1200));
        let last = image::imageops::crop_imm(&picture, 0, 908, 1200, 292).to_image();
        for line in FRESH.lines {
            assert!(count(&last, line.color) > 300, "{}", line.legend);
        }
    }

    #[test]
    fn short_and_damaged_runs_can_be_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("curves.png");
        let mut nan = run(3);
        nan.rows[1] = vec![Some(10.0), Some(f64::NAN), Some(f64::INFINITY), None, None, None, None, None];
        let constant = MetricsTable {
            columns: vec!["iteration".into(), "loss".into()],
            rows: vec![vec![Some(0.0), Some(2.0)]],
        };
        for table in [MetricsTable::default(), run(1), nan, constant] {
            plot(&path, &table, "").unwrap();
            assert_eq!(image::open(&path).unwrap().into_rgb8().dimensions(), (1200, 900));
        }
    }

    #[test]
    fn an_outlier_does_not_decide_the_range() {
        let points = run(1200).points("cross_entropy");
        let range = range_of([&points[..]].into_iter());
        assert!(range.start > -0.5 && range.end < 3.0, "{range:?}");
        assert_eq!(range_of([].into_iter()), 0.0..1.0);
        let flat = range_of([&[(0.0, 5.0)][..]].into_iter());
        assert!(flat.start < 5.0 && flat.end > 5.0);
    }

    #[test]
    fn smoothing_keeps_lines_and_ends() {
        let line: Vec<_> = (0..100).map(|i| (f64::from(i), 3.0 * f64::from(i))).collect();
        for (found, expected) in smooth(&line).iter().zip(&line) {
            approx::assert_abs_diff_eq!(found.1, expected.1, epsilon = 1e-9);
        }
    }

    #[test]
    fn long_runs_are_thinned_without_losing_a_spike() {
        let mut points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[54_321].1 = 7.0;
        let shown = extremes(&points);
        assert!(shown.len() <= 2 * COLUMNS && shown.contains(&(54_321.0, 7.0)));
        assert!(shown.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        let means = means(&points, COLUMNS);
        assert!(means.len() <= COLUMNS);
        assert_eq!(means[0], (45.0, 1.0));
    }

    #[test]
    fn iterations_are_short() {
        assert_eq!([iterations(9000.0, 1e4), iterations(2500.0, 1.2e4)], ["9000", "2.5k"]);
    }
}
