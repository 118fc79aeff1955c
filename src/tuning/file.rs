//! The file of kernels that `jem tune` found fastest: TOML, with a section for each adapter, driver and set of kernels.
//!
//! Sections of others are left alone and never read further, so that machines can share a file. In one's own
//! section a choice that this version would not measure is damage.

use crate::compute::conv_geometry::{ConvGeometry, ConvProblem, Direction};
use crate::compute::storage::{Storage, Storages};
use crate::device::{AdapterInfo, Device, DeviceOptions, DeviceSpec};
use crate::error::{Error, Result};
use crate::io::atomic;
use crate::policy::convolution::Tuned;
use crate::policy::implementation::{ConvImplementation, fingerprint};
use crate::user::{self, cache_directory, variable};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The environment variable that names the file, or is `none`.
pub const VARIABLE: &str = "JEM_TUNED";

/// The first line of the file.
const HEADER: &str = "# The kernels that `jem tune` measured to be the fastest. It can be deleted.\n\n";

/// The largest product of the sizes of a shape in the file, and its largest padding: far beyond any device, and
/// nothing overflows.
const LARGEST: usize = 1 << 48;
const LARGEST_PADDING: usize = 16;

/// The whole file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    adapter: Vec<Section>,
}

/// The measurements on an adapter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    vendor: u32,
    device: u32,
    backend: String,
    driver: String,
    driver_info: String,
    /// [`fingerprint`] of the kernels that were measured.
    kernels: String,
    #[serde(default)]
    choice: Vec<Entry>,
}

/// The winner for a shape.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    direction: Direction,
    n: usize,
    h: usize,
    w: usize,
    c_in: usize,
    c_out: usize,
    kh: usize,
    kw: usize,
    stride: usize,
    padding: usize,
    /// The storage types of the three tensors of [`Storages`].
    storage: [Storage; 3],
    /// A [`ConvImplementation`] in words.
    kernel: String,
}

/// Opens a device; a GPU has the kernels that [`path`]'s file holds for it.
///
/// # Errors
/// The errors of [`Device::open`], and those of [`read`].
pub fn open(spec: &DeviceSpec, options: DeviceOptions) -> Result<Device> {
    let device = Device::open(spec, options)?;
    let Some(adapter) = device.adapter() else { return Ok(device) };
    let policy = device.policy().clone().with_tuned(load(adapter)?);
    Ok(device.with_policy(policy))
}

/// The file that [`open`] reads: `$JEM_TUNED`, else `tuned.toml` in the user's cache directory.
/// `None` where `JEM_TUNED=none`, or where there is no such directory.
pub fn path() -> Option<PathBuf> {
    path_from(variable)
}

fn path_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    match variable(VARIABLE) {
        Some(value) if value == "none" => None,
        Some(value) => Some(value.into()),
        None => Some(cache_directory(variable)?.join("tuned.toml")),
    }
}

/// The winners that [`path`]'s file holds for `adapter`. There are none if `JEM_TUNED` is `none`, or if it is not set
/// and the user's cache directory has no file.
///
/// # Errors
/// [`Error::Setting`] if `JEM_TUNED` names a file that does not exist; the errors of [`read`].
pub fn load(adapter: &AdapterInfo) -> Result<Tuned> {
    let Some(path) = path() else { return Ok(Tuned::new()) };
    if variable(VARIABLE).is_some() && matches!(path.try_exists(), Ok(false)) {
        let message = format!(
            "there is no file {}; expected a file that `jem tune` wrote, or `none` to use no tuned kernels",
            path.display()
        );
        return Err(Error::setting(VARIABLE, message));
    }
    read(&path, adapter)
}

/// The winners that the file at `path` holds for `adapter`, its driver and the kernels of this version; none if there
/// is no file.
///
/// # Errors
/// [`Error::File`] for a damaged file, [`Error::Io`] for one that cannot be read.
pub fn read(path: &Path, adapter: &AdapterInfo) -> Result<Tuned> {
    let file = File::read(path)?;
    // Only where the adapter is known: it takes some milliseconds.
    let known = file.adapter.iter().any(|section| section.is_of(adapter));
    let kernels = if known { fingerprint() } else { String::new() };
    let mut tuned = Tuned::new();
    for section in file.adapter.iter().filter(|section| section.is_of(adapter) && section.kernels == kernels)
    {
        for entry in &section.choice {
            let (shape, candidate) = entry.parse().map_err(|message| damaged(path, &message))?;
            tuned.insert(shape, candidate);
        }
    }
    Ok(tuned)
}

