//! The axes of a plot: their ranges, labels and grid, with the same style for all plots.

use super::canvas::{FONT, PlotError, Root};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::ops::Range;

/// The axes of one panel. The horizontal axis starts at 0.
pub(super) struct Axes<'a> {
    /// The end of the horizontal axis, and the range of the vertical axis.
    pub last: f64,
    pub range: Range<f64>,
    /// Margins outside the labels, in pixels: top, right, bottom, left.
    pub margins: [u32; 4],
    /// The space for labels and names below the panel and to its left, in pixels.
    pub areas: [u32; 2],
    /// The approximate number of labels of each axis.
    pub labels: [usize; 2],
    /// Formats the label of a point on the horizontal axis.
    pub x_label: &'a dyn Fn(f64) -> String,
    /// The names of the axes; may be empty.
    pub names: [&'a str; 2],
    /// The font sizes of labels and of names.
    pub fonts: [u32; 2],
}

/// A panel to draw series on.
pub(super) type Chart<'a> = ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, Axis>>;

impl Axes<'_> {
    /// Draws the axes and the grid on `area`.
    pub fn draw<'a>(&self, area: &Root<'a>) -> Result<Chart<'a>, PlotError> {
        let ([top, right, bottom, left], [below, beside]) = (self.margins, self.areas);
        let extent = self.range.end - self.range.start;
        let mut chart = ChartBuilder::on(area)
            .margin_top(top)
            .margin_right(right)
            .margin_bottom(bottom)
            .margin_left(left)
            .x_label_area_size(below)
            .y_label_area_size(beside)
            .build_cartesian_2d(0.0..self.last, Axis(self.range.clone()))?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.13))
            .light_line_style(TRANSPARENT)
            .axis_style(BLACK.mix(0.5))
            .x_labels(self.labels[0])
            .y_labels(self.labels[1])
            .x_label_formatter(&|&x| (self.x_label)(x))
            .y_label_formatter(&|&y| short(y, extent))
            .label_style((FONT, self.fonts[0]))
            .x_desc(self.names[0])
            .y_desc(self.names[1])
            .axis_desc_style((FONT, self.fonts[1]))
            .draw()?;
        Ok(chart)
    }
}

/// A vertical axis whose key points are multiples of 1, 2 or 5 times a power of ten. (plotters' own float axis shows
/// 0.30000000000000004 instead of 0.3.)
pub(super) struct Axis(pub Range<f64>);

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.0.start) / (self.0.end - self.0.start);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let rough = (self.0.end - self.0.start) / hint.max_num_points().clamp(2, 8) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.0.start / step - 1e-9).ceil() as i64;
        let last = (self.0.end / step + 1e-9).floor() as i64;
        (first..=last).map(|multiple| multiple as f64 * step).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.clone()
    }
}

/// Formats a number with the digits that an axis of length `extent` needs.
pub(super) fn short(value: f64, extent: f64) -> String {
    let digits = (2.0 - extent.max(1e-9).log10().floor()).clamp(0.0, 8.0) as usize;
    if value.abs() >= 1e5 {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.1 + 0.2, 1.0, "0.3"), (-1e-12, 1.0, "0"), (1234.5, 900.0, "1234"), (2.5e7, 1e7, "2.50e7")];
        for (value, extent, expected) in cases {
            assert_eq!(short(value, extent), expected);
        }
    }
}
