//! Checks of the tensors of a model.

use super::{Model, REPLAY_BUFFER};
use crate::ebm::trained;
use crate::error::{Error, Result};
use crate::io::elements::Elements;
use crate::nn::spectral_norm;

impl Model {
    /// Refuses weights that are not finite, vectors of spectral norm whose singular value cannot divide the weights,
    /// and chains that differ in shape from the images. `whole`: whether the file was read with its chains.
    pub(super) fn check(&self, whole: bool) -> Result<()> {
        let wrong = |message: String| Err(Error::file(&self.path, message));
        for name in self.names.values() {
            let (_, elements) = self.tensor(name)?;
            let Elements::F32(values) = elements else {
                return wrong(format!("tensor {name}: expected floats, found {}", elements.type_name()));
            };
            if let Some(i) = values.iter().position(|value| !value.is_finite()) {
                let message =
                    format!("tensor {name}: element {i} is {}, expected a finite number", values[i]);
                return wrong(message);
            }
            if let Some(i) =
                values.iter().position(|&value| value < 0.0).filter(|_| name.ends_with("running_var"))
            {
                return wrong(format!("tensor {name}: element {i} is {}, expected a variance", values[i]));
            }
        }
        self.check_spectral_norm()?;
        if let Some((_, shape, elements)) = self.file.tensors.iter().find(|tensor| tensor.0 == REPLAY_BUFFER)
        {
            let [h, w, c] = self.image_shape();
            if shape.len() != 4 || shape[1..] != [c, h, w] || !matches!(elements, Elements::F32(_)) {
                return wrong(format!(
                    "tensor {REPLAY_BUFFER}: expected F32[n, {c}, {h}, {w}], found {}{shape:?}",
                    elements.type_name()
                ));
            }
        }
        let ages = trained::chain_ages(&self.file, self.chains, &self.path)?;
        if ages.is_some() && whole && self.chains.is_none() {
            return wrong(format!("tensor {}: expected {REPLAY_BUFFER} beside it", trained::CHAIN_AGES));
        }
        Ok(())
    }

    fn check_spectral_norm(&self) -> Result<()> {
        let layout = self.network.layout();
        for weights in layout.spectral_norms() {
            let values = |part: &str| -> Result<(&str, &[f32])> {
                let name = &self.names[&format!("{weights}{part}")];
                match self.tensor(name)? {
                    (_, Elements::F32(values)) => Ok((name, values)),
                    _ => unreachable!("they were checked to be floats"),
                }
            };
            let [weights, u, v] = [values("")?, values("_u")?, values("_v")?];
            for (name, values) in [u, v] {
                if values.iter().all(|&value| value == 0.0) {
                    let message = format!("tensor {name}: all elements are 0, expected a vector of norm 1");
                    return Err(Error::file(&self.path, message));
                }
            }
            let sigma = spectral_norm::sigma(weights.1, u.1, v.1);
            if !(sigma.is_finite() && sigma != 0.0) {
                let message = format!(
                    "tensor {}: its vectors {} and {} give the singular value {sigma}, by which it cannot be divided",
                    weights.0, u.0, v.0
                );
                return Err(Error::file(&self.path, message));
            }
        }
        Ok(())
    }
}
