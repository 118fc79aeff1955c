//! `summary.md`: one page for a person, out of the lines.

use super::figures::{Beside, Lines, Rates, Row, Tests, beside, cell, number, reached, step_row, text};
use super::plan::{HEAVY, VARIANTS};
use super::runner::START;
use serde_json::Value;
use std::fmt::Write as _;

/// The file.
pub const FILE: &str = "summary.md";

/// Characters of a line of last words.
const WIDTH: usize = 160;
/// Rows of the tables of kernels.
const KERNELS: usize = 8;
/// Steps of an iteration, with words for them.
const STEPS: [(&str, &str); 3] = [("sgld", "SGLD step"), ("update", "update"), ("iteration", "iteration")];
/// Precisions here, PyTorch's beside them, and words for these.
const PRECISIONS: [(&str, &str, &str); 3] =
    [("f16", "bf16", "bf16"), ("f32", "tf32", "TF32"), ("f32", "float32", "float32")];
/// What stands where there is no number.
const NONE: &str = "not measured";

/// The page.
pub fn page(lines: &[Value]) -> String {
    let lines = Lines(lines);
    let mut page = head(lines);
    let sections: [(&str, fn(Lines<'_>) -> String); 9] = [
        ("Verdict", verdict),
        ("Time beside PyTorch", times),
        ("How near to the ceilings", ceilings),
        ("Where the time of an iteration goes", kernels),
        ("Cost of a dispatch, a barrier, a submission", launch),
        ("Registers and spills", registers),
        ("Training", training),
        ("What went wrong", wrong),
        ("What was not measured", missing),
    ];
    for (title, section) in sections {
        write!(page, "\n## {title}\n\n{}", section(lines)).expect("a string");
    }
    page
}

/// The device that was measured, or what was asked for.
pub fn device(lines: Lines<'_>) -> String {
    let name = fact(lines, "device").map(|name| {
        // Behind the adapter's name are backend and driver.
        let backend = fact(lines, "backend").map_or(" (".into(), |backend| format!(" ({backend}"));
        name.rsplit_once(&backend).map_or(name.clone(), |(name, _)| name.to_owned())
    });
    name.unwrap_or_else(|| match lines.result(START)["device"].as_str() {
        Some(asked) if asked != "auto" => asked.to_owned(),
        _ => "an unknown device".into(),
    })
}

/// A fact of the first bench that reports it.
fn fact(lines: Lines<'_>, name: &str) -> Option<String> {
    let facts = lines.0.iter().filter_map(|line| line["result"]["facts"][name].as_str());
    facts.into_iter().next().map(str::to_owned)
}

fn head(lines: Lines<'_>) -> String {
    let (run, host) = (lines.result(START), lines.result("host"));
    let mut text = format!("# jem on {}\n\n", device(lines));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(text, "- {name}: {value}").expect("a string");
        }
    };
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let ran = lines.0.iter().filter_map(|line| Some(number(line, "at")? + number(line, "seconds")?));
    let ended = ran.fold(0.0, f64::max);
    add("date and commit", Some(format!("{}, {}", words(&run["date"]), words(&run["commit"]))));
    add("driver", fact(lines, "driver"));
    let machine = [&host["system"], &host["processor"]].into_iter().filter_map(string);
    let machine: Vec<String> =
        machine.chain(host["threads"].as_u64().map(|n| format!("{n} threads"))).collect();
    add("machine", (!machine.is_empty()).then(|| machine.join(", ")));
    add(
        "PyTorch",
        lines.result("torch")["torch"].as_str().map(|version| {
            let cuda = lines.result("torch")["cuda"].as_str();
            format!("{version}, {}", cuda.map_or("on the CPU".into(), |cuda| format!("CUDA {cuda}")))
        }),
    );
    add("run", Some(format!("{ended:.0} s of {:.0} s", number(run, "seconds").unwrap_or(0.0))));
    if run["quick"] == true {
        text += "\n**A quick run: small networks and little time. It shows that everything works; its times say nothing.**\n";
    }
    text
}

