//! The one-bit sign mask of a leaky ReLU: all that its gradient needs to know of the forward pass.
//!
//! For an NHWC tensor seen as `[pixels, channels]`, one 32-bit word holds a tile of 8 pixels by 4
//! channels, so that a GPU thread with an 8x4 register tile writes and reads exactly one word and no two
//! threads share one. The word of `(pixel, channel)` is `(pixel / 8) * ceil(channels / 4) + channel / 4`,
//! its bit `(pixel % 8) * 4 + channel % 4`. A bit is 1 where the value is greater than 0. Bits past the
//! last pixel or channel are 0.

/// Words of the mask of `pixels` x `channels` values.
pub fn mask_words(pixels: usize, channels: usize) -> usize {
    pixels.div_ceil(8) * channels.div_ceil(4)
}

/// The word index and bit number of a value.
pub fn mask_bit(pixel: usize, channel: usize, channels: usize) -> (usize, u32) {
    ((pixel / 8) * channels.div_ceil(4) + channel / 4, ((pixel % 8) * 4 + channel % 4) as u32)
}
