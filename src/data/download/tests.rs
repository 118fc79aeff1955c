//! Downloads from a small server on this machine.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use flate2::{Compression, write::GzEncoder};

use super::super::{Fetched, fetch, unobserved};
use super::*;

/// The response of the server to one connection.
#[derive(Clone, Copy)]
enum Serve {
    /// The requested range.
    Asked,
    /// The requested range, but the connection closes after this many bytes of the body.
    Cut(usize),
    /// The complete file, whatever range is requested.
    Whole,
    /// An error page.
    Status(u16),
    /// A refusal of the range, as if the partial file were longer than the file.
    NoRange,
}

/// Serves `contents` to one connection after the other; sends the first byte that each request asks for.
fn server(contents: Vec<u8>, plan: &'static [Serve]) -> (String, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tiny.tar.gz", listener.local_addr().unwrap());
    let (asked, requests) = channel();
    thread::spawn(move || {
        for &serve in plan {
            let (mut stream, _) = listener.accept().unwrap();
            let mut start = 0;
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let line = line.unwrap().to_ascii_lowercase();
                if let Some(range) = line.strip_prefix("range: bytes=") {
                    start = range.trim_end_matches('-').parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            asked.send(start).unwrap();
            let total = contents.len();
            let from = if matches!(serve, Serve::Whole) { 0 } else { start };
            let (status, body) = match serve {
                Serve::Status(code) => (format!("{code} No"), &b"no"[..]),
                Serve::NoRange if start > 0 => ("416 Range Not Satisfiable".into(), &b""[..]),
                _ if from > 0 => {
                    let range =
                        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}", total - 1);
                    (range, &contents[from..])
                }
                _ => ("200 OK".into(), &contents[..]),
            };
            let sent = if let Serve::Cut(bytes) = serve { &body[..bytes] } else { body };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .unwrap();
            stream.write_all(sent).unwrap();
        }
    });
    (url, requests)
}

/// The bytes of member `name`: incompressible, so that the archive has some length.
fn contents(name: &str) -> Vec<u8> {
    let mut random = crate::compute::splitmix::SplitMix::new(name.len() as u64, 5);
    (0..5000).map(|_| random.next() as u8).collect()
}