/// A string, or that there is none.
fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn verdict(lines: Lines<'_>) -> String {
    let mut text = String::new();
    let mut add = |line: String| writeln!(text, "- {line}").expect("a string");
    add(selftest(lines));
    add(matrices(lines));
    add(tests(lines));
    let mut compared = Vec::new();
    for (precision, theirs, word) in PRECISIONS {
        let name = format!("steps-{precision}");
        let one = |step| {
            let ours = cell(step_row(lines, &name, step)?, "median ms")?;
            let Beside { mode, ratio, turns, .. } = beside(lines, precision, step, theirs)?;
            let turns = if turns { "" } else { ", measured apart" };
            Some(format!("{}, {} ({mode}{turns})", milliseconds(ours), faster(ratio)))
        };
        if let Some(line) = one("iteration") {
            compared.push(precision);
            add(format!("An iteration in {precision} takes {line}; beside PyTorch in {word}."));
        }
    }
    for precision in ["f16", "f32"].into_iter().filter(|one| !compared.contains(one)) {
        let name = format!("steps-{precision}");
        let time = step_row(lines, &name, "iteration").and_then(|row| cell(row, "median ms"));
        add(match time {
            Some(time) => {
                format!(
                    "An iteration in {precision} takes {}; PyTorch's was not measured.",
                    milliseconds(time)
                )
            }
            None => format!("An iteration in {precision}: {NONE}; {}.", ending(lines, &name)),
        });
    }
    for (precision, _, _) in [PRECISIONS[0], PRECISIONS[1]] {
        let row = step_row(lines, &format!("steps-{precision}"), "iteration");
        if let (Some(time), None) =
            (row.and_then(|row| cell(row, "median ms")), lines.result("torch")["torch"].as_str())
        {
            add(format!(
                "An iteration in {precision} takes {}; PyTorch was not measured.",
                milliseconds(time)
            ));
        }
    }
    text
}

/// How much faster this engine is.
fn faster(ratio: f64) -> String {
    if ratio >= 1.0 {
        format!("{} times as fast as PyTorch", digits(ratio))
    } else {
        format!("{} of PyTorch's speed", percent(ratio))
    }
}

fn selftest(lines: Lines<'_>) -> String {
    let tests = lines.result("selftest-f32")["tests"].as_array().and_then(|tests| tests.first());
    let Some(kernels) = tests.and_then(|test| test["kernels"].as_array()) else {
        return format!("f32: the self-test has no result; {}.", ending(lines, "selftest-f32"));
    };
    let failed: Vec<&str> = kernels
        .iter()
        .filter(|kernel| kernel["passed"] != true)
        .filter_map(|k| k["kernel"].as_str())
        .collect();
    match failed[..] {
        [] => format!("f32 is right: all {} kernels agree with the CPU.", kernels.len()),
        _ => format!(
            "**f32 is WRONG** in {} of {} kernels: {}.",
            failed.len(),
            kernels.len(),
            failed.join(", ")
        ),
    }
}

fn matrices(lines: Lines<'_>) -> String {
    // Variants of one outcome stand together.
    let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
    for variant in VARIANTS {
        let step = format!("gate-{variant}");
        let rows = lines.rows(&step, "Gate");
        let row =
            |row: &&Row| format!("{} {}", text(row, "matrices"), text(row, "outcome")).trim().to_owned();
        let none = lines.result(&step)["not_measured"][0].as_str();
        let outcome = match (rows.iter().map(row).collect::<Vec<_>>(), none) {
            (rows, _) if !rows.is_empty() => rows.join(", "),
            (_, Some(reason)) => {
                format!("not measured: {}", reason.trim_start_matches("cooperative matrices: "))
            }
            _ => end(lines, &step),
        };
        let variant = format!("`{variant}`");
        match outcomes.iter_mut().find(|(other, _)| *other == outcome) {
            Some((_, variants)) => variants.push(variant),
            None => outcomes.push((outcome, vec![variant])),
        }
    }
    let all = outcomes.iter().map(|(outcome, variants)| format!("{}: {outcome}", variants.join(", ")));
    format!("Cooperative matrices. {}.", all.collect::<Vec<_>>().join("; "))
}

