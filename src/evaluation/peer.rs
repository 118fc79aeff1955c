//! The figures that other programs compute, from `tests/fixtures/evaluation/make.py`.

use super::predictions::Predictions;
use std::collections::BTreeMap;

/// Arrays by name.
pub struct Peer(BTreeMap<String, Vec<f64>>);

/// Logits and labels with the figures of scikit-learn and torchmetrics.
pub struct Classifier {
    pub predictions: Predictions,
    peer: Peer,
}

fn read(name: &str) -> Peer {
    let path = format!("tests/fixtures/evaluation/{name}.json");
    Peer(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

/// Scores of two sets with the figures of scikit-learn.
pub fn detection() -> Peer {
    read("detection")
}

pub fn classifier() -> Classifier {
    let peer = read("classifier");
    let logits = peer.numbers("logits").iter().map(|&x| x as f32).collect();
    let labels = peer.numbers("labels").iter().map(|&x| x as u32).collect();
    Classifier { predictions: Predictions::new(logits, labels, 12).unwrap(), peer }
}

impl Peer {
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        self.0[key].clone()
    }

    pub fn number(&self, key: &str) -> f64 {
        let [number] = self.0[key][..] else { panic!("{key} has several numbers") };
        number
    }
}

impl Classifier {
    pub fn numbers(&self, key: &str) -> Vec<f64> {
        self.peer.numbers(key)
    }

    pub fn number(&self, key: &str) -> f64 {
        self.peer.number(key)
    }
}