fn tarball(members: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for path in members {
        let data = contents(path);
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &data[..]).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn tiny() -> Vec<u8> {
    tarball(&["tiny/readme.html", "tiny/one.bin", "tiny/second.bin"])
}

fn archive(url: String, bytes: &[u8]) -> Archive {
    Archive {
        url,
        md5: Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        max_bytes: 1 << 20,
        folder: "tiny".into(),
        members: vec![("one.bin".into(), 5000), ("second.bin".into(), 5000)],
    }
}

/// Fetches `tiny()` from a server with `plan`, starting with `part`; also returns the requested ranges.
fn fetch_tiny(plan: &'static [Serve], part: &[u8]) -> (Result<Fetched>, Vec<usize>, tempfile::TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let (url, requests) = server(tiny(), plan);
    if !part.is_empty() {
        fs::write(cache.path().join("tiny.tar.gz.part"), part).unwrap();
    }
    let fetched = fetch(&archive(url, &tiny()), cache.path(), &unobserved);
    (fetched, requests.try_iter().collect(), cache)
}

/// Checks that the two members are complete, and that nothing else is there.
fn assert_ready(fetched: Result<Fetched>, cache: &Path) {
    assert_eq!(fetched.unwrap(), Fetched::Ready(cache.join("tiny")));
    for name in ["one.bin", "second.bin"] {
        assert_eq!(fs::read(cache.join("tiny").join(name)).unwrap(), contents(&format!("tiny/{name}")));
    }
    assert_eq!(fs::read_dir(cache.join("tiny")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(cache).unwrap().count(), 1);
}

#[test]
fn an_observer_sees_every_part() {
    let cache = tempfile::tempdir().unwrap();
    let (url, _requests) = server(tiny(), &[Serve::Cut(3000), Serve::Asked]);
    let seen = std::cell::RefCell::new(Vec::new());
    let observer = |transfer: Transfer<'_>| {
        let line = match transfer {
            Transfer::Begins { file, have, total } => format!("{file} from {have} of {total:?}"),
            Transfer::Has(bytes) => format!("{bytes}"),
            Transfer::Decodes { done, files } => format!("{done} of {files}"),
            Transfer::Ends => "ends".into(),
        };
        seen.borrow_mut().push(line);
    };
    assert_ready(fetch(&archive(url, &tiny()), cache.path(), &observer), cache.path());
    let (seen, total) = (seen.into_inner(), tiny().len());
    let begins: Vec<_> = seen.iter().filter(|line| line.contains("from")).collect();
    let expected = [0, 3000].map(|have| format!("tiny.tar.gz from {have} of Some({total})"));
    assert_eq!(begins, expected.iter().collect::<Vec<_>>());
    assert_eq!(seen[seen.len() - 2..], [total.to_string(), "ends".into()]);
}

#[test]
fn a_full_download() {
    let (fetched, ranges, cache) = fetch_tiny(&[Serve::Asked], &[]);
    assert_ready(fetched, cache.path());
    assert_eq!(ranges, [0]);
    // The second call sends no request: no server listens any more.
    let again = fetch(&archive("http://127.0.0.1:9/tiny.tar.gz".into(), &tiny()), cache.path(), &unobserved);
    assert_ready(again, cache.path());
}

#[test]
fn a_cut_download_continues_where_it_was() {
    let (fetched, ranges, cache) = fetch_tiny(&[Serve::Cut(3000), Serve::Cut(4000), Serve::Asked], &[]);
    assert_ready(fetched, cache.path());
    assert_eq!(ranges, [0, 3000, 7000]);
}

#[test]
fn a_later_call_continues_what_an_earlier_one_left() {
    let (fetched, ranges, cache) = fetch_tiny(&[Serve::Asked], &tiny()[..1234]);
    assert_ready(fetched, cache.path());
    assert_eq!(ranges, [1234]);
    let (fetched, ranges, cache) = fetch_tiny(&[], &tiny());
    assert_ready(fetched, cache.path());
    assert!(ranges.is_empty());
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (fetched, ranges, cache) = fetch_tiny(&[Serve::Whole], &tiny()[..1234]);
    assert_ready(fetched, cache.path());
    assert_eq!(ranges, [1234]);
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    for plan in [&[Serve::Asked, Serve::Asked], &[Serve::NoRange, Serve::Asked]] {
        let (fetched, ranges, cache) = fetch_tiny(plan, &[7; 1234]);
        assert_ready(fetched, cache.path());
        assert_eq!(ranges, [1234, 0]);
    }
}

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let (url, _requests) = server(tiny(), &[Serve::Asked]);
    let error = fetch(&archive(url, b"another"), cache.path(), &unobserved).unwrap_err().to_string();
    assert!(error.contains("MD5") && error.contains("b32d73e56ec99bc5ec8f83871cde708a"), "{error}");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn no_network_is_an_outcome() {
    // Bound, then closed: nothing listens on the port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let cache = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{port}/tiny.tar.gz");
    let fetched = fetch(&archive(url.clone(), b""), cache.path(), &unobserved).unwrap();
    assert!(matches!(&fetched, Fetched::Unavailable { reason } if reason.contains(&url)), "{fetched:?}");

    let (fetched, _, _cache) = fetch_tiny(&[Serve::Status(404)], &[]);
    assert!(matches!(fetched.unwrap(), Fetched::Unavailable { reason } if reason.contains("404")));

    let (fetched, ranges, cache) = fetch_tiny(&[Serve::Cut(100), Serve::Cut(0), Serve::Cut(0)], &[]);
    assert!(
        matches!(fetched.unwrap(), Fetched::Unavailable { reason } if reason.contains("100 bytes are kept"))
    );
    assert_eq!(ranges, [0, 100, 100]);
    assert_eq!(length(&cache.path().join("tiny.tar.gz.part")).unwrap(), 100);
}

#[test]
fn more_than_expected_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let (url, _requests) = server(tiny(), &[Serve::Asked]);
    let small = Archive { max_bytes: 1000, ..archive(url, &tiny()) };
    let fetched = fetch(&small, cache.path(), &unobserved).unwrap();
    assert!(
        matches!(fetched, Fetched::Unavailable { reason } if reason.contains("more than the 1000 bytes"))
    );
}
