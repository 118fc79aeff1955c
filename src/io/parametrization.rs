//! Weights that a file holds as the parts of a parametrisation: PyTorch's spectral norm and weight norm, under their
//! old and new names.
//!
//! | file | result |
//! |---|---|
//! | `X.parametrizations.P.original` with `.0._u` and `.0._v` | `X.P_orig`, `X.P_u`, `X.P_v`: spectral norm's old names |
//! | `X.parametrizations.P.original0` (g) and `.original1` (v) | `X.P` = g v / ‖v‖ |
//! | `X.P_g` and `X.P_v` of weight norm | `X.P` = g v / ‖v‖ |
//!
//! The norm of weight norm is over all axes but one, which the shape of g names: g has v's size there and 1 elsewhere.
//! A g with one number scales the whole of v.

use std::collections::HashMap;

use super::elements::{Array, Elements, count};

/// The place where `torch.nn.utils.parametrize` keeps the parts of weights.
const PLACE: &str = "parametrizations.";

/// The source of a tensor under its new name.
#[derive(Debug, PartialEq)]
enum Source {
    /// The tensor with this index.
    Same(usize),
    /// Weight norm of the tensors with these indices.
    WeightNorm { g: usize, v: usize },
}

/// The names and shapes of tensors after [`arrays`], which reads no element.
pub fn names(tensors: &[(String, Vec<usize>)]) -> Vec<(String, Vec<usize>)> {
    let shape = |source: Source| match source {
        Source::Same(index) | Source::WeightNorm { v: index, .. } => tensors[index].1.clone(),
    };
    plan(tensors).into_iter().map(|(name, source)| (name, shape(source))).collect()
}

/// The name in the file of each tensor that [`names`] renames, by its new name. The weights of a weight norm have the
/// name of their v.
pub fn originals(tensors: &[(String, Vec<usize>)]) -> HashMap<String, String> {
    let original = |source: Source| match source {
        Source::Same(index) | Source::WeightNorm { v: index, .. } => &tensors[index].0,
    };
    let all = plan(tensors).into_iter().map(|(name, source)| (name, original(source).clone()));
    all.filter(|(name, original)| name != original).collect()
}

/// Renames the parts of spectral norms, and computes the weights of weight norms in 64-bit floats. Other tensors keep
/// their names, and all their order.
///
/// # Errors
/// A weight whose parts are not of floats, by name.
pub fn arrays(tensors: Vec<(String, Array)>) -> Result<Vec<(String, Array)>, String> {
    let shapes: Vec<(String, Vec<usize>)> =
        tensors.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect();
    let mut tensors: Vec<Option<Array>> = tensors.into_iter().map(|(_, array)| Some(array)).collect();
    let mut renamed = Vec::new();
    for (name, source) in plan(&shapes) {
        let mut take = |index: usize| tensors[index].take().expect("a tensor has one use");
        let array = match source {
            Source::Same(index) => take(index),
            Source::WeightNorm { g, v } => {
                weight_norm(take(g), take(v)).map_err(|message| format!("tensor {name}: {message}"))?
            }
        };
        renamed.push((name, array));
    }
    Ok(renamed)
}

