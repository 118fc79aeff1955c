//! The recipe for a data set: adapts a preset to the set, and checks that the set can be trained on.

use super::{BatchLayout, Overrides, Preset, Recipe};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::nn::network::Network;

/// The recipe of `preset`'s size that `overrides` ask for, as from [`Recipe::of`], adapted to `train` where they set
/// nothing: if the preset holds out more than a fifth of the images, a tenth is held out; digits are not flipped
/// (Grathwohl et al.'s code flips CIFAR, not SVHN); and with a preset of a fixed number of iterations, the learning
/// rate decays after the same number of images as on CIFAR-10.
pub fn recipe_for(preset: Preset, overrides: &[&Overrides], train: &Dataset) -> Recipe {
    let mut recipe = Recipe::of(preset, overrides);
    let asked = |set: fn(&Overrides) -> bool| overrides.iter().any(|overrides| set(overrides));
    if !asked(|overrides| overrides.validation.is_some()) && recipe.validation > train.len() / 5 {
        recipe.validation = (train.len() / 10).max(1);
    }
    if !asked(|overrides| overrides.flip.is_some()) && train.is_of_characters() {
        recipe.flip = false;
    }
    if !asked(|overrides| overrides.decay_at.is_some()) {
        recipe.decay_as_on_cifar_10(preset, train.len().saturating_sub(recipe.validation));
    }
    recipe
}

/// Checks a recipe on the images of `train`, before anything is opened or created.
///
/// # Errors
/// [`Error::Setting`] with the key, the allowed range and what was found.
pub fn check_recipe(recipe: &Recipe, train: &Dataset) -> Result<()> {
    if train.classes() < 2 && !recipe.unconditional {
        let (name, classes, family) = (&train.name, train.class_names.join(", "), recipe.family);
        let message = format!(
            "{name} has one class ({classes}), and {family} needs at least two, such as a sub-folder for each; the \
             recipe unconditional needs none"
        );
        return Err(Error::setting("data", message));
    }
    Network::check(&recipe.network(train.classes(), train.channels))?;
    if recipe.validation == 0 {
        let message = "must be at least 1, got 0: the best model is chosen on the held-out images";
        return Err(Error::setting("validation", message));
    }
    train.check_split(recipe.validation)?;
    recipe.check(train.len() - recipe.validation, train.classes())?;
    BatchLayout::new(recipe, train.height, train.width, train.channels).check(recipe.pad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::synthetic;

    /// The iterations before which the learning rate changes.
    fn decays(recipe: &Recipe, images: usize) -> Vec<u64> {
        let rate = |iteration| recipe.learning_rate(iteration, images);
        let warm = recipe.warmup..recipe.total_iterations(images);
        warm.filter(|&iteration| rate(iteration) < rate(iteration - 1)).collect()
    }

    #[test]
    fn the_learning_rate_of_a_short_run_decays_as_on_cifar_10() {
        let train = synthetic(2000, 0, 1).0;
        let of = |preset, overrides: Overrides| {
            let recipe = recipe_for(preset, &[&overrides], &train);
            let decays = decays(&recipe, train.len() - recipe.validation);
            (recipe, decays)
        };
        // The preset says 0.45 epochs, which would be after 25 iterations of this set.
        let (tiny, found) = of(Preset::Tiny, Overrides::default());
        assert_eq!((tiny.validation, found), (200, vec![675]));
        let mut cifar = Preset::Tiny.recipe();
        cifar.decay_as_on_cifar_10(Preset::Tiny, 48_000);
        assert_eq!(cifar, Preset::Tiny.recipe(), "the preset on its own set is the preset");
        // A longer run equals a shorter one up to the end of the latter.
        let long = Overrides { iterations: Some(1600), ..Overrides::default() };
        assert_eq!(of(Preset::Tiny, long.clone()).1, [675]);
        // Explicit settings are kept, and so is a run of epochs.
        let said = Overrides { decay_at: Some(vec![1.0]), ..long };
        assert_eq!(of(Preset::Tiny, said).0.decay_at, [1.0]);
        assert_eq!(of(Preset::Small, Overrides::default()).0.decay_at, [14.0, 18.0]);
    }
}
