//! The smallest change of an image onto a hyperplane within the range of pixels (Croce & Hein 2020b, section 3.1).

use super::threat::{HIGH, LOW, Norm};

/// The change d of least norm with `<w, d> = -value`, that is, onto the hyperplane on which a function that is `value` at
/// `x` and has the gradient `w` there is 0, with `x + d` in the range of pixels. Where the hyperplane does not meet that
/// range, `d` leads to its nearest corner.
///
/// With room r_i to the bound in the direction of each pixel, |d_i| is min(λ, r_i) for L-infinity and min(λ |w_i|, r_i)
/// for L2. `Σ |w_i| |d_i|` is concave and piecewise linear in λ, so Newton's method from λ = 0 reaches the solution from
/// below, in as many iterations as pieces of it at most.
pub(super) fn onto(norm: Norm, x: &[f32], w: &[f32], value: f64) -> Vec<f32> {
    let wanted = value.abs();
    // Up the gradient for a negative value, else down.
    let sign = if value < 0.0 { 1.0f32 } else { -1.0 };
    let room = |x: f32, w: f32| if sign * w > 0.0 { HIGH - x } else { x - LOW };
    // The change of a pixel at λ = 1 without bounds.
    let rate = |w: f32| match norm {
        Norm::LInf => f64::from(u8::from(w != 0.0)),
        Norm::L2 => f64::from(w.abs()),
    };
    let mut lambda = 0.0f64;
    loop {
        // The sum at pixels that are at their bound for this λ, and the slope of the others.
        let (mut bounded, mut slope) = (0.0f64, 0.0f64);
        for (&x, &w) in x.iter().zip(w) {
            let (room, rate, weight) = (f64::from(room(x, w)), rate(w), f64::from(w.abs()));
            if rate * lambda >= room && rate > 0.0 {
                bounded += weight * room;
            } else {
                slope += weight * rate;
            }
        }
        if slope <= 0.0 {
            lambda = f64::INFINITY;
            break;
        }
        let next = (wanted - bounded) / slope;
        if next <= lambda {
            break;
        }
        lambda = next;
    }
    let change = |(&x, &w): (&f32, &f32)| {
        let (room, rate) = (f64::from(room(x, w)), rate(w));
        let length = if rate == 0.0 { 0.0 } else { (rate * lambda).min(room) };
        sign * if w > 0.0 { length as f32 } else { -(length as f32) }
    };
    x.iter().zip(w).map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;
    use approx::assert_relative_eq;

    fn dot(w: &[f32], d: &[f32]) -> f64 {
        w.iter().zip(d).map(|(&w, &d)| f64::from(w) * f64::from(d)).sum()
    }

    #[test]
    fn without_bounds_it_is_the_closed_form() {
        let [x, w] = [[0.0f32; 3], [3.0f32, 0.0, -4.0]];
        for value in [-0.5, 0.5, -2.0] {
            // |value| / ||w||_1 in each pixel, and value w / ||w||².
            let d = onto(Norm::LInf, &x, &w, value);
            let expected = -value as f32 / 7.0;
            assert_relative_eq!(d.as_slice(), [expected, 0.0, -expected].as_slice(), max_relative = 1e-6);
            let d = onto(Norm::L2, &x, &w, value);
            let expected = w.map(|w| -value as f32 * w / 25.0);
            assert_relative_eq!(d.as_slice(), expected.as_slice(), max_relative = 1e-6);
        }
        assert_eq!(onto(Norm::L2, &x, &[0.0; 3], 1.0), [0.0; 3]);
        assert_eq!(onto(Norm::LInf, &x, &w, 0.0), [0.0; 3]);
    }

    #[test]
    fn with_bounds_it_is_the_least_of_all_changes_that_fit() {
        let mut random = SplitMix::new(9, 0);
        for trial in 0..200 {
            let x: Vec<f32> = (0..6).map(|_| random.uniform(-1.0, 1.0)).collect();
            let w: Vec<f32> = (0..6).map(|_| random.uniform(-1.0, 1.0)).collect();
            let value = f64::from(random.uniform(-2.5, 2.5));
            for norm in Norm::ALL {
                let d = onto(norm, &x, &w, value);
                assert!(x.iter().zip(&d).all(|(x, d)| (LOW - 1e-6..=HIGH + 1e-6).contains(&(x + d))));
                let most: f64 = x
                    .iter()
                    .zip(&w)
                    .map(|(&x, &w)| {
                        let up = if value < 0.0 { w > 0.0 } else { w < 0.0 };
                        f64::from(w.abs()) * f64::from(if up { HIGH - x } else { x - LOW })
                    })
                    .sum();
                if most < value.abs() {
                    assert_relative_eq!(dot(&w, &d).abs(), most, max_relative = 1e-5);
                    continue;
                }
                assert_relative_eq!(dot(&w, &d), -value, epsilon = 1e-5);
                // Any other point of the hyperplane within the range is farther: move along random tangents.
                for _ in 0..50 {
                    let mut other: Vec<f32> = d.iter().map(|d| d + random.uniform(-0.3, 0.3)).collect();
                    for _ in 0..200 {
                        let off = (dot(&w, &other) + value) / dot(&w, &w);
                        for ((o, x), w) in other.iter_mut().zip(&x).zip(&w) {
                            *o = (*o - off as f32 * w).max(LOW - x).min(HIGH - x);
                        }
                    }
                    if (dot(&w, &other) + value).abs() < 1e-5 {
                        assert!(norm.of(&other) > norm.of(&d) - 1e-4, "trial {trial} {norm}");
                    }
                }
            }
        }
    }
}
