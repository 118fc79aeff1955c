//! Figures from the lines of `results.jsonl` and the bench's tables in them.

use serde_json::{Map, Value};

/// A row of a table: values by column.
pub type Row = Map<String, Value>;

/// The rows of the tables in a bench's report whose titles begin with `title`.
pub fn rows<'a>(result: &'a Value, title: &str) -> Vec<&'a Row> {
    let tables = result["tables"].as_array().into_iter().flatten();
    let table = |table: &&Value| table["title"].as_str().is_some_and(|text| text.starts_with(title));
    let rows = tables.filter(table).filter_map(|table| table["rows"].as_array()).flatten();
    rows.filter_map(Value::as_object).collect()
}

/// The text in a column, empty if there is none.
pub fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// The number at `key` of an object, if it is finite.
pub fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64).filter(|number| number.is_finite())
}

/// The number in a column, if it is finite.
pub fn cell(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64).filter(|number| number.is_finite())
}

/// The lines of a run.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a>(pub &'a [Value]);

impl<'a> Lines<'a> {
    /// The line of `step`, if there is one.
    pub fn line(self, step: &str) -> Option<&'a Value> {
        self.0.iter().find(|line| line["step"] == step)
    }

    /// The report of `step`; null if there is none.
    pub fn result(self, step: &str) -> &'a Value {
        static NOTHING: Value = Value::Null;
        self.line(step).map_or(&NOTHING, |line| &line["result"])
    }

    /// The rows of a table of `step`.
    pub fn rows(self, step: &str, title: &str) -> Vec<&'a Row> {
        rows(self.result(step), title)
    }
}

/// Whether the label of a row of `steps` is this engine's `step` (`sgld`, `update`, `iteration`). A peer's label has a
/// comma and the peer's name; `sgld, nothing fused` is a different step.
fn is_step(label: &str, step: &str) -> bool {
    match step {
        "iteration" => label.rsplit_once(", K = ").is_some_and(|(front, steps)| {
            front.ends_with(" iteration") && steps.chars().all(|c| c.is_ascii_digit())
        }),
        _ => label.ends_with(&format!(" {step}")),
    }
}

/// The row of this engine's `step` in the table of steps.
pub fn step_row<'a>(lines: Lines<'a>, name: &str, step: &str) -> Option<&'a Row> {
    lines.rows(name, "Steps").into_iter().find(|row| is_step(text(row, "step"), step))
}

/// Whether one of the words of PyTorch's `mode`, such as `graph-bf16-nhwc`, is `precision`.
pub fn is_in(mode: &str, precision: &str) -> bool {
    mode.split('-').any(|word| word == precision)
}

/// A comparison with PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// PyTorch's mode.
    pub mode: String,
    /// Its milliseconds.
    pub peer: f64,
    /// Its time over this engine's: above 1 this engine is faster.
    pub ratio: f64,
    /// Whether both took turns.
    pub turns: bool,
}

/// The comparison of `step` in `precision` with PyTorch's fastest mode in `theirs`: in turns, else with PyTorch alone.
pub fn beside(lines: Lines<'_>, precision: &str, step: &str, theirs: &str) -> Option<Beside> {
    let name = format!("steps-{precision}");
    let mut found: Vec<Beside> = Vec::new();
    let peers = lines.rows(&name, "Peers");
    for row in &peers {
        let Some((label, mode)) = text(row, "step, peer").split_once(", PyTorch ") else { continue };
        if is_step(label, step) && is_in(mode, theirs) {
            let (peer, ratio) = (cell(row, "peer ms"), cell(row, "peer / jem"));
            if let Some((peer, ratio)) = peer.zip(ratio) {
                found.push(Beside { mode: mode.into(), peer, ratio, turns: true });
            }
        }
    }
    let ours = step_row(lines, &name, step).and_then(|row| cell(row, "median ms"));
    // That table comes last and may be missing; the table of steps has the peers' rows too.
    for row in lines.rows(&name, "Steps").into_iter().filter(|_| peers.is_empty()) {
        let Some((label, mode)) = text(row, "step").split_once(", PyTorch ") else { continue };
        if let (true, Some(ours), Some(peer)) =
            (is_step(label, step) && is_in(mode, theirs), ours, cell(row, "median ms"))
        {
            found.push(Beside { mode: mode.into(), peer, ratio: peer / ours, turns: true });
        }
    }
    let alone = lines.result(&format!("torch-{theirs}"))["rows"].as_array();
    for row in alone.filter(|_| found.is_empty()).into_iter().flatten() {
        let (mode, time) = (row["mode"].as_str(), number(row, "median_ms"));
        if let (Some(mode), Some(peer), Some(ours), true) = (mode, time, ours, row["step"] == step) {
            found.push(Beside { mode: mode.into(), peer, ratio: peer / ours, turns: false });
        }
    }
    found.into_iter().min_by(|a, b| a.peer.total_cmp(&b.peer))
}

/// The rates that bound kernels, in GFLOP/s and GB/s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Arithmetic in f32.
    pub f32: Option<f64>,
    /// Products of cooperative matrices, at the fastest probe.
    pub matrices: Option<f64>,
    /// Memory: the largest tensor, by the fastest of copy, fill and sums.
    pub memory: Option<f64>,
}

impl Rates {
    /// The ceilings that the step `ceilings` measured.
    pub fn of(lines: Lines<'_>) -> Self {
        let best = |title, suffix: &str| {
            let rows = lines.rows("ceilings", title).into_iter();
            let rows = rows.filter(|row| text(row, "probe").ends_with(suffix));
            rows.filter_map(|row| cell(row, "GFLOP/s")).max_by(f64::total_cmp)
        };
        let largest = lines.rows("ceilings", "Ceiling of memory").into_iter().next_back();
        let columns = ["copy GB/s", "fill GB/s", "sums GB/s"];
        let memory = largest.and_then(|row| {
            columns.into_iter().filter_map(|column| cell(row, column)).max_by(f64::total_cmp)
        });
        Self {
            f32: best("Ceiling of arithmetic", "f32, the best"),
            matrices: best("Ceiling of cooperative matrices", ", the best"),
            memory,
        }
    }
}

/// The rates of a step: operations and bytes a second, in GFLOP/s and GB/s, and the fraction of the time that the
/// ceilings allow its dispatches.
pub fn reached(row: &Row) -> (Option<f64>, Option<f64>, Option<f64>) {
    let milliseconds = cell(row, "median ms");
    let bytes = cell(row, "MiB moved").zip(milliseconds);
    let memory = bytes.map(|(mebibytes, time)| mebibytes * f64::from(1 << 20) / 1e6 / time);
    (cell(row, "GFLOP/s"), memory, cell(row, "fraction"))
}

/// The kernel tests of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tests {
    /// Tests that passed.
    pub passed: u64,
    /// Names of those that failed.
    pub failed: Vec<String>,
    /// Whether all of them ran to the end.
    pub finished: bool,
}

impl Tests {
    /// Reads them from a result.
    pub fn of(result: &Value) -> Option<Self> {
        let names = result["failed"].as_array()?.iter().filter_map(Value::as_str);
        Some(Self {
            passed: result["passed"].as_u64()?,
            failed: names.map(str::to_owned).collect(),
            finished: result["finished"].as_bool()?,
        })
    }
}
