//! The flags that correspond to the names in the library's errors.

use jem::{Error, Result};

/// The flag for each argument that is not a setting of a recipe. A command whose flag has another name maps it with
/// [`Flags::flag`].
const FLAGS: [(&str, &str); 19] = [
    ("activation", "--activation"),
    ("arch", "--arch"),
    ("architecture", "--arch"),
    ("batch", "--batch"),
    ("classes", "--classes"),
    ("data", "--data"),
    ("device", "--device"),
    ("directory", "--data-dir"),
    ("key", "--key"),
    ("labels", "--labels"),
    ("mean", "--mean"),
    ("norm", "--norm"),
    ("pooling", "--pooling"),
    ("prefix", "--prefix"),
    ("preset", "--preset"),
    ("range", "--range"),
    ("recipe", "--recipe"),
    ("size", "--size"),
    ("std", "--std"),
];
/// Advice for a run that diverged.
const DIVERGED: &str =
    "try more --steps, a smaller --lr, --clamp-gradient 1, --clamp-x true or a larger --energy-l2";
/// Advice for a chain that diverged.
const CHAIN: &str = "take a smaller --step-size, or bound the chain by --clamp or --clamp-gradient";

/// The message of a library error for the user of a command, with the names of flags.
pub fn message(error: Error) -> String {
    match error {
        Error::Setting { key, message } => {
            let flag = FLAGS.iter().find(|(name, _)| *name == key).map_or(key.as_str(), |(_, flag)| flag);
            format!("{flag}: {message}")
        }
        Error::NoDevice { asked, message } => format!("--device {asked}: {message}"),
        Error::Diverged { .. } => format!("{error}; {DIVERGED}"),
        Error::ChainDiverged { .. } => format!("{error}; {CHAIN}"),
        Error::Unwritten { ref run, .. } => format!("{error} with --resume {}", run.display()),
        other => other.to_string(),
    }
}

/// Renames and extends the library's errors for a command.
pub trait Flags {
    /// Replaces the library's `argument` by `flag`.
    fn flag(self, argument: &str, flag: &str) -> Self;

    /// Reports that a batch of `batch` images is too large, with a number that fits, if the device has no room for a
    /// tensor in one of `programs`.
    fn batch(self, batch: usize, programs: &[&str]) -> Self;

    /// Appends `hint` to the message of a setting or file error.
    fn hint(self, hint: &str) -> Self;

    /// Names the flag that reads images which could not be read: `--size SIDE`, `--allow-truncated` or `--range`.
    fn advise(self, side: usize) -> Self;
}

/// The note of a reader for the user of a command, with the names of flags.
pub fn note(text: &str) -> String {
    text.replace("a range of ", "--range ")
}

impl<T> Flags for Result<T> {
    fn flag(self, argument: &str, flag: &str) -> Self {
        self.map_err(|error| match error {
            Error::Setting { key, message } if key == argument => Error::setting(flag, message),
            Error::NoDevice { asked, message } if argument == "device" => {
                Error::setting(format!("{flag} {asked}"), message)
            }
            other => other,
        })
    }

    fn batch(self, batch: usize, programs: &[&str]) -> Self {
        self.map_err(|error| match error {
            Error::Limit { tensor, program, needs, allows, device, limit }
                if programs.contains(&program.as_str()) =>
            {
                let fits = batch as u128 * u128::from(allows) / u128::from(needs.max(1));
                let fits = match fits {
                    0 => "no batch fits: take a smaller network".to_owned(),
                    fits => format!("at most about {fits} fit"),
                };
                let message = format!(
                    "{batch} are too many for {device}: {tensor} in {program} needs {needs} bytes, and {limit} is \
                     {allows}; {fits}"
                );
                Error::setting("--batch", message)
            }
            other => other,
        })
    }

    fn hint(self, hint: &str) -> Self {
        self.map_err(|error| match error {
            Error::Setting { key, message } => Error::setting(key, format!("{message}; {hint}")),
            Error::File { path, message } => Error::file(path, format!("{message}; {hint}")),
            other => other,
        })
    }

    fn advise(self, side: usize) -> Self {
        self.map_err(|error| match error {
            Error::Setting { key, message } if key == "size" && message.starts_with("expected") => {
                Error::setting(key, format!("{message}; --size {side} scales them"))
            }
            Error::File { path, message }
                if message.starts_with("is truncated") && !message.ends_with("no part of it can be read") =>
            {
                Error::file(path, format!("{message}; --allow-truncated reads as far as it goes"))
            }
            Error::File { path, message } => Error::file(path, note(&message)),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_flag() {
        let wrong = |key: &str| Error::setting(key, "got x");
        assert_eq!(message(wrong("mean")), "--mean: got x");
        assert_eq!(message(wrong("step_size")), "step_size: got x");
        let renamed: Result<()> = Err(wrong("images")).flag("images", "--threshold-on").hint("name one");
        assert_eq!(message(renamed.unwrap_err()), "--threshold-on: got x; name one");
        let other: Result<()> = Err(wrong("data")).flag("images", "--threshold-on");
        assert_eq!(message(other.unwrap_err()), "--data: got x");
        let device = || Error::NoDevice { asked: "gpu".into(), message: "there is none".into() };
        assert_eq!(message(device()), "--device gpu: there is none");
        let tested: Result<()> = Err(device()).flag("device", "--test");
        assert_eq!(message(tested.unwrap_err()), "--test gpu: there is none");
        let large = |program: &str| -> Result<()> {
            let (tensor, device, limit) = ("features".into(), "a GPU".into(), "max_buffer_size");
            Err(Error::Limit { tensor, program: program.into(), needs: 5000, allows: 1024, device, limit })
        };
        let text = message(large("sgld").batch(64, &["sgld"]).unwrap_err());
        for part in ["--batch: 64 are too many for a GPU", "features in sgld", "5000", "at most about 13 fit"]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(message(large("sgld").batch(1, &["sgld"]).unwrap_err()).contains("smaller network"));
        assert!(!message(large("score").batch(64, &["sgld"]).unwrap_err()).contains("--batch"));
        let diverged = Error::Diverged { iteration: 3, message: "loss is NaN".into() };
        assert!(message(diverged).contains("iteration 3: loss is NaN; try more --steps"));
        let chain = Error::ChainDiverged { chain: 1, step: 2, log_density: f32::NAN };
        assert!(message(chain).contains("NaN at step 2; take a smaller --step-size"));
    }
}