/// The new names, with the sources of their tensors.
fn plan(tensors: &[(String, Vec<usize>)]) -> Vec<(String, Source)> {
    let places: HashMap<&str, usize> =
        tensors.iter().enumerate().map(|(index, (name, _))| (name.as_str(), index)).collect();
    // Two tensors of one name are the caller's to refuse.
    if places.len() != tensors.len() {
        return tensors
            .iter()
            .enumerate()
            .map(|(index, (name, _))| (name.clone(), Source::Same(index)))
            .collect();
    }
    let at = |name: String| places.get(name.as_str()).copied();
    let pair = |g: Option<usize>, v: Option<usize>| {
        let (g, v) = (g?, v?);
        is_weight_norm(&tensors[g].1, &tensors[v].1).then_some((g, v))
    };
    let mut plan = Vec::new();
    for (index, (name, _)) in tensors.iter().enumerate() {
        let weight_norm = |weight: String, (g, v): (usize, usize)| {
            // One of the two parts stands for the weight, the first; the other is dropped.
            (index == g.min(v)).then_some((weight, Source::WeightNorm { g, v }))
        };
        let renamed = |name: String| Some((name, Source::Same(index)));
        let parts = parametrized(name);
        let entry = match parts {
            Some((owner, parameter, rest)) => {
                let place = format!("{owner}{PLACE}{parameter}.");
                let part = |rest: &str| at(format!("{place}{rest}"));
                let is_spectral =
                    part("original").is_some() && part("0._u").is_some() && part("0._v").is_some();
                match (rest, pair(part("original0"), part("original1"))) {
                    ("original0" | "original1", Some(pair)) => {
                        weight_norm(format!("{owner}{parameter}"), pair)
                    }
                    ("original", _) if is_spectral => renamed(format!("{owner}{parameter}_orig")),
                    ("0._u", _) if is_spectral => renamed(format!("{owner}{parameter}_u")),
                    ("0._v", _) if is_spectral => renamed(format!("{owner}{parameter}_v")),
                    _ => renamed(name.clone()),
                }
            }
            None => {
                let base = name.strip_suffix("_g").or_else(|| name.strip_suffix("_v"));
                let parts = base.and_then(|base| {
                    let spectral = at(format!("{base}_orig")).is_some() || at(base.to_owned()).is_some();
                    let pair = pair(at(format!("{base}_g")), at(format!("{base}_v")))?;
                    (!spectral).then_some((base, pair))
                });
                match parts {
                    Some((base, pair)) => weight_norm(base.to_owned(), pair),
                    None => renamed(name.clone()),
                }
            }
        };
        plan.extend(entry);
    }
    plan
}

/// The parts of `OWNER.parametrizations.PARAMETER.REST`; OWNER with its dot.
fn parametrized(name: &str) -> Option<(&str, &str, &str)> {
    let at = name.find(PLACE).filter(|&at| at == 0 || name[..at].ends_with('.'))?;
    let (parameter, rest) = name[at + PLACE.len()..].split_once('.')?;
    Some((&name[..at], parameter, rest))
}

/// Whether g and v have the shapes of weight norm's parts.
fn is_weight_norm(g: &[usize], v: &[usize]) -> bool {
    if v.is_empty() {
        return false;
    }
    let one = g.iter().all(|&size| size == 1);
    let kept = g.iter().zip(v).filter(|&(g, v)| g == v && *g > 1).count();
    let ones = g.iter().filter(|&&size| size == 1).count();
    one || (g.len() == v.len() && kept == 1 && ones + 1 == g.len())
}

