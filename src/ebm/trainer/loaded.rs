//! The programs of an iteration, loaded on the device.

use crate::device::{Buffers, Executable, Program};
use crate::ebm::programs::{Early, Programs};
use crate::error::Result;
use crate::nn::optimizer::{KEPT, Optimizer};

/// The programs of an iteration, loaded on the device.
#[derive(Debug)]
pub(super) struct Loaded {
    pub gather: Executable,
    pub power_iteration: Option<Executable>,
    pub prepare: Executable,
    pub sgld: Option<Executable>,
    pub perturb: Option<Stoppable>,
    pub update: Stoppable,
    pub scatter: Option<Executable>,
    /// The programs in the places of `perturb` and `update` before log p(x) joins.
    pub early: Option<(Option<Stoppable>, Stoppable)>,
    /// Restores the parameters that are not trained.
    pub undo_statistics: Option<Executable>,
    /// Restores the parameters that `perturb` has changed.
    pub undo_perturbation: Option<Executable>,
}

/// A program that may be stopped up to a certain dispatch, and must run to its end from there on.
#[derive(Debug)]
pub(super) struct Stoppable {
    pub program: Executable,
    /// The index of the last dispatch before which the program may be stopped.
    pub last_stop: usize,
}

impl Stoppable {
    /// Loads `program`, which may be stopped until it first writes one of the external slots `state`.
    fn load(buffers: &mut Buffers, program: Program, state: &[&str]) -> Result<Self> {
        let last_stop = program.first_write(state);
        Ok(Self { program: buffers.load(program)?, last_stop })
    }
}

impl Loaded {
    /// Loads `programs`, in the order in which they write what others read.
    pub fn new(buffers: &mut Buffers, programs: Programs, optimizer: &Optimizer) -> Result<Self> {
        let state: Vec<&str> = optimizer.state().iter().map(|key| key.name()).collect();
        let gather = buffers.load(programs.gather)?;
        let power_iteration = load(buffers, programs.power_iteration)?;
        let prepare = buffers.load(programs.prepare)?;
        let sgld = load(buffers, programs.sgld)?;
        let (perturb, update) = learning(buffers, programs.perturb, programs.update, &state)?;
        let early =
            programs.early.map(|Early { perturb, update }| learning(buffers, perturb, update, &state));
        Ok(Self {
            gather,
            power_iteration,
            prepare,
            sgld,
            perturb,
            update,
            early: early.transpose()?,
            scatter: load(buffers, programs.scatter)?,
            undo_statistics: load(buffers, programs.undo.statistics)?,
            undo_perturbation: load(buffers, programs.undo.perturbation)?,
        })
    }

    /// The programs of the perturbation and the optimizer step of an iteration that is `early`, or not.
    pub fn learning(&self, early: bool) -> (Option<&Stoppable>, &Stoppable) {
        match &self.early {
            Some((perturb, update)) if early => (perturb.as_ref(), update),
            _ => (self.perturb.as_ref(), &self.update),
        }
    }

    /// All programs in the order of an iteration of `steps` SGLD steps, each with its number of runs.
    pub fn runs(&self, steps: usize) -> Vec<(&Executable, usize)> {
        let Self { gather, power_iteration, prepare, sgld, perturb, update, scatter, .. } = self;
        let all = [
            (Some(gather), 1),
            (power_iteration.as_ref(), 1),
            (Some(prepare), if perturb.is_some() { 2 } else { 1 }),
            (sgld.as_ref(), steps),
            (perturb.as_ref().map(|perturb| &perturb.program), 1),
            (Some(&update.program), 1),
            (scatter.as_ref(), 1),
        ];
        all.into_iter().filter_map(|(program, runs)| Some((program?, runs))).collect()
    }
}

fn load(buffers: &mut Buffers, program: Option<Program>) -> Result<Option<Executable>> {
    program.map(|program| buffers.load(program)).transpose()
}

/// Loads the programs of the perturbation and the optimizer step, whose state is in the external slots `state`.
fn learning(
    buffers: &mut Buffers,
    perturb: Option<Program>,
    update: Program,
    state: &[&str],
) -> Result<(Option<Stoppable>, Stoppable)> {
    let perturb = perturb.map(|program| Stoppable::load(buffers, program, &[KEPT.name()])).transpose()?;
    Ok((perturb, Stoppable::load(buffers, update, state)?))
}
