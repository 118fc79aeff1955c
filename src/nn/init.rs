//! Initial weights, named after the papers they come from.

use crate::compute::random::Threefry;
use crate::named::named;

/// The initialisation of a layer's weights, with `fan_in` inputs and `fan_out` outputs per position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// Uniform in `±1/√fan_in`, biases too: LeCun et al. 1998, "Efficient BackProp", in the form that
    /// PyTorch's convolutions and linear layers (and so the published JEM) begin with.
    #[default]
    LecunUniform,
    /// Normal with variance `2/((1 + slope²) fan_in)` for the leaky ReLU after the layer, biases 0: He et al. 2015,
    /// "Delving deep into rectifiers".
    HeNormal,
    /// Uniform in `±√(6/(fan_in + fan_out))`, biases 0: Glorot & Bengio 2010, "Understanding the difficulty
    /// of training deep feedforward neural networks".
    GlorotUniform,
}

named!(Init, "init": LecunUniform = "lecun-uniform", HeNormal = "he-normal", GlorotUniform = "glorot-uniform");

/// The fans of a tensor of parameters, and whether it is a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fans {
    /// Inputs that reach one output.
    pub fan_in: usize,
    /// Outputs that one input reaches.
    pub fan_out: usize,
    /// A bias rather than weights.
    pub bias: bool,
}

impl Init {
    /// Fills `values` from `random`; `slope` is that of the leaky ReLU after the layer.
    pub fn fill(self, values: &mut [f32], fans: Fans, slope: f32, random: &mut Threefry) {
        let Fans { fan_in, fan_out, bias } = fans;
        let uniform = |values: &mut [f32], bound: f32, random: &mut Threefry| {
            values.iter_mut().for_each(|value| *value = bound * (2.0 * random.uniform() - 1.0));
        };
        match self {
            Self::LecunUniform => uniform(values, 1.0 / (fan_in as f32).sqrt(), random),
            Self::HeNormal | Self::GlorotUniform if bias => values.fill(0.0),
            Self::HeNormal => {
                let deviation = (2.0 / ((1.0 + slope * slope) * fan_in as f32)).sqrt();
                for pair in values.chunks_mut(2) {
                    let normals = random.normal_pair();
                    pair.iter_mut().zip(normals).for_each(|(value, normal)| *value = deviation * normal);
                }
            }
            Self::GlorotUniform => uniform(values, (6.0 / (fan_in + fan_out) as f32).sqrt(), random),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::random::stream::WEIGHTS;
    use approx::assert_relative_eq;

    fn moments(init: Init) -> (f64, f64, f64) {
        let mut values = vec![0.0; 100_000];
        let fans = Fans { fan_in: 144, fan_out: 288, bias: false };
        init.fill(&mut values, fans, 0.2, &mut Threefry::new(1, WEIGHTS, 0));
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        (mean, variance, values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max))
    }

    #[test]
    fn variances_are_the_papers() {
        for (init, variance, bound) in [
            (Init::LecunUniform, 1.0 / (3.0 * 144.0), 1.0 / 12.0),
            (Init::HeNormal, 2.0 / (1.04 * 144.0), 1.0),
            (Init::GlorotUniform, 2.0 / (144.0 + 288.0), (6.0f64 / 432.0).sqrt()),
        ] {
            let (mean, measured, largest) = moments(init);
            // Five standard errors of the mean; the variance's relative error at 1e5 draws is below 0.5%.
            assert!(mean.abs() < 5.0 * f64::sqrt(variance / 1e5), "{init:?}: mean {mean}");
            assert_relative_eq!(measured, variance, max_relative = 0.02);
            assert!(largest <= bound * 1.000_001, "{init:?}: {largest}");
        }
    }
}
