//! Decodes picture files: JPEG, PNG, WebP, BMP, GIF (the first frame), TIFF, PPM, PGM and PBM.
//!
//! The contents decide the format, not the file's name. The result has 8 bits and 1 (grey) or 3 (RGB) channels: 16 bits
//! are rounded to 8, palettes and CMYK become RGB, alpha is dropped. The orientation that EXIF or TIFF states is applied.

use crate::words::counted;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};

use crate::io::png::Picture;

/// The formats that are read, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF or PPM";
/// The extensions of the files that are read, in any case.
const ENDINGS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm"];
/// The most rows or columns of a picture.
const MAX_SIDE: u32 = 16_384;
/// The most bytes of a decoded picture.
const MAX_BYTES: u64 = 1 << 30;
/// Each channel of a pixel that is missing in a truncated file.
const GREY: u8 = 128;

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels.
    pub picture: Picture,
    /// Whether the file ends before the last pixel; the missing ones are grey.
    pub truncated: bool,
}

/// The size of a picture and whether it has colour, from its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Columns, after the orientation is applied.
    pub width: usize,
    /// Rows, after the orientation is applied.
    pub height: usize,
    /// Whether it has more than grey.
    pub color: bool,
}

/// Whether files with the extension `ending` are read.
pub fn is_read(ending: &str) -> bool {
    ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
}

/// Decodes the picture in `bytes`.
///
/// # Errors
/// When the file is no such picture, is damaged or truncated, or has a side above 16,384 pixels.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    decode_any(bytes, false).map(|decoded| decoded.picture)
}

/// Decodes as [`decode`] does; with `allow_truncated` a file that ends early is read as far as it goes.
///
/// # Errors
/// The errors of [`decode`]; a truncated file without any pixel.
pub fn decode_any(bytes: &[u8], allow_truncated: bool) -> Result<Decoded, String> {
    let (mut decoder, format) = open(bytes)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    let size = decoder.total_bytes();
    if size > MAX_BYTES {
        return Err(format!("{width}x{height} pixels need {size} bytes, more than {MAX_BYTES}"));
    }
    // The JPEG decoder takes the end of the file for the end of the picture.
    let cut = format == ImageFormat::Jpeg && !ends_as_jpeg(bytes);
    let mut raw = vec![if allow_truncated { GREY } else { 0 }; size as usize];
    let mut result = decoder.read_image(&mut raw);
    if cut && result.is_err() {
        // The decoder of progressive pictures needs the marker.
        let completed = [bytes, b"\xff\xd9"].concat();
        result = open(&completed)?.0.read_image(&mut raw);
    }
    if let Err(error) = &result
        && !cut
        && !ends_early(error)
        && !is_cut_riff(bytes)
    {
        return Err(format!("is damaged: {}", one_line(error)));
    }
    let truncated = cut || result.is_err();
    if truncated && !allow_truncated {
        return Err(format!("is truncated: {}", extent(&raw, bytes.len(), height, cut)));
    }
    if truncated && raw.iter().all(|&byte| byte == GREY) {
        return Err(format!(
            "is truncated: it ends after {}, and no part of it can be read",
            counted(bytes.len(), "byte")
        ));
    }
    let picture = oriented(eight_bits(raw, color), [width, height], color.has_color(), orientation)?;
    Ok(Decoded { picture, truncated })
}

/// Reads the header of the picture in `bytes`.
///
/// # Errors
/// When the file does not begin as a picture, or has a side above 16,384 pixels.
pub fn header(bytes: &[u8]) -> Result<Header, String> {
    let (mut decoder, _) = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let (mut width, mut height) = (width as usize, height as usize);
    if turns(decoder.orientation().unwrap_or(Orientation::NoTransforms)) {
        (width, height) = (height, width);
    }
    Ok(Header { width, height, color: decoder.color_type().has_color() })
}

/// A codec's message as one line; it may have line breaks and quote the file.
fn one_line(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn open(bytes: &[u8]) -> Result<(impl ImageDecoder + '_, ImageFormat), String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(one_line)?;
    let format = match reader.format() {
        Some(
            format @ (ImageFormat::Jpeg
            | ImageFormat::Png
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Gif
            | ImageFormat::Tiff
            | ImageFormat::Pnm),
        ) => format,
        _ => return Err(unread(bytes)),
    };
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    match reader.into_decoder() {
        Ok(decoder) => Ok((decoder, format)),
        Err(error) if ends_early(&error) => Err(format!(
            "is truncated: it ends after {}, and no part of it can be read",
            counted(bytes.len(), "byte")
        )),
        Err(error) => Err(one_line(error)),
    }
}

/// The message for a file of another format.
fn unread(bytes: &[u8]) -> String {
    let found = match bytes.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => "found AVIF",
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftyphevc" | b"ftypmsf1") => "found HEIC",
        _ => "but it does not begin as one",
    };
    format!("expected a {FORMATS} image, {found}")
}

