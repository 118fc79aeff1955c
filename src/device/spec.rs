//! The device that the user asks for: `--device auto|gpu|gpu:NAME|cpu`.

use crate::compute::cooperative::Variant;
use crate::error::{Error, Result};
use crate::user::variable;

/// The device to open: `auto`, `gpu`, `gpu:NAME` or `cpu`.
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
            _ => Err(Error::setting("device", format!("expected auto, gpu, gpu:NAME or cpu, got {text:?}"))),
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

/// Options for opening a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceOptions {
    /// Lets naga bound every index and loop, which is slower: for tests and for finding a bad shader. Shaders that go
    /// to the driver as patched SPIR-V stay unchecked.
    pub checked: bool,
    /// Neither reads nor writes the file of compiled pipelines.
    pub uncached: bool,
    /// The variants of cooperative matrices that may be used; `None` asks [`CooperativeChoice::VARIABLE`].
    pub cooperative: Option<CooperativeChoice>,
}

/// The variants of cooperative matrices (tensor cores) that a device may use: `--cooperative any|none|VARIANT`. A
/// variant must pass [`crate::self_test::gate`] too before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CooperativeChoice {
    /// The first variant that passes.
    #[default]
    Any,
    /// None: the device is opened without them.
    None,
    /// This variant alone.
    Only(Variant),
}

impl CooperativeChoice {
    /// The environment variable for the choice, where no flag gives it.
    pub const VARIABLE: &str = "JEM_COOPERATIVE";

    /// The choice of the environment; [`CooperativeChoice::Any`] if the variable is not set.
    ///
    /// # Errors
    /// [`Error::Setting`] for a value that is not a choice.
    pub fn from_environment() -> Result<Self> {
        let Some(value) = variable(Self::VARIABLE) else { return Ok(Self::Any) };
        let value = value.to_string_lossy();
        value.parse().map_err(|message| Error::setting(Self::VARIABLE, message))
    }

    /// The variants that it allows, in the order in which the gate tries them.
    pub fn variants(self) -> Vec<Variant> {
        match self {
            Self::Any => Variant::ALL.to_vec(),
            Self::None => Vec::new(),
            Self::Only(variant) => vec![variant],
        }
    }
}

impl std::str::FromStr for CooperativeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let variant = Variant::ALL.into_iter().find(|variant| variant.to_string() == text);
        match (text, variant) {
            (_, Some(variant)) => Ok(Self::Only(variant)),
            ("any", _) => Ok(Self::Any),
            ("none", _) => Ok(Self::None),
            _ => {
                let variants = Variant::ALL.map(|variant| variant.to_string()).join(", ");
                Err(format!("expected any, none, {variants}; got {text:?}"))
            }
        }
    }
}

impl std::fmt::Display for CooperativeChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::None => f.write_str("none"),
            Self::Only(variant) => variant.fmt(f),
        }
    }
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
    fn choices_of_matrices_are_read_and_written_alike() {
        for text in ["any", "none", "naga", "patched", "flat", "flat-patched"] {
            assert_eq!(text.parse::<CooperativeChoice>().unwrap().to_string(), text);
        }
        let error = "Flat".parse::<CooperativeChoice>().unwrap_err();
        assert_eq!(error, "expected any, none, naga, patched, flat, flat-patched; got \"Flat\"");
        assert_eq!(CooperativeChoice::Any.variants(), Variant::ALL);
        assert!(CooperativeChoice::None.variants().is_empty());
        assert_eq!(CooperativeChoice::Only(Variant::Flat).variants(), [Variant::Flat]);
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for text in ["", "gpu:", "cuda", "cpu:0", "GPU"] {
            let error = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains("device") && error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
