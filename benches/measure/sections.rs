//! The sections of the summary that show figures.

use super::figures::{Beside, Lines, Rates, Row, beside, cell, number, reached, step_row, text};
use super::journal::START;
use super::words::{
    NONE, Table, bytes, digits, ending, flops, milliseconds, nothing, or_none, percent, words,
};
use serde_json::Value;
use std::fmt::Write as _;

/// The most rows of a table of kernels.
const KERNELS: usize = 8;
/// The steps that are timed, with their names in the summary.
const STEPS: [(&str, &str); 3] = [("sgld", "SGLD step"), ("update", "update"), ("iteration", "iteration")];
/// This engine's precisions, PyTorch's beside each, and its name in the summary.
pub const PRECISIONS: [(&str, &str, &str); 3] =
    [("f16", "bf16", "bf16"), ("f32", "tf32", "TF32"), ("f32", "float32", "float32")];

/// The times of steps beside PyTorch's best, and what tuning gained.
pub fn times(lines: Lines<'_>) -> String {
    let mut table = Table::new(&["step", "jem", "jem, tuned", "PyTorch's best", "PyTorch / jem", "tuned"]);
    let (mut apart, mut any_tuned) = (false, false);
    for precision in ["f16", "f32"] {
        for (step, label) in STEPS {
            let time = |name: &str| {
                step_row(lines, &format!("{name}-{precision}"), step).and_then(|row| cell(row, "median ms"))
            };
            let (ours, tuned) = (time("steps"), time("tuned"));
            let theirs = PRECISIONS.into_iter().filter(|(own, ..)| *own == precision);
            let peers =
                theirs.filter_map(|(_, theirs, word)| Some((word, beside(lines, precision, step, theirs)?)));
            let peers: Vec<(&str, Beside)> = peers.collect();
            if peers.is_empty() && (ours.is_some() || tuned.is_some()) {
                let own = [ours, tuned].map(|time| or_none(time.map(milliseconds)));
                let label = format!("{label}, {precision}");
                table.row([label].into_iter().chain(own).chain([NONE, "", ""].map(str::to_owned)).collect());
            }
            for (word, peer) in peers {
                apart |= !peer.turns;
                any_tuned |= tuned.is_some();
                let mark = if peer.turns { "" } else { " *" };
                table.row(vec![
                    format!("{label}, {precision} beside {word}"),
                    or_none(ours.map(milliseconds)),
                    or_none(tuned.map(milliseconds)),
                    format!("{} ({})", milliseconds(peer.peer), peer.mode),
                    digits(peer.ratio) + mark,
                    or_none(tuned.map(|tuned| digits(peer.peer / tuned))),
                ]);
            }
        }
    }
    if table.is_empty() {
        return nothing(lines, "steps-f32");
    }
    let mut text = table.text();
    text += "\nMedians. PyTorch / jem: above 1, jem is faster.";
    if apart {
        text += " *: not measured in turns.";
    }
    if any_tuned {
        text +=
            " tuned: the same time of PyTorch over that of the tuned kernels, which took no turns with it.";
    }
    text += "\n";
    for (name, precision) in [("tune-f16", "f16"), ("tune-f32", "f32")] {
        let result = lines.result(name);
        let sums = number(result, "milliseconds_by_rule").zip(number(result, "milliseconds_as_tuned"));
        if let Some((rule, tuned)) = sums.filter(|(rule, _)| *rule > 0.0) {
            let (shapes, take) = match result["shapes"].as_array().map_or(0, Vec::len) {
                1 => ("1 shape".to_owned(), "its convolutions take"),
                n => (format!("{n} shapes"), "their convolutions take"),
            };
            writeln!(
                text,
                "\nTuned {shapes} in {precision}: {take} {}, by rule {} ({}).",
                milliseconds(tuned),
                milliseconds(rule),
                percent(tuned / rule)
            )
            .expect("a string");
        }
    }
    text
}