/// Puts `tuned` into the file at `path` as the measurements on `adapter`, beside those on other adapters and of other
/// shapes. Measurements on this adapter with other drivers or kernels are dropped. A damaged file is replaced. Returns
/// the number of shapes that the file now has for the adapter.
///
/// # Errors
/// [`Error::Io`]: the old file is intact.
pub fn write(path: &Path, adapter: &AdapterInfo, tuned: &Tuned) -> Result<usize> {
    let (mut file, mut all) = match (File::read(path), read(path, adapter)) {
        (Ok(file), Ok(all)) => (file, all),
        (Err(Error::File { .. }), _) | (_, Err(Error::File { .. })) => (File::default(), Tuned::new()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    all.extend(tuned);
    file.adapter.retain(|section| !section.is_of_hardware(adapter));
    file.adapter.push(Section::new(adapter, &all));
    let text = toml::to_string(&file).expect("a file of tuned kernels is plain data");
    atomic::write(path, |file| {
        file.write_all(HEADER.as_bytes()).and_then(|()| file.write_all(text.as_bytes()))
    })?;
    Ok(all.len())
}

fn damaged(path: &Path, message: &str) -> Error {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    Error::file(
        path,
        format!(
            "is no file of tuned kernels ({message}); delete it, or run `jem tune`, which replaces it, or set \
             {VARIABLE}=none to do without"
        ),
    )
}

impl File {
    /// The file at `path`; empty where there is none.
    fn read(path: &Path) -> Result<Self> {
        let bytes = match user::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                let message = format!("{error}; set {VARIABLE}=none to do without tuned kernels");
                return Err(Error::io(path)(std::io::Error::new(error.kind(), message)));
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| damaged(path, &error.to_string()))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            damaged(path, &format!("{place}{}", error.message()))
        })
    }
}

impl Section {
    fn new(adapter: &AdapterInfo, tuned: &Tuned) -> Self {
        Self {
            name: adapter.name.clone(),
            vendor: adapter.vendor,
            device: adapter.device,
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            driver_info: adapter.driver_info.clone(),
            kernels: fingerprint(),
            choice: tuned.iter().map(|(shape, candidate)| Entry::new(shape, candidate)).collect(),
        }
    }

    fn is_of_hardware(&self, adapter: &AdapterInfo) -> bool {
        (&self.name, self.vendor, self.device, &self.backend)
            == (&adapter.name, adapter.vendor, adapter.device, &adapter.backend)
    }

    fn is_of(&self, adapter: &AdapterInfo) -> bool {
        self.is_of_hardware(adapter)
            && (&self.driver, &self.driver_info) == (&adapter.driver, &adapter.driver_info)
    }
}

