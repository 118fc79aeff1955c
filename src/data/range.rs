//! The values of black and white in images of other programs.

use super::images::Pixels;
use super::reading::ValueRange;

/// The note for bytes or integers of `name` that are 0 and 1 only.
fn binary(name: &str) -> String {
    format!(
        "{name}: all values are 0 or 1, nearly the same black of 0 to 255; a range of 0,1 makes them black and white, \
         0,255 confirms"
    )
}

/// Scales `pixels` from `range`. The returned note is about bytes that are 0 and 1 only, for which no range was given.
pub(super) fn bytes(pixels: &mut [u8], range: Option<ValueRange>, name: &str) -> Option<String> {
    if let Some(range) = range {
        let scaled: Vec<u8> = (0..=255).map(|byte| range.scale_byte(byte)).collect();
        pixels.iter_mut().for_each(|pixel| *pixel = scaled[usize::from(*pixel)]);
        return None;
    }
    (pixels.contains(&1) && pixels.iter().all(|&pixel| pixel <= 1)).then(|| binary(name))
}

/// The pixels of integers wider than a byte: floats scaled from `range`, else bytes with a note.
pub(super) fn integers(
    values: impl Iterator<Item = i64> + Clone,
    range: Option<ValueRange>,
    name: &str,
) -> Result<(Pixels, Option<String>), String> {
    if let Some(range) = range {
        return Ok((Pixels::Floats(values.map(|value| range.scale(value as f32)).collect()), None));
    }
    let low = values.clone().min().unwrap_or(0);
    let high = values.clone().max().unwrap_or(0);
    if low < 0 || high > 255 {
        let white = if (0..=65_535).contains(&low) && (256..=65_535).contains(&high) { 65_535 } else { high };
        return Err(format!(
            "expected integers from 0 (black) to 255 (white), found values from {low} to {high}; a range of \
             {},{white} scales them",
            low.min(0)
        ));
    }
    let note = match high {
        1 => binary(name),
        _ => format!(
            "{name}: integers are from {low} to {high} and taken as from 0 (black) to 255 (white); a range of 0,255 \
             confirms"
        ),
    };
    Ok((Pixels::Bytes(values.map(|value| value as u8).collect()), Some(note)))
}

/// Scales `values` from `range`. The returned note is about values in [0, 1], for which no range was given.
pub(super) fn floats(values: &mut [f32], range: Option<ValueRange>, name: &str) -> Option<String> {
    if let Some(range) = range {
        values.iter_mut().for_each(|value| *value = range.scale(*value));
        return None;
    }
    let [low, high] = extremes(values);
    (low >= 0.0 && high <= 1.0).then(|| {
        format!(
            "{name}: values are from {low} to {high} and taken as from -1 (black) to 1 (white); a range of 0,1 makes 0 \
             black, -1,1 confirms"
        )
    })
}

/// The least and the greatest of `values`.
pub(super) fn extremes(values: &[f32]) -> [f32; 2] {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    [low, values.iter().copied().fold(f32::NEG_INFINITY, f32::max)]
}
