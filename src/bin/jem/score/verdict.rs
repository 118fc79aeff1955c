//! Detection: the threshold for images in the model's distribution.

use super::Arguments;
use jem::{Error, Result};

/// The smallest logsumexp that counts as in distribution.
pub enum Threshold<'a> {
    /// A given value.
    Given(f64),
    /// This quantile of the logsumexp of these images.
    Quantile(f64, &'a str),
}

impl<'a> Threshold<'a> {
    /// The threshold that the flags ask for; `None` without such a flag.
    pub fn of(arguments: &'a Arguments) -> Result<Option<Self>> {
        if let Some(value) = arguments.threshold {
            if !value.is_finite() {
                return Err(Error::setting("--threshold", format!("must be a finite number, got {value}")));
            }
            return Ok(Some(Self::Given(value)));
        }
        match (arguments.threshold_quantile, &arguments.threshold_on) {
            (Some(share), Some(images)) if (0.0..=1.0).contains(&share) => {
                Ok(Some(Self::Quantile(share, images)))
            }
            (Some(share), Some(_)) => {
                Err(Error::setting("--threshold-quantile", format!("must be from 0 to 1, got {share}")))
            }
            _ => Ok(None),
        }
    }
}

/// The `share`-quantile of `values`, with linear interpolation (NumPy's default).
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = share * (values.len() - 1) as f64;
    let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([3, 1, 2, 10], q)
        for (q, expected) in [(0.0, 1.0), (0.5, 2.5), (0.25, 1.75), (0.9, 7.9), (1.0, 10.0)] {
            approx::assert_relative_eq!(
                quantile(vec![3.0, 1.0, 2.0, 10.0], q),
                expected,
                max_relative = 1e-12
            );
        }
    }
}
