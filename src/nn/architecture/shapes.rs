//! The names and shapes of a file's tensors, as a family of networks looks for them.

use std::collections::HashMap;

/// Tensors of a file: names and shapes.
pub type Named<'a> = [(&'a str, &'a [usize])];

/// The names of tensors in their file, for messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    /// The beginning of all names in the file, which was removed.
    pub prefix: &'a str,
    /// The names in the file of tensors that were renamed, by their new names.
    pub originals: Option<&'a HashMap<String, String>>,
}

impl Shown<'_> {
    /// The name in the file of the tensor `name`.
    pub fn name(&self, name: &str) -> String {
        let full = format!("{}{name}", self.prefix);
        self.originals.and_then(|originals| originals.get(&full)).cloned().unwrap_or(full)
    }
}

/// The names and shapes of a file's tensors by name; `weight_orig`, PyTorch's beside spectral norm, is a `weight`.
pub struct Shapes<'a> {
    by_name: HashMap<&'a str, (&'a str, &'a [usize])>,
    /// The names for messages.
    pub shown: Shown<'a>,
}

impl<'a> Shapes<'a> {
    pub fn of(tensors: &Named<'a>, shown: Shown<'a>) -> Result<Self, String> {
        let mut shapes = HashMap::new();
        for &(name, shape) in tensors {
            let plain = name.strip_suffix("_orig").filter(|plain| plain.ends_with(".weight"));
            if shapes.insert(plain.unwrap_or(name), (name, shape)).is_some() {
                return Err(format!("two tensors are called {}", shown.name(name)));
            }
        }
        Ok(Self { by_name: shapes, shown })
    }

    /// The name in the file and the shape of a tensor.
    pub fn get(&self, name: &str) -> Option<(&'a str, &'a [usize])> {
        self.by_name.get(name).copied()
    }
}

/// The names that a public code base gives to the tensors of a family: data.
#[derive(Debug)]
pub struct Dialect {
    /// The code base, such as `JEM`.
    pub source: &'static str,
    /// Tensors of the file, all of which are there if the names are this code base's.
    pub signs: &'static [&'static str],
    /// Parts of the library's names and what stands for them in the file, applied in order, each once, where a part of a
    /// name begins.
    pub names: &'static [(&'static str, &'static str)],
    /// Names of the last layer: the first that is there.
    pub last: &'static [&'static str],
    /// The activation of the code base, as text; `None`: files with such names have one or another.
    pub activation: Option<&'static str>,
}

/// The tensors of a file, looked up by the library's names.
pub struct View<'a> {
    pub shapes: &'a Shapes<'a>,
    pub dialect: &'static Dialect,
    /// The number of classes to assume if the file lacks the last layer; `None`: its absence is an error.
    pub assumed_classes: Option<usize>,
}

impl<'a> View<'a> {
    /// Whether the file has the signs of the dialect.
    pub fn fits(&self) -> bool {
        self.dialect.signs.iter().all(|sign| self.shapes.get(sign).is_some())
    }

    /// The file's name for the library's `name`. A last layer begins with a name of [`LAST`].
    pub fn public(&self, name: &str) -> String {
        if let Some((layer, part)) = name.split_once('.').filter(|(layer, _)| LAST.contains(layer)) {
            return format!("{}.{part}", self.last().unwrap_or(layer));
        }
        let mut public = name.to_owned();
        for (from, to) in self.dialect.names {
            let begins = |&at: &usize| at == 0 || public.as_bytes()[at - 1] == b'.';
            if let Some(at) = public.match_indices(from).map(|(at, _)| at).find(begins) {
                public.replace_range(at..at + from.len(), to);
            }
        }
        public
    }

    /// The file's name of the last layer.
    pub fn last(&self) -> Option<&'static str> {
        let there = |last: &&&str| self.shapes.get(&format!("{last}.weight")).is_some();
        self.dialect.last.iter().find(there).or(self.dialect.last.first()).copied()
    }

    /// The name in the file and the shape of the library's tensor `name`.
    pub fn get(&self, name: &str) -> Option<(&'a str, &'a [usize])> {
        self.shapes.get(&self.public(name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The length of one axis.
    pub fn size(&self, name: &str, axis: usize) -> Result<usize, String> {
        let Some((written, shape)) = self.get(name) else {
            let assumed = self.assumed_classes.filter(|_| is_last(name) && axis == 0);
            return assumed.ok_or_else(|| format!("expected tensor {}, found none", self.wanted(name)));
        };
        let written = self.shapes.shown.name(written);
        let size = shape.get(axis).copied();
        size.ok_or_else(|| format!("tensor {written}: expected at least {} axes, found {shape:?}", axis + 1))
    }

    /// The name in the file of the library's tensor `name`, for messages.
    pub fn shown(&self, name: &str) -> String {
        self.shapes.shown.name(&self.public(name))
    }

    /// The names that the library's tensor `name` may have in the file, joined by "or", for messages.
    pub fn wanted(&self, name: &str) -> String {
        match name.split_once('.').filter(|(layer, _)| LAST.contains(layer)) {
            Some((_, part)) if !self.dialect.last.is_empty() => {
                let names = self.dialect.last.iter();
                let names = names.map(|last| self.shapes.shown.name(&format!("{last}.{part}")));
                names.collect::<Vec<_>>().join(" or ")
            }
            _ => self.shown(name),
        }
    }

    /// The length of one axis, which is from 1 to `most`.
    pub fn bounded(&self, name: &str, axis: usize, most: usize) -> Result<usize, String> {
        let size = self.size(name, axis)?;
        if (1..=most).contains(&size) {
            return Ok(size);
        }
        Err(format!("tensor {}: expected 1 to {most} in axis {axis}, found {size}", self.shown(name)))
    }
}

/// The library's names of last layers that files call otherwise.
const LAST: [&str; 3] = ["class_output", "energy_output", "linear"];

/// Whether the library's tensor `name` is of a last layer, whose shape depends on the number of classes.
pub fn is_last(name: &str) -> bool {
    name.split_once('.').is_some_and(|(layer, _)| LAST.contains(&layer) || layer == "classifier")
}