fn tests(lines: Lines<'_>) -> String {
    let steps: Vec<String> =
        HEAVY.iter().map(|kind| format!("test-{kind}")).chain(["test-rest".into()]).collect();
    let done: Vec<Tests> = steps.iter().filter_map(|step| Tests::of(lines.result(step))).collect();
    let passed: u64 = done.iter().map(|tests| tests.passed).sum();
    let failed: Vec<&str> = done.iter().flat_map(|tests| &tests.failed).map(String::as_str).collect();
    let cut = steps.iter().filter(|step| Tests::of(lines.result(step)).is_none_or(|tests| !tests.finished));
    let cut: Vec<&str> = cut.map(String::as_str).collect();
    let mut line = match failed[..] {
        [] => format!("Kernel tests: {passed} passed, none failed"),
        _ => format!("Kernel tests: {passed} passed, **{} FAILED**: {}", failed.len(), failed.join(", ")),
    };
    if !cut.is_empty() {
        write!(line, "; not all were reached of {}", cut.join(", ")).expect("a string");
    }
    line + "."
}

fn times(lines: Lines<'_>) -> String {
    let mut table = Table::new(&["step", "jem", "jem, tuned", "PyTorch's best", "PyTorch / jem", "tuned"]);
    let mut apart = false;
    for (precision, theirs, word) in PRECISIONS {
        for (step, label) in STEPS {
            let time = |name: &str| {
                step_row(lines, &format!("{name}-{precision}"), step).and_then(|row| cell(row, "median ms"))
            };
            let (ours, tuned) = (time("steps"), time("tuned"));
            let peer = beside(lines, precision, step, theirs);
            if ours.is_none() && tuned.is_none() && peer.is_none() {
                continue;
            }
            apart |= peer.as_ref().is_some_and(|peer| !peer.turns);
            let mark = peer.as_ref().map_or("", |peer| if peer.turns { "" } else { " *" });
            table.row(vec![
                format!("{label}, {precision} beside {word}"),
                or_none(ours.map(milliseconds)),
                or_none(tuned.map(milliseconds)),
                or_none(peer.as_ref().map(|peer| format!("{} ({})", milliseconds(peer.peer), peer.mode))),
                or_none(peer.as_ref().map(|peer| digits(peer.ratio) + mark)),
                or_none(peer.as_ref().zip(tuned).map(|(peer, tuned)| digits(peer.peer / tuned))),
            ]);
        }
    }
    if table.is_empty() {
        return nothing(lines, "steps-f32");
    }
    let mut text = table.text();
    text += "\nMedians. PyTorch / jem: above 1 jem is the faster.";
    if apart {
        text += " *: not in turns.";
    }
    text += "\n";
    for (name, precision) in [("tune-f16", "f16"), ("tune-f32", "f32")] {
        let result = lines.result(name);
        let sums = number(result, "milliseconds_by_rule").zip(number(result, "milliseconds_as_tuned"));
        if let Some((rule, tuned)) = sums.filter(|(rule, _)| *rule > 0.0) {
            let shapes = result["shapes"].as_array().map_or(0, Vec::len);
            writeln!(
                text,
                "\nTuning {shapes} shapes in {precision}: their convolutions take {} where the rule's take {} ({}).",
                milliseconds(tuned),
                milliseconds(rule),
                percent(tuned / rule)
            )
            .expect("a string");
        }
    }
    text
}

