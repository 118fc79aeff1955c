//! Downloads over HTTP.

use super::{Observer, Transfer};
use crate::data::archive::Archive;
use crate::data::unpack;
use crate::error::{Error, Result};
use md5::{Digest, Md5};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

/// Attempts without new data before the archive counts as unavailable.
const FRUITLESS_ATTEMPTS: usize = 2;
/// The pause between attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Downloads and unpacks `archive` into `cache`. Returns `Some(reason)` when the network fails.
pub fn fetch(archive: &Archive, cache: &Path, observer: Observer) -> Result<Option<String>> {
    fs::create_dir_all(cache).map_err(Error::io(cache))?;
    let part = cache.join(format!("{}.part", archive.name()));
    let unavailable = complete(archive, &part, observer);
    observer(Transfer::Ends);
    if let Some(reason) = unavailable? {
        return Ok(Some(reason));
    }
    unpack::unpack(&part, archive, cache)?;
    fs::remove_file(&part).map_err(Error::io(&part))?;
    Ok(None)
}

/// The result of one request.
enum Attempt {
    /// The server sent the rest of the file.
    Whole,
    /// The connection failed or ended early.
    Cut(String),
    /// `part` does not match the server's file.
    Misfit,
    /// The server refuses the request.
    Refused(String),
}

/// Completes `part` to the archive's contents. Returns `Some(reason)` when the network fails.
fn complete(archive: &Archive, part: &Path, observer: Observer) -> Result<Option<String>> {
    if matches_md5(archive, part)? {
        return Ok(None);
    }
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        // No compression in transit: a range of a compressed stream would be another range.
        .accept_encoding("identity")
        .build()
        .into();
    let mut longest = length(part)?;
    // A partial file of an earlier call may be of another archive: start again once.
    let mut may_restart = longest > 0;
    let mut fruitless = 0;
    loop {
        let reason = match attempt(&agent, archive, part, observer)? {
            Attempt::Whole if matches_md5(archive, part)? => return Ok(None),
            Attempt::Whole | Attempt::Misfit if may_restart => {
                fs::remove_file(part).map_err(Error::io(part))?;
                (may_restart, longest) = (false, 0);
                continue;
            }
            Attempt::Whole => {
                let found = md5_of(part)?;
                fs::remove_file(part).map_err(Error::io(part))?;
                return Err(Error::file(
                    part,
                    format!(
                        "{} has MD5 {found}, expected {}; the download was removed: try again, or unpack the \
                         archive by hand and name its directory",
                        archive.url, archive.md5
                    ),
                ));
            }
            Attempt::Misfit => return Ok(Some("the server cannot continue the download".into())),
            Attempt::Refused(reason) => return Ok(Some(reason)),
            Attempt::Cut(reason) => reason,
        };
        let now = length(part)?;
        fruitless = if now > longest { 0 } else { fruitless + 1 };
        longest = longest.max(now);
        if longest == 0 || fruitless == FRUITLESS_ATTEMPTS {
            let kept =
                if longest > 0 { format!(" ({now} bytes are kept for next time)") } else { String::new() };
            return Ok(Some(format!("{reason}{kept}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends one request for the bytes that `part` lacks and appends the response.
fn attempt(agent: &Agent, archive: &Archive, part: &Path, observer: Observer) -> Result<Attempt> {
    let have = length(part)?;
    let mut request = agent.get(&archive.url);
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => return Ok(Attempt::Cut(error.to_string())),
    };
    let (start, total) = match response.status() {
        StatusCode::OK => (0, number(&response, header::CONTENT_LENGTH)),
        StatusCode::PARTIAL_CONTENT => match content_range(&response) {
            Some((start, total)) if start == have => (start, total),
            _ => return Ok(Attempt::Misfit),
        },
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Attempt::Misfit),
        status => return Ok(Attempt::Refused(format!("the server answers {status}"))),
    };
    let mut file =
        File::options().create(true).write(true).truncate(false).open(part).map_err(Error::io(part))?;
    file.set_len(start).map_err(Error::io(part))?;
    file.seek(SeekFrom::Start(start)).map_err(Error::io(part))?;
    observer(Transfer::Begins { file: archive.name(), have: start, total });

    let mut body = response.into_body().into_reader();
    let (mut buffer, mut at) = (vec![0; 1 << 16], start);
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Attempt::Cut(error.to_string())),
        };
        at += count as u64;
        if at > archive.max_bytes {
            return Ok(Attempt::Refused(format!("sends more than the {} bytes expected", archive.max_bytes)));
        }
        file.write_all(&buffer[..count]).map_err(Error::io(part))?;
        observer(Transfer::Has(at));
    }
    match total {
        Some(total) if at < total => {
            Ok(Attempt::Cut(format!("the connection ended after {at} of {total} bytes")))
        }
        _ => Ok(Attempt::Whole),
    }
}

fn number<T>(response: &Response<T>, name: header::HeaderName) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The first byte and the total length of `Content-Range: bytes FIRST-LAST/LENGTH`.
fn content_range<T>(response: &Response<T>) -> Option<(u64, Option<u64>)> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// The size of `path`; 0 if it does not exist.
fn length(path: &Path) -> Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(path)(error)),
    }
}

fn matches_md5(archive: &Archive, path: &Path) -> Result<bool> {
    Ok(length(path)? > 0 && md5_of(path)? == archive.md5)
}

fn md5_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let (mut hash, mut buffer) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
