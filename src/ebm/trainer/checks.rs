//! The checks of a recipe against its network and data, before anything is loaded.

use crate::data::Dataset;
use crate::ebm::Recipe;
use crate::ebm::batches::labelled_images;
use crate::ebm::programs::BatchLayout;
use crate::error::{Error, Result};
use crate::nn::network::Network;
use crate::nn::parameters::ParameterLayout;
use crate::words::counted;

/// The layout of `recipe`'s batch: parts go through a network with batch norm separately.
pub(super) fn batch_layout(
    recipe: &Recipe,
    layout: &ParameterLayout,
    [height, width, channels]: [usize; 3],
) -> BatchLayout {
    BatchLayout { separate: layout.has_statistics(), ..BatchLayout::new(recipe, height, width, channels) }
}

/// Refuses a network whose classes differ from the data's, and terms of the loss that need classes if it has none.
pub(super) fn check_classes(recipe: &Recipe, network: &dyn Network, train: &Dataset) -> Result<()> {
    if recipe.unconditional && network.classes() != 1 {
        let (name, classes) = (network.name(), network.classes());
        let message = format!("must be false for {name}, which has {}", counted(classes, "class"));
        return Err(Error::setting("unconditional", message));
    }
    if network.classes() == 1 {
        let labelled = [("p_y_given_x", recipe.p_y_given_x), ("p_xy", recipe.p_xy)];
        let name = network.name();
        if let Some((key, value)) = labelled.into_iter().find(|(_, weight)| *weight != 0.0) {
            let message = format!("must be 0 for {name}, an energy without classes, got {value}");
            return Err(Error::setting(key, message));
        }
        if recipe.class_conditional {
            let message = format!("must be false for {name}, an energy without classes");
            return Err(Error::setting("class_conditional", message));
        }
    } else if network.classes() != train.classes() {
        let (classes, found) = (network.classes(), train.classes());
        let message =
            format!("{} has {}, {} has {found}", network.name(), counted(classes, "class"), train.name);
        return Err(Error::Shape { operation: "network", message });
    }
    Ok(())
}

/// The images for p(y|x).
///
/// # Errors
/// [`Error::Setting`] if a class has fewer than the recipe asks for.
pub(in crate::ebm) fn labelled(recipe: &Recipe, train: &Dataset) -> Result<Vec<u32>> {
    if recipe.labels_per_class == 0 {
        return Ok((0..train.len() as u32).collect());
    }
    labelled_images(&train.labels, train.classes(), recipe.labels_per_class, recipe.seed).map_err(
        |(class, count)| {
            let message = format!(
                "must be at most {count}, the training images of class {}, got {}",
                train.class_names[class], recipe.labels_per_class
            );
            Error::setting("labels_per_class", message)
        },
    )
}
