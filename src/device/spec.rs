//! What the user asks for: `--device auto|gpu|gpu:NAME|cpu`.

use crate::error::{Error, Result};

/// Which device to open: `auto`, `gpu`, `gpu:NAME` or `cpu`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceSpec {
    /// A hardware GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The best hardware GPU; an error if there is none.
    Gpu,
    /// The adapter whose name contains this text, ignoring case; software adapters included.
    GpuNamed(String),
    /// The host.
    Cpu,
}

impl std::str::FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "gpu" => Ok(Self::Gpu),
            None if text == "cpu" => Ok(Self::Cpu),
            Some(("gpu", name)) if !name.is_empty() => Ok(Self::GpuNamed(name.to_owned())),
            _ => {
                Err(Error::setting("--device", format!("expected auto, gpu, gpu:NAME or cpu, got {text:?}")))
            }
        }
    }
}

impl std::fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Gpu => f.write_str("gpu"),
            Self::GpuNamed(name) => write!(f, "gpu:{name}"),
            Self::Cpu => f.write_str("cpu"),
        }
    }
}

/// How to open a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceOptions {
    /// Let naga bound every index and loop: slower, for tests and for hunting a bad shader.
    pub checked: bool,
    /// Choose kernels by rule, whatever `jem tune` measured on the device; [`super::tuned`] else.
    pub untuned: bool,
    /// Compile every kernel, whatever earlier runs left in the directory of `JEM_PIPELINE_CACHE`, and leave nothing
    /// there.
    pub uncached: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_alike() {
        for text in ["auto", "gpu", "cpu", "gpu:GeForce RTX 4090", "gpu:a:b"] {
            assert_eq!(text.parse::<DeviceSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for text in ["", "gpu:", "cuda", "cpu:0", "GPU"] {
            let error = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains("--device") && error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
