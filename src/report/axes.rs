//! The axes of a plot: their ranges, labels and grid, with the same style for all plots.

use super::canvas::{self, FONT, PlotError, Root};
use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use std::ops::Range;

/// The axes of one panel.
pub(super) struct Axes<'a> {
    /// The horizontal axis.
    pub x: Axis,
    /// The range of the vertical axis.
    pub y: Range<f64>,
    /// Margins outside the labels, in pixels: top, right, bottom, left.
    pub margins: [u32; 4],
    /// The space for labels and names below the panel and to its left, in pixels.
    pub areas: [u32; 2],
    /// The approximate number of labels of each axis; the horizontal one has fewer where they would meet.
    pub labels: [usize; 2],
    /// Formats the label of a point on the horizontal axis.
    pub x_label: &'a dyn Fn(f64) -> String,
    /// The names of the axes; may be empty.
    pub names: [&'a str; 2],
    /// The font sizes of labels and of names.
    pub fonts: [u32; 2],
}

/// A panel to draw series on.
pub(super) type Chart<'a> = ChartContext<'a, BitMapBackend<'a>, Cartesian2d<Axis, Axis>>;

impl Axes<'_> {
    /// Draws the axes and the grid on `area`.
    pub fn draw<'a>(&self, area: &Root<'a>) -> Result<Chart<'a>, PlotError> {
        let ([top, right, bottom, left], [below, beside]) = (self.margins, self.areas);
        let y = Axis::from(self.y.clone());
        let width = area.dim_in_pixel().0.saturating_sub(right + left + beside);
        let x_labels = (2..=self.labels[0]).rev().find(|&most| self.fit(most, width)).unwrap_or(2);
        let mut chart = ChartBuilder::on(area)
            .margin_top(top)
            .margin_right(right)
            .margin_bottom(bottom)
            .margin_left(left)
            .x_label_area_size(below)
            .y_label_area_size(beside)
            .build_cartesian_2d(self.x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.13))
            .light_line_style(TRANSPARENT)
            .axis_style(BLACK.mix(0.5))
            .x_labels(x_labels)
            .y_labels(self.labels[1])
            .x_label_formatter(&|&x| (self.x_label)(x))
            .y_label_formatter(&|&value| y.label(value))
            .label_style((FONT, self.fonts[0]))
            .x_desc(self.names[0])
            .y_desc(self.names[1])
            .axis_desc_style((FONT, self.fonts[1]))
            .draw()?;
        Ok(chart)
    }

    /// Whether `most` labels of the horizontal axis do not meet on `width` pixels.
    fn fit(&self, most: usize, width: u32) -> bool {
        let font = canvas::font(self.fonts[0], FontStyle::Normal);
        let points = self.x.key_points(BoldPoints(most));
        let labels: Vec<(f64, u32)> = points
            .into_iter()
            .map(|point| {
                (f64::from(width) * self.x.share(point), canvas::width(&(self.x_label)(point), &font))
            })
            .collect();
        labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= f64::from(pair[0].1 + pair[1].1) / 2.0 + 10.0)
    }
}

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances for equal differences.
    Linear,
    /// Equal distances for equal ratios; for positive values.
    Log10,
}

/// An axis whose key points are multiples of 1, 2 or 5 times a power of ten. (plotters' own float axis shows
/// 0.30000000000000004 instead of 0.3.)
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Ascending; positive on a logarithmic scale.
    pub range: Range<f64>,
    pub scale: Scale,
}

impl From<Range<f64>> for Axis {
    fn from(range: Range<f64>) -> Self {
        Self { range, scale: Scale::Linear }
    }
}

