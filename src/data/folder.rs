//! A folder of PNG and JPEG images of one size.
//!
//! If all images are in sub-folders, the sub-folders are the classes, in alphabetical order. Hidden files and files
//! with other extensions are ignored; links are followed.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use rayon::prelude::*;

use super::images::{Images, Pixels};
use crate::error::{Error, Result};
use crate::io::png::Picture;

/// The extensions of the files that are read, in any case.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// The most rows or columns of an image.
const MAX_SIDE: u32 = 8192;
/// The deepest nesting of folders; deeper, a link is assumed to form a cycle.
const MAX_DEPTH: usize = 32;

/// Reads the images in `folder` and its sub-folders, sorted by path. The result is grey if all images are; otherwise
/// grey images are repeated over the channels. Alpha is dropped, 16 bits are reduced to 8.
///
/// # Errors
/// [`Error::File`] when there is no image, an image cannot be decoded, two images differ in size, or a sub-folder that
/// would be a class has no image; [`Error::Io`] when something cannot be read.
pub fn load(folder: &Path) -> Result<Images> {
    let mut files = Vec::new();
    collect(folder, 0, &mut files)?;
    files.sort();
    let Some(first) = files.first() else {
        return Err(Error::file(folder, "expected PNG or JPEG images in this folder, found none"));
    };
    let (labels, class_names) = classes(folder, &files)?;

    let sizes: Vec<Result<Size>> = files.par_iter().map(|file| size_of(file)).collect();
    let sizes = sizes.into_iter().collect::<Result<Vec<_>>>()?;
    let (width, height) = sizes[0].sides;
    if let Some(other) = sizes.iter().position(|size| size.sides != (width, height)) {
        let (other_width, other_height) = sizes[other].sides;
        return Err(Error::file(
            &files[other],
            format!(
                "expected all images of one size, found {other_width}x{other_height} pixels, but {} has \
                 {width}x{height}",
                first.display()
            ),
        ));
    }
    let channels = if sizes.iter().any(|size| size.color) { 3 } else { 1 };
    let image = width * height * channels;
    let mut pixels = vec![0; files.len() * image];
    let filled: Vec<Result<()>> =
        pixels.par_chunks_mut(image).zip(&files).map(|(out, file)| fill(out, file, channels)).collect();
    filled.into_iter().collect::<Result<()>>()?;
    Ok(Images {
        pixels: Pixels::Bytes(pixels),
        count: files.len(),
        height,
        width,
        channels,
        labels,
        class_names,
        name: folder.display().to_string(),
        files: Some(files),
    })
}

/// Decodes a PNG or JPEG image: grey (1 channel) or RGB (3), without alpha, 8 bits.
///
/// # Errors
/// When the image is neither, is damaged, or has a side above 8192 pixels.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let image = DynamicImage::from_decoder(decoder(bytes)?).map_err(one_line)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, pixels) = if image.color().has_color() {
        (3, image.into_rgb8().into_raw())
    } else {
        (1, image.into_luma8().into_raw())
    };
    Ok(Picture { width, height, channels, pixels })
}

/// A codec's message as one line; it may have line breaks and quote the file.
fn one_line(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn decoder(bytes: &[u8]) -> Result<impl ImageDecoder + '_, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(one_line)?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err("expected a PNG or JPEG image, but it does not begin as one".into());
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    reader.into_decoder().map_err(one_line)
}

/// The size of an image and whether it has colour, from its header.
struct Size {
    /// Columns and rows.
    sides: (usize, usize),
    color: bool,
}

fn size_of(file: &Path) -> Result<Size> {
    let bytes = fs::read(file).map_err(Error::io(file))?;
    let decoder = decoder(&bytes).map_err(of_file(file))?;
    let (width, height) = decoder.dimensions();
    Ok(Size { sides: (width as usize, height as usize), color: decoder.color_type().has_color() })
}

/// Decodes `file` into `out`, with `channels` channels.
fn fill(out: &mut [u8], file: &Path, channels: usize) -> Result<()> {
    let bytes = fs::read(file).map_err(Error::io(file))?;
    let picture = decode(&bytes).map_err(of_file(file))?;
    if picture.width * picture.height * channels != out.len() || picture.channels > channels {
        return Err(Error::file(file, "changed while it was read"));
    }
    for (pixel, from) in out.chunks_exact_mut(channels).zip(picture.pixels.chunks_exact(picture.channels)) {
        if picture.channels == channels { pixel.copy_from_slice(from) } else { pixel.fill(from[0]) }
    }
    Ok(())
}

/// An error about `file`, with a codec's message.
fn of_file(file: &Path) -> impl FnOnce(String) -> Error {
    move |message| Error::file(file, message)
}