/// g v / ‖v‖, with a norm for each element of g.
fn weight_norm(g: Array, v: Array) -> Result<Array, String> {
    let (Elements::F32(scales), Elements::F32(values)) = (&g.elements, &v.elements) else {
        return Err(format!(
            "weight norm of {} and {}, expected floats",
            g.elements.type_name(),
            v.elements.type_name()
        ));
    };
    let axis = g.shape.iter().position(|&size| size > 1);
    // The distance between indices of the axis, and their number.
    let (inner, size) = match axis {
        Some(axis) => (count(&v.shape[axis + 1..]).unwrap_or(1).max(1), v.shape[axis]),
        None => (values.len().max(1), 1),
    };
    let group = |index: usize| index / inner % size;
    let mut squares = vec![0.0; size];
    for (index, &value) in values.iter().enumerate() {
        squares[group(index)] += f64::from(value).powi(2);
    }
    let factors: Vec<f64> = scales
        .iter()
        .zip(squares)
        .map(|(&scale, square): (&f32, f64)| f64::from(scale) / square.sqrt())
        .collect();
    let weight =
        values.iter().enumerate().map(|(index, &value)| (f64::from(value) * factors[group(index)]) as f32);
    Ok(Array { shape: v.shape, elements: Elements::F32(weight.collect()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(tensors: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        tensors.iter().map(|&(name, shape)| (name.to_owned(), shape.to_vec())).collect()
    }

    fn floats(shape: &[usize], values: &[f32]) -> Array {
        Array { shape: shape.to_vec(), elements: Elements::F32(values.to_vec()) }
    }

    #[test]
    fn spectral_norm_gets_its_old_names() {
        let new = shapes(&[
            ("net.conv.bias", &[2]),
            ("net.conv.parametrizations.weight.original", &[2, 3, 1, 1]),
            ("net.conv.parametrizations.weight.0._u", &[2]),
            ("net.conv.parametrizations.weight.0._v", &[3]),
            ("parametrizations.weight.original", &[2, 3]),
            ("parametrizations.weight.0._u", &[2]),
            ("parametrizations.weight.0._v", &[3]),
        ]);
        let old = shapes(&[
            ("net.conv.bias", &[2]),
            ("net.conv.weight_orig", &[2, 3, 1, 1]),
            ("net.conv.weight_u", &[2]),
            ("net.conv.weight_v", &[3]),
            ("weight_orig", &[2, 3]),
            ("weight_u", &[2]),
            ("weight_v", &[3]),
        ]);
        assert_eq!(names(&new), old);
        // Old names, and parametrisations that are not known, stay.
        assert_eq!(names(&old), old);
        let other = shapes(&[
            ("a.parametrizations.weight.original", &[2, 3]),
            ("a.parametrizations.weight.0.base", &[2]),
        ]);
        assert_eq!(names(&other), other);
    }

    #[test]
    fn weight_norm_is_multiplied_out() {
        for [g, v] in [
            ["a.weight_g", "a.weight_v"],
            ["a.parametrizations.weight.original0", "a.parametrizations.weight.original1"],
        ] {
            for (shape, scales, expected) in [
                (&[2, 1][..], &[5.0, 1.0][..], [3.0, 4.0, 0.0, 1.0]),
                (&[1, 2], &[3.0, 1.0], [3.0, 4.0 / 20f32.sqrt(), 0.0, 2.0 / 20f32.sqrt()]),
                (&[], &[1.0], [3.0, 4.0, 0.0, 2.0].map(|value| value / 29f32.sqrt())),
                (&[1, 1], &[29f32.sqrt()], [3.0, 4.0, 0.0, 2.0]),
            ] {
                let parts = vec![
                    (g.to_owned(), floats(shape, scales)),
                    ("a.bias".to_owned(), floats(&[2], &[1.0, 2.0])),
                    (v.to_owned(), floats(&[2, 2], &[3.0, 4.0, 0.0, 2.0])),
                ];
                let listed = parts.iter().map(|(name, array)| (name.clone(), array.shape.clone()));
                let expected_names = shapes(&[("a.weight", &[2, 2]), ("a.bias", &[2])]);
                assert_eq!(names(&listed.collect::<Vec<_>>()), expected_names);
                let whole = arrays(parts).unwrap();
                assert_eq!((whole[0].0.as_str(), whole[1].0.as_str()), ("a.weight", "a.bias"));
                assert_eq!(whole[0].1.shape, [2, 2]);
                let Elements::F32(weight) = &whole[0].1.elements else { panic!("floats") };
                for (found, expected) in weight.iter().zip(expected) {
                    approx::assert_relative_eq!(*found, expected, max_relative = 2e-7);
                }
            }
        }
    }

    #[test]
    fn the_vector_of_spectral_norm_is_no_weight() {
        // Spectral norm's v beside a tensor that happens to be called weight_g, and parts of other shapes.
        for tensors in [
            shapes(&[("weight_orig", &[2, 3]), ("weight_u", &[2]), ("weight_v", &[3]), ("weight_g", &[3])]),
            shapes(&[("weight", &[2, 3]), ("weight_v", &[2, 3]), ("weight_g", &[2, 1])]),
            shapes(&[("weight_v", &[2, 3]), ("weight_g", &[3, 1])]),
            shapes(&[("weight_v", &[2, 3]), ("weight_g", &[2, 3])]),
            shapes(&[("weight_v", &[2, 3]), ("weight_g", &[2])]),
            shapes(&[("weight_v", &[2, 3])]),
            shapes(&[("weight_g", &[2, 1])]),
        ] {
            assert_eq!(names(&tensors), tensors);
        }
        let integers = Array { shape: vec![2, 1], elements: Elements::I64(vec![1, 2]) };
        let parts =
            vec![("weight_g".to_owned(), integers), ("weight_v".to_owned(), floats(&[2, 1], &[1.0, 2.0]))];
        assert_eq!(arrays(parts).unwrap_err(), "tensor weight: weight norm of I64 and F32, expected floats");
    }
}
