//! The threat model of an attack: a norm, and the radius of its ball around each clean image.

use crate::error::{Error, Result};
use crate::named::named;
use std::str::FromStr;

/// The length of the range of a model's pixels, [-1, 1], in units of [0, 1] pixels.
const RANGE: f64 = 2.0;
/// The least value of a model's pixels.
pub(super) const LOW: f32 = -1.0;
/// The largest value of a model's pixels.
pub(super) const HIGH: f32 = 1.0;

/// The norm of perturbations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Norm {
    /// The largest change of a pixel's channel.
    LInf,
    /// The Euclidean norm of the change of the whole image.
    L2,
}

named!(Norm, "norm": LInf = "linf", L2 = "l2");

impl Norm {
    /// The norm of `b - a`, images in [-1, 1], in the images' own units.
    pub(super) fn between(self, a: &[f32], b: &[f32]) -> f64 {
        let differences = a.iter().zip(b).map(|(&a, &b)| f64::from(b) - f64::from(a));
        match self {
            Self::LInf => differences.fold(0.0, |largest, d| largest.max(d.abs())),
            Self::L2 => differences.map(|d| d * d).sum::<f64>().sqrt(),
        }
    }

    /// The norm of `b - a`, images in [-1, 1], in units of [0, 1] pixels, as [`Threat::epsilon`] is.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        self.between(a, b) / RANGE
    }

    /// The norm of a vector.
    pub(super) fn of(self, vector: &[f32]) -> f64 {
        match self {
            Self::LInf => vector.iter().fold(0.0, |largest, v| largest.max(f64::from(v.abs()))),
            Self::L2 => vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt(),
        }
    }
}

/// The perturbations that an attack may use: those of a norm of at most `epsilon` that leave pixels in their range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threat {
    norm: Norm,
    epsilon: f64,
}

impl Threat {
    /// The ball of radius `epsilon`, in units of [0, 1] pixels, whatever the range of the model's images.
    ///
    /// # Errors
    /// [`Error::Setting`] for a radius that is not a finite number above 0.
    pub fn new(norm: Norm, epsilon: f64) -> Result<Self> {
        if epsilon.is_finite() && epsilon > 0.0 {
            return Ok(Self { norm, epsilon });
        }
        Err(Error::setting("epsilon", format!("expected a finite number above 0, got {epsilon}")))
    }

    /// The ball of all images: no bound but the range of pixels, for images of `elements` numbers.
    pub fn unbounded(norm: Norm, elements: usize) -> Self {
        let epsilon = match norm {
            Norm::LInf => 1.0,
            Norm::L2 => (elements as f64).sqrt(),
        };
        Self { norm, epsilon }
    }

    /// The norm.
    pub fn norm(self) -> Norm {
        self.norm
    }

    /// The radius, in units of [0, 1] pixels.
    pub fn epsilon(self) -> f64 {
        self.epsilon
    }

    /// The same norm with `factor` times the radius.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { epsilon: factor * self.epsilon, ..self }
    }

    /// The radius in units of the model's images, which are in [-1, 1]: twice [`Threat::epsilon`].
    pub(super) fn radius(self) -> f64 {
        RANGE * self.epsilon
    }

    /// Whether `x` is within the radius of `clean` and in the range of pixels, exactly.
    pub(super) fn allows(self, clean: &[f32], x: &[f32]) -> bool {
        x.iter().all(|v| (LOW..=HIGH).contains(v)) && self.norm.between(clean, x) <= self.radius()
    }

    /// Moves `x` into the ball around `clean` and into the range of pixels. For L2 the perturbation is scaled, then
    /// pixels are clamped, as in Madry et al. 2018 and Croce & Hein 2020; what [`Threat::allows`] stays as it is.
    pub(super) fn project(self, clean: &[f32], x: &mut [f32]) {
        match self.norm {
            Norm::LInf => {
                // Sums in f32 are off by at most 2^-24 in this range.
                let wanted = (self.radius() - 2f64.powi(-24)).max(0.0);
                let radius = wanted as f32;
                let radius = if f64::from(radius) > wanted { radius.next_down() } else { radius };
                for (x, &clean) in x.iter_mut().zip(clean) {
                    let [low, high] = [(clean - radius).max(LOW), (clean + radius).min(HIGH)];
                    *x = x.max(low).min(high);
                }
            }
            Norm::L2 => {
                x.iter_mut().for_each(|x| *x = x.max(LOW).min(HIGH));
                let (mut wanted, mut margin) = (self.radius(), 1e-6);
                loop {
                    let norm = self.norm.between(clean, x);
                    if norm <= self.radius() {
                        break;
                    }
                    let factor = (wanted / norm) as f32;
                    for (x, &clean) in x.iter_mut().zip(clean) {
                        *x = (clean + factor * (*x - clean)).max(LOW).min(HIGH);
                    }
                    // Sums in f32 may have been rounded outwards.
                    wanted *= 1.0 - margin;
                    margin = (2.0 * margin).min(1.0);
                }
            }
        }
    }
}

