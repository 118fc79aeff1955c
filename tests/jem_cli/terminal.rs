//! Progress on a pseudo-terminal, which `script` of util-linux provides: commands name their work in progress, unless
//! quiet.
#![cfg(target_os = "linux")]

use crate::support::*;
use std::process::Command;

/// The output of a command on a terminal of 80x24 characters; it must succeed.
fn on_terminal(words: &[&str]) -> String {
    let command = jem(words);
    let quoted = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<_> = quoted.map(|word| format!("'{}'", word.display())).collect();
    let mut script = Command::new("script");
    let line = format!("stty rows 24 cols 80; exec {}", quoted.join(" "));
    script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.output().expect("script starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {text}");
    text
}

#[test]
fn work_is_named_while_it_is_done_unless_quiet() {
    let place = Place::new();
    let [best, _] = place.trained();
    let (x, data, run, [_, gpu]) = (place.x_p(), place.digits(40), place.at("run"), devices());
    let [model, arrays, samples, tuned] =
        ["m.safetensors", "m.npz", "samples", "t.toml"].map(|n| place.at(n));
    let tune =
        ["tune", "--preset", "tiny", "--batch", "2", "--steps", "2", "--seconds", "0.001", "--top", "1"];
    for (words, parts) in [
        (&["info", &best][..], &["reading ", "counting the cost"][..]),
        (&["import", &best, "--out", &model], &["importing "]),
        (&["export", "--model", &best, "--to", "npz", "--out", &arrays], &["reading ", "writing "]),
        (&["score", "--model", &best, "--images", &x], &["reading ", "scoring 0/6"]),
        (
            &[
                "sample",
                "--model",
                &best,
                "--init",
                "gaussians",
                "--init-data",
                "mnist:train",
                "--data-dir",
                &data,
            ]
            .into_iter()
            .chain(["--count", "4", "--steps", "2", "--out", &samples])
            .collect::<Vec<_>>(),
            &["reading mnist:train", "fitting Gaussians to MNIST train", "SGLD step 0/2", "writing samples"],
        ),
        (&["report", &run], &["drawing the curves"]),
        (&["devices", "--test", "cpu"], &["testing cpu"]),
        (&[&tune[..], &["--device", &gpu, "--out", &tuned]].concat(), &["ranking the shapes", "tuning 0/1"]),
    ] {
        let shown = on_terminal(words);
        let quiet = on_terminal(&[words, &["--quiet"]].concat());
        for part in parts {
            assert!(shown.contains(part), "{words:?}: {part:?} is not in {shown:?}");
            assert!(!quiet.contains(part), "{words:?}: {part:?} is in {quiet:?}");
        }
        let plain = |text: &str| !text.contains(['\r', '\x1b']);
        assert!(plain(&quiet.replace("\r\n", "\n")), "{words:?}: {quiet:?}");
    }
}
