//! Heals a run after a fault: the run rolls back to a healthy state, reseeds, and continues with the next of a list of
//! remedies. After a period without faults the last remedy is undone.

use super::Recipe;
use serde::{Deserialize, Serialize};

/// Iterations without a fault after which a remedy is undone; doubled each time a remedy has to be applied again.
const QUIET: u64 = 500;

/// The name of a remedy, and the change that it makes to a recipe.
type Remedy = (&'static str, fn(&mut Recipe));

/// Remedies that stabilise training with p(x): first Grathwohl et al.'s advice in its order (README of the released
/// code: more steps, a smaller learning rate, L2 on the energy), then JEM++'s clamp (Yang & Ji, ICCV 2021) and others.
const REMEDIES: [Remedy; 6] = [
    ("twice the SGLD steps", |recipe| recipe.steps *= 2),
    ("0.3 times the learning rate", |recipe| recipe.lr *= 0.3),
    ("L2 of 0.1 on the energy", |recipe| recipe.energy_l2 = recipe.energy_l2.max(0.1)),
    ("SGLD's gradient within 1, samples within [-1, 1]", |recipe| {
        recipe.clamp_gradient =
            if recipe.clamp_gradient > 0.0 { recipe.clamp_gradient.min(1.0) } else { 1.0 };
        recipe.clamp_x = true;
    }),
    ("0.3 times the SGLD step", |recipe| recipe.step_size *= 0.3),
    ("a gradient norm of at most 1", |recipe| {
        recipe.clip_norm = if recipe.clip_norm > 0.0 { recipe.clip_norm.min(1.0) } else { 1.0 };
    }),
];

/// The remedy of every level past the end of the list.
const LAST: Remedy = REMEDIES[1];

/// The state of the healing of a run; saved in checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// The number of faults so far, which is also the number of the random stream.
    pub trips: u32,
    /// The number of remedies in force, counted from the start of the list.
    pub level: usize,
    /// The iteration from which iterations without a fault are counted.
    since: u64,
    /// The iterations without a fault that undo the next remedy.
    quiet: u64,
    /// The level that was undone last: if a fault brings it back, it takes longer to undo.
    eased: usize,
    /// The iteration that the last rollback restored.
    returned: Option<u64>,
}

impl Default for Healing {
    fn default() -> Self {
        Self { trips: 0, level: 0, since: 0, quiet: QUIET, eased: 0, returned: None }
    }
}

impl Healing {
    /// The remedy of `level`, from 1 on: its name and its change to a recipe.
    fn remedy(level: usize) -> Remedy {
        REMEDIES.get(level - 1).copied().unwrap_or(LAST)
    }

    /// Whether the remedy of `level` changes a recipe that has the remedies before it.
    fn is_of_use(recipe: &Recipe, level: usize) -> bool {
        let [before, with] = [level - 1, level].map(|level| Self::apply(recipe, level));
        let sampling = recipe.samples() || level == 2 || level >= REMEDIES.len();
        sampling && before != with
    }

    fn apply(recipe: &Recipe, level: usize) -> Recipe {
        let mut treated = recipe.clone();
        for level in 1..=level {
            (Self::remedy(level).1)(&mut treated);
        }
        treated
    }

    /// Applies the remedies in force to `recipe`.
    pub fn treat(&self, recipe: &Recipe) -> Recipe {
        Self::apply(recipe, self.level)
    }

