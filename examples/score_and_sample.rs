//! Loads a model, scores images with it and draws samples from it: `score_and_sample MODEL [IMAGES]`, where IMAGES is a
//! folder, a NumPy file or a data set such as `cifar10:test`.

use jem::data::images::Images;
use jem::data::synthetic::synthetic;
use jem::device::Device;
use jem::ebm::{Model, Posterior, Sampler, ScoreSettings, Scorer, uniform_image};
use jem::io::png::write_grid;
use std::path::Path;

fn main() -> jem::Result<()> {
    jem::self_test::serve();
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| "runs/mine/best.safetensors".into());
    let (model, device) = (Model::open(Path::new(&path))?, Device::auto()?);
    let [height, width, channels] = model.image_shape();
    let images = match arguments.next() {
        Some(source) => Images::open(&source, None, &|_| {})?,
        None => synthetic(8, 0, 1).0.into(),
    };
    let images = images.fit(height, width, channels)?;

    let scorer = Scorer::new(&device, &model, ScoreSettings::default(), images.count)?;
    let scores = scorer.score(&images.batch(0..images.count))?;
    for (i, logits) in scores.logits.chunks(model.network().classes()).enumerate() {
        let Posterior { logsumexp, probabilities, prediction, .. } = Posterior::new(logits, 1.0);
        let probability = probabilities[prediction];
        println!("image {i}: class {prediction}, p = {probability:.3}, energy {:.3}", -logsumexp);
    }

    const CHAINS: usize = 16;
    let (mode, langevin) = (ScoreSettings::default().mode, model.langevin().unwrap_or_default());
    let sampler = Sampler::new(&device, &model, mode, langevin, CHAINS, false, None)?;
    let noise = |chain| uniform_image(1, chain, height * width * channels);
    sampler.start(&(0..CHAINS as u32).flat_map(noise).collect::<Vec<f32>>(), &[0; CHAINS], 1, 0)?;
    (0..100).try_for_each(|_| sampler.step().map(drop))?;
    write_grid(Path::new("samples.png"), &sampler.images()?, CHAINS, height, width, channels, 4, 4)
}
