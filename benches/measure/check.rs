//! Refuses a run that would measure nothing or spoil earlier results.

use super::{Arguments, Common, journal, pack, summary};
use jem::device::DeviceSpec;
use std::path::Path;

/// The fewest seconds in which anything is measured.
const SECONDS: f64 = 10.0;

/// Checks the arguments of a run into `out` with the executable `jem`; changes nothing.
///
/// # Errors
/// A message, if the run would measure nothing, or spoil what `out` holds.
pub fn check(arguments: &Arguments, common: &Common, out: &Path, jem: &Path) -> Result<(), String> {
    if common.seconds < SECONDS {
        return Err(format!("--seconds {}: a run takes at least {SECONDS}", common.seconds));
    }
    if common.device == DeviceSpec::Cpu {
        return Err("--device cpu: the run measures a GPU; --device llvmpipe is Mesa's on the CPU".into());
    }
    // Without it every step would fail.
    if !jem.metadata().is_ok_and(|jem| jem.is_file() && jem.len() > 0) {
        let which = if arguments.jem.is_some() { "" } else { ": --jem names another" };
        return Err(format!("{} is missing or empty{which}", jem.display()));
    }
    jem::compute::shader::folder().map_err(|error| error.to_string())?;
    unused(out)
}

/// Checks that `out` has no file of an earlier run.
///
/// # Errors
/// A message with the first such file.
fn unused(out: &Path) -> Result<(), String> {
    let own = [journal::FILE, summary::FILE].into_iter().chain(pack::FILES);
    match own.into_iter().find(|file| out.join(file).symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(file) => Err(earlier(out, file)),
    }
}

/// The message about a `file` of an earlier run.
pub fn earlier(out: &Path, file: &str) -> String {
    format!(
        "{} has the results of an earlier run ({file}): name another folder, or remove it if they are of no use",
        out.display()
    )
}
