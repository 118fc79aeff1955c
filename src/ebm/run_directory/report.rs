//! `report.html`: a run in one self-contained file.

use super::RunDirectory;
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::report::curves;
use crate::report::metrics::MetricsTable;
use crate::report::page::{self, escape, image};
use crate::words::counted;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The maximum number of sample pictures in a report.
const PICTURES: usize = 8;
/// The fraction of a run, at its end, over which the figures are averaged.
const LAST: f64 = 0.05;

/// The columns whose means over the last iterations are shown, and their names.
const FIGURES: [(&str, &str); 12] = [
    ("loss", "loss"),
    ("energy_gap", "energy gap (samples - data)"),
    ("cross_entropy", "cross-entropy"),
    ("accuracy", "accuracy on training batches"),
    ("gradient_norm", "gradient norm"),
    ("displacement", "displacement of a pixel in an iteration"),
    ("saturated", "fraction of saturated pixels"),
    ("chain_age", "age of chains, SGLD steps"),
    ("validation_energy", "energy of held-out data"),
    ("fresh_energy_k", "energy of fresh chains after K steps"),
    ("fresh_energy_10k", "energy of fresh chains after 10 × K steps"),
    ("fresh_energy_100k", "energy of fresh chains after 100 × K steps"),
];

/// Events that are not shown: they occur regularly in a healthy run.
const ROUTINE: [&str; 3] = ["checkpoint", "validation", "fresh_chains"];

impl RunDirectory {
    /// Writes `report.html` of the run in `path`, and the pictures of its curves: figures, curves, samples over time,
    /// faults and remedies, settings. The run may still be training in another process.
    ///
    /// # Errors
    /// [`Error::File`] if there is no run; [`Error::Io`].
    pub fn report(path: &Path) -> Result<PathBuf> {
        let config_path = Self::config(path)?;
        let config = std::fs::read_to_string(&config_path).map_err(Error::io(&config_path))?;
        let table = MetricsTable::read(&path.join("metrics.csv"))?;
        let events = events(&path.join("events.jsonl"));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let data = config.lines().find_map(|line| line.strip_prefix("# data: ")).unwrap_or("unknown data");
        let title = format!("{name}: {data}");
        let curves = path.join("curves.png");
        let health = path.join("health.png");
        curves::plot(&curves, &table, &title)?;
        curves::plot_health(&health, &table, &title)?;
        let mut page = page::head(&title);
        page += &state(&events);
        page += &figures(&table, &events);
        page += "<h2>Curves</h2>\n";
        for (file, text) in [(&curves, "losses, energies and accuracies"), (&health, "gradients and chains")]
        {
            let _ = writeln!(page, "<p>{}</p>", image(file, text)?);
        }
        page += &samples(&path.join("samples"))?;
        page += &happened(&events);
        let _ = write!(page, "<h2>Settings</h2>\n<pre>{}</pre>\n{}", escape(&config), page::END);
        let report = path.join("report.html");
        atomic::write(&report, |file| file.write_all(page.as_bytes()))?;
        Ok(report)
    }
}

/// The readable lines of an events file.
fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The state of the run in words.
fn state(events: &[Value]) -> String {
    let last = events.iter().rev().find(|event| {
        matches!(event["event"].as_str(), Some("start" | "resume" | "end" | "diverged" | "device lost"))
    });
    let iteration = last.map_or(0, |event| event["iteration"].as_u64().unwrap_or(0));
    let (class, text) = match last.map(|event| (event["event"].as_str().unwrap_or(""), &event["details"])) {
        Some(("end", details)) if details["interrupted"] == true => {
            ("state", format!("interrupted after {}", counted(iteration, "iteration")))
        }
        Some(("end", _)) => ("state", format!("complete: {}", counted(iteration, "iteration"))),
        Some(("diverged", details)) => {
            let why = details["message"].as_str().unwrap_or("");
            ("bad", format!("given up in iteration {iteration}: {why}"))
        }
        Some(("device lost", _)) => ("bad", format!("the device was lost in iteration {iteration}")),
        _ => ("state", "going on, or ended without a word".into()),
    };
    format!("<p class=\"{class}\">{}</p>\n", escape(&text))
}

/// A table of names and values.
fn rows(rows: &[(String, String)]) -> String {
    let mut table = String::from("<table>\n");
    for (name, value) in rows {
        let _ =
            writeln!(table, "<tr><td>{}</td><td class=\"number\">{}</td></tr>", escape(name), escape(value));
    }
    table + "</table>\n"
}

/// A number in readable form.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e5).contains(&size) => {
            let digits = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.3e}"),
    }
}