/// The ceilings, and what the SGLD step reaches of each.
pub fn ceilings(lines: Lines<'_>) -> String {
    let rates = Rates::of(lines);
    let row = |precision: &str| step_row(lines, &format!("steps-{precision}"), "sgld").map(reached);
    let (f32, f16) = (row("f32"), row("f16"));
    if rates == Rates::default() && f32.is_none() {
        return nothing(lines, "ceilings");
    }
    let of = |rate: Option<f64>, ceiling: Option<f64>, show: fn(f64) -> String| {
        or_none(rate.map(|rate| match ceiling {
            Some(ceiling) => format!("{} ({})", show(rate), percent(rate / ceiling)),
            None => show(rate),
        }))
    };
    let arithmetic = |row: Option<(Option<f64>, Option<f64>, Option<f64>)>| row.and_then(|row| row.0);
    let memory = |row: Option<(Option<f64>, Option<f64>, Option<f64>)>| row.and_then(|row| row.1);
    let least = |row: Option<(Option<f64>, Option<f64>, Option<f64>)>| {
        or_none(row.and_then(|row| row.2).map(percent))
    };
    let mut table = Table::new(&["", "ceiling", "SGLD step, f32", "SGLD step, f16"]);
    let dash = || "-".to_owned();
    table.row(vec![
        "arithmetic in f32".into(),
        or_none(rates.f32.map(flops)),
        of(arithmetic(f32), rates.f32, flops),
        dash(),
    ]);
    table.row(vec![
        "cooperative matrices".into(),
        or_none(rates.matrices.map(flops)),
        dash(),
        of(arithmetic(f16), rates.matrices, flops),
    ]);
    table.row(vec![
        "memory".into(),
        or_none(rates.memory.map(bytes)),
        of(memory(f32), rates.memory, bytes),
        of(memory(f16), rates.memory, bytes),
    ]);
    table.row(vec!["least time by the ceilings / time".into(), dash(), least(f32), least(f16)]);
    table.text() + &clocks(lines)
}

