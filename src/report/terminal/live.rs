//! The live view of a run: curves beside the newest samples, and the progress.

mod mosaic;

use plotters::style::RGBColor;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, LineGauge, Padding, Paragraph};

use crate::report::axes::short;
use crate::report::curves::panels::{BLUE, ORANGE};
use crate::report::curves::{self, SPARSE};
use crate::report::metrics::MetricsTable;
use crate::report::status::{Phase, Status};
use mosaic::{Mosaic, Samples};

/// The width of the labels of vertical axes in columns, the same for all panels, which are aligned vertically.
const LABELS: usize = 7;
/// The minimum height of a panel in rows; with less room there are fewer panels.
const PANEL: u16 = 3;
type Points = Vec<(f64, f64)>;

/// The colour depth of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colors {
    /// 24 bits.
    True,
    /// A palette of 256.
    Indexed,
    /// No colours, or none that can be relied on.
    None,
}

impl Colors {
    /// The colour depth that the environment variables indicate.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let term = variable("TERM").unwrap_or_default();
        let depth = variable("COLORTERM").unwrap_or_default();
        if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            Self::None
        } else if depth == "truecolor" || depth == "24bit" || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256color") {
            Self::Indexed
        } else {
            Self::None
        }
    }

    /// The style for `color`, or for the nearest colour of the palette.
    fn style(self, color: RGBColor) -> Style {
        match self {
            Self::True => Style::new().fg(Color::Rgb(color.0, color.1, color.2)),
            Self::Indexed if color == BLUE => Style::new().fg(Color::Indexed(32)),
            Self::Indexed => Style::new().fg(Color::Indexed(166)),
            Self::None => Style::new(),
        }
    }
}

/// The state that the view shows.
pub struct LiveState {
    colors: Colors,
    total: u64,
    iteration: u64,
    time: String,
    status: Status,
    gap: Points,
    loss: Points,
    accuracy: Points,
    validation: Points,
    /// The last validation and the last other event, as text.
    notes: [String; 2],
    samples: Option<Samples>,
}

impl LiveState {
    /// The state of a run that has completed `start` of `total` iterations.
    pub fn new(start: u64, total: u64, colors: Colors) -> Self {
        Self {
            colors,
            total,
            iteration: start,
            time: String::new(),
            status: Status::default(),
            gap: Points::new(),
            loss: Points::new(),
            accuracy: Points::new(),
            validation: Points::new(),
            notes: Default::default(),
            samples: None,
        }
    }

    /// Sets the curves of the iterations before a resume.
    pub fn history(&mut self, table: &MetricsTable) {
        let columns = [
            ("energy_gap", &mut self.gap),
            ("loss", &mut self.loss),
            ("accuracy", &mut self.accuracy),
            ("validation_accuracy", &mut self.validation),
        ];
        for (column, points) in columns {
            let after = |(iteration, value): &(f64, f64)| (iteration + 1.0, *value);
            *points = table.points(column).iter().map(after).filter(drawable).collect();
        }
    }

    /// Sets the figures after `iteration` iterations.
    pub fn update(&mut self, iteration: u64, status: &Status) {
        // The run has rolled back after a fault: truncate the curves.
        if iteration <= self.iteration {
            for points in [&mut self.gap, &mut self.loss, &mut self.accuracy, &mut self.validation] {
                points.retain(|point| point.0 < iteration as f64);
            }
        }
        (self.iteration, self.status) = (iteration, *status);
        let Status { loss, energy_gap, accuracy, .. } = *status;
        for (points, value) in
            [(&mut self.gap, energy_gap), (&mut self.loss, loss), (&mut self.accuracy, accuracy)]
        {
            points.extend(value.map(|value| (iteration as f64, value)).filter(drawable));
        }
    }

    /// Sets the phase of the iteration in progress.
    pub fn phase(&mut self, phase: Option<Phase>) {
        self.status.phase = phase;
    }

    /// Sets the accuracy on held-out images after `iteration` iterations.
    pub fn validation(&mut self, iteration: u64, accuracy: f64, line: &str) {
        line.clone_into(&mut self.notes[0]);
        self.validation.extend(Some((iteration as f64, accuracy)).filter(drawable));
    }

    /// The iteration and its figures in one line.
    pub fn line(&self) -> String {
        format!("{}/{}  {}", self.iteration, self.total, self.status.line())
    }

