//! Shader text: a WGSL file, shared pieces, constants and switches.
//!
//! A file in `shaders/` is WGSL plus three line directives:
//! `//#include NAME` (a file of `shaders/common/`), `//#if SWITCH` … `//#else` … `//#endif`.
//! Constants are set in front of the text as `const NAME: TYPE = VALUE;`, so that they may size
//! function-local arrays, which `override` may not.
//!
//! The files are compiled into the executable; `JEM_SHADERS` names a [`Folder`] that replaces some of them.

mod folder;
mod line;

pub use folder::{Folder, VARIABLE, folder};

use line::Line;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A shader permutation: the text of one file with its constants and switches.
#[derive(Debug, Clone, PartialEq)]
pub struct Shader {
    /// The kernel's stem.
    pub name: &'static str,
    template: &'static str,
    extensions: Vec<&'static str>,
    constants: Vec<(&'static str, Constant)>,
    switches: Vec<&'static str>,
    patched_memory: bool,
}

/// A file of WGSL: a kernel's, or a piece that kernels share.
#[derive(Debug, Clone, Copy)]
struct File<'a> {
    /// `NAME`, or `common/NAME` for a shared piece.
    name: &'a str,
    text: &'a str,
    /// The path from which it was read; `None` for the executable's own.
    path: Option<&'a Path>,
}

/// The value of a shader constant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Constant {
    U32(u32),
    F32(f32),
}

impl Shader {
    /// The shader of the kernel `name`: `shaders/{name}.wgsl`.
    ///
    /// # Panics
    /// If no kernel has this name.
    pub fn new(name: &'static str) -> Self {
        let own = KERNELS.iter().find(|(own, _)| *own == name);
        let (_, text) = own.unwrap_or_else(|| panic!("no kernel of the list is called {name}"));
        Self::with_text(name, text)
    }

    /// The shader `name` with the text `template`, of a kernel that is not on the library's list.
    pub fn with_text(name: &'static str, template: &'static str) -> Self {
        Self {
            name,
            template,
            extensions: Vec::new(),
            constants: Vec::new(),
            switches: Vec::new(),
            patched_memory: false,
        }
    }

    /// Enables a WGSL extension.
    pub fn with_extension(mut self, name: &'static str) -> Self {
        self.extensions.push(name);
        self
    }

    /// Defines `const NAME: u32`.
    pub fn with_u32(mut self, name: &'static str, value: u32) -> Self {
        self.constants.push((name, Constant::U32(value)));
        self
    }

    /// Defines `const NAME: f32`.
    pub fn with_f32(mut self, name: &'static str, value: f32) -> Self {
        self.constants.push((name, Constant::F32(value)));
        self
    }

    /// Turns `//#if NAME` on, if `on`.
    pub fn with_switch(mut self, name: &'static str, on: bool) -> Self {
        if on {
            self.switches.push(name);
        }
        self
    }

    /// Asks, if `on`, for SPIR-V whose accesses to workgroup memory follow Vulkan's memory model to the letter
    /// (`cooperative::Variant::Patched`).
    pub fn with_patched_memory(mut self, on: bool) -> Self {
        self.patched_memory = on;
        self
    }

    /// Whether [`Shader::with_patched_memory`] was asked for.
    pub fn has_patched_memory(&self) -> bool {
        self.patched_memory
    }

    /// The constants and switches of this permutation as text, such as `TILE_M=128 TILE_N=64 BIAS MASK`.
    pub fn variant(&self) -> String {
        let constant = |&(name, value): &(&str, Constant)| match value {
            Constant::U32(value) => format!("{name}={value}"),
            Constant::F32(value) => format!("{name}={value}"),
        };
        let switches = self.switches.iter().map(|&name| name.to_owned());
        self.constants.iter().map(constant).chain(switches).collect::<Vec<_>>().join(" ")
    }

    /// The WGSL text, ready for naga. Equal texts share a pipeline.
    ///
    /// If [`folder`] is an error, which keeps every GPU from opening, this is the executable's text.
    ///
    /// # Panics
    /// On an unknown include or an unbalanced directive: a bug in a shader file of the executable. Those of a
    /// [`Folder`] are checked when it is read.
    pub fn wgsl(&self) -> String {
        self.text(in_use())
    }

    /// The files of the [`Folder`] from which [`Shader::wgsl`] has lines.
    pub fn replaced(&self) -> Vec<PathBuf> {
        let mut paths: Vec<&Path> = Vec::new();
        self.lines(in_use(), &mut |file, _, _| {
            paths.extend(file.path.filter(|path| !paths.contains(path)));
        });
        paths.into_iter().map(Path::to_owned).collect()
    }

