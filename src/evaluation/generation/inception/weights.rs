//! The weights of the network from pytorch-fid's file, with batch norm folded into the convolutions.

use super::layers::{Convolution, LAST, convolutions};
use super::{FEATURES, LOGITS};
use crate::error::{Error, Result};
use crate::io::elements::Elements;
use crate::io::state_file::{self, Dictionary};
use crate::nn::parameters::ParameterLayout;
use std::collections::BTreeMap;
use std::path::Path;

/// The number that batch norm adds to variances.
const EPSILON: f64 = 0.001;
/// A counter that files may have and that nothing reads.
const COUNTER: &str = "num_batches_tracked";

/// The tensors of a file, by name.
type Tensors = BTreeMap<String, Vec<f32>>;

/// The parameters of `layout` from the file `path`.
///
/// # Errors
/// [`Error::Io`]; [`Error::File`] for a file that is not this network's.
pub(super) fn read(path: &Path, layout: &ParameterLayout) -> Result<Vec<f32>> {
    let opened = state_file::open(path)?;
    let wrong = |message: String| {
        Error::file(path, format!("is not pt_inception-2015-12-05-6726825d.pth of pytorch-fid: {message}"))
    };
    let [dictionary] = opened.dictionaries() else {
        return Err(wrong(format!("expected one state dict, found {}", opened.dictionaries().len())));
    };
    check(dictionary).map_err(wrong)?;
    let mut tensors = Tensors::new();
    for (name, array) in opened.load(0)?.tensors {
        if name.ends_with(COUNTER) {
            continue;
        }
        let Elements::F32(values) = array.elements else {
            return Err(wrong(format!("tensor {name} has integers, expected floats")));
        };
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(wrong(format!("tensor {name} has the value {value}")));
        }
        tensors.insert(name, values);
    }
    let folded = fold(tensors).map_err(wrong)?;
    layout.gather(|parameter| Ok(&folded[&parameter.name]))
}

/// The name and shape of every tensor in files.
fn expected() -> BTreeMap<String, Vec<usize>> {
    let mut expected = BTreeMap::new();
    for Convolution { name, c_in, c_out, kernel: [kh, kw] } in convolutions() {
        expected.insert(format!("{name}.conv.weight"), vec![c_out, c_in, kh, kw]);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            expected.insert(format!("{name}.bn.{part}"), vec![c_out]);
        }
    }
    expected.insert(format!("{LAST}.weight"), vec![LOGITS, FEATURES]);
    expected.insert(format!("{LAST}.bias"), vec![LOGITS]);
    expected
}

/// Checks names and shapes.
fn check(dictionary: &Dictionary) -> Result<(), String> {
    if let Some((name, reason)) = dictionary.unreadable.first() {
        return Err(format!("tensor {name}: {reason}"));
    }
    let expected = expected();
    let found: BTreeMap<&str, &Vec<usize>> =
        dictionary.tensors.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    for (name, shape) in &expected {
        match found.get(name.as_str()) {
            None => return Err(format!("it has no tensor {name}")),
            Some(found) if *found != shape => {
                return Err(format!("tensor {name} is {found:?}, expected {shape:?}"));
            }
            Some(_) => {}
        }
    }
    let other = found.keys().find(|name| !expected.contains_key(**name) && !name.ends_with(COUNTER));
    other.map_or(Ok(()), |name| {
        Err(format!("it has a tensor {}, which is not of the network", name.escape_debug()))
    })
}

/// The weights and biases of the convolutions with batch norm: γ (w∗x - mean) / √(variance + ε) + β.
fn fold(mut tensors: Tensors) -> Result<Tensors, String> {
    let mut folded = Tensors::new();
    for Convolution { name, c_out, .. } in convolutions() {
        let mut take = |part: &str| tensors.remove(&format!("{name}.{part}")).expect("was checked");
        let [mut weight, gamma, beta, mean, variance] =
            ["conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"].map(&mut take);
        let mut bias = vec![0.0; c_out];
        let rows = weight.len() / c_out;
        for (i, row) in weight.chunks_exact_mut(rows).enumerate() {
            let variance = f64::from(variance[i]);
            if variance < 0.0 {
                return Err(format!("tensor {name}.bn.running_var has the value {variance}"));
            }
            let scale = f64::from(gamma[i]) / (variance + EPSILON).sqrt();
            row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
            bias[i] = (f64::from(beta[i]) - f64::from(mean[i]) * scale) as f32;
        }
        folded.insert(format!("{name}.weight"), weight);
        folded.insert(format!("{name}.bias"), bias);
    }
    let last = format!("{LAST}.weight");
    let weight = tensors.remove(&last).expect("was checked");
    folded.insert(last, weight);
    Ok(folded)
}