fn figures(table: &MetricsTable, events: &[Value]) -> String {
    let named = |kind: &'static str| events.iter().filter(move |event| event["event"] == kind);
    let percent = |value: f64| format!("{:.2}%", 100.0 * value);
    let mut all = Vec::new();
    let test = named("end").next_back().and_then(|end| end["details"]["test_accuracy"].as_f64());
    all.extend(test.map(|accuracy| ("test accuracy of the best model".to_owned(), percent(accuracy))));
    // For a run that started from a trained model, both models side by side.
    if let Some(end) = named("end").next_back().map(|end| &end["details"])
        && end["start"].is_object()
    {
        let figures = [("accuracy", "test accuracy"), ("calibration_error", "calibration error")];
        for (key, name) in figures {
            if let (Some(start), Some(best)) = (end["start"][key].as_f64(), end["test"][key].as_f64()) {
                all.push((
                    format!("{name}, start and best"),
                    format!("{}, {}", percent(start), percent(best)),
                ));
            }
        }
        let cross_entropy = |of: &str| end[of]["cross_entropy"].as_f64();
        if let (Some(start), Some(best)) = (cross_entropy("start"), cross_entropy("test")) {
            all.push(("test cross-entropy, start and best".into(), format!("{start:.4}, {best:.4}")));
        }
    }
    let validations = named("validation").filter_map(|event| event["details"]["accuracy"].as_f64());
    let best = validations.fold(None, |best: Option<f64>, a| Some(best.map_or(a, |best| best.max(a))));
    all.extend(best.map(|accuracy| ("best accuracy on held-out images".to_owned(), percent(accuracy))));
    all.push(("iterations recorded".into(), table.rows.len().to_string()));
    all.push(("faults healed".into(), named("healed").count().to_string()));
    let device = events.iter().rev().find_map(|event| event["details"]["device"].as_str());
    all.extend(device.map(|device| ("device".to_owned(), device.to_owned())));
    for (column, name) in FIGURES {
        let points = table.points(column);
        let last = ((points.len() as f64 * LAST) as usize).max(1);
        if let Some(points) = points.len().checked_sub(last).map(|first| &points[first..]) {
            let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
            all.push((format!("{name}, mean of the last {}", points.len()), number(mean)));
        }
    }
    format!("<h2>Figures</h2>\n{}", rows(&all))
}

/// Pictures of samples: the first, the last, and some in between.
fn samples(directory: &Path) -> Result<String> {
    let mut pictures: Vec<PathBuf> = std::fs::read_dir(directory)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    pictures.retain(|path| path.extension().is_some_and(|ending| ending == "png"));
    pictures.sort();
    if pictures.is_empty() {
        return Ok(String::new());
    }
    let shown = PICTURES.min(pictures.len());
    let mut page = String::from("<h2>Samples</h2>\n");
    for number in 0..shown {
        let at = if shown == 1 { 0 } else { number * (pictures.len() - 1) / (shown - 1) };
        let name = pictures[at].file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let iteration = name.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0');
        let caption = format!("iteration {}", if iteration.is_empty() { "0" } else { iteration });
        let _ = writeln!(
            page,
            "<figure>{}<figcaption>{caption}</figcaption></figure>",
            image(&pictures[at], &caption)?
        );
    }
    Ok(page)
}

/// The events, without the routine ones.
fn happened(events: &[Value]) -> String {
    let mut page = String::from(
        "<h2>What happened</h2>\n<table>\n<tr><th>iteration</th><th>event</th><th>details</th></tr>\n",
    );
    let of_interest = |event: &&Value| !event["event"].as_str().is_some_and(|event| ROUTINE.contains(&event));
    for event in events.iter().filter(of_interest) {
        let details: Vec<String> = match &event["details"] {
            Value::Object(all) => all.iter().filter(|(_, value)| !value.is_null()).map(detail).collect(),
            other => vec![other.to_string()],
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            event["iteration"],
            escape(event["event"].as_str().unwrap_or("")),
            escape(&details.join("; "))
        );
    }
    page + "</table>\n"
}

fn detail((key, value): (&String, &Value)) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{}: {text}", key.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::png;
    use std::fs;

    #[test]
    fn a_report_has_all_that_there_is_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a <run>");
        fs::create_dir_all(path.join("samples")).unwrap();
        let message = RunDirectory::report(&path).unwrap_err().to_string();
        assert!(message.contains("config.toml"), "{message}");
        fs::write(path.join("config.toml"), "# data: drawings\nlr = 0.1\n").unwrap();
        fs::write(path.join("metrics.csv"), "iteration,loss,energy_gap\n0,3,1\n1,2.5,\n2,2,0.25\n").unwrap();
        let healed =
            "{\"event\":\"healed\",\"iteration\":7,\"details\":{\"fault\":\"gap > 200\",\"back_to\":3}}";
        let end =
            "{\"event\":\"end\",\"iteration\":9,\"details\":{\"interrupted\":false,\"test_accuracy\":0.75}}";
        // A last line that is not completely written.
        fs::write(path.join("events.jsonl"), format!("{healed}\n{end}\n{{\"event\":\"ch")).unwrap();
        for iteration in 0..20 {
            let picture = png::grid(&[0.0; 12], 1, 2, 2, 3, 1, 1).unwrap();
            picture.write_png(&path.join(format!("samples/samples-{iteration:08}.png"))).unwrap();
        }
        let page = fs::read_to_string(RunDirectory::report(&path).unwrap()).unwrap();
        for part in [
            "a &lt;run&gt;: drawings",
            "complete: 9 iterations",
            "75.00%",
            "gap &gt; 200",
            "back to: 3",
            "lr = 0.1",
            "iteration 19<",
            "iteration 0<",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        assert_eq!(page.matches("data:image/png;base64,").count(), 2 + PICTURES);
        assert!(!page.contains("http") && !page.contains("src=\"samples"), "it needs no other file");
    }

    #[test]
    fn numbers_are_as_people_write_them() {
        let cases =
            [(0.0, "0"), (0.25, "0.2500"), (-12.345, "-12.35"), (54_321.0, "54321"), (2e7, "2.000e7")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }
}