    /// The file and line from which line `number` of [`Shader::wgsl`], counted from 1, comes.
    pub fn place(&self, number: usize) -> Option<String> {
        let set = self.extensions.len() + self.constants.len();
        let (mut count, mut place) = (set, None);
        self.lines(in_use(), &mut |file, line, _| {
            count += 1;
            if count == number {
                place = Some(match file.path {
                    Some(path) => format!("{} line {line}", path.display()),
                    None => format!("line {line} of the executable's {}.wgsl", file.name),
                });
            }
        });
        place
    }

    fn text(&self, folder: Option<&Folder>) -> String {
        let mut text = String::with_capacity(self.template.len() + 1024);
        for name in &self.extensions {
            writeln!(text, "enable {name};").expect("writing to a string");
        }
        for (name, value) in &self.constants {
            match value {
                Constant::U32(value) => writeln!(text, "const {name}: u32 = {value}u;"),
                Constant::F32(value) => writeln!(text, "const {name}: f32 = {value:e}f;"),
            }
            .expect("writing to a string");
        }
        self.lines(folder, &mut |_, _, line| {
            text.push_str(line);
            text.push('\n');
        });
        text
    }

    /// Calls `visit` with each line after the constants: its file, its number there, and its text.
    fn lines<'a>(&'a self, folder: Option<&'a Folder>, visit: &mut dyn FnMut(File<'a>, usize, &'a str)) {
        let own = File { name: self.name, text: self.template, path: None };
        self.expand(folder.and_then(|folder| folder.file(self.name)).unwrap_or(own), folder, visit);
    }

    fn expand<'a>(
        &self,
        file: File<'a>,
        folder: Option<&'a Folder>,
        visit: &mut dyn FnMut(File<'a>, usize, &'a str),
    ) {
        let mut kept = vec![true];
        for (number, line) in (1..).zip(file.text.lines()) {
            let keep = kept.iter().all(|&level| level);
            match Line::of(line) {
                Line::Text if keep => visit(file, number, line),
                Line::Include(name) if keep => self.expand(shared(name, folder), folder, visit),
                Line::Text | Line::Include(_) => {}
                Line::If(switch) => kept.push(self.switches.contains(&switch)),
                Line::Else => {
                    let level = kept.last_mut().expect("#else follows #if");
                    *level = !*level;
                }
                Line::EndIf => drop(kept.pop()),
                Line::Unknown(other) => panic!("{}.wgsl: unknown directive //#{other}", file.name),
            }
        }
        assert_eq!(kept.len(), 1, "{}.wgsl: //#if without //#endif", file.name);
    }
}

/// The folder from which texts are taken, if any.
fn in_use() -> Option<&'static Folder> {
    folder().ok().flatten()
}

/// The file `common/NAME` from `folder`, else the executable's.
fn shared<'a>(name: &str, folder: Option<&'a Folder>) -> File<'a> {
    let own = || COMMON.into_iter().find(|(own, _)| own.strip_prefix("common/") == Some(name));
    let own = || own().map(|(name, text)| File { name, text, path: None });
    let replaced = folder.and_then(|folder| folder.file(&format!("common/{name}")));
    replaced.or_else(own).unwrap_or_else(|| panic!("no shaders/common/{name}.wgsl"))
}

macro_rules! texts {
    ($($module:ident: $kernel:ident,)+) => {
        &[$((
            stringify!($module),
            include_str!(concat!("../../shaders/", stringify!($module), ".wgsl")),
        )),+]
    };
}

/// The executable's shaders of kernels, by name.
const KERNELS: &[(&str, &str)] = crate::for_each_kernel!(texts);

/// The names and texts of the shared pieces.
macro_rules! common {
    ($($name:literal)*) => {
        [$((
            concat!("common/", $name),
            include_str!(concat!("../../shaders/common/", $name, ".wgsl")),
        )),*]
    };
}

/// The executable's shared pieces of WGSL, by name.
const COMMON: [(&str, &str); 31] = common![
    "clip"
    "conv_ahead"
    "conv_direct"
    "conv_epilogue"
    "conv_gather"
    "conv_matrices"
    "conv_parameters"
    "conv_sums"
    "conv_tiles"
    "conv_window"
    "element"
    "exceeds"
    "exp_log"
    "functional"
    "gradient_epilogue"
    "group_sum"
    "half"
    "logit_row"
    "matrix_lane"
    "max_window"
    "norm_statistics"
    "normal"
    "pack_half"
    "row_softmax"
    "sgld_update"
    "sloped"
    "stored"
    "strided"
    "threefry"
    "winograd_2"
    "winograd_4"
];
