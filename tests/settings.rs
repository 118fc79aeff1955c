//! Settings: invalid ones are refused by name and in one line, and older files keep their meaning.

#[path = "common/small.rs"]
mod small;

use jem::device::Device;
use jem::ebm::{ChainStart, ClassificationLoss, Family, OptimizerKind, Precision, Preset, Recipe, Trainer};
use jem::nn::batch_norm::NormMode;
use jem::nn::ingredients::Pooling;
use jem::nn::init::Init;
use small::{pictures, recipe};

/// An invalid setting, and the key that the message must name.
type BadSetting = (&'static str, fn(&mut Recipe));

#[test]
fn bad_settings_are_refused_by_name() {
    let cases: &[BadSetting] = &[
        ("batch", |r| r.batch = 0),
        ("batch", |r| r.batch = 101),
        ("buffer", |r| r.buffer = 0),
        ("buffer", |r| r.buffer = r.batch - 1),
        ("buffer", |r| (r.class_conditional, r.buffer) = (true, r.batch * 10 - 1)),
        ("keep", |r| r.keep = 0),
        ("evaluate_every", |r| r.evaluate_every = 0),
        ("sample_every", |r| r.sample_every = 0),
        ("checkpoint_every", |r| r.checkpoint_every = 0),
        ("steps", |r| r.steps = 0),
        ("step_size", |r| r.step_size = f32::NAN),
        ("step_size", |r| r.step_size = -1.0),
        ("noise", |r| r.noise = f32::INFINITY),
        ("clamp_gradient", |r| r.clamp_gradient = -1.0),
        ("reinitialise", |r| r.reinitialise = 1.5),
        ("reinitialise", |r| r.reinitialise = f32::NAN),
        ("p_x", |r| r.p_x = -1.0),
        ("p_y_given_x", |r| r.p_y_given_x = f32::NAN),
        ("p_y_given_x", |r| (r.p_x, r.p_y_given_x, r.p_xy) = (0.0, 0.0, 0.0)),
        ("p_y_given_x", |r| r.unconditional = true),
        ("p_xy", |r| (r.unconditional, r.p_y_given_x, r.p_xy) = (true, 0.0, 1.0)),
        ("class_conditional", |r| (r.unconditional, r.p_y_given_x, r.class_conditional) = (true, 0.0, true)),
        ("p_xy", |r| r.p_xy = 1.0),
        ("p_xy", |r| r.p_xy = -1.0),
        ("energy_l2", |r| r.energy_l2 = -0.1),
        ("inner_steps", |r| r.inner_steps = 0),
        ("norm_momentum", |r| r.norm_momentum = 0.0),
        ("norm_momentum", |r| r.norm_momentum = f32::NAN),
        ("reservoir", |r| (r.class_conditional, r.reservoir) = (true, true)),
        ("gradient_penalty", |r| r.gradient_penalty = -1.0),
        ("gradient_penalty", |r| (r.p_x, r.gradient_penalty) = (0.0, 1.0)),
        ("sam", |r| r.sam = f32::INFINITY),
        ("ema", |r| r.ema = 1.0),
        ("margin", |r| r.margin = 0.0),
        ("margin", |r| r.margin = f32::NAN),
        ("beta", |r| r.beta = -1.0),
        ("beta", |r| r.beta = f32::INFINITY),
        ("lr", |r| r.lr = f64::NAN),
        ("beta1", |r| r.beta1 = 1.0),
        ("beta2", |r| r.beta2 = -0.1),
        ("epsilon", |r| r.epsilon = -1e-8),
        ("momentum", |r| r.momentum = 1.0),
        ("weight_decay", |r| r.weight_decay = f32::NAN),
        ("clip_norm", |r| r.clip_norm = -1.0),
        ("decay_at", |r| r.decay_at = vec![1.0, f64::NAN]),
        ("decay_at", |r| r.decay_at = vec![-1.0]),
        ("decay_factor", |r| r.decay_factor = f64::INFINITY),
        ("epochs", |r| r.epochs = -1.0),
        ("epochs", |r| (r.epochs, r.iterations) = (0.0, 0)),
        ("input_noise", |r| r.input_noise = -0.03),
        ("diverged_above", |r| r.diverged_above = 0.0),
        ("diverged_above", |r| r.diverged_above = f64::NAN),
    ];
    let good = recipe();
    good.check(100, 10).expect("the recipe that the cases spoil");
    for (key, spoil) in cases {
        let mut bad = good.clone();
        spoil(&mut bad);
        one_line_for(key, bad.check(100, 10).expect_err(key));
    }
}

#[test]
fn settings_that_do_not_fit_network_or_images_are_refused_by_name() {
    let cases: &[BadSetting] = &[
        ("depth", |r| r.depth = 12),
        ("depth", |r| r.depth = 4),
        ("width", |r| r.width = 0),
        ("batch", |r| r.batch = 33),
        ("batch", |r| r.batch = 3),
        ("pad", |r| r.pad = 4),
        ("labels_per_class", |r| r.labels_per_class = 9),
    ];
    // 4 x 4 pixels of 3 channels: 48 words, so that parts of 4 images, not 3, start at multiples of 64.
    let data = pictures(32, 4);
    Trainer::new(&Device::cpu(), &recipe(), &data).expect("the recipe that the cases spoil");
    for (key, spoil) in cases {
        let mut bad = recipe();
        spoil(&mut bad);
        one_line_for(key, Trainer::new(&Device::cpu(), &bad, &data).expect_err(key));
    }
}

fn one_line_for(key: &str, error: jem::Error) {
    let message = error.to_string();
    assert!(message.starts_with(&format!("{key}: ")), "{key}: {message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_config_without_a_labelled_loss_has_the_cross_entropy() {
    let text = recipe().to_toml();
    let older: String = text
        .lines()
        .filter(|line| !["labelled_loss", "margin", "beta "].iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(text.lines().count(), older.lines().count() + 3);
    assert_eq!(Recipe::parse(&older).expect("an older recipe"), recipe());
    let overrides = jem::ebm::Overrides::parse(&older).expect("an older config.toml");
    assert_eq!((overrides.labelled_loss, overrides.margin, overrides.beta), (None, None, None));
}

/// Every value of these settings is read as it is written, in text and in files; the error for an unknown name lists
/// all names.
macro_rules! comes_back {
    ($($type:ident)+) => {$({
        for value in $type::ALL {
            assert_eq!(value.to_string().parse::<$type>().expect("a name"), value);
            let json = serde_json::to_string(&value).expect("text");
            assert_eq!(json, format!("\"{value}\""));
            assert_eq!(serde_json::from_str::<$type>(&json).expect("a name"), value);
        }
        let text = "bad".parse::<$type>().expect_err("no name").to_string();
        let file = serde_json::from_str::<$type>("\"bad\"").expect_err("no name").to_string();
        for message in [text, file] {
            assert!($type::ALL.iter().all(|value| message.contains(value.name())), "{message}");
            assert!(message.contains("got \"bad\""), "{message}");
        }
    })+};
}

#[test]
fn a_name_is_read_as_it_is_written() {
    comes_back!(ChainStart ClassificationLoss Family Init NormMode OptimizerKind Pooling Precision Preset);
}
