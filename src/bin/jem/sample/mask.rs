//! The mask of inpainting.

use jem::data::decode::decode;
use jem::ebm::Model;
use jem::{Error, Result};
use std::path::Path;

/// Reads the mask in the picture `path` as HWC elements of one image: 1 where it is white, 0 where it is black.
pub fn read(path: &Path, model: &Model) -> Result<Vec<f32>> {
    let [height, width, channels] = model.image_shape();
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let picture = decode(&bytes).map_err(|message| Error::file(path, message))?;
    let (found_width, found_height) = (picture.width, picture.height);
    if (found_width, found_height) != (width, height) {
        let message =
            format!("expected a mask of {width}x{height} pixels, found {found_width}x{found_height}");
        return Err(Error::file(path, message));
    }
    let white =
        |pixel: &[u8]| pixel.iter().map(|&byte| usize::from(byte)).sum::<usize>() >= 128 * pixel.len();
    let element = |pixel: &[u8]| std::iter::repeat_n(f32::from(u8::from(white(pixel))), channels);
    let mask: Vec<f32> = picture.pixels.chunks(picture.channels).flat_map(element).collect();
    match mask.contains(&1.0) {
        true => Ok(mask),
        false => Err(Error::file(path, "holds every pixel: expected some white ones, which are filled in")),
    }
}