impl Axis {
    /// The place of `value` on the scale.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log10 => value.log10(),
        }
    }

    /// The place of `value` between the start of the range (0) and its end (1).
    pub fn share(&self, value: f64) -> f64 {
        let (start, end) = (self.place(self.range.start), self.place(self.range.end));
        (self.place(value) - start) / (end - start)
    }

    /// The powers of ten in the range, or some of them, and their doubles and fivefolds where there is room.
    fn powers(&self, most: usize) -> Vec<f64> {
        let decades = self.range.end.log10() - self.range.start.log10();
        let stride = (decades / most as f64).ceil().max(1.0) as i32;
        let factors: &[f64] = if 3.0 * decades <= most as f64 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = self.range.start.log10().floor() as i32;
        let last = self.range.end.log10().ceil() as i32;
        // Multiples of the stride, whatever the range: 1, 100, 10^4.
        let powers = (first.div_euclid(stride)..=last.div_euclid(stride)).map(|power| power * stride);
        let values = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        let slack = 1e-9;
        let inside = |value: &f64| {
            *value >= self.range.start * (1.0 - slack) && *value <= self.range.end * (1.0 + slack)
        };
        values.filter(inside).collect()
    }

    /// Formats a key point.
    pub fn label(&self, value: f64) -> String {
        let power = value.abs().log10();
        if self.scale == Scale::Log10 && !(-3.5..4.5).contains(&power) {
            let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
            let exponent = (power + 1e-9).floor();
            let raised = format!("{exponent}")
                .chars()
                .map(|c| c.to_digit(10).map_or('⁻', |d| digits[d as usize]))
                .collect::<String>();
            let factor = (value / 10f64.powf(exponent)).round();
            return if factor == 1.0 { format!("10{raised}") } else { format!("{factor}·10{raised}") };
        }
        let extent = if self.scale == Scale::Log10 { value } else { self.range.end - self.range.start };
        if value.abs() >= 1e5 || extent < 1e-3 && value != 0.0 && value.abs() < 1e-3 {
            // Without the zeros: 2e-5.
            let text = format!("{value:.2e}");
            let (factor, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            return format!("{}e{exponent}", factor.trim_end_matches('0').trim_end_matches('.'));
        }
        short(value, extent)
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * self.share(*value)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let most = hint.max_num_points().clamp(2, 12);
        if self.scale == Scale::Log10 && self.range.end >= 30.0 * self.range.start {
            return self.powers(most);
        }
        let rough = (self.range.end - self.range.start) / most as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.range.start / step - 1e-9).ceil() as i64;
        let last = (self.range.end / step + 1e-9).floor() as i64;
        (first..=last).map(|multiple| multiple as f64 * step).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
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
    #[test]
    fn small_numbers_have_an_exponent() {
        let axis = Axis::from(0.0..6e-5);
        let points = axis.key_points(BoldPoints(3));
        let labels: Vec<_> = points.into_iter().map(|point| axis.label(point)).collect();
        assert_eq!(labels, ["0", "2e-5", "4e-5", "6e-5"]);
        // A short range far from 0 needs the digits.
        assert_eq!(Axis::from(0.5..0.5002).label(0.50015), "0.50015");
        assert_eq!(Axis::from(-2e5..0.0).label(-1.5e5), "-1.5e5");
    }

    #[test]
    fn a_logarithmic_axis_has_round_labels() {
        let labels = |range: Range<f64>, most: usize| {
            let axis = Axis { range, scale: Scale::Log10 };
            let points = axis.key_points(BoldPoints(most));
            points.into_iter().map(|point| axis.label(point)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(10.0..1000.0, 8), "10 20 50 100 200 500 1000");
        assert_eq!(labels(1.0..1e4, 8), "1 10 100 1000 10000");
        assert_eq!(labels(1e-4..1e6, 6), "10⁻⁴ 0.01 1 100 10000 10⁶");
        // Less than a decade and a half: as on a linear axis.
        assert_eq!(labels(15.0..60.0, 6), "20 30 40 50 60");
        assert_eq!(labels(1e-300..1e300, 4), "10⁻³⁰⁰ 10⁻¹⁵⁰ 1 10¹⁵⁰ 10³⁰⁰");
        assert_eq!(labels(1e5..2e6, 3), "10⁶ 2·10⁶");
    }

    #[test]
    fn labels_do_not_meet() {
        let name = |value: f64| format!("a long label {value}");
        let axes = |x_label| Axes {
            x: Axis::from(0.0..1.0),
            y: 0.0..1.0,
            margins: [0; 4],
            areas: [30; 2],
            labels: [11, 5],
            x_label,
            names: [""; 2],
            fonts: [14; 2],
        };
        let short = |value: f64| format!("{value:.1}");
        assert!(axes(&short).fit(11, 600) && !axes(&name).fit(11, 600) && axes(&name).fit(2, 600));
    }

    #[test]
    fn equal_ratios_have_equal_distances() {
        let axis = Axis { range: 1.0..100.0, scale: Scale::Log10 };
        assert_eq!([1.0, 10.0, 100.0].map(|value| axis.map(&value, (20, 220))), [20, 120, 220]);
        let axis = Axis::from(-1.0..1.0);
        assert_eq!([-1.0, 0.0, 1.0].map(|value| axis.map(&value, (220, 20))), [220, 120, 20]);
    }
}