/// The card's clocks during the steps that the ceilings are about.
fn clocks(lines: Lines<'_>) -> String {
    let mut text = String::new();
    for step in ["ceilings", "steps-f32", "steps-f16"] {
        let clocks = lines.line(step).map_or(&Value::Null, |line| &line["clocks"]);
        if let Some(sm) = number(clocks, "sm_mhz") {
            let rest = [("memory_mhz", "MHz memory"), ("watts", "W"), ("celsius", "°C")];
            let rest = rest.map(|(name, unit)| number(clocks, name).map(|n| format!("{n:.0} {unit}")));
            let rest: Vec<String> = rest.into_iter().flatten().collect();
            writeln!(text, "- largest values during `{step}`: {sm:.0} MHz, {}", rest.join(", "))
                .expect("a string");
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

/// The kernels that take most of an iteration.
pub fn kernels(lines: Lines<'_>) -> String {
    let mut page = String::new();
    for precision in ["f32", "f16"] {
        let name = format!("profile-{precision}");
        let (of_all, mut rows): (Vec<&Row>, Vec<&Row>) = lines
            .rows(&name, "Profile of an iteration")
            .into_iter()
            .partition(|row| text(row, "kernel").starts_with('('));
        if rows.is_empty() {
            writeln!(page, "In {precision}: {NONE}; {}.\n", ending(lines, &name)).expect("a string");
            continue;
        }
        rows.sort_by(|a, b| cell(b, "ms").unwrap_or(0.0).total_cmp(&cell(a, "ms").unwrap_or(0.0)));
        let time = |row: &&Row| cell(row, "ms").unwrap_or(0.0);
        let whole: f64 = rows.iter().map(time).sum();
        let shown: f64 = rows.iter().take(KERNELS).map(time).sum();
        let go = of_all.iter().find(|row| text(row, "kernel").starts_with("(the whole"));
        let go = go.and_then(|row| cell(row, "ms")).map_or(String::new(), |time| {
            format!(" (the iteration as a whole takes {})", milliseconds(time))
        });
        writeln!(page, "In {precision}, of {} in all dispatches{go}:\n", milliseconds(whole))
            .expect("a string");
        let mut table = Table::new(&["kernel", "dispatches", "time", "share", "rate", "of its ceiling"]);
        for row in rows.iter().take(KERNELS) {
            table.row(vec![
                text(row, "kernel").to_owned(),
                or_none(cell(row, "dispatches").map(|n| format!("{n:.0}"))),
                or_none(cell(row, "ms").map(milliseconds)),
                or_none(cell(row, "share %").map(|share| percent(share / 100.0))),
                or_none(cell(row, "GFLOP/s").map(flops)),
                or_none(cell(row, "fraction").map(percent)),
            ]);
        }
        page += &table.text();
        if rows.len() > KERNELS {
            let rest = whole - shown;
            let n = rows.len() - KERNELS;
            writeln!(page, "\nThe other {n} kernels: {} ({}).", milliseconds(rest), percent(rest / whole))
                .expect("a string");
        }
        page += "\n";
    }
    page.trim_end().to_owned() + "\n"
}

/// The cost of a dispatch, a barrier, a submission.
pub fn launch(lines: Lines<'_>) -> String {
    let rows = lines.rows("launch", "Cost of");
    if rows.is_empty() {
        return nothing(lines, "launch");
    }
    let mut table = Table::new(&["what", "time"]);
    // The times of whole series are in `results.jsonl`; the summary shows only the costs derived from them.
    for row in rows.into_iter().filter(|row| !text(row, "what").starts_with(|c: char| c.is_ascii_digit())) {
        let time = cell(row, "us").map(|us| format!("{} µs", digits(us)));
        table.row(vec![text(row, "what").to_owned(), or_none(time)]);
    }
    table.text()
}

/// Registers and spills worth attention.
pub fn registers(lines: Lines<'_>) -> String {
    let rows = lines.rows("registers", "Registers and spills");
    if rows.is_empty() {
        return nothing(lines, "registers");
    }
    // Every driver has its own names for statistics.
    let of = |row: &Row, word: &str| {
        let columns = row.iter().filter(|(name, _)| name.to_lowercase().contains(word));
        columns.filter_map(|(_, value)| value.as_f64()).max_by(f64::total_cmp)
    };
    let label = |row: &Row| {
        let names = ["pipeline", "kernel", "what"].map(|column| text(row, column).to_owned());
        names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "a pipeline".into())
    };
    let mut page = String::new();
    if let Some((most, row)) =
        rows.iter().filter_map(|row| Some((of(row, "register")?, row))).max_by(|a, b| a.0.total_cmp(&b.0))
    {
        writeln!(page, "- {} pipelines; the most registers: {most:.0}, {}.", rows.len(), label(row))
            .expect("a string");
    } else {
        writeln!(page, "- {} pipelines; the driver reports no register counts.", rows.len())
            .expect("a string");
    }
    let mut spilling: Vec<_> = rows.iter().filter_map(|row| Some((of(row, "spill")?, row))).collect();
    let told = !spilling.is_empty();
    spilling.retain(|(spills, _)| *spills > 0.0);
    spilling.sort_by(|a, b| b.0.total_cmp(&a.0));
    match spilling[..] {
        [] if told => page += "- No pipeline spills.\n",
        [] => page += "- The driver reports no spill counts.\n",
        _ => {
            writeln!(page, "- {} pipelines spill; the largest spills:", spilling.len()).expect("a string");
            for (spills, row) in spilling.iter().take(5) {
                writeln!(page, "  - {}: {spills:.0}", label(row)).expect("a string");
            }
        }
    }
    page
}

/// The losses of training in both precisions side by side.
pub fn training(lines: Lines<'_>) -> String {
    let column = |step: &str, name: &str| -> Vec<Option<f64>> {
        let column = lines.result(step)["columns"][name].as_array();
        column.into_iter().flatten().map(Value::as_f64).collect()
    };
    let (f32, f16) = (column("train-f32", "loss"), column("train-f16", "loss"));
    let mut text = String::new();
    let n = f32.len().max(f16.len());
    if n == 0 {
        text += &nothing(lines, "train-f32");
    } else {
        let mut table = Table::new(&["iteration", "loss in f32", "loss in f16", "apart"]);
        let mut at: Vec<usize> = [1, 2, 5, 10, 20, 30].into_iter().filter(|&i| i < n).collect();
        at.push(n);
        for i in at {
            let [a, b] = [&f32, &f16].map(|losses| losses.get(i - 1).copied().flatten());
            let show = |loss: Option<f64>| or_none(loss.map(|loss| format!("{loss:.5}")));
            let apart = a.zip(b).map(|(a, b)| format!("{:+.1e}", b - a));
            table.row(vec![i.to_string(), show(a), show(b), or_none(apart)]);
        }
        text += &table.text();
        let data = match words(&lines.result(START)["data"]) {
            "synthetic" => "drawings".to_owned(),
            path => format!("images in the folder `{}`", path.rsplit('/').next().unwrap_or_default()),
        };
        writeln!(text, "\nThe same seed, batches and noise; trained on {data}.").expect("a string");
    }
    let (loss, rate) = (column("train-small", "loss"), column("train-small", "images_per_second"));
    if let (Some(Some(first)), Some(Some(last))) = (loss.first(), loss.last()) {
        let rate = rate.last().copied().flatten();
        let rate = rate.map_or(String::new(), |rate| format!(", {} images/s", digits(rate)));
        let after = match loss.len() {
            1 => String::new(),
            n => format!(", after {n} iterations {last:.4}"),
        };
        writeln!(text, "\nWRN-16-4 alone: loss {first:.4}{after}{rate}.").expect("a string");
    }
    text
}
