//! `summary.md`: a page for people, made from the lines.

use super::figures::{Beside, Lines, Row, Tests, beside, cell, number, step_row, text};
use super::journal::START;
use super::plan::{self, HEAVY, VARIANTS};
use super::sections::{self, PRECISIONS};
use super::words::{NONE, digits, end, ending, milliseconds, percent, words};
use serde_json::Value;
use std::fmt::Write as _;

/// The file.
pub const FILE: &str = "summary.md";

/// The most characters of a line of last words.
const WIDTH: usize = 160;
/// A section of the page, in Markdown.
type Section = fn(Lines<'_>) -> String;

/// The page.
pub fn page(lines: &[Value]) -> String {
    let lines = Lines(lines);
    let mut page = head(lines);
    let all: [(&str, Section); 9] = [
        ("Verdict", verdict),
        ("Time beside PyTorch", sections::times),
        ("How near to the ceilings", sections::ceilings),
        ("Where the time of an iteration goes", sections::kernels),
        ("Cost of a dispatch, a barrier, a submission", sections::launch),
        ("Registers and spills", sections::registers),
        ("Training", sections::training),
        ("What went wrong", wrong),
        ("What was not measured", missing),
    ];
    for (title, section) in all {
        write!(page, "\n## {title}\n\n{}", section(lines)).expect("a string");
    }
    page
}

/// The device that was measured, or else the one that was asked for.
pub fn device(lines: Lines<'_>) -> String {
    let name = fact(lines, "device").map(|name| {
        // The name is followed by the backend and the driver.
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
    // Such as `paper WRN-28-10 f16 x64 iteration, K = 20`: x64 is the batch, K the number of SGLD steps.
    let network = ["steps-f16", "steps-f32"].into_iter().find_map(|name| {
        let (network, steps) = text_of(step_row(lines, name, "iteration")?)?;
        Some(format!("{network}, an iteration with K = {steps} SGLD steps"))
    });
    add("network and batch", network);
    add("run", Some(format!("{ended:.0} s of {:.0} s", number(run, "seconds").unwrap_or(0.0))));
    if let Some(line) = shaders(lines) {
        write!(text, "\n{line}\n").expect("a string");
    }
    let is_ok = |line: &&Value| line["status"] == "ok";
    let measured = |name: &str| !plan::is_fact(name) && !name.starts_with("gate-");
    if !lines.0.iter().filter(is_ok).any(|line| line["step"].as_str().is_some_and(measured)) {
        let reason = lines.0.iter().find_map(|line| line["reason"].as_str());
        let why = reason.map_or(String::new(), |reason| format!(": {reason}"));
        write!(text, "\n**Nothing was measured{why}.**\n").expect("a string");
    } else if run["quick"] == true {
        text += "\n**A quick run: small networks and little time. It shows which steps work; its times mean nothing.**\n";
    }
    text
}

/// The network with its batch, and K, of the label of an iteration.
fn text_of(row: &Row) -> Option<(String, String)> {
    let (network, steps) = text(row, "step").split_once(" iteration, K = ")?;
    let network = network.replace(" f16", "").replace(" f32", "").replace(" x", ", batch ");
    Some((network, steps.to_owned()))
}

/// The most shaders that are named.
const SHADERS: usize = 20;

/// The line about shaders from a folder: the results are then not those of the commit.
fn shaders(lines: Lines<'_>) -> Option<String> {
    let shaders = Some(&lines.result(START)["shaders"]).filter(|shaders| shaders.is_object())?;
    let folder = words(&shaders["folder"]).replace(|c: char| c.is_control() || c == '`', "?");
    let differing: Vec<&str> =
        shaders["differing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let named = differing.iter().take(SHADERS).copied().collect::<Vec<_>>().join(", ");
    Some(match differing.len() {
        0 => format!("Shaders come from `{folder}` (JEM_SHADERS); none differs from the commit's."),
        n if n > SHADERS => format!(
            "**Not the commit's shaders: `{folder}` (JEM_SHADERS) replaces {named} and {} more.**",
            n - SHADERS
        ),
        _ => format!("**Not the commit's shaders: `{folder}` (JEM_SHADERS) replaces {named}.**"),
    })
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
            let turns = if turns { "" } else { ", not in turns" };
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
    text
}

/// This engine's speed relative to a peer's, in words.
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
        [] => format!("f32 is correct: all {} kernels agree with the CPU.", kernels.len()),
        _ => format!(
            "**f32 is WRONG** in {} of {} kernels: {}.",
            failed.len(),
            kernels.len(),
            failed.join(", ")
        ),
    }
}

fn matrices(lines: Lines<'_>) -> String {
    // Variants with the same outcome are listed together.
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
    let all = outcomes.iter().map(|(outcome, variants)| match variants.len() {
        1 => format!("{}: {outcome}", variants[0]),
        _ => format!("{}, each: {outcome}", variants.join(", ")),
    });
    format!("Cooperative matrices. {}.", all.collect::<Vec<_>>().join("; "))
}

/// The most failed tests that are named: a lost device fails dozens.
const NAMED: usize = 6;

fn tests(lines: Lines<'_>) -> String {
    let steps: Vec<String> =
        HEAVY.iter().map(|(kind, _)| format!("test-{kind}")).chain(["test-rest".into()]).collect();
    let done: Vec<Tests> = steps.iter().filter_map(|step| Tests::of(lines.result(step))).collect();
    let passed: u64 = done.iter().map(|tests| tests.passed).sum();
    let failed: Vec<&str> = done.iter().flat_map(|tests| &tests.failed).map(String::as_str).collect();
    // Skipped steps have a section of their own.
    let cut = steps.iter().filter(|step| {
        let skipped = lines.line(step).is_some_and(|line| line["status"] == "skipped");
        !skipped && Tests::of(lines.result(step)).is_none_or(|tests| !tests.finished)
    });
    let cut: Vec<&str> = cut.map(String::as_str).collect();
    let named = failed.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let mut line = match failed.len() {
        0 => format!("Kernel tests: {passed} passed, none failed"),
        n if n > NAMED => {
            format!(
                "Kernel tests: {passed} passed, **{n} FAILED**: {named} and {} more (logs.tar.gz)",
                n - NAMED
            )
        }
        n => format!("Kernel tests: {passed} passed, **{n} FAILED**: {named}"),
    };
    if !cut.is_empty() {
        write!(line, "; not all tests ran in {}", cut.join(", ")).expect("a string");
    }
    line + "."
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

/// Whether the step of a line is meant to run until its time is up, and did.
fn is_open(line: &Value) -> bool {
    matches!(line["step"].as_str(), Some("test-rest" | "torch-warm")) && line["status"] == "timed out"
}

/// The last words that matter: from an error on, else the last lines. Repeated lines are shown once.
fn last_words(line: &Value) -> Vec<String> {
    let said = line["last_words"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut said: Vec<&str> = said.map(str::trim).collect();
    said.dedup();
    let error = said.iter().position(|word| word.starts_with("error") || word.contains("panicked at"));
    // The last lines of a killed process say little about its end.
    let most = if error.is_some() {
        2
    } else if line["status"] == "timed out" {
        1
    } else {
        3
    };
    let from = error.unwrap_or(said.len().saturating_sub(most));
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
        add("incomplete, because the time was up", words(&line["step"]));
    }
    let planned = lines.result(START)["steps"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for step in planned.filter(|step| lines.line(step).is_none()) {
        add("the run has not reached it", step);
    }
    let mut text = String::new();
    for (reason, steps) in reasons {
        writeln!(text, "- {}: {reason}.", steps.join(", ")).expect("a string");
    }
    if text.is_empty() { "Nothing: every step ran.\n".into() } else { text }
}
