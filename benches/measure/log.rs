//! The output of a process, kept in memory and, if it can be written, in a file; both are bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes from the beginning that are kept.
const HEAD: usize = 1 << 20;
/// Bytes from the end that are kept.
const TAIL: usize = 1 << 16;
/// Lines that count as last words, and characters of each.
const WORDS: (usize, usize) = (6, 300);

/// The output of a process, read by a thread of its own until its end.
#[derive(Debug)]
pub struct Log {
    kept: Arc<Mutex<Kept>>,
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
    file: Option<File>,
}

impl Log {
    /// Reads `pipe` into memory and the file `path`. If the file cannot be written, there is none.
    pub fn read(mut pipe: PipeReader, path: &Path) -> Self {
        let kept = Arc::new(Mutex::new(Kept { file: File::create(path).ok(), ..Kept::default() }));
        let (end, ended) = channel();
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(n @ 1..) = pipe.read(&mut bytes) {
                lock(&shared).take(&bytes[..n]);
            }
            lock(&shared).finish();
            // The receiver is gone if the output stayed open after the process was given up.
            let _ = end.send(());
        });
        Self { kept, ended }
    }

    /// Waits until the process and all that it started have closed their output, or for `most`.
    pub fn wait(&self, most: Duration) {
        if self.ended.recv_timeout(most).is_err() {
            lock(&self.kept).finish();
        }
    }

    /// The output, without its middle if it is long.
    pub fn text(&self) -> String {
        let kept = lock(&self.kept);
        let tail: Vec<u8> = kept.tail.iter().copied().collect();
        let mut bytes = kept.head.clone();
        bytes.extend(kept.gap().bytes());
        bytes.extend(tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines, without colours.
    pub fn last_words(&self) -> Vec<String> {
        last_words(&self.text())
    }
}

/// The last lines of `text` that say something, without colours.
pub fn last_words(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(WORDS.0).collect();
    lines.into_iter().rev().map(|line| plain(line).chars().take(WORDS.1).collect()).collect()
}

/// `line` without escape sequences; of a line that overwrites itself (progress bars), the last text.
fn plain(line: &str) -> String {
    let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            characters.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else if !c.is_control() || c == '\t' {
            text.push(c);
        }
    }
    text
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn take(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend(first);
        if self.file.as_mut().is_some_and(|file| file.write_all(first).is_err()) {
            self.file = None;
        }
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..over);
        self.left_out += over as u64;
    }

    fn gap(&self) -> String {
        let n = self.left_out;
        if n == 0 { String::new() } else { format!("\n[{n} bytes are left out here]\n") }
    }

    /// Writes the end into the file. Later output is left out.
    fn finish(&mut self) {
        if let Some(mut file) = self.file.take() {
            let (a, b) = self.tail.as_slices();
            // A full disk must not fail the step.
            let _ = file.write_all(&[self.gap().as_bytes(), a, b].concat());
        }
    }
}