    /// The names of the remedies in force.
    pub fn names(&self, recipe: &Recipe) -> Vec<&'static str> {
        let in_force = (1..=self.level).filter(|&level| Self::is_of_use(recipe, level));
        in_force.map(|level| Self::remedy(level).0).collect()
    }

    /// Counts a fault and applies the next remedy that changes the recipe; returns its name.
    pub fn escalate(&mut self, recipe: &Recipe) -> &'static str {
        self.trips += 1;
        let level = (self.level + 1..).find(|&level| Self::is_of_use(recipe, level));
        self.level = level.expect("a smaller learning rate is always another");
        if self.level <= self.eased {
            self.quiet *= 2;
        }
        Self::remedy(self.level).0
    }

    /// The latest iteration to roll back to for a fault with this onset, found in `iteration`. If the fault follows the
    /// last rollback closely, the state that this restored was not healthy: the target lies before it.
    pub fn target(&self, onset: u64, iteration: u64, window: u64) -> u64 {
        match self.returned {
            Some(to) if iteration < to + 2 * window => onset.min(to.saturating_sub(1)),
            _ => onset,
        }
    }

    /// Notes a rollback from iteration `from` to `to`.
    pub fn returned(&mut self, to: u64, from: u64) {
        self.returned = Some(to);
        // The iterations before the fault were without the new remedy: they do not count.
        self.since = from;
    }

    /// Undoes the last remedy if there has been no fault for long enough before `iteration`; returns its name.
    pub fn ease(&mut self, recipe: &Recipe, iteration: u64) -> Option<&'static str> {
        if self.level == 0 || iteration < self.since + self.quiet {
            return None;
        }
        let name = Self::remedy(self.level).0;
        self.eased = self.level;
        self.level = (1..self.level).rfind(|&level| Self::is_of_use(recipe, level)).unwrap_or(0);
        self.since = iteration;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebm::Preset;

    #[test]
    fn remedies_add_up_and_each_changes_something() {
        let recipe = Preset::Paper.recipe();
        let mut healing = Healing::default();
        assert_eq!(healing.treat(&recipe), recipe);
        let mut before = recipe.clone();
        for trips in 1..=9 {
            let name = healing.escalate(&recipe);
            let treated = healing.treat(&recipe);
            assert_ne!(treated, before, "{name}");
            assert_eq!((healing.trips, healing.names(&recipe).len()), (trips, trips as usize));
            treated.check(50_000, 10).unwrap();
            before = treated;
        }
        assert_eq!((before.steps, before.clamp_gradient, before.clamp_x), (40, 1.0, true));
        assert_eq!((before.energy_l2, before.clip_norm), (0.1, 1.0));
        let expected = recipe.lr * 0.3f64.powi(4);
        assert!((before.lr - expected).abs() < 1e-9 * expected, "{}", before.lr);
    }

    #[test]
    fn what_a_recipe_has_is_no_remedy_and_a_classifier_has_no_chains() {
        let recipe = Recipe { energy_l2: 0.5, clamp_gradient: 0.1, clamp_x: true, ..Preset::Paper.recipe() };
        let mut healing = Healing::default();
        let names: Vec<_> = (0..4).map(|_| healing.escalate(&recipe)).collect();
        assert!(names.iter().all(|name| !name.contains("L2") && !name.contains("within")), "{names:?}");
        let classifier = Recipe { p_x: 0.0, ..Preset::Paper.recipe() };
        let mut healing = Healing::default();
        let names: Vec<_> = (0..4).map(|_| healing.escalate(&classifier)).collect();
        assert!(names.iter().all(|name| !name.contains("SGLD") && !name.contains("energy")), "{names:?}");
        healing.treat(&classifier).check(50_000, 10).unwrap();
    }

    #[test]
    fn quiet_takes_remedies_back_and_a_relapse_makes_it_wait() {
        let recipe = Preset::Paper.recipe();
        let mut healing = Healing::default();
        healing.escalate(&recipe);
        healing.returned(70, 100);
        assert_eq!(healing.ease(&recipe, 100 + QUIET - 1), None);
        let name = healing.ease(&recipe, 100 + QUIET).unwrap();
        assert_eq!((name, healing.level), (REMEDIES[0].0, 0));
        assert_eq!(healing.treat(&recipe), recipe);
        assert_eq!(healing.ease(&recipe, u64::MAX / 2), None, "nothing is left");
        healing.escalate(&recipe);
        healing.returned(700, 730);
        assert_eq!(healing.ease(&recipe, 730 + QUIET), None, "it came again");
        assert!(healing.ease(&recipe, 730 + 2 * QUIET).is_some());
    }

    #[test]
    fn a_return_to_an_unhealthy_place_is_followed_by_one_before_it() {
        let mut healing = Healing::default();
        assert_eq!(healing.target(75, 100, 25), 75);
        healing.returned(70, 100);
        assert_eq!(healing.target(90, 115, 25), 69, "soon after: that place was not healthy");
        assert_eq!(healing.target(100, 125, 25), 100, "long after: another fault");
        healing.returned(0, 100);
        assert_eq!(healing.target(5, 30, 25), 0);
    }

    #[test]
    fn it_survives_a_checkpoint() {
        let recipe = Preset::Paper.recipe();
        let mut healing = Healing::default();
        healing.escalate(&recipe);
        healing.returned(3, 5);
        let text = serde_json::to_string(&healing).unwrap();
        assert_eq!(serde_json::from_str::<Healing>(&text).unwrap(), healing);
    }
}
