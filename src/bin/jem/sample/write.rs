//! Writes samples as files: arrays, a grid, a plot, a film.

use super::Samples;
use jem::io::elements::Elements;
use jem::io::{gif, npy, pack, png};
use jem::report::steps;
use jem::{Error, Result};
use std::path::{Path, PathBuf};

/// The names of the files, in the order in which [`write`] writes them; the last only with a film.
pub const NAMES: [&str; 5] = ["samples.npy", "samples.png", "log_density.npy", "energies.png", "film.gif"];
/// The scale of the pictures, in pixels per image pixel.
const SCALE: usize = 2;
/// The most frames of a film.
const FRAMES: usize = 50;

/// The steps whose images make the film: evenly spaced, including the first and the last.
pub fn frame_steps(steps: usize) -> Vec<usize> {
    let frames = FRAMES.min(steps + 1);
    let mut at: Vec<usize> = (0..frames).map(|i| i * steps / (frames - 1).max(1)).collect();
    at.dedup();
    at
}

/// Writes all files into `directory`, which is created if it does not exist; returns their paths. The chains are of
/// `classes` classes, with equal numbers of each.
pub fn write(
    directory: &Path,
    samples: &Samples,
    [h, w, c]: [usize; 3],
    classes: usize,
) -> Result<Vec<PathBuf>> {
    let n = samples.images.len() / (h * w * c);
    let columns = columns(n, classes);
    std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
    let [files @ .., film] = NAMES.map(|name| directory.join(name));
    let mut written = files.to_vec();
    let nchw = pack::nhwc_to_nchw(&samples.images, n, h, w, c);
    npy::write(&written[0], &[n, c, h, w], &Elements::F32(nchw))?;
    let grid = |images: &[f32]| png::grid(images, n, h, w, c, columns, SCALE);
    grid(&samples.images)?.write_png(&written[1])?;
    let log_density = samples.log_density.concat();
    npy::write(&written[2], &[samples.log_density.len(), n], &Elements::F32(log_density))?;
    steps::plot(&written[3], &samples.log_density)?;
    if !samples.frames.is_empty() {
        let frames = samples.frames.iter().map(|images| grid(images)).collect::<Result<Vec<_>>>()?;
        written.push(film);
        gif::write(&written[4], &frames)?;
    }
    Ok(written)
}

/// The number of columns of the grid: with several classes each has a row; else the squarest grid without an empty
/// cell, unless it is more than twice as wide as high.
fn columns(n: usize, classes: usize) -> usize {
    if classes > 1 {
        return n / classes;
    }
    let full = (1..=n).find(|columns| columns * columns >= n && n.is_multiple_of(*columns)).unwrap_or(1);
    if full * full > 2 * n { (1..=n).find(|columns| columns * columns >= n).unwrap_or(1) } else { full }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_has_its_first_and_last_step() {
        assert_eq!(frame_steps(0), [0]);
        assert_eq!(frame_steps(3), [0, 1, 2, 3]);
        let long = frame_steps(1000);
        assert_eq!((long.len(), long[0], long[49]), (50, 0, 1000));
    }

    #[test]
    fn a_row_a_class() {
        assert_eq!(columns(6, 3), 2);
        assert_eq!(columns(16, 1), 4);
        for (n, expected) in [(64, 8), (8, 4), (6, 3), (7, 3), (70, 10), (1, 1), (2, 2)] {
            assert_eq!(columns(n, 0), expected, "{n} chains");
        }
    }
}
