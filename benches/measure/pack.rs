//! The files in `OUT` besides the lines and the summary.

use super::figures::Lines;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The largest file that is written, in bytes.
const LARGEST: u64 = 15 << 20;

/// Steps whose results also become files of their own.
const OWN: [(&str, &str); 3] = [
    ("profile-f32", "profile-f32.json"),
    ("profile-f16", "profile-f16.json"),
    ("registers", "registers.json"),
];

/// Writes the results of some steps into files of their own.
///
/// # Errors
/// The file system's.
pub fn results(out: &Path, lines: Lines<'_>) -> io::Result<()> {
    for (step, file) in OWN {
        let result = lines.result(step);
        if !result.is_null() {
            write(&out.join(file), result)?;
        }
    }
    let gates: Map<String, Value> = lines
        .0
        .iter()
        .filter_map(|line| Some((line["step"].as_str()?.strip_prefix("gate-")?.to_owned(), line.clone())))
        .collect();
    if gates.values().any(|line| !line["result"].is_null()) {
        write(&out.join("gate.json"), &json!(gates))?;
    }
    Ok(())
}

fn write(path: &Path, value: &Value) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    if text.len() as u64 > LARGEST {
        return Ok(());
    }
    fs::write(path, text + "\n")
}

/// Packs the folder `logs` as `logs.tar.gz`.
///
/// # Errors
/// The file system's; an incomplete archive is removed.
pub fn logs(out: &Path, logs: &Path) -> io::Result<()> {
    let path = out.join("logs.tar.gz");
    let packed = (|| {
        let gzip = flate2::write::GzEncoder::new(File::create(&path)?, flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        archive.append_dir_all("logs", logs)?;
        archive.into_inner()?.finish()?.sync_all()
    })();
    let large = path.metadata().is_ok_and(|metadata| metadata.len() > LARGEST);
    if packed.is_err() || large {
        // There may be nothing to remove.
        let _ = fs::remove_file(&path);
    }
    packed
}
