//! The files in `OUT` besides the lines and the summary.

use super::figures::Lines;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The largest file that is written, in bytes.
const LARGEST: u64 = 15 << 20;

/// Steps whose results also become files of their own.
const OWN: [(&str, &str); 3] = [
    ("profile-f32", "profile-f32.json"),
    ("profile-f16", "profile-f16.json"),
    ("registers", "registers.json"),
];

/// The names of the files that a run leaves besides the lines and the summary.
pub const FILES: [&str; 6] = [OWN[0].1, OWN[1].1, OWN[2].1, "gate.json", "tuned.toml", "logs.tar.gz"];

/// Writes the results of some steps into files of their own; returns a message for each that cannot be written.
pub fn results(out: &Path, lines: Lines<'_>) -> Vec<String> {
    let mut files: Vec<(&str, Value)> =
        OWN.into_iter().map(|(step, file)| (file, lines.result(step).clone())).collect();
    let gates: Map<String, Value> = lines
        .0
        .iter()
        .filter_map(|line| Some((line["step"].as_str()?.strip_prefix("gate-")?.to_owned(), line.clone())))
        .collect();
    if gates.values().any(|line| !line["result"].is_null()) {
        files.push(("gate.json", json!(gates)));
    }
    let written = files.into_iter().filter(|(_, result)| !result.is_null()).filter_map(|(file, result)| {
        let text = serde_json::to_string_pretty(&result).unwrap_or_default() + "\n";
        let small = text.len() as u64 <= LARGEST;
        let done = if small { put(&out.join(file), |file| file.write_all(text.as_bytes())) } else { Ok(()) };
        done.err().map(|error| format!("{file}: {error}"))
    });
    written.collect()
}

/// Writes the file `path` under another name and renames it, so that it is complete or not there.
///
/// # Errors
/// Errors of the file system and of `write`; `path` is then unchanged.
pub fn put(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let done = File::create(part).and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()));
    let done = done.and_then(|()| fs::rename(part, path));
    if done.is_err() {
        // There may be nothing to remove.
        let _ = fs::remove_file(part);
    }
    done
}

/// Packs the folder `logs` as `logs.tar.gz`.
///
/// # Errors
/// Errors of the file system, and an archive that is too large. No archive is left then.
pub fn logs(out: &Path, logs: &Path) -> io::Result<()> {
    put(&out.join("logs.tar.gz"), |file| {
        let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        archive.append_dir_all("logs", logs)?;
        let size = archive.into_inner()?.finish()?.metadata()?.len();
        match size > LARGEST {
            true => Err(io::Error::other(format!("{size} bytes, more than {LARGEST}"))),
            false => Ok(()),
        }
    })
}
