//! Bilinear scaling as in `torch.nn.functional.interpolate(mode='bilinear', align_corners=False)`: pixel centres at
//! halves, no low-pass filter, values beyond the edge as at the edge.

use rayon::prelude::*;

/// The two source positions of an output position, and the weight of the second.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

/// The taps of each of `to` positions among `from`.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f32 / to as f32;
    let tap = |at: usize| {
        let source = (scale * (at as f32 + 0.5) - 0.5).max(0.0);
        let first = (source as usize).min(from - 1);
        Tap { first, second: (first + 1).min(from - 1), weight: source - first as f32 }
    };
    (0..to).map(tap).collect()
}

/// Scales images `[n, height, width, channels]` to `[n, side, side, 3]`; one channel is repeated.
pub(super) fn to_side(images: &[f32], [height, width, channels]: [usize; 3], side: usize) -> Vec<f32> {
    let (rows, columns) = (taps(height, side), taps(width, side));
    let image = height * width * channels;
    let mut scaled = vec![0.0; images.len() / image * side * side * 3];
    scaled.par_chunks_exact_mut(side * 3).enumerate().for_each(|(at, out)| {
        let source = &images[at / side * image..][..image];
        let row = rows[at % side];
        for (pixel, column) in out.chunks_exact_mut(3).zip(&columns) {
            for (c, value) in pixel.iter_mut().enumerate() {
                let c = c.min(channels - 1);
                let read = |y: usize, x: usize| source[(y * width + x) * channels + c];
                let along = |y: usize| {
                    (1.0 - column.weight) * read(y, column.first) + column.weight * read(y, column.second)
                };
                *value = (1.0 - row.weight) * along(row.first) + row.weight * along(row.second);
            }
        }
    });
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn two_pixels_become_four() {
        // interpolate(tensor([[[[0., 1.]]]]), (1, 4), mode='bilinear', align_corners=False)
        let at = |tap: &Tap| tap.first as f32 + tap.weight * (tap.second - tap.first) as f32;
        assert_eq!(taps(2, 4).iter().map(at).collect::<Vec<f32>>(), [0.0, 0.25, 0.75, 1.0]);
        // Four to two: the centre lies between the second pixel and the third.
        let taps = taps(4, 2);
        assert_eq!((taps[0].first, taps[0].weight, taps[1].first, taps[1].weight), (0, 0.5, 2, 0.5));
    }

    #[test]
    fn linear_images_stay_linear() {
        let (height, width, side) = (5, 7, 9);
        let at = |y: f32, x: f32, c: usize| 0.1 * y - 0.2 * x + c as f32;
        let image: Vec<f32> = (0..height * width * 3)
            .map(|i| at((i / 3 / width) as f32, (i / 3 % width) as f32, i % 3))
            .collect();
        let scaled = to_side(&image, [height, width, 3], side);
        let position = |i: usize, from: usize| {
            ((i as f32 + 0.5) * from as f32 / side as f32 - 0.5).clamp(0.0, from as f32 - 1.0)
        };
        for (i, &value) in scaled.iter().enumerate() {
            let expected = at(position(i / 3 / side, height), position(i / 3 % side, width), i % 3);
            assert_abs_diff_eq!(value, expected, epsilon = 1e-5);
        }
    }

    #[test]
    fn grey_images_have_three_equal_channels() {
        let scaled = to_side(&[0.5, -0.5], [1, 2, 1], 2);
        assert_eq!(scaled, [0.5, 0.5, 0.5, -0.5, -0.5, -0.5].repeat(2));
        // Two images of one pixel.
        assert_eq!(to_side(&[1.0, 2.0], [1, 1, 1], 1), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
    }
}
