//! The programs of an iteration, loaded on the device.

use crate::device::{Buffers, Executable};
use crate::ebm::programs::{Early, Programs};
use crate::error::Result;

/// The programs of an iteration, loaded on the device.
#[derive(Debug)]
pub(super) struct Loaded {
    pub gather: Executable,
    pub power_iteration: Option<Executable>,
    pub prepare: Executable,
    pub sgld: Option<Executable>,
    pub scatter: Option<Executable>,
    pub perturb: Option<Executable>,
    pub update: Executable,
    /// The programs in the places of `perturb` and `update` before log p(x) joins.
    pub early: Option<(Option<Executable>, Executable)>,
}

impl Loaded {
    /// Loads `programs`, in the order in which they write what others read.
    pub fn new(buffers: &mut Buffers, programs: Programs) -> Result<Self> {
        Ok(Self {
            gather: buffers.load(programs.gather)?,
            power_iteration: programs.power_iteration.map(|program| buffers.load(program)).transpose()?,
            prepare: buffers.load(programs.prepare)?,
            sgld: programs.sgld.map(|program| buffers.load(program)).transpose()?,
            scatter: programs.scatter.map(|program| buffers.load(program)).transpose()?,
            perturb: programs.perturb.map(|program| buffers.load(program)).transpose()?,
            update: buffers.load(programs.update)?,
            early: programs.early.map(|early| load_early(buffers, early)).transpose()?,
        })
    }

    /// The programs of the perturbation and the optimizer step of an iteration that is `early`, or not.
    pub fn learning(&self, early: bool) -> (Option<&Executable>, &Executable) {
        match &self.early {
            Some((perturb, update)) if early => (perturb.as_ref(), update),
            _ => (self.perturb.as_ref(), &self.update),
        }
    }

    /// All programs in the order of an iteration of `steps` SGLD steps, each with its number of runs.
    pub fn runs(&self, steps: usize) -> Vec<(&Executable, usize)> {
        let Self { gather, power_iteration, prepare, sgld, scatter, perturb, update, early: _ } = self;
        let all = [
            (Some(gather), 1),
            (power_iteration.as_ref(), 1),
            (Some(prepare), if perturb.is_some() { 2 } else { 1 }),
            (sgld.as_ref(), steps),
            (scatter.as_ref(), 1),
            (perturb.as_ref(), 1),
            (Some(update), 1),
        ];
        all.into_iter().filter_map(|(program, runs)| Some((program?, runs))).collect()
    }
}

fn load_early(buffers: &mut Buffers, early: Early) -> Result<(Option<Executable>, Executable)> {
    let perturb = early.perturb.map(|program| buffers.load(program)).transpose()?;
    Ok((perturb, buffers.load(early.update)?))
}
