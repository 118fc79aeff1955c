//! The tensors of a model as PyTorch loads them.

use super::model::Model;
use super::trainer::is_training_state;
use crate::error::{Error, Result};
use crate::io::checkpoint::Checkpoint;
use crate::io::elements::Elements;
use crate::nn::architecture::Architecture;
use crate::nn::spectral_norm;
use std::collections::{BTreeMap, HashSet};

/// The tensors of a file: names, shapes, values.
type Tensors = Vec<(String, Vec<usize>, Elements)>;

/// A form of weights with spectral norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpectralForm {
    /// `X.weight_orig` beside `X.weight_u` and `X.weight_v`, as `torch.nn.utils.spectral_norm` loads them.
    Parts,
    /// `X.weight`, divided: for a network without spectral norm.
    Divided,
}

impl Model {
    /// Whether the tensor `name` of the model's file belongs to the network, or to a head beside it, and not to the
    /// training's state, such as the replay buffer and the optimizer's moments.
    pub fn is_of_network(&self, name: &str) -> bool {
        self.used_names().any(|used| used == name) || !is_training_state(name)
    }

    /// The file of the model for PyTorch. A network with spectral norm has its weights in the form `spectral`; of other
    /// networks it is [`Model::file`].
    ///
    /// # Errors
    /// [`Error::File`] for a weight without its vectors.
    pub fn for_pytorch(&self, spectral: SpectralForm) -> Result<Checkpoint> {
        let file = self.file();
        if !self.network().layout().has_spectral_norm() {
            return Ok(file.clone());
        }
        let used: HashSet<&str> = self.used_names().collect();
        let base = |name: &str| name.strip_suffix("_orig").unwrap_or(name).to_owned();
        // Weights of convolutions and linear layers have vectors beside them.
        let divided = |name: &str| used.contains(name) && used.contains(format!("{}_u", base(name)).as_str());
        let mut metadata = file.metadata.clone();
        let tensors: Tensors = match spectral {
            SpectralForm::Parts => {
                let renamed = |(name, shape, elements): &(String, Vec<usize>, Elements)| {
                    let name = if divided(name) { format!("{}_orig", base(name)) } else { name.clone() };
                    (name, shape.clone(), elements.clone())
                };
                file.tensors.iter().map(renamed).collect()
            }
            SpectralForm::Divided => {
                self.without_spectral_norm(&mut metadata)?;
                let vectors: HashSet<String> = (file.tensors.iter())
                    .filter(|(name, ..)| divided(name))
                    .flat_map(|(name, ..)| ["u", "v"].map(|part| format!("{}_{part}", base(name))))
                    .collect();
                let mut tensors = Tensors::new();
                for (name, shape, elements) in &file.tensors {
                    match (vectors.contains(name), divided(name)) {
                        (true, _) => {}
                        (false, false) => tensors.push((name.clone(), shape.clone(), elements.clone())),
                        (false, true) => {
                            let weights = self.divided(name, shape, &base(name))?;
                            tensors.push((base(name), shape.clone(), Elements::F32(weights)));
                        }
                    }
                }
                tensors
            }
        };
        Ok(Checkpoint { tensors, metadata })
    }

    fn without_spectral_norm(&self, metadata: &mut BTreeMap<String, String>) -> Result<()> {
        let wrong = |message: String| Error::file(self.path(), message);
        let plain = Architecture::from_metadata(metadata).and_then(|own| own.without_spectral_norm());
        plain.map_err(wrong)?.network().write_metadata(metadata);
        Ok(())
    }

    /// The weights `name` divided by `sigma = u^T W v`, in 64-bit floats.
    fn divided(&self, name: &str, shape: &[usize], base: &str) -> Result<Vec<f32>> {
        let (out, inputs) = (shape[0], shape[1..].iter().product::<usize>());
        let of = |name: &str, shape: &[usize]| self.file().f32(self.path(), name, shape);
        let weights = of(name, shape)?;
        let (u, v) = (of(&format!("{base}_u"), &[out])?, of(&format!("{base}_v"), &[inputs])?);
        let sigma = spectral_norm::sigma(weights, u, v);
        Ok(weights.iter().map(|&weight| (f64::from(weight) / sigma) as f32).collect())
    }
}