impl Entry {
    fn new(shape: &ConvProblem, candidate: &ConvImplementation) -> Self {
        let ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding } = shape.geometry;
        let Storages { a, b, c } = shape.storage;
        let (direction, storage, kernel) = (shape.direction, [a, b, c], candidate.to_string());
        Self { direction, n, h, w, c_in, c_out, kh, kw, stride, padding, storage, kernel }
    }

    fn parse(&self) -> Result<(ConvProblem, ConvImplementation), String> {
        let &Self { direction, n, h, w, c_in, c_out, kh, kw, stride, padding, storage, ref kernel } = self;
        let product = [n, h, w, c_in, c_out, kh, kw].into_iter().try_fold(1usize, usize::checked_mul);
        let sane = product.is_some_and(|product| (1..=LARGEST).contains(&product))
            && padding <= LARGEST_PADDING
            && stride >= 1
            && kh <= h + 2 * padding
            && kw <= w + 2 * padding;
        if !sane {
            return Err(format!("no convolution has these sizes: {self:?}"));
        }
        let geometry = ConvGeometry { n, h, w, c_in, c_out, kh, kw, stride, padding };
        let [a, b, c] = storage;
        let shape = ConvProblem { direction, geometry, storage: Storages { a, b, c } };
        let candidate = shape.named(kernel).ok_or_else(|| format!("no kernel {kernel:?} for {shape}"))?;
        Ok((shape, candidate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::cooperative::{Cooperative, Method};
    use crate::policy::convolution::ConvolutionPolicy;
    use crate::says::assert_says;
    use std::fs;

    fn adapter(name: &str) -> AdapterInfo {
        AdapterInfo { name: name.into(), ..AdapterInfo::example() }
    }

    fn shape(direction: Direction, channels: usize) -> ConvProblem {
        let geometry = ConvGeometry {
            n: 4,
            h: 16,
            w: 16,
            c_in: channels,
            c_out: channels,
            kh: 3,
            kw: 3,
            stride: 1,
            padding: 1,
        };
        ConvProblem::new(direction, geometry)
    }

    /// Another candidate than the rule's for one shape of each direction.
    fn tuned(channels: usize) -> Tuned {
        [Direction::Forward, Direction::InputGradient, Direction::WeightGradient]
            .map(|direction| shape(direction, channels))
            .map(|shape| {
                (shape, *ConvolutionPolicy::default().candidates(&shape).last().expect("candidates"))
            })
            .into()
    }

    #[test]
    fn precisions_are_kept_apart_and_every_candidate_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuned.toml");
        let one = adapter("one");
        let sums = Storages { c: Storage::F32, ..Storages::F16 };
        // Every tile of matrices fits those.
        let matrices = Cooperative::new(8, 32);
        let policy = ConvolutionPolicy::fastest(u64::MAX, ConvolutionPolicy::HARDWARE)
            .in_f16(Method::Cooperative(matrices));
        for direction in [Direction::Forward, Direction::InputGradient, Direction::WeightGradient] {
            let f32 = shape(direction, 64);
            for f16 in [ConvProblem { storage: Storages::F16, ..f32 }, ConvProblem { storage: sums, ..f32 }] {
                for candidate in policy.candidates(&f16) {
                    let rule = policy.candidate(&f32);
                    let both: Tuned = [(f32, rule), (f16, candidate)].into();
                    write(&path, &one, &both).unwrap();
                    let read = read(&path, &one).unwrap();
                    assert_eq!((read[&f32], read[&f16]), (rule, candidate));
                }
            }
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("storage = [\"f16\", \"f16\", \"f32\"]"), "{text}");
        // Matrices are for f16 alone.
        let half = ConvProblem { storage: Storages::F16, ..shape(Direction::Forward, 64) };
        let by_matrices = policy.candidate(&half);
        assert!(by_matrices.is_by_matrices());
        write(&path, &one, &[(half, by_matrices)].into()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"f16\"", "\"f32\"")).unwrap();
        let message = read(&path, &one).unwrap_err().to_string();
        assert!(message.contains("no kernel \"matrices"), "{message}");
    }

    #[test]
    fn what_was_written_is_read_by_the_same_adapter_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuned.toml");
        let one = adapter("one");
        assert_eq!(read(&path, &one).unwrap(), Tuned::new(), "there is no file");
        assert_eq!(write(&path, &one, &tuned(64)).unwrap(), 3);
        assert_eq!(read(&path, &one).unwrap(), tuned(64));
        for other in [
            adapter("two"),
            AdapterInfo { vendor: 8, ..one.clone() },
            AdapterInfo { device: 8, ..one.clone() },
            AdapterInfo { backend: "DX12".into(), ..one.clone() },
            AdapterInfo { driver: "other".into(), ..one.clone() },
            AdapterInfo { driver_info: "1.2.4".into(), ..one.clone() },
        ] {
            assert_eq!(read(&path, &other).unwrap(), Tuned::new(), "{other}");
        }
        // The adapter's limits do not identify it.
        assert_eq!(read(&path, &AdapterInfo { timestamps: true, ..one }).unwrap(), tuned(64));
    }

    #[test]
    fn measurements_of_other_kernels_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuned.toml");
        let one = adapter("one");
        write(&path, &one, &tuned(64)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&fingerprint(), "0123456789abcdef0123456789abcdef")).unwrap();
        assert_eq!(read(&path, &one).unwrap(), Tuned::new());
        // Not even read: their kernels may have had other names.
        let text = fs::read_to_string(&path).unwrap().replace("winograd F4", "winograd F6");
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path, &one).unwrap(), Tuned::new());
    }

    #[test]
    fn adapters_share_a_file_and_shapes_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuned.toml");
        let [one, two] = ["one", "two"].map(adapter);
        write(&path, &one, &tuned(64)).unwrap();
        write(&path, &two, &tuned(32)).unwrap();
        assert_eq!(write(&path, &one, &tuned(16)).unwrap(), 6);
        let mut both = tuned(64);
        both.extend(tuned(16));
        assert_eq!(read(&path, &one).unwrap(), both);
        assert_eq!(read(&path, &two).unwrap(), tuned(32));
        // Measured again: the new winner counts.
        let shape = shape(Direction::Forward, 64);
        let rule = ConvolutionPolicy::default().candidate(&shape);
        assert_eq!(write(&path, &one, &[(shape, rule)].into()).unwrap(), 6);
        assert_eq!(read(&path, &one).unwrap()[&shape], rule);
        // Another driver: the old one's measurements are dropped.
        let newer = AdapterInfo { driver_info: "2".into(), ..one.clone() };
        assert_eq!(write(&path, &newer, &tuned(64)).unwrap(), 3);
        assert_eq!(read(&path, &one).unwrap(), Tuned::new());
        assert_eq!(read(&path, &two).unwrap(), tuned(32));
    }

    #[test]
    fn damage_is_one_line_and_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tuned.toml");
        let one = adapter("one");
        write(&path, &one, &tuned(64)).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let stride = |value: &str| whole.replacen("stride = 1", &format!("stride = {value}"), 1);
        for (text, part) in [
            (whole.replacen("[[adapter]]", "[[adapter", 1), "line 3"),
            (whole.replacen("vendor = ", "vendor = -", 1), "line 5: invalid value"),
            (whole.replacen("kernels = ", "colonels = ", 1), "colonels"),
            (stride("0"), "no convolution has these sizes"),
            (stride("\"one\""), "invalid type: string"),
            (whole.replacen("kh = 3", "kh = 30", 1), "no convolution has these sizes"),
            (whole.replacen("n = 4", "n = 9223372036854775807", 1), "no convolution has these sizes"),
            (whole.replacen("winograd F4", "winograd F6", 1), "winograd F6"),
            (whole.replacen("winograd F4", "128x64, 7 parts", 1), "128x64, 7 parts"),
        ] {
            assert_ne!(text, whole, "{part}");
            fs::write(&path, text).unwrap();
            let message = read(&path, &one).unwrap_err().to_string();
            assert_says(&message, &["tuned.toml", "delete it", "jem tune", "JEM_TUNED=none", part]);
        }
        let message = read(directory.path(), &one).unwrap_err().to_string();
        assert!(message.contains("JEM_TUNED=none"), "a directory is no file: {message}");
        fs::write(&path, [0xff, 0xfe, 0]).unwrap();
        assert!(read(&path, &one).unwrap_err().to_string().contains("tuned.toml: is no file"));
        assert_eq!(write(&path, &one, &tuned(32)).unwrap(), 3);
        assert_eq!(read(&path, &one).unwrap(), tuned(32));
    }

    #[test]
    fn the_variable_names_a_file_or_none() {
        let with = |value: Option<&'static str>| {
            path_from(|name| match name {
                VARIABLE => value.map(Into::into),
                "HOME" | "LOCALAPPDATA" => Some("/h".into()),
                _ => None,
            })
        };
        assert_eq!(with(Some("none")), None);
        assert_eq!(with(Some("mine.toml")), Some("mine.toml".into()));
        let default = with(None).expect("a cache directory");
        assert!(default.starts_with("/h") && default.ends_with("jem/tuned.toml"), "{}", default.display());
    }
}
