//! `jem ablate`: one protocol and one table; interrupted runs are resumed, complete runs are reused.

use crate::support::*;
use crate::train::SMALL;
use serde_json::Value;
use std::path::Path;

/// The arguments of a small comparison on `data` into `out`.
fn ablate<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["ablate", "--data", data, "--out", out], &SMALL[..], more].concat()
}

fn table(out: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(out).join("table.json")).expect("a table");
    serde_json::from_str(&text).expect("JSON")
}

/// Accuracies, energies and gaps of all runs, which do not depend on the clock.
fn figures(out: &str) -> Vec<Value> {
    let table = table(out);
    let rows = table["rows"].as_array().expect("rows").iter();
    let runs = rows.flat_map(|row| row["runs"].as_array().expect("runs").clone());
    runs.map(|run| serde_json::json!([run["figures"]["test"], run["figures"]["energy_gap"]])).collect()
}

#[test]
fn a_scalar_energy_has_no_accuracy_in_the_table() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("out"));
    let printed = succeed(&ablate(&data, &out, &["--recipes", "unconditional,classifier", "--seeds", "1,2"]));
    assert!(printed.contains("unconditional, seed 1: energy of test images "), "{printed}");
    let row = printed.lines().find(|line| line.starts_with("| unconditional |")).expect("a row");
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[2..5], ["2", "-", "-"], "{row}");
    assert!(!printed.contains("NaN") && !printed.contains("diverged"), "{printed}");
    let row = &table(&out)["rows"][0];
    assert_eq!((&row["seeds_done"], &row["test_accuracy"]), (&Value::from(2), &Value::Null));
    // A settings file of another recipe would replace what makes a recipe.
    let config = format!("{out}/classifier-seed1/config.toml");
    let words = ["ablate", "--config", &config, "--recipes", "jem", "--out", &place.at("other")];
    fail(&place, &words, &["--recipes", "those of classifier", "jem"]);
    // Without --recipes its own recipe is compared.
    let varied = place.at("varied");
    let printed =
        succeed(&["ablate", "--config", &config, "--vary", "lr=0.1,0.2", "--seeds", "1", "--out", &varied]);
    assert!(printed.contains("[1/2] classifier, lr = 0.1, seed 1"), "{printed}");
}

#[test]
fn what_is_complete_is_taken_over_and_what_is_not_goes_on() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("out"));
    let words = ablate(&data, &out, &["--recipes", "classifier,jem", "--seeds", "1,2"]);
    let printed = succeed(&words);
    assert!(printed.contains("| classifier |     2 |") && printed.contains("[4/4] jem, seed 2"), "{printed}");
    let markdown = std::fs::read_to_string(Path::new(&out).join("table.md")).expect("a table");
    assert!(markdown.starts_with("# data, preset tiny, on cpu") && markdown.contains("| ----"), "{markdown}");
    let picture = image::open(Path::new(&out).join("accuracy.png")).expect("a picture");
    assert_eq!(picture.width(), 2 * 310);
    let all = figures(&out);
    assert!(all.len() == 4 && all.iter().all(|run| run[0]["accuracy"].is_f64()), "{all:?}");
    let row = &table(&out)["rows"][1];
    assert_eq!((&row["recipe"], &row["trips"]), (&Value::from("jem"), &Value::from(0)));
    assert!(
        row["test_accuracy"]["standard_deviation"].is_f64() && row["energy_gap"]["mean"].is_f64(),
        "{row}"
    );
    assert!(table(&out)["rows"][0]["energy_gap"].is_null());

    // A run interrupted before its end, one before its score, one before its start.
    let at = |name: &str| Path::new(&out).join(name);
    for name in ["classifier-seed1/result.json", "jem-seed1/result.json"] {
        std::fs::remove_file(at(name)).expect("a file");
    }
    std::fs::remove_file(at("jem-seed1/checkpoints/checkpoint-00000003.safetensors")).expect("a file");
    std::fs::remove_dir_all(at("jem-seed2")).expect("a directory");
    let complete = at("classifier-seed2/metrics.csv");
    let written = || std::fs::metadata(&complete).and_then(|file| file.modified()).expect("a time");
    let before = written();
    let printed = succeed(&words);
    assert_eq!(printed.matches("already done").count(), 1, "{printed}");
    assert_eq!((figures(&out), written()), (all, before));
}

