use super::*;
use crate::says::assert_says;
use std::fs;
use std::path::{Path, PathBuf};

/// The fixtures that `make.py` made with Pillow.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/fixtures/images").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The pictures of `formats`, without what Pillow reads.
fn formats() -> Vec<PathBuf> {
    let files = fixtures("formats");
    files.into_iter().filter(|path| !path.to_string_lossy().ends_with(".expected.png")).collect()
}

fn read(path: &Path) -> Picture {
    decode(&fs::read(path).unwrap()).unwrap_or_else(|message| panic!("{}: {message}", path.display()))
}

/// Asserts that the pixels differ by at most `bound`.
fn assert_near(path: &Path, found: &Picture, expected: &Picture, bound: u8) {
    let name = path.display();
    assert_eq!([found.width, found.height], [expected.width, expected.height], "{name}");
    let channels = found.channels.max(expected.channels);
    let wide = |picture: &Picture| -> Vec<u8> {
        let repeated = channels / picture.channels;
        picture.pixels.iter().flat_map(|&value| std::iter::repeat_n(value, repeated)).collect()
    };
    let furthest = wide(found).iter().zip(wide(expected)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
    assert!(furthest <= bound, "{name}: differs by {furthest}");
}

#[test]
fn every_format_is_what_pillow_reads() {
    let files = formats();
    assert_eq!(files.len(), 20);
    for path in files {
        let expected = read(Path::new(&format!("{}.expected.png", path.display())));
        let found = read(&path);
        // Decoders of JPEG and of lossy WebP may round differently.
        let ending = path.extension().unwrap().to_str().unwrap().to_lowercase();
        let bound = match ending.as_str() {
            "jpg" | "jpeg" | "jpe" | "jfif" => 4,
            "webp" => 3,
            _ => 0,
        };
        assert_near(&path, &found, &expected, bound);
        assert!(is_read(&ending), "{ending}");
        let bytes = fs::read(&path).unwrap();
        let Header { width, height, color } = header(&bytes).unwrap();
        assert_eq!([width, height], [24, 16]);
        assert_eq!(color, found.channels == 3, "{}", path.display());
    }
}

#[test]
fn orientations_are_applied_to_pixels_and_sizes() {
    let upright = read(Path::new("tests/fixtures/images/orientation/upright.png"));
    let files = fixtures("orientation");
    assert_eq!(files.len(), 33);
    for path in files {
        // JPEG is lossy: Pillow's own reading of these files differs by 10. A wrong orientation differs by 200.
        let bound = if path.extension().unwrap() == "jpg" { 12 } else { 0 };
        assert_near(&path, &read(&path), &upright, bound);
        let Header { width, height, .. } = header(&fs::read(&path).unwrap()).unwrap();
        assert_eq!([width, height], [24, 16], "{}", path.display());
    }
}

/// The decoders of PPM and WebP return no part of a truncated file.
#[test]
fn some_truncated_files_cannot_be_read() {
    for name in ["rgb.ppm", "lossy.webp", "lossless.webp"] {
        let whole = fs::read(format!("tests/fixtures/images/formats/{name}")).unwrap();
        let message = decode_any(&whole[..whole.len() / 2], true).unwrap_err();
        assert!(message.starts_with("is truncated: "), "{name}: {message}");
        assert!(message.contains("no part of it can be read"), "{name}: {message}");
    }
}

/// A file that is cut anywhere is refused, unless all pixels are there.
#[test]
fn truncated_files_are_refused() {
    for path in formats() {
        let (whole, expected) = (fs::read(&path).unwrap(), read(&path));
        let mut refused = 0;
        for length in 0..whole.len() {
            match decode(&whole[..length]) {
                Ok(found) => assert_eq!(found, expected, "{} cut to {length} bytes", path.display()),
                Err(message) => {
                    assert_eq!(message.lines().count(), 1, "{message}");
                    refused += 1;
                }
            }
        }
        // The second half of the film is its second picture.
        let least = if path.ends_with("film.gif") { 4 } else { 9 };
        assert!(10 * refused > least * whole.len(), "{}: {refused} of {}", path.display(), whole.len());
    }
}

#[test]
fn truncated_files_are_read_as_far_as_they_go() {
    for name in ["baseline.jpg", "grey.jpe", "rgb.Png", "rgb.bmp"] {
        let path = Path::new("tests/fixtures/images/formats").join(name);
        let (whole, expected) = (fs::read(&path).unwrap(), read(&path));
        let mut read = 0;
        for percent in (10..100).step_by(5) {
            let cut = &whole[..whole.len() * percent / 100];
            let decoded = match decode_any(cut, true) {
                Ok(decoded) => decoded,
                Err(message) => {
                    let expected = format!("is truncated: it ends after {} bytes, ", cut.len());
                    assert!(message.starts_with(&expected), "{name} cut at {percent}%: {message}");
                    continue;
                }
            };
            read += 1;
            assert!(decoded.truncated, "{name} cut at {percent}%");
            let message = decode(cut).unwrap_err();
            assert!(
                message.starts_with("is truncated: it ends after"),
                "{name} cut at {percent}%: {message}"
            );
            let Picture { width, height, channels, ref pixels } = decoded.picture;
            assert_eq!([width, height, channels], [expected.width, expected.height, expected.channels]);
            let row = width * channels;
            let same = |(a, b): (&u8, &u8)| a == b;
            if name == "rgb.bmp" {
                continue;
            }
            let first = pixels[..row].iter().zip(&expected.pixels).filter(|&pair| same(pair)).count();
            assert!(
                percent < 90 || first == row || !name.starts_with("rgb"),
                "{name} cut at {percent}%: {first} of {row} values"
            );
            // The last block of a JPEG, half of this picture, may be there in part.
            let is_grey = pixels[pixels.len() - 3..] == [128; 3];
            assert!(percent > 90 || !name.starts_with("rgb") || is_grey, "{name} cut at {percent}%");
        }
        assert!(read >= 2, "{name}: {read}");
    }
}

#[test]
fn other_files_are_named() {
    let gif = b"\0\0\0\x18ftypheic\0\0\0\0";
    for (bytes, part) in [
        (&b""[..], "is empty"),
        (b"This is a text.\n", "does not begin as one"),
        (gif, "found HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "found AVIF"),
        (b"\xff\xd8\xff", "is truncated"),
        (b"\x89PNG\r\n\x1a\n", "is truncated"),
    ] {
        assert_says(&decode(bytes).unwrap_err(), &[part]);
    }
}