    /// Sets the text on the time left.
    pub fn time(&mut self, words: String) {
        self.time = words;
    }

    /// Sets the last event; a validation does not replace it.
    pub fn note(&mut self, line: &str) {
        line.clone_into(&mut self.notes[1]);
    }

    /// Sets the images of `shape` (height, width, channels) after `iteration` iterations, in rows of `columns` images
    /// of one class.
    pub fn samples(&mut self, iteration: u64, images: &[f32], shape: [usize; 3], columns: Option<usize>) {
        let size = shape.iter().product::<usize>();
        if self.colors != Colors::True || size == 0 || images.len() < size || ![1, 3].contains(&shape[2]) {
            return;
        }
        let count = images.len() / size;
        // One image of each class comes first, in case not all fit.
        let columns = columns.unwrap_or(count).max(1);
        let order = (0..columns).flat_map(|column| (column..count).step_by(columns));
        let images = order.flat_map(|image| &images[image * size..][..size]).copied().collect();
        self.samples = Some(Samples { iteration, images, shape });
    }
}

/// Whether a value can be a point of a curve.
fn drawable(point: &(f64, f64)) -> bool {
    point.1.abs() <= f64::from(f32::MAX)
}

/// Draws `model` on all of `frame` except its last line.
pub fn draw(frame: &mut Frame, model: &LiveState) {
    let area = frame.area();
    let area = Rect { height: area.height.saturating_sub(1), ..area };
    let [main, progress, note] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let pictures = model.samples.as_ref().and_then(|samples| Mosaic::fit(samples, main));
    let width = pictures.as_ref().map_or(0, |pictures| pictures.width());
    let [left, _, right] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(2.min(width)),
        Constraint::Length(width),
    ])
    .areas(main);
    curves(frame, left, model);
    if let Some(pictures) = pictures {
        pictures.draw(frame.buffer_mut(), right);
    }
    draw_progress(frame, progress, model);
    let dim = Style::new().add_modifier(Modifier::DIM);
    let notes: Vec<_> = model.notes.iter().filter(|note| !note.is_empty()).map(String::as_str).collect();
    frame.render_widget(Paragraph::new(notes.join(" · ")).style(dim), note);
}

fn draw_progress(frame: &mut Frame, area: Rect, model: &LiveState) {
    let share = model.iteration as f64 / model.total.max(1) as f64;
    let mut figures = model.status.phase.map(|phase| format!("{phase}  ")).unwrap_or_default();
    figures += &format!("{:>3.0}%", 100.0 * share);
    if !model.time.is_empty() {
        figures += &format!("  {}", model.time);
    }
    if let Some(rate) = model.status.images_per_second {
        figures += &format!("  {rate:.*} images/s", usize::from(rate < 100.0));
    }
    let [bar, text] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(figures.chars().count() as u16 + 1)])
            .areas(area);
    let gauge = LineGauge::default()
        .ratio(share.clamp(0.0, 1.0))
        .label(format!("{}/{}", model.iteration, model.total))
        .filled_symbol("━")
        .unfilled_symbol("─")
        .filled_style(model.colors.style(BLUE))
        .unfilled_style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(gauge, bar);
    frame.render_widget(Paragraph::new(figures).alignment(Alignment::Right), text);
}

/// A curve: its values, its name in the heading, its colour and its marker.
struct Curve<'a> {
    points: &'a Points,
    name: &'static str,
    color: RGBColor,
    marker: Marker,
}

struct Panel<'a> {
    title: &'static str,
    curves: Vec<Curve<'a>>,
    /// Formats a value for the heading.
    write: fn(f64) -> String,
    /// Whether the values are fractions, 0 to 1.
    shares: bool,
}

