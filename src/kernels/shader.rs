//! Shader text: a WGSL file, shared pieces, constants and switches.
//!
//! A file in `shaders/` is WGSL plus three line directives:
//! `//#include NAME` (a file of `shaders/common/`), `//#if SWITCH` … `//#else` … `//#endif`.
//! Constants are set in front of the text as `const NAME: TYPE = VALUE;`, so that they may size
//! function-local arrays, which `override` may not.

use std::fmt::Write as _;

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

/// The value of a shader constant.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Constant {
    U32(u32),
    F32(f32),
}

impl Shader {
    /// The shader `shaders/{name}.wgsl` whose text is `template` (from `include_str!`).
    pub fn new(name: &'static str, template: &'static str) -> Self {
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

    /// Asks for SPIR-V whose accesses to workgroup memory follow Vulkan's memory model to the letter, if `on`:
    /// `cooperative::Variant::Patched`.
    pub fn with_patched_memory(mut self, on: bool) -> Self {
        self.patched_memory = on;
        self
    }

    /// Whether [`Shader::with_patched_memory`] was asked for.
    pub fn has_patched_memory(&self) -> bool {
        self.patched_memory
    }

    /// The WGSL text, ready for naga. Equal texts are one pipeline.
    ///
    /// # Panics
    /// On an unknown include or an unbalanced directive: a bug in the shader file.
    pub fn wgsl(&self) -> String {
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
        self.expand(self.template, &mut text);
        text
    }

    fn expand(&self, template: &str, text: &mut String) {
        let mut kept = vec![true];
        for line in template.lines() {
            let keep = kept.iter().all(|&level| level);
            let Some(directive) = line.trim_start().strip_prefix("//#") else {
                if keep {
                    text.push_str(line);
                    text.push('\n');
                }
                continue;
            };
            match directive.split_once(' ').map_or((directive, ""), |(word, rest)| (word, rest.trim())) {
                ("include", name) if keep => self.expand(common(name), text),
                ("include", _) => {}
                ("if", switch) => kept.push(self.switches.contains(&switch)),
                ("else", _) => {
                    let level = kept.last_mut().expect("#else follows #if");
                    *level = !*level;
                }
                ("endif", _) => drop(kept.pop()),
                (other, _) => panic!("{}.wgsl: unknown directive //#{other}", self.name),
            }
        }
        assert_eq!(kept.len(), 1, "{}.wgsl: //#if without //#endif", self.name);
    }
}

/// The shared pieces of WGSL.
fn common(name: &str) -> &'static str {
    match name {
        "clip" => include_str!("../../shaders/common/clip.wgsl"),
        "conv_ahead" => include_str!("../../shaders/common/conv_ahead.wgsl"),
        "conv_direct" => include_str!("../../shaders/common/conv_direct.wgsl"),
        "conv_epilogue" => include_str!("../../shaders/common/conv_epilogue.wgsl"),
        "conv_gather" => include_str!("../../shaders/common/conv_gather.wgsl"),
        "conv_matrices" => include_str!("../../shaders/common/conv_matrices.wgsl"),
        "conv_parameters" => include_str!("../../shaders/common/conv_parameters.wgsl"),
        "conv_sums" => include_str!("../../shaders/common/conv_sums.wgsl"),
        "conv_tiles" => include_str!("../../shaders/common/conv_tiles.wgsl"),
        "conv_window" => include_str!("../../shaders/common/conv_window.wgsl"),
        "exp_log" => include_str!("../../shaders/common/exp_log.wgsl"),
        "functional" => include_str!("../../shaders/common/functional.wgsl"),
        "gradient_epilogue" => include_str!("../../shaders/common/gradient_epilogue.wgsl"),
        "matrix_lane" => include_str!("../../shaders/common/matrix_lane.wgsl"),
        "half" => include_str!("../../shaders/common/half.wgsl"),
        "pack_half" => include_str!("../../shaders/common/pack_half.wgsl"),
        "stored" => include_str!("../../shaders/common/stored.wgsl"),
        "sgld_update" => include_str!("../../shaders/common/sgld_update.wgsl"),
        "logit_row" => include_str!("../../shaders/common/logit_row.wgsl"),
        "group_sum" => include_str!("../../shaders/common/group_sum.wgsl"),
        "norm_statistics" => include_str!("../../shaders/common/norm_statistics.wgsl"),
        "normal" => include_str!("../../shaders/common/normal.wgsl"),
        "row_softmax" => include_str!("../../shaders/common/row_softmax.wgsl"),
        "strided" => include_str!("../../shaders/common/strided.wgsl"),
        "threefry" => include_str!("../../shaders/common/threefry.wgsl"),
        "winograd_2" => include_str!("../../shaders/common/winograd_2.wgsl"),
        "winograd_4" => include_str!("../../shaders/common/winograd_4.wgsl"),
        _ => panic!("no shaders/common/{name}.wgsl"),
    }
}
