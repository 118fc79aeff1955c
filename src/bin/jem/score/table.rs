//! The scores of all images.

use jem::ebm::Posterior;
use jem::io::pack;

/// The scores, a row per image.
pub struct ScoreTable {
    pub classes: usize,
    /// The names of the model's classes, if they are known.
    pub names: Option<Vec<String>>,
    pub logits: Vec<f32>,
    pub posteriors: Vec<Posterior>,
    pub gradients: Option<Gradients>,
    pub labels: Option<Vec<u32>>,
    /// The lowest-energy classes of each image, the lowest first.
    pub ranking: Option<Vec<Vec<usize>>>,
    /// Whether each image is in distribution.
    pub verdict: Option<Vec<bool>>,
}

impl ScoreTable {
    /// The name of a class, else its number.
    pub fn class(&self, k: usize) -> String {
        self.names.as_ref().map_or_else(|| k.to_string(), |names| names[k].clone())
    }

    pub fn len(&self) -> usize {
        self.posteriors.len()
    }

    pub fn logits_of(&self, i: usize) -> &[f32] {
        &self.logits[i * self.classes..][..self.classes]
    }

    /// Whether the prediction for image `i` equals its label; `None` without labels.
    pub fn correct(&self, i: usize) -> Option<bool> {
        self.labels.as_ref().map(|labels| labels[i] as usize == self.posteriors[i].prediction)
    }
}

/// Input gradients, added batch by batch. Those of 10,000 images take 123 MB, so they are kept only for an `.npz`.
pub struct Gradients {
    /// Rows, columns and channels.
    pub shape: [usize; 3],
    pub norms: Vec<f32>,
    /// All gradients, [n, c, h, w], if they are kept.
    pub all: Option<Vec<f32>>,
}

impl Gradients {
    /// Keeps the norms only.
    pub fn norms(shape: [usize; 3]) -> Self {
        Self { shape, norms: Vec::new(), all: None }
    }

    /// Keeps the norms and the gradients of `count` images.
    pub fn all(count: usize, shape: [usize; 3]) -> Self {
        let all = Some(Vec::with_capacity(count * shape.iter().product::<usize>()));
        Self { all, ..Self::norms(shape) }
    }

    /// Adds a batch of gradients, NHWC.
    pub fn push(&mut self, batch: &[f32]) {
        let [h, w, c] = self.shape;
        let norm = |g: &[f32]| g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt() as f32;
        self.norms.extend(batch.chunks(h * w * c).map(norm));
        if let Some(all) = &mut self.all {
            all.extend(pack::nhwc_to_nchw(batch, batch.len() / (h * w * c), h, w, c));
        }
    }
}
