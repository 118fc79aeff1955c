//! The flags of samples.

use jem::ebm::Model;
use jem::evaluation::generation::inception::Inception;
use jem::evaluation::{SampleStart, Samples};
use jem::words::counted;
use jem::{Error, Result};
use std::path::PathBuf;

/// The numbers of samples and of fresh chains, and the longest of these, with --quick.
const QUICK: [usize; 3] = [100, 8, 1000];
/// The largest number of samples, which are in memory at once.
const MAX: usize = 1 << 17;

/// Which samples to draw.
#[derive(Debug, Clone, clap::Args)]
pub struct SampleArguments {
    /// Number of samples [default: 1,000]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// SGLD steps of each sample
    #[arg(long, value_name = "K", default_value_t = Samples::standard().steps)]
    sample_steps: usize,
    /// Starting points of samples: uniform (noise), buffer (the chains of the model's replay buffer) or gaussians (one for
    /// each class of the training images)
    #[arg(long, value_name = "START", default_value = "uniform", hide_possible_values = true)]
    sample_init: SampleStart,
    /// Sample p(x|y), as many of each class, rather than p(x)
    #[arg(long)]
    sample_classes: bool,
    /// File of the public Inception network, pt_inception-2015-12-05-6726825d.pth, for FID, KID and the Inception Score
    /// [default: none, so distances in the features of a model]
    #[arg(long, value_name = "FILE")]
    pub inception: Option<PathBuf>,
}

impl SampleArguments {
    /// The samples of `models`.
    pub fn samples(&self, models: &[(PathBuf, Model)], quick: bool) -> Result<Samples> {
        let standard = Samples::standard();
        let wrong = |flag: &str, message: String| Err(Error::setting(flag, message));
        let model = &models[0].1;
        let rows = if self.sample_classes { model.network().classes() } else { 1 };
        let mut count = self.samples.unwrap_or(if quick { QUICK[0] } else { standard.count });
        if count == 0 || count > MAX {
            return wrong("--samples", format!("expected 1 to {MAX}, got {count}"));
        }
        if self.sample_init == SampleStart::Buffer {
            let Some(there) = model.chains().filter(|chains| *chains > 0) else {
                return wrong("--sample-init", format!("{} has no replay buffer", model.path().display()));
            };
            match self.samples {
                Some(asked) if asked > there => {
                    let message = format!("expected at most {there}, the chains of the buffer, got {asked}");
                    return wrong("--samples", message);
                }
                _ => count = count.min(there),
            }
        }
        if self.samples.is_some() && !count.is_multiple_of(rows) {
            let message = format!("expected a multiple of {}, got {count}", counted(rows, "class"));
            return wrong("--samples", message);
        }
        count = (count / rows).max(1) * rows;
        // A plain classifier's features, if there is one: samples are not made for them.
        let is_plain = |(_, model): &(PathBuf, Model)| model.is_density() == Some(false);
        let features = models.iter().skip(1).position(is_plain).map_or(0, |other| other + 1);
        Ok(Samples {
            count,
            steps: self.sample_steps,
            start: self.sample_init,
            conditional: self.sample_classes,
            fresh: if quick { [QUICK[1], QUICK[2]] } else { standard.fresh },
            inception: self.inception.clone(),
            features,
        })
    }

    /// Whether samples start at the chains of the model's buffer, so that it must be read with them.
    pub fn needs_buffer(&self) -> bool {
        self.sample_init == SampleStart::Buffer
    }

    /// Refuses a file that is not the Inception network's, before the work starts.
    pub fn check(&self) -> Result<()> {
        self.inception.as_deref().map_or(Ok(()), Inception::check)
    }
}
