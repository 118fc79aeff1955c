//! The table and the picture of an ablation.

use super::plan::{Run, Setup};
use super::result::Figures;
use jem::Result;
use jem::ebm::{Evaluation, Preset};
use jem::io::atomic;
use jem::report::metrics::MetricsTable;
use jem::report::multiples::{Curve, plot};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

/// The properties that all rows share.
pub struct About<'a> {
    /// The name of the data set or folder.
    pub data: &'a str,
    /// Whether the data is synthetic.
    pub synthetic: bool,
    pub preset: Preset,
    pub device: &'a str,
    /// The key of the setting that varies.
    pub key: Option<&'a str>,
}

/// Writes `table.md`, `table.json` and `accuracy.png` into `out`; returns the table, with a line for each failed run.
pub fn write(out: &Path, about: &About<'_>, setups: &[Setup]) -> Result<String> {
    let rows: Vec<Row> = setups.iter().map(Row::of).collect();
    let table = markdown(about, &rows);
    let heading = format!("{}, preset {}, on {}", about.data, about.preset, about.device);
    let text = format!("# {heading}\n\n{table}");
    atomic::write(&out.join("table.md"), |file| file.write_all(text.as_bytes()))?;
    let facts = json!({
        "data": about.data,
        "synthetic": about.synthetic,
        "preset": about.preset.to_string(),
        "device": about.device,
        "vary": about.key,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    atomic::write(&out.join("table.json"), |file| writeln!(file, "{facts:#}"))?;
    picture(&out.join("accuracy.png"), about, &rows)?;
    Ok(table)
}

/// A setup with those of its runs that have ended.
struct Row<'a> {
    setup: &'a Setup,
    ended: Vec<(&'a Run, &'a Figures)>,
}

impl<'a> Row<'a> {
    fn of(setup: &'a Setup) -> Self {
        let ended = setup.runs.iter().filter_map(|run| Some((run, run.figures.as_ref()?)));
        Self { setup, ended: ended.collect() }
    }

    /// The values of a figure over the runs that have it.
    fn values(&self, value: impl Fn(&Figures) -> Option<f64>) -> Spread {
        Spread::of(&self.ended.iter().filter_map(|(_, figures)| value(figures)).collect::<Vec<_>>())
    }

    /// The number of runs that ended without divergence.
    fn done(&self) -> usize {
        self.ended.iter().filter(|(_, figures)| figures.test.is_some()).count()
    }

    /// The test accuracy; none of a scalar energy, which has no classes.
    fn accuracy(&self) -> Spread {
        self.values(|figures| figures.test.map(|test| test.accuracy).filter(|accuracy| !accuracy.is_nan()))
    }

    fn cross_entropy(&self) -> Spread {
        let classifies = |test: &Evaluation| !test.accuracy.is_nan();
        self.values(|figures| figures.test.filter(classifies).map(|test| test.cross_entropy))
    }

    /// The energy gap of the runs that did not diverge; the last gap of a diverged run means nothing.
    fn energy_gap(&self) -> Spread {
        self.values(|figures| figures.energy_gap.filter(|_| figures.test.is_some()))
    }

    /// Whether at least one run has ended and all that have ended diverged.
    fn has_diverged(&self) -> bool {
        !self.ended.is_empty() && self.done() == 0
    }

    fn seconds(&self) -> Spread {
        self.values(|figures| Some(figures.seconds))
    }

    fn trips(&self) -> Option<u32> {
        self.ended.iter().filter_map(|(_, figures)| figures.trips).reduce(|a, b| a + b)
    }

    /// The cells of the table.
    fn cells(&self, varies: bool) -> Vec<String> {
        let (done, all) = (self.done(), self.setup.runs.len());
        let value = varies.then(|| self.setup.value.clone().unwrap_or_default());
        let cells = [
            if done == all { all.to_string() } else { format!("{done} of {all}") },
            if self.has_diverged() { "diverged".into() } else { self.accuracy().text(100.0, 2, "%") },
            self.cross_entropy().text(1.0, 3, ""),
            self.energy_gap().text(1.0, 2, ""),
            self.trips().map_or("-".into(), |trips| trips.to_string()),
            self.seconds().text(1.0, 1, ""),
        ];
        [self.setup.family.to_string()].into_iter().chain(value).chain(cells).collect()
    }

    fn json(&self) -> Value {
        let run = |run: &Run| {
            json!({
                "seed": run.recipe.seed,
                "directory": run.directory.file_name().map(|name| name.to_string_lossy()),
                "figures": run.figures,
            })
        };
        json!({
            "recipe": self.setup.family.to_string(),
            "value": self.setup.value,
            "seeds_done": self.done(),
            "test_accuracy": self.accuracy().json(),
            "test_cross_entropy": self.cross_entropy().json(),
            "energy_gap": self.energy_gap().json(),
            "trips": self.trips(),
            "seconds": self.seconds().json(),
            "runs": self.setup.runs.iter().map(run).collect::<Vec<_>>(),
        })
    }

    /// The mean validation accuracy over the iterations, of the runs that did not diverge, or of all if every run did.
    fn curve(&self) -> Result<Curve> {
        let seeds = self.done();
        let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for (run, _) in self.ended.iter().filter(|(_, figures)| seeds == 0 || figures.test.is_some()) {
            let metrics = MetricsTable::read(&run.directory.join("metrics.csv"))?;
            for (iteration, accuracy) in metrics.points("validation_accuracy") {
                let (sum, count) = sums.entry(iteration as u64 + 1).or_default();
                (*sum, *count) = (*sum + accuracy, *count + 1.0);
            }
        }
        let point = |(iteration, (sum, count))| (iteration as f64, sum / count);
        let points = sums.into_iter().map(point).collect();
        let note = match (self.ended.len(), seeds) {
            (0, _) => "not run yet".into(),
            (_, 0) => "diverged".into(),
            _ if self.accuracy().count == 0 => "no accuracy: it has no classes".into(),
            (_, 1) => format!("test {}, 1 seed", self.accuracy().text(100.0, 1, "%")),
            _ => format!("test {}, {seeds} seeds", self.accuracy().text(100.0, 1, "%")),
        };
        Ok(Curve { name: self.setup.label.clone(), note, points })
    }
}

/// Mean and standard deviation (with n - 1) of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    count: usize,
    mean: f64,
    deviation: Option<f64>,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        Self { count: values.len(), mean, deviation: (n > 1.0).then(|| (squares / (n - 1.0)).sqrt()) }
    }

    fn text(self, scale: f64, digits: usize, unit: &str) -> String {
        let mean = scale * self.mean;
        match self.deviation {
            _ if self.count == 0 => "-".into(),
            None => format!("{mean:.digits$}{unit}"),
            Some(deviation) => format!("{mean:.digits$} ± {:.digits$}{unit}", scale * deviation),
        }
    }

    fn json(self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        json!({"mean": self.mean, "standard_deviation": self.deviation})
    }
}

