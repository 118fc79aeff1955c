//! Shaders from a folder instead of the executable, to try a kernel on a device without a build.

use crate::compute::shader::{COMMON, File, KERNELS, line};
use crate::error::{Error, Result};
use crate::user;
use md5::{Digest, Md5};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The environment variable that names the folder.
pub const VARIABLE: &str = "JEM_SHADERS";

/// Shader files that replace the executable's: `NAME.wgsl` replaces a kernel's, `common/NAME.wgsl` a piece that kernels
/// share. Files that it lacks come from the executable.
///
/// # Trust
/// Its shaders run as the executable's own do, without bounds checks: whoever names the folder vouches that every
/// loop ends and every index stays inside its buffer.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// By `NAME` or `common/NAME`.
    files: BTreeMap<String, Replaced>,
}

/// A file of the folder.
#[derive(Debug)]
struct Replaced {
    path: PathBuf,
    text: String,
    /// Whether the executable has no such file or another text.
    differs: bool,
}

/// The folder that `JEM_SHADERS` names; `None` if the variable is unset or empty. A process reads and checks it once,
/// when it opens a GPU or asks for a shader's text, whichever comes first. Later changes in it have no effect.
///
/// # Errors
/// [`Error::File`] with the file and, where there is one, the line: for a folder or file that cannot be read, a file
/// that belongs to no kernel or that no shader includes, unbalanced directives, and an include of a missing file or of
/// the file itself.
pub fn folder() -> Result<Option<&'static Folder>> {
    static FOLDER: OnceLock<Result<Option<Folder>, Mistake>> = OnceLock::new();
    match FOLDER.get_or_init(|| named(std::env::var_os(VARIABLE))) {
        Ok(folder) => Ok(folder.as_ref()),
        Err(Mistake { path, message }) => Err(Error::file(path, format!("{message} ({VARIABLE})"))),
    }
}

/// A file or folder and the message about it.
#[derive(Debug, PartialEq)]
struct Mistake {
    path: PathBuf,
    message: String,
}

impl Mistake {
    fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into() }
    }
}

fn named(value: Option<OsString>) -> Result<Option<Folder>, Mistake> {
    let value = value.filter(|value| !value.is_empty());
    value.map(|path| Folder::read(Path::new(&path))).transpose()
}

