//! The flags that say how pictures and arrays are read, of every command that takes images.

use crate::session::quoted;
use jem::data::picture_cache;
use jem::data::reading::{ReadOptions, ValueRange};

/// How pictures and arrays are read.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PictureArguments {
    /// Scale pictures: the shorter side to N pixels with antialiasing, then the central square
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    size: Option<u32>,
    /// Read truncated pictures as far as they go, grey where pixels are missing; without it they are an error
    #[arg(long)]
    allow_truncated: bool,
    /// Values of black and white in pictures and arrays, such as 0,1 [default: -1,1 of floats, 0,255 of all else]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    range: Option<ValueRange>,
    /// Decode pictures again; without it decoded folders are kept in the user's cache, or in `$JEM_IMAGE_CACHE`
    #[arg(long)]
    no_cache: bool,
}

impl PictureArguments {
    /// The options that these flags ask for, over those that are `recorded`.
    pub fn options(&self, recorded: ReadOptions) -> ReadOptions {
        ReadOptions {
            size: self.size.map(|size| size as usize).or(recorded.size),
            allow_truncated: self.allow_truncated || recorded.allow_truncated,
            range: self.range.or(recorded.range),
            cache: if self.no_cache { None } else { picture_cache::directory() },
            ..recorded
        }
    }
}

/// The flags that read pictures with `options`, each behind a space.
pub fn flags(options: &ReadOptions) -> String {
    let mut flags = String::new();
    if let Some(size) = options.size {
        flags += &format!(" --size {size}");
    }
    if options.allow_truncated {
        flags += " --allow-truncated";
    }
    if let Some(range) = options.range {
        flags += &format!(" --range {range}");
    }
    if let Some(labels) = &options.labels {
        flags += &format!(" --labels {}", quoted(&labels.display().to_string()));
    }
    flags
}