/// The table with aligned columns, which is also valid Markdown, and a line for each run that failed.
fn markdown(about: &About<'_>, rows: &[Row<'_>]) -> String {
    let head = ["recipe"].into_iter().chain(about.key).chain([
        "seeds",
        "test accuracy",
        "test cross-entropy",
        "energy gap",
        "faults healed",
        "seconds a run",
    ]);
    let mut lines = vec![head.map(String::from).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| row.cells(about.key.is_some())));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cell = |(index, (text, &width)): (usize, (&String, &usize))| {
            if index == 0 { format!("{text:<width$}") } else { format!("{text:>width$}") }
        };
        let cells: Vec<String> = cells.iter().zip(&widths).enumerate().map(cell).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&lines[0]);
    let rule = |(index, &width): (usize, &usize)| {
        if index == 0 { "-".repeat(width) } else { format!("{}:", "-".repeat(width - 1)) }
    };
    let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
    text += &line(&rules);
    text.extend(lines[1..].iter().map(line));
    for row in rows {
        for (run, figures) in &row.ended {
            if let Some(failure) = &figures.failure {
                text += &format!("\n{}, seed {}: {failure}\n", row.setup.label, run.recipe.seed);
            }
        }
    }
    text
}

/// Plots validation accuracy over iterations, a panel for each row of the table; plots nothing if none was measured.
fn picture(path: &Path, about: &About<'_>, rows: &[Row<'_>]) -> Result<()> {
    let curves = rows.iter().map(Row::curve).collect::<Result<Vec<_>>>()?;
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Ok(());
    }
    let most = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).fold(0.1, f64::max);
    // Round up to a multiple of 0.1, so that the axis ends at a tick.
    let range = 0.0..(10.0 * most).ceil() / 10.0;
    let title = format!("Validation accuracy on {}, mean of the seeds", about.data);
    plot(path, &curves, range, &title, "iteration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_of_samples() {
        assert_eq!(Spread::of(&[]).text(1.0, 2, ""), "-");
        assert_eq!(Spread::of(&[0.25]).text(100.0, 1, "%"), "25.0%");
        assert_eq!(Spread::of(&[1.0, 2.0, 3.0]).text(1.0, 2, ""), "2.00 ± 1.00");
        assert_eq!(Spread::of(&[1.0]).json(), json!({"mean": 1.0, "standard_deviation": null}));
    }
}
