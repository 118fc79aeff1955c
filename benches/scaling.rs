//! The growth of time and memory with the batch, the width and the SGLD steps of an iteration.

use crate::options::{Network, Setting};
use crate::report::{Report, mebibytes, milliseconds};
use crate::steps::ours::{Ours, Step};
use crate::steps::turns::median;
use jem::ebm::{Family, Recipe};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The values that the tables vary.
struct Ranges {
    depth: usize,
    width: usize,
    batch: usize,
    batches: &'static [usize],
    widths: &'static [usize],
    steps: &'static [usize],
}

const USUAL: Ranges = Ranges {
    depth: 16,
    width: 4,
    batch: 64,
    batches: &[16, 32, 64, 128, 256],
    widths: &[1, 2, 4, 6, 8, 10],
    steps: &[1, 5, 10, 20, 40],
};

const QUICK: Ranges = Ranges {
    depth: 10,
    width: 1,
    batch: 4,
    batches: &[2, 4, 8, 16],
    widths: &[1, 2, 3, 4],
    steps: &[1, 2, 4, 8],
};

/// Measures the tables; rows that would not fit in the time are left out, with a note.
pub fn run(setting: &Setting, report: &mut Report) {
    let ranges = if setting.quick { &QUICK } else { &USUAL };
    let network = |width| Network { depth: ranges.depth, width };
    let recipe = |batch, width| Recipe { batch, ..network(width).recipe(Family::Jem) };
    let mut batches =
        Table::begin(setting, report, &format!("Scaling with the batch, {}", network(ranges.width)));
    for &batch in ranges.batches {
        batches.row(&format!("batch {batch}"), &recipe(batch, ranges.width), &[Step::Sgld, Step::Update]);
    }
    let title = format!("Scaling with the width, depth {}, batch {}", ranges.depth, ranges.batch);
    let mut widths = Table::begin(setting, report, &title);
    for &width in ranges.widths {
        widths.row(&format!("width {width}"), &recipe(ranges.batch, width), &[Step::Sgld, Step::Update]);
    }
    let title = format!("Scaling with K, {}, batch {}", network(ranges.width), ranges.batch);
    let mut steps = Table::begin(setting, report, &title);
    for &k in ranges.steps {
        steps.row(&format!("K = {k}"), &recipe(ranges.batch, ranges.width), &[Step::Iteration(k)]);
    }
}

/// One table.
struct Table<'a> {
    setting: &'a Setting,
    deadline: Instant,
    /// Operations a second, of the last row.
    rate: Option<f64>,
    report: &'a mut Report,
}

impl<'a> Table<'a> {
    /// Begins a table. It has a third of the time, so that no table takes all of it.
    fn begin(setting: &'a Setting, report: &'a mut Report, title: &str) -> Self {
        let columns = ["of", "SGLD ms/image", "update ms/img", "iter ms/image", "peak MiB"];
        report.table(title, "", &columns);
        Self { setting, deadline: Instant::now() + setting.scaling / 3, rate: None, report }
    }

    fn row(&mut self, label: &str, recipe: &Recipe, steps: &[Step]) {
        if let Err(error) = self.measure(label, recipe, steps) {
            self.report.failed(label, &error);
        }
    }

    fn measure(&mut self, label: &str, recipe: &Recipe, steps: &[Step]) -> jem::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.report.left_out(&format!("{label}: no time was left"));
            return Ok(());
        }
        let device = &self.setting.device;
        let before = device.allocated_bytes();
        let ours = Ours::new(device, recipe, &recipe.precision.policy(device).0)?;
        let bytes = device.allocated_bytes() - before;
        let flops = |step: &Step| ours.summary(*step).flops as f64;
        let all: f64 = steps.iter().map(flops).sum();
        let runs = self.setting.repeats + 1;
        // The first row is always measured: it says how fast the device is.
        if let Some(rate) = self.rate {
            let needs = all * runs as f64 / rate;
            if needs > left.as_secs_f64() {
                let left = left.as_secs_f64();
                self.report.left_out(&format!("{label}: would take {needs:.0} s of {left:.0} s (--seconds)"));
                return Ok(());
            }
        }
        let mut columns = [Value::Null, Value::Null, Value::Null];
        let mut whole = Duration::ZERO;
        for &step in steps {
            ours.time(step)?;
            let once = |_| Ok(ours.time(step)?.whole);
            let times: Vec<Duration> = (1..runs).map(once).collect::<jem::Result<_>>()?;
            let time = median(&times);
            whole += time;
            let column = match step {
                Step::Sgld => 0,
                Step::Update => 1,
                Step::Iteration(_) => 2,
            };
            columns[column] = json!(milliseconds(time) / recipe.batch as f64);
        }
        self.rate = Some(all / whole.as_secs_f64());
        let mut row = vec![json!(label)];
        row.extend(columns);
        row.push(json!(mebibytes(bytes)));
        self.report.row(row);
        Ok(())
    }
}