/// Appends the paths of the images in `folder` and its sub-folders.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} folders within each other; does a link lead back?");
        return Err(Error::file(folder, message));
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if is_image(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// The class of each of the sorted `files` and the names of the classes, if all files are in sub-folders.
fn classes(folder: &Path, files: &[PathBuf]) -> Result<(Option<Vec<u32>>, Vec<String>)> {
    let (mut labels, mut names) = (Vec::new(), Vec::<String>::new());
    for file in files {
        let mut inside = file.strip_prefix(folder).unwrap_or(file).components();
        let (Some(class), Some(_)) = (inside.next(), inside.next()) else { return Ok((None, Vec::new())) };
        let class = class.as_os_str().to_string_lossy().into_owned();
        if names.last() != Some(&class) {
            names.push(class);
        }
        labels.push(names.len() as u32 - 1);
    }
    // A class without images would shift the labels of the following classes.
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && !names.contains(&name) {
            let message = "expected an image in each sub-folder, as each is a class, found none; remove it";
            return Err(Error::file(entry.path(), message));
        }
    }
    Ok((Some(labels), names))
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn error(folder: &Path, parts: &[&str]) {
        let message = load(folder).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert_eq!(message.lines().count(), 1, "{message}");
    }

    #[test]
    fn every_kind_of_image_in_the_order_of_paths() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        GrayImage::from_pixel(2, 1, Luma([9])).save(at("b.png")).unwrap();
        let mut rgb = RgbImage::from_pixel(2, 1, Rgb([1, 2, 3]));
        rgb.put_pixel(1, 0, Rgb([4, 5, 6]));
        rgb.save(at("a.PNG")).unwrap();
        RgbaImage::from_pixel(2, 1, Rgba([7, 8, 9, 0])).save(at("c.png")).unwrap();
        ImageBuffer::from_pixel(2, 1, Rgb([65535u16, 257 * 100, 128])).save(at("d.png")).unwrap();
        GrayAlphaImage::from_pixel(2, 1, LumaA([50, 1])).save(at("e.png")).unwrap();
        GrayImage::from_pixel(2, 1, Luma([200])).save(at("f.jpeg")).unwrap();
        fs::create_dir(at("z")).unwrap();
        ImageBuffer::from_pixel(2, 1, Luma([257u16 * 3])).save(at("z/a.png")).unwrap();
        fs::write(at("notes.txt"), "no image").unwrap();
        fs::write(at(".hidden.png"), "no image").unwrap();

        let images = load(root.path()).unwrap();
        assert_eq!((images.count, images.height, images.width, images.channels), (7, 1, 2, 3));
        let expected = [
            [1, 2, 3, 4, 5, 6],
            [9; 6],
            [7, 8, 9, 7, 8, 9],
            [255, 100, 0, 255, 100, 0],
            [50; 6],
            [200; 6],
            [3; 6],
        ];
        assert_eq!(images.pixels, Pixels::Bytes(expected.concat()));
        // One image is not in a sub-folder, so there are no classes.
        assert_eq!((images.labels, images.class_names.len()), (None, 0));
        let names = ["a.PNG", "b.png", "c.png", "d.png", "e.png", "f.jpeg", "z/a.png"];
        assert_eq!(images.files.unwrap(), names.map(at));
    }

    #[test]
    fn sub_folders_are_classes_in_alphabetical_order() {
        let root = tempfile::tempdir().unwrap();
        for (index, path) in ["dog/2.png", "cat/z/1.png", "cat/a.png", "dog/1.png"].into_iter().enumerate() {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            GrayImage::from_pixel(1, 1, Luma([index as u8])).save(path).unwrap();
        }
        let images = load(root.path()).unwrap();
        assert_eq!(images.pixels, Pixels::Bytes(vec![2, 1, 3, 0]));
        assert_eq!((images.labels, images.channels), (Some(vec![0, 0, 1, 1]), 1));
        assert_eq!(images.class_names, ["cat", "dog"]);

        fs::create_dir(root.path().join("bird")).unwrap();
        error(root.path(), &["bird", "an image in each sub-folder"]);
    }

    #[test]
    fn wrong_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        error(root.path(), &["expected PNG or JPEG images", "found none"]);
        let (a, b) = (root.path().join("a.png"), root.path().join("b.png"));
        GrayImage::new(3, 2).save(&a).unwrap();
        GrayImage::new(2, 3).save(&b).unwrap();
        error(root.path(), &["b.png: ", "found 2x3 pixels", "a.png has 3x2"]);

        // Complete headers, but truncated pixels.
        RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 77])).save(&b).unwrap();
        let whole = fs::read(&b).unwrap();
        for length in [0, 7, 30, whole.len() - 20] {
            fs::write(&b, &whole[..length]).unwrap();
            error(root.path(), &["b.png: "]);
        }
        fs::write(&b, "GIF89a and more").unwrap();
        error(root.path(), &["b.png: expected a PNG or JPEG image"]);
        // A header that asks for 100,000 columns.
        let mut wide = whole;
        wide[16..20].copy_from_slice(&100_000u32.to_be_bytes());
        fs::write(&b, wide).unwrap();
        error(root.path(), &["b.png: "]);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_back_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        error(root.path(), &["does a link lead back"]);
    }
}
