//! Whole modules, TorchScript, and layers with parametrised weights.

use crate::{counted, fixture, floats, load, load_under, shapes};
use jem::io::elements::{Array, Elements};
use jem::io::parametrization;
use jem::io::state_file::{Dictionary, open};

#[test]
fn whole_modules_have_the_tensors_of_their_state_dicts() {
    let opened = open(&fixture("whole.pt")).unwrap();
    let [Dictionary { key, class, .. }] = opened.dictionaries() else {
        panic!("{:?}", opened.dictionaries())
    };
    assert_eq!((key.as_str(), class.as_deref()), ("", Some("__main__.Whole")));
    let file = opened.load(0).unwrap();
    assert!(file.facts.to_string().contains("the tensors of a __main__.Whole"), "{}", file.facts);
    let names: Vec<&str> = file.tensors.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "blocks.0.weight",
        "blocks.0.scale",
        "blocks.2.weight",
        "blocks.2.scale",
        "shared.weight",
        "shared.scale",
        "head.weight_orig",
        "head.weight_u",
        "head.weight_v",
    ];
    assert_eq!(names, expected);
    assert_eq!(file.tensors[4].1, counted(&[2, 3]));
    let file = load("whole_in_legacy.pt");
    let expected = [("module.weight", counted(&[2, 3])), ("module.scale", floats(&[1], [0.5]))];
    assert_eq!(file.tensors, expected.map(|(name, array)| (name.to_owned(), array)));
    assert_eq!(file.facts.key.as_deref(), Some("net"));
    assert_eq!(file.facts.class.as_deref(), Some("torch.nn.parallel.data_parallel.DataParallel"));
    assert_eq!(load("module.pt").tensors, [("weight".to_owned(), counted(&[2]))]);
    assert_eq!(load("module_legacy.pt").facts.class.as_deref(), Some("__main__.Net"));
}

#[test]
fn tensors_of_torchscript() {
    for name in ["script.pt", "trace.pt"] {
        let file = load(name);
        let mut tensors = file.tensors;
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("layers.0.bias", floats(&[2], [1.0, 2.0])),
            ("layers.0.weight", counted(&[2, 3])),
            ("scale", floats(&[1], [0.5])),
        ];
        assert_eq!(tensors, expected.map(|(name, array)| (name.to_owned(), array)), "{name}");
        assert!(file.facts.to_string().contains("TorchScript, whose code is not read"), "{}", file.facts);
    }
}

/// The weights of parametrised layers are those that PyTorch computes.
#[test]
fn norms_of_weights() {
    let path = fixture("norms.pt");
    let under = |key| load_under(open(&path).unwrap(), key).tensors;
    let expected = under("weights");
    let find = |tensors: &[(String, Array)], name: &str| {
        let found = tensors.iter().find(|(other, _)| other == name);
        match found.map(|(_, array)| &array.elements) {
            Some(Elements::F32(values)) => values.clone(),
            other => panic!("{name} is {other:?}"),
        }
    };
    let mut compared = [0, 0];
    for key in ["old", "new"] {
        let parts = under(key);
        let names = parametrization::names(&shapes(&parts));
        let whole = parametrization::arrays(parts).unwrap();
        assert_eq!(names, shapes(&whole));
        for (name, array) in &expected {
            let Elements::F32(expected) = &array.elements else { panic!("floats") };
            let found = if let Some(layer) = name.strip_suffix(".spectral.weight") {
                if key == "old" {
                    continue;
                }
                compared[1] += 1;
                let part = |part: &str| find(&whole, &format!("{layer}.spectral.weight_{part}"));
                divided(&part("orig"), &part("u"), &part("v"), &array.shape, layer == "deconv")
            } else {
                compared[0] += 1;
                assert_eq!(whole.iter().find(|(other, _)| other == name).unwrap().1.shape, array.shape);
                find(&whole, name)
            };
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 4e-7 * expected.abs().max(1e-2),
                    "{name}: {found} {expected}"
                );
            }
        }
    }
    assert_eq!(compared, [24, 4]);
}

/// The weight divided by u' W v, where the rows of W are those of axis 1 for a transposed convolution.
fn divided(weight: &[f32], u: &[f32], v: &[f32], shape: &[usize], transposed: bool) -> Vec<f32> {
    let taps: usize = shape[2..].iter().product();
    let (rows, columns) = if transposed { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
    assert_eq!((u.len(), v.len()), (rows, columns * taps));
    let mut sigma = 0.0;
    for (row, &u) in u.iter().enumerate() {
        for (at, &v) in v.iter().enumerate() {
            let (column, tap) = (at / taps, at % taps);
            let index = if transposed { column * rows + row } else { row * columns + column };
            sigma += f64::from(u) * f64::from(weight[index * taps + tap]) * f64::from(v);
        }
    }
    weight.iter().map(|&value| (f64::from(value) / sigma) as f32).collect()
}
