//! Images for a machine without data sets: some of CIFAR-10's, as a folder that `jem train --data` takes.

use jem::data::{Dataset, cifar};
use jem::io::png::Picture;
use std::fs;
use std::path::Path;

/// Writes the first `n` images of the training set in `directory` as `out/train/CLASS/NUMBER.png`, and a fifth as
/// many of the test set as `out/test/CLASS/NUMBER.png`.
///
/// # Errors
/// A message, if the files are damaged or cannot be read or written.
pub fn write(directory: &Path, out: &Path, n: usize) -> Result<(), String> {
    let (train, test) = cifar::load(directory).map_err(|error| error.to_string())?;
    for (set, part, n) in [(&train, "train", n), (&test, "test", n / 5)] {
        part_of(set, &out.join(part), n).map_err(|error| format!("{}: {error}", out.display()))?;
    }
    Ok(())
}

fn part_of(set: &Dataset, folder: &Path, n: usize) -> jem::Result<()> {
    for name in &set.class_names {
        let class = folder.join(name);
        fs::create_dir_all(&class).map_err(jem::Error::io(&class))?;
    }
    for index in 0..n.min(set.len()) {
        let picture = Picture {
            width: set.width,
            height: set.height,
            channels: set.channels,
            pixels: set.image(index).to_vec(),
        };
        let class = &set.class_names[set.labels[index] as usize];
        picture.write_png(&folder.join(class).join(format!("{index:05}.png")))?;
    }
    Ok(())
}
