//! TensorBoard event files: scalars and images, readable while they are written.
//!
//! A file is a sequence of TFRecords (length, masked CRC-32C of the length, data, masked CRC-32C of
//! the data), each the protocol-buffer encoding of a `tensorflow.Event`. The few fields needed are
//! encoded by hand.

use std::fs::{self, File};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::journal::Journal;
use super::png::Picture;
use crate::error::{Error, Result};

/// The number of bytes to buffer before a write.
const BLOCK: usize = 8 << 10;

/// Writes events for TensorBoard; [`EventWriter::flush`] makes them visible.
#[derive(Debug)]
pub struct EventWriter {
    file: Journal,
}

impl EventWriter {
    /// Creates a new event file in `directory`, which is created if it is missing. TensorBoard shows all event files of
    /// a directory as one run, so a resumed run starts another.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let (time, process) = (wall_time(), std::process::id());
        // TensorBoard orders the files of a run by name; the counter separates files of the same second.
        let (path, file) = (0..)
            .find_map(|count: u32| {
                let name = format!("events.out.tfevents.{:010}.jem.{process}.{count}", time as u64);
                let path = directory.join(name);
                match File::options().append(true).create_new(true).open(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
                    result => Some(result.map_err(Error::io(&path)).map(|file| (path, file))),
                }
            })
            .expect("the counter has no end")?;
        let mut writer = Self { file: Journal::new(&path, file, 0)? };
        let mut event = Message::default();
        event.double(1, time);
        event.bytes(3, b"brain.Event:2");
        if let Err(error) = writer.record(&event).and_then(|()| writer.flush()) {
            // A file without its first record is useless, and the next attempt creates another.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(writer)
    }

    /// The file being written.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes the values of `scalars` (tag and value) at `step`.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f32)]) -> Result<()> {
        let mut summary = Message::default();
        for &(tag, value) in scalars {
            let mut entry = Message::default();
            entry.bytes(1, tag.as_bytes());
            entry.float(2, value);
            summary.bytes(1, &entry.0);
        }
        self.event(step, &summary)
    }

    /// Writes a picture under `tag` at `step`.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails; [`Error::Shape`] when the picture has no pixels.
    pub fn image(&mut self, step: u64, tag: &str, picture: &Picture) -> Result<()> {
        let mut image = Message::default();
        image.integer(1, picture.height as u64);
        image.integer(2, picture.width as u64);
        image.integer(3, picture.channels as u64);
        image.bytes(4, &picture.encode_png()?);
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes());
        entry.bytes(4, &image.0);
        let mut summary = Message::default();
        summary.bytes(1, &entry.0);
        self.event(step, &summary)
    }

    /// Writes the buffered events to the file.
    ///
    /// # Errors
    /// [`Error::Io`] when writing fails.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    fn event(&mut self, step: u64, summary: &Message) -> Result<()> {
        let mut event = Message::default();
        event.double(1, wall_time());
        event.integer(2, step);
        event.bytes(5, &summary.0);
        self.record(&event)
    }

    fn record(&mut self, event: &Message) -> Result<()> {
        let length = (event.0.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.0.len() + 16);
        record.extend(length);
        record.extend(masked_crc32c(&length).to_le_bytes());
        record.extend(&event.0);
        record.extend(masked_crc32c(&event.0).to_le_bytes());
        self.file.append(&record);
        if self.file.pending() < BLOCK { Ok(()) } else { self.flush() }
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// A protocol-buffer message under construction. Every field is its key (number and wire type) and its value.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    /// Appends a string, bytes or an embedded message.
    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

/// The checksum of a TFRecord: rotated and offset, so that data that contain checksums stay safe.
fn masked_crc32c(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), one byte at a time.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a message: number and value bytes (eight for a varint).
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let length = match key & 7 {
                0 => {
                    found.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            let (value, rest) = bytes.split_at(length);
            found.push((key >> 3, value.to_vec()));
            bytes = rest;
        }
        found
    }

    fn field(message: &[u8], number: u64) -> Vec<u8> {
        let found: Vec<_> = fields(message).into_iter().filter(|(n, _)| *n == number).collect();
        assert_eq!(found.len(), 1, "field {number}");
        found[0].1.clone()
    }

    /// The events of a file, after checking every checksum with a bitwise CRC.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let masked = |data: &[u8]| {
            let mut crc = u32::MAX;
            for bit in data.iter().flat_map(|&byte| (0..8).map(move |i| u32::from(byte >> i) & 1)) {
                crc = if (crc ^ bit) & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
            (!crc).rotate_left(17).wrapping_add(0xa282_ead8)
        };
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(u32::from_le_bytes(bytes[8..12].try_into().unwrap()), masked(&bytes[..8]));
            let data = &bytes[12..12 + length];
            assert_eq!(u32::from_le_bytes(bytes[12 + length..16 + length].try_into().unwrap()), masked(data));
            found.push(data.to_vec());
            bytes = &bytes[16 + length..];
        }
        found
    }

    #[test]
    fn published_checksums() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_was_written_can_be_parsed() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(directory.path()).unwrap();
        writer.scalars(300, &[("loss", 1.5), ("energy/gap", -2.0)]).unwrap();
        let picture = Picture { width: 2, height: 1, channels: 3, pixels: vec![1, 2, 3, 4, 5, 6] };
        writer.image(1 << 40, "samples", &picture).unwrap();
        writer.flush().unwrap();
        let other = EventWriter::create(directory.path()).unwrap();
        assert_ne!(other.path(), writer.path());

        let events = records(&fs::read(writer.path()).unwrap());
        assert_eq!(events.len(), 3);
        assert_eq!(field(&events[0], 3), b"brain.Event:2");
        let time = f64::from_le_bytes(field(&events[1], 1).try_into().unwrap());
        assert!((wall_time() - time).abs() < 60.0);
        assert_eq!(field(&events[1], 2), 300u64.to_le_bytes());
        let values: Vec<_> = fields(&field(&events[1], 5)).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values.len(), 2);
        assert_eq!(
            (field(&values[0], 1), field(&values[0], 2)),
            (b"loss".to_vec(), 1.5f32.to_le_bytes().to_vec())
        );
        assert_eq!(field(&values[1], 1), b"energy/gap");
        assert_eq!(field(&values[1], 2), (-2.0f32).to_le_bytes());

        assert_eq!(field(&events[2], 2), (1u64 << 40).to_le_bytes());
        let image = field(&field(&field(&events[2], 5), 1), 4);
        assert_eq!(
            [field(&image, 1), field(&image, 2), field(&image, 3)],
            [1u64, 2, 3].map(|n| n.to_le_bytes().to_vec())
        );
        let decoded = image::load_from_memory(&field(&image, 4)).unwrap().into_rgb8();
        assert_eq!(decoded.into_raw(), picture.pixels);
    }
}
