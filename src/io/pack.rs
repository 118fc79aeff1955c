//! Conversions between the engine's layouts (NHWC, HWIO) and those of files and other frameworks (NCHW, OIHW).
//!
//! Every function panics if the length of the slice does not match the sizes: callers check shapes when they read them.

/// Converts images from [n, h, w, c] to [n, c, h, w].
pub fn nhwc_to_nchw<T: Copy>(images: &[T], n: usize, h: usize, w: usize, c: usize) -> Vec<T> {
    swap_middle(images, [n, h * w, c, 1])
}

/// Converts images from [n, c, h, w] to [n, h, w, c].
pub fn nchw_to_nhwc<T: Copy>(images: &[T], n: usize, c: usize, h: usize, w: usize) -> Vec<T> {
    swap_middle(images, [n, c, h * w, 1])
}

/// Converts convolution weights from [o, i, kh, kw] to [kh, kw, i, o].
pub fn oihw_to_hwio<T: Copy>(weights: &[T], o: usize, i: usize, kh: usize, kw: usize) -> Vec<T> {
    // [o, i, k] -> [k, o, i] -> [k, i, o]
    let kernel_first = swap_middle(weights, [1, o * i, kh * kw, 1]);
    swap_middle(&kernel_first, [kh * kw, o, i, 1])
}

/// Converts convolution weights from [kh, kw, i, o] to [o, i, kh, kw].
pub fn hwio_to_oihw<T: Copy>(weights: &[T], kh: usize, kw: usize, i: usize, o: usize) -> Vec<T> {
    let outputs_outside = swap_middle(weights, [kh * kw, i, o, 1]);
    swap_middle(&outputs_outside, [1, kh * kw, o * i, 1])
}

/// Transposes a matrix from [rows, columns] to [columns, rows]: linear weights from [out, in] to [in, out] and back.
pub fn transpose<T: Copy>(matrix: &[T], rows: usize, columns: usize) -> Vec<T> {
    swap_middle(matrix, [1, rows, columns, 1])
}

/// Converts [a, b, c, d] to [a, c, b, d].
fn swap_middle<T: Copy>(values: &[T], [a, b, c, d]: [usize; 4]) -> Vec<T> {
    assert_eq!(values.len(), a * b * c * d, "elements of [{a}, {b}, {c}, {d}]");
    let mut out = Vec::with_capacity(values.len());
    for outer in 0..a {
        for column in 0..c {
            for row in 0..b {
                let start = ((outer * b + row) * c + column) * d;
                out.extend_from_slice(&values[start..start + d]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(n: usize) -> Vec<u32> {
        (0..n as u32).collect()
    }

    #[test]
    fn images_by_index() {
        let (n, h, w, c) = (2, 3, 4, 5);
        let nhwc = counted(n * h * w * c);
        let nchw = nhwc_to_nchw(&nhwc, n, h, w, c);
        for (b, y, x, k) in (0..n).flat_map(|b| {
            (0..h).flat_map(move |y| (0..w).flat_map(move |x| (0..c).map(move |k| (b, y, x, k))))
        }) {
            assert_eq!(nchw[((b * c + k) * h + y) * w + x], nhwc[((b * h + y) * w + x) * c + k]);
        }
        assert_eq!(nchw_to_nhwc(&nchw, n, c, h, w), nhwc);
    }

    #[test]
    fn convolution_weights_by_index() {
        let (o, i, kh, kw) = (2, 3, 4, 5);
        let oihw = counted(o * i * kh * kw);
        let hwio = oihw_to_hwio(&oihw, o, i, kh, kw);
        for (a, b, y, x) in (0..o).flat_map(|a| {
            (0..i).flat_map(move |b| (0..kh).flat_map(move |y| (0..kw).map(move |x| (a, b, y, x))))
        }) {
            assert_eq!(hwio[((y * kw + x) * i + b) * o + a], oihw[((a * i + b) * kh + y) * kw + x]);
        }
        assert_eq!(hwio_to_oihw(&hwio, kh, kw, i, o), oihw);
    }

    #[test]
    fn linear_weights_by_index() {
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    #[should_panic(expected = "[2, 4, 3, 1]")]
    fn a_wrong_length_is_a_bug() {
        nhwc_to_nchw(&[0u8; 23], 2, 2, 2, 3);
    }
}
