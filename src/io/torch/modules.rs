//! The tensors of whole modules, pickled by `torch.save` or written by TorchScript, under their state-dict names.

use std::collections::HashSet;

use super::dictionaries::{Found, MAX_DEPTH, Search, too_deep};
use super::pickle::{self, Id, Object, Pickle, Value};

/// The parts of a pickled `torch.nn.Module`: parameters, buffers, buffers that no state dict has, and children.
struct Module {
    parameters: Id,
    buffers: Option<Id>,
    transient: Option<Id>,
    children: Id,
}

impl Search<'_> {
    /// Lists the tensors of a whole module, of TorchScript or not.
    pub(super) fn module(&mut self, id: Id, of_script: bool) -> Result<(), String> {
        let class = self.pickle.class(id).map(pickle::clip);
        let mut found = Found { class, ..Found::default() };
        if of_script {
            self.script(id, "", &mut Vec::new(), &mut found)?;
        } else {
            self.eager(id, "", &mut Vec::new(), &mut found)?;
        }
        self.keep(found)
    }

    /// Lists the tensors of a `torch.nn.Module` as its `state_dict()` does.
    fn eager(&mut self, id: Id, prefix: &str, path: &mut Vec<Id>, found: &mut Found) -> Result<(), String> {
        let pickle = self.pickle;
        self.steps(pickle.count(id))?;
        let Some(module) = module(pickle, id) else { return Ok(()) };
        if path.len() >= MAX_DEPTH || path.contains(&id) {
            return Err(too_deep("modules"));
        }
        path.push(id);
        for (name, value) in pickle.entries(module.parameters) {
            self.step()?;
            self.take(found, prefix, name, value)?;
        }
        let mut transient = HashSet::new();
        if let Some(Value::Sequence(names)) = module.transient.map(|id| pickle.get(id)) {
            for &name in names {
                self.step()?;
                if let Value::Text(name) = pickle.get(name) {
                    transient.insert(name.as_str());
                }
            }
        }
        for (name, value) in module.buffers.into_iter().flat_map(|id| pickle.entries(id)) {
            self.step()?;
            if !transient.contains(name) {
                self.take(found, prefix, name, value)?;
            }
        }
        for (name, value) in pickle.entries(module.children) {
            self.step()?;
            let prefix = self.name(prefix, name)? + ".";
            self.eager(value, &prefix, path, found)?;
        }
        path.pop();
        Ok(())
    }

    /// Lists the tensors of a module of TorchScript: all attributes that are tensors, those of modules in it as well.
    fn script(&mut self, id: Id, prefix: &str, path: &mut Vec<Id>, found: &mut Found) -> Result<(), String> {
        let pickle = self.pickle;
        if path.len() >= MAX_DEPTH || path.contains(&id) {
            return Err(too_deep("modules"));
        }
        path.push(id);
        for (name, value) in pickle.entries(id) {
            self.step()?;
            self.take(found, prefix, name, value)?;
            if matches!(pickle.get(value), Value::Object(object) if is_script(pickle, object)) {
                let prefix = self.name(prefix, name)? + ".";
                self.script(value, &prefix, path, found)?;
            }
        }
        path.pop();
        Ok(())
    }
}

/// Whether a value is a `torch.nn.Module`.
pub fn is_module(pickle: &Pickle, id: Id) -> bool {
    module(pickle, id).is_some()
}

/// The parts of a value that is a `torch.nn.Module`.
fn module(pickle: &Pickle, id: Id) -> Option<Module> {
    let Value::Object(_) = pickle.get(id) else { return None };
    Some(Module {
        parameters: pickle.entry(id, "_parameters")?,
        buffers: pickle.entry(id, "_buffers"),
        transient: pickle.entry(id, "_non_persistent_buffers_set"),
        children: pickle.entry(id, "_modules")?,
    })
}

/// Whether an object is of a class that TorchScript compiled.
pub fn is_script(pickle: &Pickle, object: &Object) -> bool {
    matches!(pickle.get(object.class), Value::Global(class) if class.starts_with("__torch__."))
}