impl std::fmt::Display for Threat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.norm, self.epsilon)
    }
}

/// A radius in units of [0, 1] pixels: a number or a fraction, such as `0.5` or `8/255`.
///
/// # Errors
/// [`Error::Setting`] for another text, or a radius that is not a finite number above 0.
pub fn parse_epsilon(text: &str) -> Result<f64> {
    let number = |text: &str| f64::from_str(text.trim()).ok();
    let value = match text.split_once('/') {
        Some((above, below)) => number(above).zip(number(below)).map(|(above, below)| above / below),
        None => number(text),
    };
    value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
        Error::setting("epsilon", format!("expected a radius above 0 such as 8/255 or 0.5, got {text:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;

    #[test]
    fn a_radius_is_twice_as_large_in_the_range_of_models() {
        let threat = Threat::new(Norm::LInf, parse_epsilon("8/255").unwrap()).unwrap();
        // A step of a byte is 2/255 in [-1, 1].
        assert_eq!(threat.radius(), 16.0 / 255.0);
        let mut x = vec![1.0f32; 4];
        threat.project(&[0.0; 4], &mut x);
        assert!((f64::from(x[0]) * 127.5 - 8.0).abs() < 1e-4, "{x:?}");
        assert!((Norm::LInf.distance(&[0.0; 4], &x) - 8.0 / 255.0).abs() < 1e-6);
        let threat = Threat::new(Norm::L2, 0.5).unwrap();
        threat.project(&[0.0; 4], &mut x);
        assert!((Norm::L2.distance(&[0.0; 4], &x) - f64::from(x[0])).abs() < 1e-6);
        let mut far = vec![1.0f32; 4];
        threat.project(&[0.0; 4], &mut far);
        assert!((far[0] - 0.5).abs() < 1e-5, "a radius of 1 in [-1, 1]: {far:?}");
    }

    #[test]
    fn projections_are_within_the_radius_exactly() {
        let mut random = SplitMix::new(5, 0);
        for (norm, epsilons) in [(Norm::LInf, [1e-8, 8.0 / 255.0, 1.0]), (Norm::L2, [1e-6, 0.5, 100.0])] {
            for epsilon in epsilons {
                let threat = Threat::new(norm, epsilon).unwrap();
                let clean: Vec<f32> = (0..3072).map(|_| random.uniform(-1.0, 1.0)).collect();
                let mut x: Vec<f32> = (0..3072).map(|_| random.uniform(-3.0, 3.0)).collect();
                threat.project(&clean, &mut x);
                assert!(threat.allows(&clean, &x), "{threat}: {}", norm.between(&clean, &x));
                let once = x.clone();
                threat.project(&clean, &mut x);
                assert_eq!(once, x, "{threat}");
                if epsilon == 0.5 || epsilon == 8.0 / 255.0 {
                    assert!(norm.distance(&clean, &x) > 0.999 * epsilon);
                }
            }
        }
    }

    #[test]
    fn radii_are_numbers_and_fractions() {
        assert_eq!(parse_epsilon("8/255").unwrap(), 8.0 / 255.0);
        assert_eq!(parse_epsilon(" 0.5 ").unwrap(), 0.5);
        for wrong in ["", "8/", "8/0", "0", "-1", "nan", "inf", "1/2/3", "abc"] {
            let message = parse_epsilon(wrong).unwrap_err().to_string();
            assert!(message.starts_with("epsilon: ") && !message.contains('\n'), "{message}");
        }
        assert!(Threat::new(Norm::L2, f64::NAN).is_err() && Threat::new(Norm::L2, 0.0).is_err());
        assert_eq!("l2".parse::<Norm>().unwrap(), Norm::L2);
        assert!("l3".parse::<Norm>().unwrap_err().to_string().contains("linf"));
    }

    #[test]
    fn nothing_is_outside_an_unbounded_threat() {
        let [low, high] = [vec![LOW; 12], vec![HIGH; 12]];
        for norm in Norm::ALL {
            assert!(Threat::unbounded(norm, 12).allows(&low, &high));
            assert!(!Threat::unbounded(norm, 12).scaled(0.99).allows(&low, &high));
        }
    }
}