fn ceilings(lines: Lines<'_>) -> String {
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
    table.row(vec!["least time that they allow, of the time".into(), dash(), least(f32), least(f16)]);
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
            writeln!(text, "- at most, during `{step}`: {sm:.0} MHz, {}", rest.join(", ")).expect("a string");
        }
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn kernels(lines: Lines<'_>) -> String {
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
        let go = go
            .and_then(|row| cell(row, "ms"))
            .map_or(String::new(), |time| format!(" (the iteration in one go takes {})", milliseconds(time)));
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

fn launch(lines: Lines<'_>) -> String {
    let rows = lines.rows("launch", "Cost of");
    if rows.is_empty() {
        return nothing(lines, "launch");
    }
    let mut table = Table::new(&["what", "time"]);
    for row in rows {
        let time = cell(row, "us").map(|us| format!("{} µs", digits(us)));
        table.row(vec![text(row, "what").to_owned(), or_none(time)]);
    }
    table.text()
}

fn registers(lines: Lines<'_>) -> String {
    let rows = lines.rows("registers", "Registers and spills");
    if rows.is_empty() {
        return nothing(lines, "registers");
    }
    // Drivers name their statistics as they like.
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
        writeln!(page, "- {} pipelines; the driver tells no number of registers.", rows.len())
            .expect("a string");
    }
    let mut spilling: Vec<_> = rows.iter().filter_map(|row| Some((of(row, "spill")?, row))).collect();
    let told = !spilling.is_empty();
    spilling.retain(|(spills, _)| *spills > 0.0);
    spilling.sort_by(|a, b| b.0.total_cmp(&a.0));
    match spilling[..] {
        [] if told => page += "- None spills.\n",
        [] => page += "- The driver tells no spills.\n",
        _ => {
            writeln!(page, "- {} spill, the most:", spilling.len()).expect("a string");
            for (spills, row) in spilling.iter().take(5) {
                writeln!(page, "  - {}: {spills:.0}", label(row)).expect("a string");
            }
        }
    }
    page
}

fn training(lines: Lines<'_>) -> String {
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
            let show = |loss: Option<f64>| or_none(loss.map(|loss| format!("{loss:.4}")));
            let apart = a.zip(b).map(|(a, b)| format!("{:+.4}", b - a));
            table.row(vec![i.to_string(), show(a), show(b), or_none(apart)]);
        }
        text += &table.text();
        writeln!(
            text,
            "\nThe same seed, batches and noise; images: {}.",
            words(&lines.result(START)["data"])
        )
        .expect("a string");
    }
    let (loss, rate) = (column("train-small", "loss"), column("train-small", "images_per_second"));
    if let (Some(Some(first)), Some(Some(last))) = (loss.first(), loss.last()) {
        let rate =
            rate.last().copied().flatten().map_or(String::new(), |rate| format!(", {rate:.0} images/s"));
        let n = loss.len();
        writeln!(text, "\nWRN-16-4 alone: loss {first:.4}, after {n} iterations {last:.4}{rate}.")
            .expect("a string");
    }
    text
}

fn wrong(lines: Lines<'_>) -> String {
    let mut text = String::new();
    for line in lines.0 {
        let name = words(&line["step"]);
        let status = line["status"].as_str().unwrap_or_default();
        if !matches!(status, "failed" | "died" | "timed out" | "stopped") || is_open(line) {
            continue;
        }
        let time = number(line, "seconds").filter(|_| status != "timed out");
        let time = time.map_or(String::new(), |time| format!(" after {time:.1} s"));
        writeln!(text, "- **{name}** {}{time}.", end(lines, name)).expect("a string");
        for word in last_words(line) {
            writeln!(text, "  > {word}").expect("a string");
        }
    }
    for line in lines.0 {
        let errors = line["result"]["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for error in errors {
            writeln!(text, "- {}: {error}", words(&line["step"])).expect("a string");
        }
    }
    if text.is_empty() { "Nothing.\n".into() } else { text }
}

/// Whether a line is of a step that goes on until its time is up.
fn is_open(line: &Value) -> bool {
    matches!(line["step"].as_str(), Some("test-rest" | "torch-warm")) && line["status"] == "timed out"
}

