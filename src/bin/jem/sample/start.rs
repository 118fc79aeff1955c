//! The starting points of chains.

use super::Arguments;
use crate::common::waiting;
use crate::session::flags::Flags as _;
use jem::ebm::{ChainSource, Model};
use jem::{Error, Result};

/// The values of `--init` that name no images.
pub const UNIFORM: &str = "uniform";
pub const BUFFER: &str = "buffer";
pub const GAUSSIANS: &str = "gaussians";
/// The default number of chains.
const COUNT: usize = 64;
/// The largest number of chains, whose samples are in memory at once.
const MAX_COUNT: usize = 1 << 20;

/// The source that `init`, the value of `--init`, names, for chains of `classes` (empty: chains of p(x)). Inpainting
/// needs images, whose pixels it holds.
pub fn source(arguments: &Arguments, init: &str, model: &Model, classes: &[u32]) -> Result<ChainSource> {
    let seed = arguments.seed;
    let source = match init {
        UNIFORM => ChainSource::uniform(model, seed),
        BUFFER => ChainSource::buffer(model, seed)?,
        GAUSSIANS => {
            let images =
                arguments.source.open("--init-data", &arguments.init_data, model, &arguments.output)?;
            let waiting = waiting(&format!("fitting Gaussians to {}", images.name), &arguments.output);
            let source =
                ChainSource::gaussians(model, seed, images, classes).flag("images", "--init-data")?;
            drop(waiting);
            source
        }
        text => {
            let images = arguments.source.open("--init", text, model, &arguments.output)?;
            ChainSource::images(model, seed, images).flag("images", "--init")?
        }
    };
    if arguments.inpaint.is_some() && !source.has_images() {
        let message = "needs images, whose pixels it holds: pass them with --init";
        return Err(Error::setting("--inpaint", message));
    }
    Ok(source)
}

/// The number of chains, a multiple of the number of classes: the number `asked` for, else [`COUNT`] or the number of
/// images, whichever is less.
pub fn count(source: &ChainSource, asked: Option<usize>, classes: &[u32]) -> Result<usize> {
    let rows = classes.len().max(1);
    let wrong = |message: String| Err(Error::setting("--count", message));
    match (asked, source.available(classes)) {
        (Some(0), _) => wrong("must be at least 1, got 0".into()),
        (Some(count), _) if count > MAX_COUNT => wrong(format!("expected at most {MAX_COUNT}, got {count}")),
        (Some(count), _) if count % rows > 0 => wrong(format!(
            "expected a multiple of {rows}, for as many chains of each of the {rows} classes, got {count}"
        )),
        (Some(count), Some((there, what))) if count > there => {
            wrong(format!("expected at most {there}, {what}, got {count}"))
        }
        (Some(count), _) => Ok(count),
        (None, None) => Ok(COUNT.div_ceil(rows) * rows),
        (None, Some((there, what))) if there < rows => {
            wrong(format!("expected at least {rows}, one for each class, but {what} number {there}"))
        }
        (None, Some((there, _))) => Ok(there.min(COUNT.div_ceil(rows) * rows) / rows * rows),
    }
}
