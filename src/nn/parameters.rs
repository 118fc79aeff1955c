//! The parameters of a network: named tensors in one flat buffer.

use super::init::{Fans, Init};
use crate::compute::random::Threefry;
use crate::compute::random::stream::WEIGHTS;
use crate::device::{Key, ProgramBuilder};
use crate::error::{Error, Result};
use crate::graph::{Contents, Graph, Leaf, Output, Tensor};
use crate::io::pack;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The external slot that holds all parameters of a network, unless its layout names another.
pub const PARAMETERS: Key<f32> = Key::new("parameters");

/// Parameters start at multiples of this many words, so that each can be bound on its own.
const ALIGNMENT: usize = 64;

/// The kind of a tensor of parameters, which decides whether it is trained and whether it is in files.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterKind {
    /// Trained, from an initialisation.
    Weights(Fans),
    /// Trained, from this value.
    Constant(f32),
    /// In files and not trained, such as a running mean; it begins as this value.
    Statistic(f32),
    /// In files and not trained, such as a running mean that stays; it begins as this value.
    Frozen(f32),
    /// In files and not trained; it begins as a random vector of norm 1.
    Unit,
    /// Part of the network's definition: neither in files nor trained. The values, in the device's order.
    Fixed(Vec<f32>),
}

impl From<Fans> for ParameterKind {
    fn from(fans: Fans) -> Self {
        Self::Weights(fans)
    }
}

/// A tensor of parameters: its place in the flat buffer and its names and shapes here and in files.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The name in checkpoints, as in the released JEM: `f.layer1.0.conv1.weight`.
    pub name: String,
    /// The shape on the device: `[kh, kw, c_in, c_out]`, `[in, out]`, `[out]`, or `[kh, kw, c_in]` of a
    /// vector over what reaches one output of a convolution.
    pub shape: Vec<usize>,
    /// The first word in the flat buffer.
    pub offset: usize,
    role: ParameterKind,
}

impl Parameter {
    /// Elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether an optimizer changes it.
    pub fn is_trained(&self) -> bool {
        matches!(self.role, ParameterKind::Weights(_) | ParameterKind::Constant(_))
    }

    /// Whether it is in files.
    pub fn is_in_files(&self) -> bool {
        !matches!(self.role, ParameterKind::Fixed(_))
    }

    /// The shape in files, as in PyTorch: `[c_out, c_in, kh, kw]`, `[out, in]`, `[out]`, `[c_in kh kw]`.
    pub fn file_shape(&self) -> Vec<usize> {
        match self.shape[..] {
            [kh, kw, i, o] => vec![o, i, kh, kw],
            [kh, kw, i] => vec![i * kh * kw],
            [i, o] => vec![o, i],
            _ => self.shape.clone(),
        }
    }

    /// Values in the device's order from values in a file's.
    pub fn from_file(&self, values: &[f32]) -> Vec<f32> {
        match self.shape[..] {
            [kh, kw, i, o] => pack::oihw_to_hwio(values, o, i, kh, kw),
            [kh, kw, i] => pack::transpose(values, i, kh * kw),
            [i, o] => pack::transpose(values, o, i),
            _ => values.to_vec(),
        }
    }

    /// Values in a file's order from values in the device's.
    pub fn to_file(&self, values: &[f32]) -> Vec<f32> {
        match self.shape[..] {
            [kh, kw, i, o] => pack::hwio_to_oihw(values, kh, kw, i, o),
            [kh, kw, i] => pack::transpose(values, kh * kw, i),
            [i, o] => pack::transpose(values, i, o),
            _ => values.to_vec(),
        }
    }
}

/// The parameters of a network in the order in which its layers declare them, and the name of the flat buffer that
/// holds them.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterLayout {
    parameters: Vec<Parameter>,
    words: usize,
    slot: String,
}

impl Default for ParameterLayout {
    fn default() -> Self {
        Self { parameters: Vec::new(), words: 0, slot: PARAMETERS.name().into() }
    }
}

impl ParameterLayout {
    /// The same parameters in a flat buffer called `slot` instead of [`PARAMETERS`], so that a graph can hold several
    /// networks. Networks in one graph with the same name share their parameters.
    pub fn in_slot(self, slot: impl Into<String>) -> Self {
        Self { slot: slot.into(), ..self }
    }

