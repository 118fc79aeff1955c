//! The figures of all images.

use jem::ebm::Posterior;
use jem::io::pack;

/// A row an image.
pub struct ScoreTable {
    pub classes: usize,
    pub logits: Vec<f32>,
    pub posteriors: Vec<Posterior>,
    pub gradients: Option<Gradients>,
    pub labels: Option<Vec<u32>>,
    /// The classes of least energy.
    pub ranking: Option<Vec<Vec<usize>>>,
    /// Whether it is in distribution.
    pub verdict: Option<Vec<bool>>,
}

impl ScoreTable {
    pub fn len(&self) -> usize {
        self.posteriors.len()
    }

    pub fn logits_of(&self, i: usize) -> &[f32] {
        &self.logits[i * self.classes..][..self.classes]
    }

    /// Whether image `i` is classified right.
    pub fn correct(&self, i: usize) -> Option<bool> {
        self.labels.as_ref().map(|labels| labels[i] as usize == self.posteriors[i].prediction)
    }
}

/// Input gradients as they come, batch by batch: of 10,000 images they fill 123 MB, which only an `.npz` needs.
pub struct Gradients {
    /// Rows, columns and channels.
    pub shape: [usize; 3],
    pub norms: Vec<f32>,
    /// [n, c, h, w], if they are kept.
    pub all: Option<Vec<f32>>,
}

impl Gradients {
    /// Keeps the norms alone.
    pub fn norms(shape: [usize; 3]) -> Self {
        Self { shape, norms: Vec::new(), all: None }
    }

    /// Keeps those of `count` images.
    pub fn all(count: usize, shape: [usize; 3]) -> Self {
        let all = Some(Vec::with_capacity(count * shape.iter().product::<usize>()));
        Self { all, ..Self::norms(shape) }
    }

    /// Adds a batch, NHWC.
    pub fn push(&mut self, batch: &[f32]) {
        let [h, w, c] = self.shape;
        let norm = |g: &[f32]| g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt() as f32;
        self.norms.extend(batch.chunks(h * w * c).map(norm));
        if let Some(all) = &mut self.all {
            all.extend(pack::nhwc_to_nchw(batch, batch.len() / (h * w * c), h, w, c));
        }
    }
}