impl Folder {
    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of files that it replaces or adds.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The files whose text differs from the executable's, as `NAME` or `common/NAME`.
    pub fn differing(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|(_, file)| file.differs).map(|(name, _)| name.as_str())
    }

    /// One line with the folder, the number of files, those that differ, and a digest of these.
    pub fn summary(&self) -> String {
        let mut digest = Md5::new();
        for (name, file) in self.files.iter().filter(|(_, file)| file.differs) {
            digest.update(format!("{name} {}\n{}", file.text.len(), file.text));
        }
        let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let names: Vec<&str> = self.differing().collect();
        let differ = match names.len() {
            0 => "none differs from the executable's".to_owned(),
            n => format!("{n} unlike the executable's ({digest}): {}", names.join(", ")),
        };
        let files = if self.files() == 1 { "file" } else { "files" };
        let summary = format!("{}: {} {files}, {differ}", self.path.display(), self.files());
        summary.replace(char::is_control, "?")
    }

    /// The path, the number of files and the files that differ, as a JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "folder": self.path.display().to_string(),
            "files": self.files(),
            "differing": self.differing().collect::<Vec<_>>(),
        })
    }

    /// The file `name`, which is `NAME` or `common/NAME`.
    pub(super) fn file(&self, name: &str) -> Option<File<'_>> {
        let (name, file) = self.files.get_key_value(name)?;
        Some(File { name, text: &file.text, path: Some(&file.path) })
    }

    fn read(path: &Path) -> Result<Self, Mistake> {
        let own: BTreeMap<&str, &str> = KERNELS.iter().copied().chain(COMMON).collect();
        let mut folder = Self { path: path.to_owned(), files: BTreeMap::new() };
        folder.add(path, "", &own)?;
        folder.add(&path.join("common"), "common/", &own)?;
        if folder.files.is_empty() {
            return Err(Mistake::new(path, "has neither NAME.wgsl nor common/NAME.wgsl"));
        }
        folder.check(&own)?;
        Ok(folder)
    }

    /// Adds the shaders of `directory` under names that begin with `prefix`. The folder `common` may be missing.
    /// Shaders in any other subfolder are a mistake, because they would not be read.
    fn add(&mut self, directory: &Path, prefix: &str, own: &BTreeMap<&str, &str>) -> Result<(), Mistake> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound && !prefix.is_empty() => return Ok(()),
            entries => entries,
        };
        let unreadable =
            |path: &Path, error: std::io::Error| Mistake::new(path, format!("cannot be read: {error}"));
        for entry in entries.map_err(|error| unreadable(directory, error))? {
            let path = entry.map_err(|error| unreadable(directory, error))?.path();
            // Editors and systems leave files whose names begin with a dot.
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden {
                continue;
            }
            let is_common = prefix.is_empty() && path.file_name().is_some_and(|name| name == "common");
            if !is_shader(&path) {
                if !is_common && has_shaders(&path) {
                    return Err(Mistake::new(&path, "has shaders, but only the folder `common` is read"));
                }
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let stem = stem.ok_or_else(|| Mistake::new(&path, "has a name that is not UTF-8"))?;
            let name = format!("{prefix}{stem}");
            let text = user::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            // Some editors on Windows put a byte order mark in front.
            let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
            let differs = own.get(name.as_str()).is_none_or(|own| *own != text);
            self.files.insert(name, Replaced { path, text, differs });
        }
        Ok(())
    }

    /// Checks that every shader can be expanded from the folder's files and the executable's `own`.
    fn check(&self, own: &BTreeMap<&str, &str>) -> Result<(), Mistake> {
        let mut all: BTreeMap<&str, Vec<(usize, String)>> = BTreeMap::new();
        let texts = self.files.iter().map(|(name, file)| (name.as_str(), file.text.as_str()));
        for (name, text) in own.iter().map(|(name, text)| (*name, *text)).chain(texts) {
            let includes = line::includes(text).map_err(|message| match self.files.get(name) {
                Some(file) => Mistake::new(&file.path, message),
                None => unreachable!("{name}.wgsl of the executable: {message}"),
            })?;
            let includes = includes.into_iter().map(|(line, name)| (line, format!("common/{name}")));
            all.insert(name, includes.collect());
        }
        for (name, file) in &self.files {
            let wrong = |message: String| Err(Mistake::new(&file.path, message));
            for (line, included) in &all[name.as_str()] {
                let Some(_) = all.get(included.as_str()) else {
                    return wrong(format!(
                        "line {line}: there is no {included}.wgsl, in this folder or in the executable"
                    ));
                };
                if reached(included, &all).contains(name.as_str()) {
                    return wrong(format!("line {line}: {included}.wgsl includes this file again"));
                }
            }
            let included = || all.values().flatten().any(|(_, included)| included == name);
            match name.starts_with("common/") {
                false if !own.contains_key(name.as_str()) => {
                    return wrong("no kernel has this name".into());
                }
                true if !included() => return wrong("no shader includes this file".into()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_shader(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wgsl")
}

/// Whether `path` is a folder with shaders.
fn has_shaders(path: &Path) -> bool {
    std::fs::read_dir(path).into_iter().flatten().flatten().any(|entry| is_shader(&entry.path()))
}

/// The file `name` and all that it includes, directly or indirectly.
fn reached<'a>(name: &'a str, all: &'a BTreeMap<&str, Vec<(usize, String)>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![name];
    while let Some(name) = next.pop() {
        if reached.insert(name) {
            next.extend(all.get(name).into_iter().flatten().map(|(_, included)| included.as_str()));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use crate::compute::contract::Kernel;
    use crate::compute::shader::folder::*;
    use crate::kernels::tick::{SGLD_STEP, Tick};
    use std::fs;

    const TICK: &str = include_str!("../../../shaders/tick.wgsl");
    const HEAD: &str = include_str!("../../../shaders/head.wgsl");
    const CLIP: &str = include_str!("../../../shaders/common/clip.wgsl");

    /// A folder with these files.
    fn with(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Folder, Mistake>) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("common")).unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let folder = Folder::read(directory.path());
        (directory, folder)
    }

    #[test]
    fn files_replace_those_of_the_same_name_and_all_others_stay() {
        let two = TICK.replace("+= 1u", "+= two()") + "//#include two\n";
        let (_directory, folder) = with(&[
            ("tick.wgsl", &two),
            ("head.wgsl", HEAD),
            ("common/two.wgsl", "fn two() -> u32 { return 2u; }\n"),
            ("README", "no shader"),
        ]);
        let folder = folder.unwrap();
        assert_eq!(folder.differing().collect::<Vec<_>>(), ["common/two", "tick"]);
        let summary = folder.summary();
        assert!(summary.contains(": 3 files, 2 unlike the executable's ("), "{summary}");
        assert!(summary.ends_with("): common/two, tick"), "{summary}");
        let shader = Tick { word: SGLD_STEP }.shader();
        let text = shader.text(Some(&folder));
        assert!(text.contains("+= two()") && text.ends_with("{ return 2u; }\n"), "{text}");
        assert_eq!(shader.text(None), TICK);
        for kernel in crate::kernels::catalogue().iter().filter(|kernel| kernel.name() != "tick") {
            assert_eq!(kernel.shader().text(Some(&folder)), kernel.shader().text(None));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_summary_is_one_line_for_the_comments_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("two\nlines");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("tick.wgsl"), TICK).unwrap();
        let summary = Folder::read(&path).unwrap().summary();
        assert!(summary.contains("two?lines: 1 file") && summary.lines().count() == 1, "{summary}");
    }

    #[test]
    fn the_digest_is_of_what_differs() {
        let changed = TICK.replace("1u", "2u");
        let summary = |files: &[(&str, &str)]| {
            let (directory, folder) = with(files);
            folder.unwrap().summary().replace(directory.path().to_str().unwrap(), "DIR")
        };
        assert_eq!(summary(&[("tick.wgsl", TICK)]), "DIR: 1 file, none differs from the executable's");
        let digest = |files: &[(&str, &str)]| summary(files).split(['(', ')']).nth(1).unwrap().to_owned();
        let one = digest(&[("tick.wgsl", &changed)]);
        assert_eq!(one, digest(&[("tick.wgsl", &changed), ("head.wgsl", HEAD)]));
        assert_ne!(one, digest(&[("tick.wgsl", &TICK.replace("1u", "3u"))]));
    }

    #[test]
    fn a_mistake_is_an_error_that_names_file_and_line() {
        for (name, text, message) in [
            ("tick.wgsl", "a\n//#if X\n", "line 2: //#if without //#endif"),
            ("tick.wgsl", "//#endif\n", "line 1: //#endif without //#if"),
            ("common/clip.wgsl", "\n//#els\n", "line 2: unknown directive //#els"),
            ("tick.wgsl", "//#if X\n//#include clop\n//#endif\n", "line 2: there is no common/clop.wgsl"),
            ("common/clip.wgsl", "//#include clip\n", "line 1: common/clip.wgsl includes this file again"),
            ("tack.wgsl", TICK, "no kernel has this name"),
            ("common/clop.wgsl", CLIP, "no shader includes this file"),
        ] {
            let (directory, folder) = with(&[(name, text)]);
            let mistake = folder.unwrap_err();
            assert_eq!(mistake.path, directory.path().join(name));
            assert!(mistake.message.starts_with(message), "{message}: {mistake:?}");
        }
        // Through a file of the executable.
        let (_directory, folder) = with(&[("common/half.wgsl", "//#include conv_window\n")]);
        assert!(folder.unwrap_err().message.ends_with("common/conv_window.wgsl includes this file again"));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_it() {
        let (directory, folder) = with(&[]);
        assert!(folder.unwrap_err().message.starts_with("has neither NAME.wgsl"));
        let mistake = Folder::read(&directory.path().join("none")).unwrap_err();
        assert!(mistake.path.ends_with("none") && mistake.message.starts_with("cannot be read: "));
        fs::write(directory.path().join("tick.wgsl"), [0xff, 0xfe]).unwrap();
        let mistake = Folder::read(directory.path()).unwrap_err();
        assert!(mistake.path.ends_with("tick.wgsl") && mistake.message.starts_with("cannot be read: "));
        fs::remove_file(directory.path().join("tick.wgsl")).unwrap();
        fs::create_dir(directory.path().join("fill.wgsl")).unwrap();
        assert!(Folder::read(directory.path()).unwrap_err().path.ends_with("fill.wgsl"));
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(Folder::read(&file).unwrap_err().path, file);
    }

    #[test]
    fn a_misspelt_folder_is_a_mistake_and_a_byte_order_mark_is_none() {
        let (directory, folder) = with(&[("tick.wgsl", &format!("\u{feff}{TICK}"))]);
        assert_eq!(folder.unwrap().differing().count(), 0);
        for misspelt in ["comon", "common/conv"] {
            let misspelt = directory.path().join(misspelt);
            fs::create_dir(&misspelt).unwrap();
            assert!(Folder::read(directory.path()).is_ok(), "an empty folder is nobody's mistake");
            fs::write(misspelt.join("clip.wgsl"), CLIP).unwrap();
            let mistake = Folder::read(directory.path()).unwrap_err();
            assert_eq!(mistake.path, misspelt);
            assert!(mistake.message.contains("only the folder `common`"), "{mistake:?}");
            fs::remove_dir_all(misspelt).unwrap();
        }
    }

    #[test]
    fn an_unset_or_empty_variable_names_no_folder() {
        assert!(named(None).unwrap().is_none());
        assert!(named(Some("".into())).unwrap().is_none());
        assert!(named(Some("/no/such/folder".into())).is_err());
    }

    /// [`Shader::wgsl`](crate::compute::shader::Shader::wgsl) would panic on the mistakes that these checks find.
    #[test]
    fn the_shaders_of_the_executable_pass_the_same_checks() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let folder = Folder::read(&directory).unwrap();
        assert_eq!(folder.differing().count(), 0, "{}", folder.summary());
        let kernels: BTreeSet<_> = crate::kernels::catalogue().iter().map(|kernel| kernel.name()).collect();
        assert_eq!(folder.files(), kernels.len() + COMMON.len());
    }
}