/// The last words that matter: from an error on, else the last three lines. A line that repeats is there once.
fn last_words(line: &Value) -> Vec<String> {
    let said = line["last_words"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut said: Vec<&str> = said.map(str::trim).collect();
    said.dedup();
    let error = said.iter().position(|word| word.starts_with("error") || word.contains("panicked at"));
    let from = error.unwrap_or(said.len().saturating_sub(3));
    let most = if error.is_some() { 2 } else { 3 };
    let plain = |word: &str| word.chars().take(WIDTH).collect::<String>().replace('|', "\\|");
    said.into_iter().skip(from).take(most).map(plain).collect()
}

fn missing(lines: Lines<'_>) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut add = |reason, step| match reasons.iter_mut().find(|(other, _)| *other == reason) {
        Some((_, steps)) => steps.push(step),
        None => reasons.push((reason, vec![step])),
    };
    for line in lines.0.iter().filter(|line| line["status"] == "skipped") {
        add(words(&line["reason"]), words(&line["step"]));
    }
    for line in lines.0.iter().filter(|line| is_open(line)) {
        add("not all of it, because the time was up", words(&line["step"]));
    }
    let planned = lines.result(START)["steps"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for step in planned.filter(|step| lines.line(step).is_none()) {
        add("the run has not come to it", step);
    }
    let mut text = String::new();
    for (reason, steps) in reasons {
        writeln!(text, "- {}: {reason}.", steps.join(", ")).expect("a string");
    }
    if text.is_empty() { "Nothing: every step ran.\n".into() } else { text }
}

/// The words of a section of which there is nothing, because of `step`.
fn nothing(lines: Lines<'_>, step: &str) -> String {
    format!("Not measured; {}.\n", ending(lines, step))
}

/// How a step ended, in words, with its name.
fn ending(lines: Lines<'_>, step: &str) -> String {
    format!("`{step}` {}", end(lines, step))
}

/// How a step ended, in words behind its name.
fn end(lines: Lines<'_>, step: &str) -> String {
    let Some(line) = lines.line(step) else { return "has not run".into() };
    match line["status"].as_str() {
        Some("skipped") => format!("was skipped: {}", words(&line["reason"])),
        Some("died") => match line["signal"].as_i64() {
            Some(signal) => format!("died of signal {signal}{}", signal_name(signal)),
            None => "died".into(),
        },
        Some("failed") => match line["exit"].as_i64() {
            Some(exit) => format!("failed with exit status {exit}"),
            None => "could not be started".into(),
        },
        Some("timed out") => {
            format!("was killed at its limit of {:.0} s", number(line, "limit").unwrap_or(0.0))
        }
        Some("stopped") => "was ended with the run".into(),
        Some("ok") => "ended well, without such a result".into(),
        _ => "has no status".into(),
    }
}

fn signal_name(signal: i64) -> &'static str {
    match signal {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        _ => "",
    }
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| NONE.into())
}

/// Three significant digits.
pub fn digits(number: f64) -> String {
    let power = number.abs().log10().floor();
    let decimals = if number == 0.0 || !number.is_finite() { 0.0 } else { (2.0 - power).clamp(0.0, 6.0) };
    format!("{number:.*}", decimals as usize)
}

fn percent(fraction: f64) -> String {
    let percent = 100.0 * fraction;
    if percent < 10.0 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

fn milliseconds(milliseconds: f64) -> String {
    format!("{} ms", digits(milliseconds))
}

/// A rate in GFLOP/s.
fn flops(rate: f64) -> String {
    if rate >= 1000.0 {
        format!("{} TFLOP/s", digits(rate / 1000.0))
    } else {
        format!("{} GFLOP/s", digits(rate))
    }
}

/// A rate in GB/s.
fn bytes(rate: f64) -> String {
    if rate >= 1000.0 { format!("{} TB/s", digits(rate / 1000.0)) } else { format!("{} GB/s", digits(rate)) }
}

/// A table in Markdown.
pub struct Table {
    text: String,
    rows: usize,
}

impl Table {
    /// An empty one.
    pub fn new(columns: &[&str]) -> Self {
        let rule = format!("|---|{}\n", "---:|".repeat(columns.len() - 1));
        Self { text: format!("| {} |\n{rule}", columns.join(" | ")), rows: 0 }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        writeln!(self.text, "| {} |", cells.join(" | ")).expect("a string");
        self.rows += 1;
    }

    /// Whether it has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The table.
    pub fn text(self) -> String {
        self.text
    }
}