    /// The name of the flat buffer.
    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// Declares a tensor of parameters of `shape` (device order); [`Fans`] say that it is trained.
    pub fn push(&mut self, name: String, shape: Vec<usize>, role: impl Into<ParameterKind>) {
        let elements: usize = shape.iter().product();
        self.parameters.push(Parameter { name, shape, offset: self.words, role: role.into() });
        self.words += elements.next_multiple_of(ALIGNMENT);
    }

    /// The same parameters in the order that training needs: all that are trained, then the others.
    pub fn trained_first(self) -> Self {
        let mut ordered = Self::default().in_slot(self.slot.as_str());
        let (trained, others): (Vec<_>, Vec<_>) =
            self.parameters.into_iter().partition(Parameter::is_trained);
        for Parameter { name, shape, role, .. } in trained.into_iter().chain(others) {
            ordered.push(name, shape, role);
        }
        ordered
    }

    /// The same parameters with running statistics that stay as they are.
    pub fn with_frozen_statistics(mut self) -> Self {
        for parameter in &mut self.parameters {
            if let ParameterKind::Statistic(value) = parameter.role {
                parameter.role = ParameterKind::Frozen(value);
            }
        }
        self
    }

    /// Whether there are running statistics that training updates: the network has batch norm.
    pub fn has_statistics(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter.role, ParameterKind::Statistic(_)))
    }

    /// Whether there are vectors of spectral norm.
    pub fn has_spectral_norm(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.role == ParameterKind::Unit)
    }

    /// The names of the weights that are divided by spectral norm.
    pub fn spectral_norms(&self) -> impl Iterator<Item = &str> {
        let vectors = self.parameters.iter().filter(|parameter| parameter.role == ParameterKind::Unit);
        vectors.filter_map(|parameter| parameter.name.strip_suffix("_u"))
    }

    /// All parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters that are trained.
    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.is_trained())
    }

    /// The parameters that are in files.
    pub fn in_files(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.is_in_files())
    }

    /// Words of the flat buffer, with the gaps (zeros) that alignment leaves.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Words of the first part of the flat buffer, which holds all trained parameters and nothing else. Only for
    /// networks that declare their other parameters last, as those do that are trained here.
    pub fn trained_words(&self) -> usize {
        let first = self.parameters.iter().position(|parameter| !parameter.is_trained());
        let first = first.unwrap_or(self.parameters.len());
        debug_assert!(self.parameters[first..].iter().all(|p| !p.is_trained()), "trained ones come first");
        self.parameters.get(first).map_or(self.words, |parameter| parameter.offset)
    }

    /// Checks that there are trained parameters, and that they come first.
    ///
    /// # Errors
    /// [`Error::Shape`] with the name of the parameter that is out of order.
    pub fn check_trained(&self) -> Result<()> {
        let late = self.parameters.iter().skip_while(|p| p.is_trained()).find(|p| p.is_trained());
        let message = match late {
            Some(late) => format!("{} is trained and must come before all that is not", late.name),
            None if self.trained_words() == 0 => "there is nothing to train".into(),
            None => return Ok(()),
        };
        Err(Error::Shape { operation: "parameters", message })
    }

    /// Elements of all trained parameters.
    pub fn elements(&self) -> usize {
        self.trained().map(Parameter::elements).sum()
    }

    /// The parameter `name` as a leaf of `graph`. An unknown name is a mistake, which the graph keeps: the layout is
    /// another network's.
    pub fn leaf(&self, graph: &Graph, name: &str) -> Tensor {
        match self.find(name) {
            Some(parameter) => self.leaf_of(graph, parameter),
            None => {
                let message = format!("{name} is not among the {self}, which are another network's");
                graph.fail("parameters", message);
                graph.constant(0.0, [1])
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Whether both have the same parameters in the same places, whatever the names of their buffers.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }

    /// Each parameter's next value as an output to its place in the flat buffer of `builder`. Lowering writes them
    /// after everything that reads the parameters.
    ///
    /// # Panics
    /// If a name is not that of a parameter: a bug in the caller.
    pub fn outputs<'a>(&self, builder: &mut ProgramBuilder, next: &'a [(String, Tensor)]) -> Vec<Output<'a>> {
        let flat = builder.external_named(&self.slot, self.words);
        let output = |(name, tensor): &'a (String, Tensor)| {
            let parameter = self.find(name).unwrap_or_else(|| panic!("{name} is not among the {self}"));
            Output { tensor, view: flat.part(parameter.offset, parameter.elements()) }
        };
        next.iter().map(output).collect()
    }

    /// The leaves of all trained parameters, in order.
    pub fn leaves(&self, graph: &Graph) -> Vec<Tensor> {
        self.trained().map(|parameter| self.leaf_of(graph, parameter)).collect()
    }

    fn leaf_of(&self, graph: &Graph, parameter: &Parameter) -> Tensor {
        let leaf =
            Leaf { slot: self.slot.clone(), words: self.words, offset: parameter.offset, parameter: true };
        let mut hasher = DefaultHasher::new();
        for Parameter { name, shape, offset, .. } in &self.parameters {
            (name, shape, offset).hash(&mut hasher);
        }
        let contents = Contents::Parameters { layout: hasher.finish(), text: self.to_string() };
        graph.leaf_of(leaf, contents, parameter.shape.clone())
    }

    /// Initial values of the flat buffer; `slope` is that of the network's leaky ReLUs.
    pub fn initialise(&self, init: Init, slope: f32, seed: u32) -> Vec<f32> {
        let mut values = vec![0.0; self.words];
        for (number, parameter) in self.parameters.iter().enumerate() {
            let mut random = Threefry::new(seed, WEIGHTS, number as u32);
            let values = &mut values[parameter.offset..][..parameter.elements()];
            match &parameter.role {
                ParameterKind::Weights(fans) => init.fill(values, *fans, slope, &mut random),
                ParameterKind::Constant(value)
                | ParameterKind::Statistic(value)
                | ParameterKind::Frozen(value) => values.fill(*value),
                ParameterKind::Unit => unit_vector(values, &mut random),
                ParameterKind::Fixed(fixed) => values.copy_from_slice(fixed),
            }
        }
        values
    }

    /// The flat buffer's values from `find`, which returns each parameter's values in a file's order.
    ///
    /// # Errors
    /// The errors of `find`; [`Error::Shape`] if it returns another number of values.
    pub fn gather<'a>(&self, mut find: impl FnMut(&Parameter) -> Result<&'a [f32]>) -> Result<Vec<f32>> {
        let mut flat = vec![0.0; self.words];
        for parameter in &self.parameters {
            if let ParameterKind::Fixed(fixed) = &parameter.role {
                flat[parameter.offset..][..fixed.len()].copy_from_slice(fixed);
                continue;
            }
            let values = find(parameter)?;
            if values.len() != parameter.elements() {
                let message =
                    format!("{} has {} values, expected {:?}", parameter.name, values.len(), parameter.shape);
                return Err(Error::Shape { operation: "parameters", message });
            }
            flat[parameter.offset..][..values.len()].copy_from_slice(&parameter.from_file(values));
        }
        Ok(flat)
    }

    /// Each parameter that is in files with its values of the flat buffer, in a file's order.
    pub fn scatter<'a>(&'a self, flat: &'a [f32]) -> impl Iterator<Item = (&'a Parameter, Vec<f32>)> {
        self.in_files().map(|parameter| {
            let values = &flat[parameter.offset..][..parameter.elements()];
            (parameter, parameter.to_file(values))
        })
    }
}

/// The number of parameters and the first of them.
impl fmt::Display for ParameterLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parameters[..] {
            [] => f.write_str("0 parameters"),
            [Parameter { name, shape, .. }] => write!(f, "1 parameter ({name} {shape:?})"),
            [Parameter { name, shape, .. }, ..] => {
                write!(f, "{} parameters ({name} {shape:?}, ...)", self.parameters.len())
            }
        }
    }
}

/// Fills `values` with a direction, uniform over the sphere: normal numbers, divided by their norm.
fn unit_vector(values: &mut [f32], random: &mut Threefry) {
    for pair in values.chunks_mut(2) {
        pair.iter_mut().zip(random.normal_pair()).for_each(|(value, normal)| *value = normal);
    }
    let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    values.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
}
