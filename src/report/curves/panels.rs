//! The panels of a run's curves: their columns, legends and colours.

use std::ops::Range;

use plotters::style::RGBColor;

/// One panel: its title, its lines (column and legend) and the fixed range of its axis, if any.
pub(super) struct Panel {
    pub title: &'static str,
    pub lines: &'static [Line],
    pub range: Option<Range<f64>>,
}

/// A column and its style.
pub(super) struct Line {
    pub column: &'static str,
    pub legend: &'static str,
    pub color: RGBColor,
}

// The colours of Okabe and Ito (2008), safe for colour-blind readers.
pub(in crate::report) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(in crate::report) const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(90, 90, 90);
pub(in crate::report) const GREEN: RGBColor = RGBColor(0, 158, 115);

/// The panels of every run.
pub(super) const PANELS: [Panel; 3] = [
    Panel {
        title: "loss",
        lines: &[
            Line { column: "loss", legend: "total", color: BLUE },
            Line { column: "cross_entropy", legend: "cross-entropy", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "energy",
        lines: &[
            Line { column: "energy_data", legend: "data", color: BLUE },
            Line { column: "energy_samples", legend: "samples", color: ORANGE },
            Line { column: "energy_gap", legend: "gap (samples - data)", color: GREY },
        ],
        range: None,
    },
    Panel {
        title: "accuracy",
        lines: &[
            Line { column: "accuracy", legend: "training batch", color: BLUE },
            Line { column: "validation_accuracy", legend: "validation", color: ORANGE },
        ],
        range: Some(0.0..1.0),
    },
];

/// The panel of fresh chains, for runs that follow them at evaluations.
pub(super) const FRESH: Panel = Panel {
    title: "fresh chains",
    lines: &[
        Line { column: "validation_energy", legend: "energy of held-out data", color: BLUE },
        Line { column: "fresh_energy_k", legend: "K steps", color: GREY },
        Line { column: "fresh_energy_10k", legend: "10 × K", color: GREEN },
        Line { column: "fresh_energy_100k", legend: "100 × K", color: ORANGE },
    ],
    range: None,
};

/// The panels on the health of chains and gradients.
pub(super) const HEALTH: [Panel; 3] = [
    Panel {
        title: "gradient norms",
        lines: &[
            Line { column: "gradient_norm", legend: "loss, at the weights", color: BLUE },
            Line { column: "input_gradient_norm", legend: "log p(x), at the samples", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "chains",
        lines: &[
            Line { column: "displacement", legend: "displacement in an iteration", color: BLUE },
            Line { column: "saturated", legend: "fraction of saturated pixels", color: ORANGE },
        ],
        range: None,
    },
    Panel {
        title: "age of chains",
        lines: &[Line { column: "chain_age", legend: "SGLD steps", color: BLUE }],
        range: None,
    },
];