#[test]
fn a_run_that_diverges_is_a_row_of_the_table() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("out"));
    let vary = ["--vary", "lr=1e-3,1e30", "--seeds", "7", "--guard", "false", "--warmup", "0"];
    let words = ablate(&data, &out, &vary);
    for again in [false, true] {
        let printed = succeed(&words);
        let row =
            printed.lines().find(|line| line.starts_with("| jem    | 1e30 | 0 of 1 |")).expect(&printed);
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[4..8], ["diverged", "-", "-", "-"], "{row}");
        assert!(printed.contains("jem, lr = 1e30, seed 7: training diverged"), "{printed}");
        assert_eq!(printed.matches("already done").count(), if again { 2 } else { 0 }, "{printed}");
        let rows = &table(&out)["rows"];
        assert_eq!((&rows[0]["value"], &rows[0]["seeds_done"]), (&Value::from("1e-3"), &Value::from(1)));
        assert!(rows[1]["energy_gap"].is_null() && rows[0]["energy_gap"]["mean"].is_f64(), "{rows}");
        assert!(rows[1]["test_accuracy"].is_null() && rows[0]["test_accuracy"]["mean"].is_f64(), "{rows}");
    }
    assert!(Path::new(&out).join("jem-lr-1e30-seed7/result.json").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_is_done() {
    use std::process::{Command, Stdio};
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("out"));
    let long = ["--vary", "iterations=2,1000000", "--evaluate-every", "1000000", "--seeds", "1"];
    let words = ablate(&data, &out, &long);
    let mut command = jem(&words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let metrics = Path::new(&out).join("jem-iterations-1000000-seed1/metrics.csv");
    for _ in 0..600 {
        if std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 2) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let output = child.wait_with_output().expect("the command ends");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        killed.success() && output.status.code() == Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("run the same command again to resume"), "{printed}");
    let rows = ["|          2 |      1 |", "|    1000000 | 0 of 1 |"];
    assert!(rows.iter().all(|row| printed.contains(row)), "{printed}");
    assert!(!metrics.with_file_name("result.json").exists());
}

#[test]
fn bad_settings_are_one_line_and_leave_nothing() {
    let place = Place::new();
    let (data, out) = (place.drawings("data", 40), place.at("out"));
    let at = |words: &[&str], parts: &[&str]| fail(&place, &ablate(&data, &out, words), parts);
    at(&["--vary", "steps"], &["--vary", "KEY=VALUE,VALUE", "steps"]);
    at(&["--vary", "steps=1,few"], &["--vary: steps = few: ", "usize"]);
    at(&["--vary", "stpes=1,2"], &["--vary", "stpes", "steps"]);
    at(&["--vary", "step-size=1,-1"], &["step_size", "at least 0", "-1"]);
    at(&["--vary", "noise=0,0"], &["--vary", "0 is named twice"]);
    at(&["--vary", "seed=1,2"], &["--vary", "--seeds"]);
    at(&["--recipe", "jem"], &["--recipe", "--recipes"]);
    at(&["--seed", "1"], &["--seed", "--seeds"]);
    at(&["--seeds", "1,1"], &["--seeds", "1 is named twice"]);
    at(&["--recipes", "jem,jem"], &["--recipes", "jem is named twice"]);
    at(&["--buffer", "3"], &["buffer", "at least 4", "got 3"]);
    at(
        &["--p-x", "0", "--energy-l2", "0"],
        &["--recipes", "classifier and jem", "same settings", "--config"],
    );
    fail(&place, &ablate("imagenet", &out, &[]), &["--data", "imagenet"]);
    misuse(&ablate(&data, &out, &["--recipes", "jem,jem+"]), &["--recipes", "classifier, jem,"]);
    misuse(&ablate(&data, &out, &["--preset", "auto"]), &["--preset", "tiny"]);
    misuse(&["ablate", "--data", &data], &["--out"]);

    let one = ["--recipes", "classifier", "--seeds", "1"];
    succeed(&ablate(&data, &out, &one));
    let other = [&one[..], &["--lr", "0.5"]].concat();
    at(&other, &["classifier-seed1", "other settings (lr = 0.0018", ", not 0.5)", "another --out"]);
    let quiet = succeed(&ablate(&data, &out, &[&one[..], &["--quiet"]].concat()));
    assert!(quiet.lines().all(|line| line.starts_with('|')), "only the table: {quiet}");
    let moved = place.drawings("other", 40);
    fail(&place, &ablate(&moved, &out, &one), &["classifier-seed1", "other settings", &data]);
}