/// Whether the JPEG in `bytes` has an end-of-image marker.
fn ends_as_jpeg(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(marker) = next_marker(bytes, &mut at) else { return false };
        match marker {
            0xd9 => return true,
            // Markers without contents, and stuffed bytes and restarts between which the pixels are.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let Some(length) = bytes.get(at..at + 2) else { return false };
                at += usize::from(u16::from_be_bytes([length[0], length[1]]));
            }
        }
    }
}

/// The byte after the next 0xff from `at`, behind which `at` is then.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let start = *at + bytes.get(*at..)?.iter().position(|&byte| byte == 0xff)?;
    let marker = start + bytes[start..].iter().position(|&byte| byte != 0xff)?;
    *at = marker + 1;
    Some(bytes[marker])
}

/// Whether the file is a WebP that states more bytes than it has.
fn is_cut_riff(bytes: &[u8]) -> bool {
    let stated = bytes.strip_prefix(b"RIFF").and_then(|rest| rest.first_chunk());
    stated.is_some_and(|&stated| u64::from(u32::from_le_bytes(stated)) + 8 > bytes.len() as u64)
}

/// Whether `error` says that the file ends early.
fn ends_early(error: &ImageError) -> bool {
    if let ImageError::IoError(error) = error {
        return error.kind() == std::io::ErrorKind::UnexpectedEof;
    }
    let mut cause = Some(error as &dyn std::error::Error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::UnexpectedEof
        {
            return true;
        }
        cause = error.source();
    }
    // Some codecs keep the words only.
    let text = error.to_string().to_lowercase();
    let words =
        ["unexpected end", "unexpected eof", "not enough bytes", "no more image data", "fill whole buffer"];
    words.iter().any(|words| text.contains(words))
}

/// How far a truncated file of `length` bytes goes, whose missing rows of `height` are `raw`'s last of one value.
fn extent(raw: &[u8], length: usize, height: u32, grey: bool) -> String {
    let row = raw.len() / (height as usize).max(1);
    let blank = if grey { GREY } else { 0 };
    let missing = raw.rchunks(row.max(1)).take_while(|row| row.iter().all(|&byte| byte == blank)).count();
    match height as usize - missing {
        rows if missing == 0 || rows == 0 => format!("it ends after {}", counted(length, "byte")),
        rows => format!("it ends after {length} bytes, in row {rows} of {height}"),
    }
}

/// The pixels of `raw` as 8 bits without alpha.
fn eight_bits(raw: Vec<u8>, color: ColorType) -> Vec<u8> {
    let short = |bytes: &[u8; 2]| ((u32::from(u16::from_ne_bytes(*bytes)) + 128) / 257) as u8;
    let real = |bytes: &[u8; 4]| (f32::from_ne_bytes(*bytes).clamp(0.0, 1.0) * 255.0).round() as u8;
    let bytes: Vec<u8> = match color {
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
            raw.as_chunks().0.iter().map(short).collect()
        }
        ColorType::Rgb32F | ColorType::Rgba32F => raw.as_chunks().0.iter().map(real).collect(),
        _ => raw,
    };
    if !color.has_alpha() {
        return bytes;
    }
    let channels = usize::from(color.channel_count());
    bytes.chunks_exact(channels).flat_map(|pixel| &pixel[..channels - 1]).copied().collect()
}

/// Whether the orientation exchanges rows and columns.
fn turns(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

fn oriented(
    pixels: Vec<u8>,
    [width, height]: [u32; 2],
    color: bool,
    orientation: Orientation,
) -> Result<Picture, String> {
    let channels = if color { 3 } else { 1 };
    if orientation == Orientation::NoTransforms {
        return Ok(Picture { width: width as usize, height: height as usize, channels, pixels });
    }
    let upright = match color {
        true => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut upright = upright.ok_or("has another number of pixels than its header says")?;
    upright.apply_orientation(orientation);
    let (width, height) = (upright.width() as usize, upright.height() as usize);
    Ok(Picture { width, height, channels, pixels: upright.into_bytes() })
}

#[cfg(test)]
mod tests;
