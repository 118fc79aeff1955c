//! Animated GIFs of a sequence of pictures.

use std::path::Path;

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, RgbaImage};

use super::atomic;
use super::png::Picture;
use crate::error::{Error, Result};

/// The display time of a picture, in milliseconds.
const DELAY: u32 = 80;
/// The display time of the first and the last picture, in milliseconds.
const PAUSE: u32 = 1200;
/// The quantiser's speed, 1 (best) to 30: with 256 colours per frame, values up to 10 look the same.
const SPEED: i32 = 10;

/// Writes `pictures`, all of one size, as an animation that repeats forever; atomically.
///
/// # Errors
/// [`Error::Shape`] for no pictures, or pictures of different sizes; [`Error::Io`] when writing fails.
pub fn write(path: &Path, pictures: &[Picture]) -> Result<()> {
    let wrong = |message: String| Error::Shape { operation: "write_gif", message };
    let Some(first) = pictures.first() else { return Err(wrong("expected at least one picture".into())) };
    if let Some(other) = pictures.iter().find(|p| (p.width, p.height) != (first.width, first.height)) {
        let sizes = [first, other].map(|p| format!("{}x{}", p.width, p.height));
        return Err(wrong(format!("expected pictures of one size, got {} and {}", sizes[0], sizes[1])));
    }
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, SPEED);
        let encode = |error: image::ImageError| wrong(error.to_string());
        encoder.set_repeat(Repeat::Infinite).map_err(encode)?;
        for (i, picture) in pictures.iter().enumerate() {
            let at_an_end = i == 0 || i + 1 == pictures.len();
            let delay = Delay::from_numer_denom_ms(if at_an_end { PAUSE } else { DELAY }, 1);
            encoder.encode_frame(Frame::from_parts(rgba(picture), 0, 0, delay)).map_err(encode)?;
        }
    }
    atomic::write(path, |file| std::io::Write::write_all(file, &bytes))
}

fn rgba(picture: &Picture) -> RgbaImage {
    let pixels = picture.pixels.chunks_exact(picture.channels).flat_map(|pixel| match *pixel {
        [grey] => [grey, grey, grey, 255],
        [red, green, blue, ..] => [red, green, blue, 255],
        _ => [0, 0, 0, 255],
    });
    RgbaImage::from_raw(picture.width as u32, picture.height as u32, pixels.collect())
        .expect("a picture has as many pixels as its size says")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::AnimationDecoder;
    use image::codecs::gif::GifDecoder;

    fn picture(width: usize, channels: usize, value: u8) -> Picture {
        Picture { width, height: 2, channels, pixels: vec![value; width * 2 * channels] }
    }

    #[test]
    fn frames_come_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("film.gif");
        write(&path, &[picture(3, 3, 0), picture(3, 1, 128), picture(3, 3, 255)]).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let frames = GifDecoder::new(file).unwrap().into_frames().collect_frames().unwrap();
        let pixels: Vec<[u8; 4]> = frames.iter().map(|frame| frame.buffer().get_pixel(2, 1).0).collect();
        assert_eq!(pixels, [[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255]]);
        assert_eq!(frames[0].buffer().dimensions(), (3, 2));
        assert!(frames[0].delay() > frames[1].delay());
    }

    #[test]
    fn pictures_are_of_one_size() {
        let path = Path::new("unused.gif");
        assert!(write(path, &[]).unwrap_err().to_string().contains("at least one"));
        let message = write(path, &[picture(3, 3, 0), picture(4, 3, 0)]).unwrap_err().to_string();
        assert!(message.contains("3x2 and 4x2"), "{message}");
    }
}
