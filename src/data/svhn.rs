//! SVHN (Street View House Numbers), cropped digits, in its official layout.
//!
//! A MAT-file for each of train, test and extra: `X`, bytes [32, 32, 3, N] (row, column, channel,
//! image; the row is the fastest index), and `y` [N, 1], the digits 1 to 9, and 10 for 0.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::matlab::{self, Array, Storage};
use super::{Dataset, mnist};
use crate::error::{Error, Result};

/// Rows and columns of an image.
pub const SIDE: usize = 32;
/// Channels of a pixel.
pub const CHANNELS: usize = 3;
/// Bytes of an image.
const IMAGE: usize = SIDE * SIDE * CHANNELS;

/// Reads the MAT-file `path`; the classes are the digits.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened; the errors of [`read`] as [`Error::File`].
pub fn load(path: &Path, name: &str) -> Result<Dataset> {
    let file = File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    let (images, labels) = read(BufReader::new(file), size).map_err(|message| Error::file(path, message))?;
    Ok(Dataset {
        name: name.into(),
        synthetic: false,
        images,
        labels,
        height: SIDE,
        width: SIDE,
        channels: CHANNELS,
        class_names: mnist::DIGITS.map(String::from).to_vec(),
    })
}

/// Reads the pixels, NHWC, and the labels, 0 to 9, from a MAT-file in `source`, which has `size` bytes.
///
/// # Errors
/// The errors of [`matlab::read`]; when `X` or `y` has another shape or type, or `y` a value that is no label.
pub fn read(source: impl Read, size: u64) -> Result<(Vec<u8>, Vec<u32>), String> {
    let [x, y] = matlab::read(source, size, ["X", "y"])?;
    let count = match *x.dimensions.as_slice() {
        [SIDE, SIDE, CHANNELS, count] if x.storage == Storage::Uint8 => count,
        // MATLAB drops a last dimension of 1.
        [SIDE, SIDE, CHANNELS] if x.storage == Storage::Uint8 => 1,
        _ => {
            return Err(format!(
                "expected X: Uint8 [{SIDE}, {SIDE}, {CHANNELS}, N], found {:?} {:?}",
                x.storage, x.dimensions
            ));
        }
    };
    let labels = labels(&y, count)?;
    let mut pixels = x.data;
    for image in pixels.as_chunks_mut::<IMAGE>().0 {
        to_hwc(image);
    }
    Ok((pixels, labels))
}

/// Reorders a pixel array from rows fastest and channels slowest to channels fastest and rows slowest.
fn to_hwc(image: &mut [u8; IMAGE]) {
    let from = *image;
    for (index, byte) in image.iter_mut().enumerate() {
        let (row, column, channel) = (index / (SIDE * CHANNELS), index / CHANNELS % SIDE, index % CHANNELS);
        *byte = from[(channel * SIDE + column) * SIDE + row];
    }
}

fn labels(y: &Array, count: usize) -> Result<Vec<u32>, String> {
    if y.dimensions != [count, 1] {
        return Err(format!("expected y: [{count}, 1], a label for each image, found {:?}", y.dimensions));
    }
    let label = |(index, value): (usize, f64)| {
        if !(1.0..=10.0).contains(&value) || value.fract() != 0.0 {
            return Err(format!(
                "image {index} has label {value} in y, expected 1 to 10; the file is damaged"
            ));
        }
        Ok(value as u32 % 10)
    };
    y.to_f64().into_iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::matlab::writer::{DOUBLE, UINT8, UINT8_CLASS, Writer};
    use super::*;
    use crate::says::assert_says;

    const WRITER: Writer = Writer { big_endian: false };

    /// A file with `X` of `dimensions`, every byte 0, and the labels `y`.
    fn file(dimensions: &[i32], y: &[f64]) -> Vec<u8> {
        let count: i32 = dimensions.iter().product();
        let x = WRITER.matrix(UINT8_CLASS, "X", dimensions, UINT8, &vec![0; count as usize]);
        let y = WRITER.matrix(6, "y", &[y.len() as i32, 1], DOUBLE, &WRITER.doubles(y));
        WRITER.file(&[WRITER.compressed(&x), y])
    }

    /// A file written by scipy (`tests/fixtures/matlab/write.py`).
    #[test]
    fn pixels_and_digits_of_a_file_of_another_writer() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/matlab/svhn.mat");
        let set = load(&path, "SVHN test").unwrap();
        assert_eq!(set.labels, [0, 3]);
        assert_eq!((set.images.len(), set.class_names[0].as_str()), (2 * IMAGE, "0"));
        for (index, &byte) in set.images.iter().enumerate() {
            let (image, row) = (index / IMAGE, index % IMAGE / (SIDE * CHANNELS));
            let (column, channel) = (index / CHANNELS % SIDE, index % CHANNELS);
            let expected = 8 * (row / 4) + column / 8 + 64 * channel + 128 * image;
            assert_eq!(byte, expected as u8, "image {image}, row {row}, column {column}, channel {channel}");
        }
    }

    #[test]
    fn one_image_has_no_fourth_dimension() {
        let bytes = file(&[32, 32, 3], &[10.0]);
        assert_eq!(read(&bytes[..], bytes.len() as u64), Ok((vec![0; IMAGE], vec![0])));
    }

    #[test]
    fn wrong_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test_32x32.mat");
        let two = [1.0, 2.0];
        let x = WRITER.matrix(6, "X", &[32, 32, 3], DOUBLE, &WRITER.doubles(&[0.0; IMAGE]));
        let y = WRITER.matrix(6, "y", &[1, 1], DOUBLE, &WRITER.doubles(&[1.0]));
        let whole = file(&[32, 32, 3, 2], &two);
        for (bytes, part) in [
            (file(&[3, 32, 32, 2], &two), "[32, 32, 3, N], found Uint8 [3, 32, 32, 2]"),
            (WRITER.file(&[x, y]), "found Double [32, 32, 3]"),
            (file(&[32, 32, 3, 3], &two), "expected y: [3, 1], a label for each image, found [2, 1]"),
            (file(&[32, 32, 3, 2], &[1.0, 11.0]), "image 1 has label 11 in y, expected 1 to 10"),
            (file(&[32, 32, 3, 2], &[0.0, 1.0]), "image 0 has label 0"),
            (file(&[32, 32, 3, 2], &[1.5, 1.0]), "label 1.5"),
            (file(&[32, 32, 3, 2], &[1.0, f64::NAN]), "label NaN"),
            (whole[..whole.len() - 3].to_vec(), "truncated"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_says(&load(&path, "").unwrap_err().to_string(), &[part, "test_32x32.mat"]);
        }
    }
}