fn curves(frame: &mut Frame, area: Rect, model: &LiveState) {
    let line = |points, name, color| Curve { points, name, color, marker: Marker::Braille };
    let percent = |value: f64| format!("{:.1}%", 100.0 * value);
    let panels = [
        Panel {
            title: "energy gap",
            curves: vec![line(&model.gap, "", BLUE)],
            write: |value| if value.abs() < 1e5 { format!("{value:+.3}") } else { format!("{value:+.2e}") },
            shares: false,
        },
        Panel {
            title: "accuracy",
            curves: vec![
                line(&model.accuracy, "training", BLUE),
                Curve { points: &model.validation, name: "validation", color: ORANGE, marker: Marker::Dot },
            ],
            write: percent,
            shares: true,
        },
        Panel {
            title: "loss",
            curves: vec![line(&model.loss, "", BLUE)],
            write: |value| if value.abs() < 1e5 { format!("{value:.3}") } else { format!("{value:.2e}") },
            shares: false,
        },
    ];
    // The lowest panel has two more rows, for the horizontal axis.
    let count = (area.height.saturating_sub(2) / PANEL).clamp(1, 3);
    let rows = area.height.saturating_sub(2) / count;
    let height = |panel| if panel == count { Constraint::Fill(1) } else { Constraint::Length(rows) };
    let areas = Layout::vertical((1..=count).map(height)).split(area);
    for (index, (panel, area)) in panels.iter().zip(areas.iter()).enumerate() {
        draw_panel(frame, *area, panel, model, index + 1 == usize::from(count));
    }
}

fn draw_panel(frame: &mut Frame, area: Rect, panel: &Panel, model: &LiveState, lowest: bool) {
    // Braille has two dots per column: more points cannot be distinguished.
    let columns = 2 * usize::from(area.width);
    let lines: Vec<Points> = panel
        .curves
        .iter()
        .map(|curve| match curve.points.len() {
            0..SPARSE => curve.points.clone(),
            _ if curve.marker == Marker::Dot => curves::means(curve.points, columns / 4),
            _ => curves::smooth(&curves::means(curve.points, columns)),
        })
        .collect();
    let shown = || lines.iter().filter(|points| !points.is_empty());
    let range = curves::range_of(shown().map(|points| &points[..]));
    let (low, high) = nice(range.start, range.end);
    let (low, high) = if panel.shares { (low.clamp(0.0, 0.9), high.clamp(0.1, 1.0)) } else { (low, high) };
    let ends = |curve: &Curve| Some((curve.points.first()?.0, curve.points.last()?.0));
    let (first, last) = panel
        .curves
        .iter()
        .filter_map(ends)
        .fold((f64::INFINITY, 0.0), |(first, last), ends| (ends.0.min(first), ends.1.max(last)));
    let (first, last) = if first < last { (first, last) } else { (0.0, model.iteration.max(1) as f64) };

    let mut heading = vec![Span::styled(panel.title, Modifier::BOLD)];
    for curve in &panel.curves {
        let Some(&(_, value)) = curve.points.last() else { continue };
        let key = if curve.marker == Marker::Dot { " • " } else { " ─ " };
        if !curve.name.is_empty() {
            heading.extend([Span::styled(key, model.colors.style(curve.color)), curve.name.into()]);
        }
        heading.push(format!(" {}", (panel.write)(value)).into());
    }
    let datasets = panel.curves.iter().zip(&lines).map(|(curve, points)| {
        let kind = if curve.marker == Marker::Dot { GraphType::Scatter } else { GraphType::Line };
        Dataset::default()
            .data(points)
            .marker(curve.marker)
            .graph_type(kind)
            .style(model.colors.style(curve.color))
    });
    let dim = Style::new().add_modifier(Modifier::DIM);
    let label = |value: f64| format!("{:>LABELS$}", short(value, high - low));
    let mut vertical = Axis::default().bounds([low, high]).style(dim);
    vertical = match area.height {
        0..=5 => vertical.labels([label(low), label(high)]),
        _ => vertical.labels([label(low), label((low + high) / 2.0), label(high)]),
    };
    let mut horizontal = Axis::default().bounds([first, last]).style(dim);
    if lowest {
        let label = |value: f64| curves::iterations(value.round(), last);
        horizontal = horizontal.labels([label(first), label((first + last) / 2.0), label(last)]);
    }
    let chart = Chart::new(datasets.collect())
        .block(Block::new().title(Line::from(heading)).padding(Padding::ZERO))
        .legend_position(None)
        .x_axis(horizontal)
        .y_axis(vertical);
    frame.render_widget(chart, area);
}

/// The range from `low` to `high`, extended to round numbers.
fn nice(low: f64, high: f64) -> (f64, f64) {
    let rough = (high - low) / 10.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    ((low / step).floor() * step, (high / step).ceil() * step)
}

#[cfg(test)]
mod tests;
