//! The curves of a run: losses, energies and accuracies, one panel each.

pub(super) mod panels;
mod points;

use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, Axis, short};
use super::canvas::{self, FONT, PlotError, Root};
use super::metrics::MetricsTable;
use crate::error::Result;
use panels::{FRESH, HEALTH, PANELS, Panel};
use points::{COLUMNS, extremes};
pub(super) use points::{SPARSE, means, range_of, smooth};

/// The width of the picture and the height of a panel, in pixels.
const SIZE: (u32, u32) = (1200, 300);
/// The space left of the panels for the vertical axes, in pixels.
const LEFT: u32 = 84;
/// The space above a panel for its title and legend, in pixels.
const HEADING: u32 = 32;

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
/// `saturated`; of `chain_age`. A classifier has no chains, and no panels of them.
///
/// # Errors
/// The errors of [`plot`].
pub fn plot_health(path: &Path, table: &MetricsTable, title: &str) -> Result<()> {
    let is_recorded = |panel: &&Panel| panel.lines.iter().any(|line| !table.points(line.column).is_empty());
    let recorded: Vec<&Panel> = HEALTH.iter().filter(is_recorded).collect();
    plot_panels(path, table, title, if recorded.is_empty() { &[&HEALTH[0]] } else { &recorded })
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
        x: Axis::from(0.0..last),
        y: range.clone(),
        margins: [HEADING, 30, 4, 0],
        areas: [if lowest { 46 } else { 24 }, LEFT],
        labels: [11, 6],
        x_label: &|iteration| iterations(iteration, last),
        names: [if lowest { "iteration" } else { "" }, ""],
        fonts: [16, 18],
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
    let title = (FONT, 18, FontStyle::Bold).into_font();
    let legend = (FONT, 16).into_font();
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

/// Formats an iteration, in thousands if the run has more than ten thousand.
pub(super) fn iterations(value: f64, last: f64) -> String {
    if last > 10_000.0 && value > 0.0 { format!("{}k", value / 1000.0) } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;

    /// A realistic run: noisy, with an outlier, and a validation every tenth row.
    pub(super) fn run(rows: usize) -> MetricsTable {
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
    fn the_health_of_a_run_without_chains_has_no_panels_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("health.png");
        let height = |columns: &[&str]| {
            let mut table = run(100);
            table.columns.extend(columns.iter().map(|&column| column.to_owned()));
            table.rows.iter_mut().for_each(|row| row.extend(columns.iter().map(|_| Some(1.0))));
            plot_health(&path, &table, "cifar10").unwrap();
            image::open(&path).unwrap().height()
        };
        assert_eq!(height(&["gradient_norm"]), 300);
        assert_eq!(height(&["gradient_norm", "displacement", "chain_age"]), 900);
        assert_eq!(height(&[]), 300);
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
            // No chain was followed for 100 × K steps at some evaluations; one diverged.
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
    fn iterations_are_short() {
        assert_eq!([iterations(9000.0, 1e4), iterations(2500.0, 1.2e4)], ["9000", "2.5k"]);
    }
}
