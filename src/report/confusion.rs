//! A confusion matrix as a picture.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{self, FONT, PlotError, Root};
use super::captions::{Title, Wrapped};
use super::curves::panels::ORANGE;
use crate::error::{Error, Result};

/// The maximum number of classes: a pixel each at least.
pub const CLASSES: usize = 2000;
/// The approximate side of the matrix, and the maximum side of a cell, in pixels.
const SIDE: usize = 800;
const CELL: usize = 72;
/// With more classes than these, the cells have no counts, and not all names are shown.
const COUNTED: usize = 20;
const NAMED: usize = 30;
/// The maximum length of a name, the space for the name of an axis, and that for the scale, in pixels.
const NAME: u32 = 170;
const AXIS: u32 = 30;
const LEGEND: u32 = 124;
/// The least height of the picture without names, for the scale, and of a line of names, in pixels.
const LEAST: u32 = 170;
const LINE: usize = 14;

/// Writes a PNG of the confusion matrix `counts` (`[classes, classes]`: rows are true classes, columns predictions; the
/// first is at the top left). A cell's colour is its share of its row, from white over blue to black-blue by the square
/// root, so that rare confusions show; a scale explains it. Cells of the diagonal have an orange outline, rows without
/// images are grey. Cells show their counts, if not 0, up to 20 classes; above 30 classes only every k-th name is
/// shown. `names` are those of the classes.
///
/// # Errors
/// [`Error::Shape`] when there is no class or more than [`CLASSES`], or `counts` has another length than the square of
/// that of `names`; [`Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, counts: &[u32], names: &[String], title: &str) -> Result<()> {
    let classes = names.len();
    if !(1..=CLASSES).contains(&classes) || counts.len() != classes * classes {
        return Err(Error::Shape {
            operation: "confusion matrix",
            message: format!(
                "expected the names of 1 to {CLASSES} classes and counts [classes, classes], got {classes} names and \
                 {} counts",
                counts.len()
            ),
        });
    }
    let layout = Layout::of(names);
    let title = Title::new(title, layout.size().0);
    let (width, height) = layout.size();
    canvas::write_png(path, (width, title.height() + height), |root| {
        title.draw(root)?;
        let (_, area) = root.split_vertically(title.height());
        layout.draw_cells(&area, counts)?;
        layout.draw_names(&area)?;
        layout.draw_scale(&area)
    })
}

/// The colour of a share of a row.
fn color(share: f64) -> RGBColor {
    const ENDS: [[f64; 3]; 4] =
        [[255.0, 255.0, 255.0], [158.0, 202.0, 225.0], [33.0, 113.0, 181.0], [8.0, 40.0, 90.0]];
    let position = share.clamp(0.0, 1.0).sqrt() * (ENDS.len() - 1) as f64;
    let index = (position as usize).min(ENDS.len() - 2);
    let mix = |c: usize| {
        (ENDS[index][c] + (position - index as f64) * (ENDS[index + 1][c] - ENDS[index][c])).round() as u8
    };
    RGBColor(mix(0), mix(1), mix(2))
}

/// The brightness of a colour, from 0 to 255.
fn luma(RGBColor(red, green, blue): RGBColor) -> f64 {
    0.2126 * f64::from(red) + 0.7152 * f64::from(green) + 0.0722 * f64::from(blue)
}

/// The places of a matrix and its names.
struct Layout {
    classes: usize,
    /// The side of a cell in pixels.
    cell: i32,
    /// The upper left corner of the matrix.
    corner: (i32, i32),
    /// The class and the name of each row that shows one, and of each column.
    rows: Vec<(usize, Wrapped)>,
    columns: Vec<(usize, Wrapped)>,
    /// Whether the names of the columns are turned by a quarter.
    turned: bool,
}

impl Layout {
    fn of(names: &[String]) -> Self {
        let classes = names.len();
        let cell = (SIDE / classes).clamp(1, CELL);
        let every = if classes > NAMED { LINE.div_ceil(cell) } else { 1 };
        let font = ((every * cell) as u32 - 2).min(14) / 2 * 2;
        let shown = |size: u32, room: u32| -> Vec<(usize, Wrapped)> {
            let named = names.iter().enumerate().step_by(every);
            named.map(|(i, name)| (i, Wrapped::new(name, (size, FontStyle::Normal), room, 1))).collect()
        };
        let rows = shown(font, NAME);
        // All at the same size; names that would be smaller than 12 pixels are turned.
        let fits = |columns: &Vec<(usize, Wrapped)>| longest(columns) + 4 <= (every * cell) as u32;
        let lying = (12..=font).rev().step_by(2).map(|size| shown(size, NAME)).find(fits);
        let turned = lying.is_none();
        let columns = lying.unwrap_or_else(|| shown(font, NAME));
        let corner = ((AXIS + 6 + longest(&rows)) as i32, 4);
        Self { classes, cell: cell as i32, corner, rows, columns, turned }
    }

    /// The side of the matrix in pixels.
    fn side(&self) -> i32 {
        self.classes as i32 * self.cell
    }

    /// The size of the picture without its title, in pixels.
    fn size(&self) -> (u32, u32) {
        let below = if self.turned { longest(&self.columns) } else { 18 };
        let side = self.side() as u32;
        (self.corner.0 as u32 + side + LEGEND, self.corner.1 as u32 + side.max(LEAST) + 6 + below + AXIS)
    }

    fn draw_cells(&self, area: &Root, counts: &[u32]) -> Result<(), PlotError> {
        let (left, top) = self.corner;
        let gap = i32::from(self.classes <= NAMED);
        let frame = [(left - 1, top - 1), (left + self.side() + 1 - gap, top + self.side() + 1 - gap)];
        area.draw(&Rectangle::new(frame, RGBColor(215, 215, 215).filled()))?;
        for (row, counts) in counts.chunks_exact(self.classes).enumerate() {
            let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
            for (column, &count) in counts.iter().enumerate() {
                let (x, y) = (left + column as i32 * self.cell, top + row as i32 * self.cell);
                let end = (x + self.cell - gap, y + self.cell - gap);
                let fill =
                    if total > 0.0 { color(f64::from(count) / total) } else { RGBColor(200, 200, 200) };
                area.draw(&Rectangle::new([(x, y), end], fill.filled()))?;
                if row == column && self.cell >= 6 {
                    area.draw(&Rectangle::new([(x, y), (end.0 - 1, end.1 - 1)], ORANGE.stroke_width(1)))?;
                }
                if count > 0 && self.classes <= COUNTED {
                    let text = count.to_string();
                    let font = canvas::fitted(&text, (FONT, 14).into_font(), self.cell as u32 - 6);
                    let ink = if luma(fill) < 125.0 { WHITE } else { BLACK };
                    let middle = (x + self.cell / 2, y + self.cell / 2);
                    let style = font.color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
                    area.draw(&Text::new(text, middle, style))?;
                }
            }
        }
        Ok(())
    }

    fn draw_names(&self, area: &Root) -> Result<(), PlotError> {
        let (left, top) = self.corner;
        let (right, bottom) = (left + self.side(), top + self.side());
        let middle = |class: usize| class as i32 * self.cell + self.cell / 2;
        for (class, name) in &self.rows {
            let style = TextStyle::from(name.font.clone()).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(name.lines.concat(), (left - 6, top + middle(*class)), style))?;
        }
        for (class, name) in &self.columns {
            let (font, position) = if self.turned {
                (name.font.transform(FontTransform::Rotate270), Pos::new(HPos::Right, VPos::Center))
            } else {
                (name.font.clone(), Pos::new(HPos::Center, VPos::Top))
            };
            let style = TextStyle::from(font).pos(position);
            area.draw(&Text::new(name.lines.concat(), (left + middle(*class), bottom + 6), style))?;
        }
        let centre = Pos::new(HPos::Center, VPos::Center);
        let style = TextStyle::from((FONT, 16).into_font()).pos(centre);
        let below = self.size().1 as i32 - AXIS as i32 / 2;
        area.draw(&Text::new("predicted class", ((left + right) / 2, below), style))?;
        let style = TextStyle::from((FONT, 16).into_font().transform(FontTransform::Rotate270)).pos(centre);
        area.draw(&Text::new("true class", (AXIS as i32 / 2, (top + bottom) / 2), style))?;
        Ok(())
    }

    /// Draws the scale of the colours to the right of the matrix.
    fn draw_scale(&self, area: &Root) -> Result<(), PlotError> {
        let (left, top) = (self.corner.0 + self.side() + 24, self.corner.1 + 24);
        let height = (self.side() - 24).clamp(LEAST as i32 - 24, 280);
        let style = || TextStyle::from((FONT, 14).into_font());
        area.draw(&Text::new("share of row", (left, top - 22), style()))?;
        for y in 0..height {
            let share = (1.0 - f64::from(y) / f64::from(height - 1)).powi(2);
            let row = [(left, top + y), (left + 16, top + y + 1)];
            area.draw(&Rectangle::new(row, color(share).filled()))?;
        }
        let frame = [(left, top), (left + 16, top + height)];
        area.draw(&Rectangle::new(frame, BLACK.mix(0.5).stroke_width(1)))?;
        for percent in [0, 1, 5, 20, 50, 100] {
            let place = f64::from(height) * (1.0 - (f64::from(percent) / 100.0).sqrt());
            let at = (left + 22, top + place.round() as i32);
            let style = style().pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(format!("{percent}%"), at, style))?;
        }
        Ok(())
    }
}

/// The width of the longest name in pixels.
fn longest(names: &[(usize, Wrapped)]) -> u32 {
    names.iter().map(|(_, name)| canvas::width(&name.lines.concat(), &name.font)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::splitmix::SplitMix;

    /// A matrix of 1,000 images a class; about a third of them are confused with a few other classes.
    fn counts(classes: usize) -> Vec<u32> {
        let mut random = SplitMix::new(3, classes as u64);
        let mut counts = vec![0; classes * classes];
        for row in 0..classes {
            counts[row * classes + row] = 1000;
            for _ in 0..2 * classes.min(6) {
                let column = random.below(classes as u64) as usize;
                let moved = random.below(60) as u32;
                counts[row * classes + row] -= moved;
                counts[row * classes + column] += moved;
            }
        }
        counts
    }

    fn names(classes: usize) -> Vec<String> {
        let cifar =
            ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
        (0..classes)
            .map(|i| if classes == 10 { cifar[i].into() } else { format!("class number {i}") })
            .collect()
    }

    fn draw(counts: &[u32], names: &[String], keep: &str) -> image::RgbImage {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("confusion.png");
        plot(&path, counts, names, "Predictions of ResNet-20 on the test images of CIFAR-10").unwrap();
        if let Some(folder) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&folder).join(format!("confusion-{keep}.png"))).unwrap();
        }
        image::open(&path).unwrap().into_rgb8()
    }

    #[test]
    fn cells_have_the_colours_of_their_shares() {
        for classes in [1, 2, 10, 20, 30, 31, 100, 300] {
            let (counts, names) = (counts(classes), names(classes));
            let picture = draw(&counts, &names, &classes.to_string());
            let layout = Layout::of(&names);
            let above = picture.height() - layout.size().1;
            let cell = layout.cell;
            for (index, &count) in counts.iter().enumerate() {
                let (row, column) = ((index / classes) as i32, (index % classes) as i32);
                // Beside the outline and the count.
                let inside = (cell / 8).max(i32::from(cell >= 6) + i32::from(cell >= 20));
                let x = layout.corner.0 + column * cell + inside;
                let y = layout.corner.1 + row * cell + inside + above as i32;
                let expected = color(f64::from(count) / 1000.0);
                let found = picture.get_pixel(x as u32, y as u32).0;
                assert_eq!(found, [expected.0, expected.1, expected.2], "{classes} classes: {row}, {column}");
            }
        }
    }

    #[test]
    fn names_stay_inside() {
        let long = "a name of a class that is far too long for the margin, and goes on and on and on";
        for classes in [3, 40] {
            let names: Vec<_> = (0..classes).map(|i| format!("{long} {i}")).collect();
            let picture = draw(&counts(classes), &names, &format!("long-{classes}"));
            let (width, height) = picture.dimensions();
            let strips = [(0, 0, 4, height), (width - 4, 0, 4, height), (0, height - 4, width, 4)];
            for (x, y, w, h) in strips {
                let strip = image::imageops::crop_imm(&picture, x, y, w, h).to_image();
                assert!(strip.pixels().all(|pixel| pixel.0 == [255; 3]), "{classes}: at {x}, {y}");
            }
        }
        let shown = Layout::of(&names(100)).rows.iter().map(|(class, _)| *class).collect::<Vec<_>>();
        assert!(shown.len() == 50 && shown[..3] == [0, 2, 4], "{shown:?}");
        assert_eq!(Layout::of(&names(30)).rows.len(), 30);
        assert!(Layout::of(&names(100)).turned && !Layout::of(&names(10)).turned);
    }

    #[test]
    fn rows_without_images_are_grey_and_other_numbers_of_counts_are_errors() {
        let picture = draw(&[0, 0, 3, 1], &names(2), "empty");
        let layout = Layout::of(&names(2));
        let above = picture.height() - layout.size().1;
        let at = |row: i32| {
            let y = layout.corner.1 + row * layout.cell + 5 + above as i32;
            picture.get_pixel(layout.corner.0 as u32 + 5, y as u32).0
        };
        let expected = color(0.75);
        assert_eq!([at(0), at(1)], [[200; 3], [expected.0, expected.1, expected.2]]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("confusion.png");
        for (counts, classes) in [(vec![1; 3], 2), (vec![], 0), (vec![0], 3000)] {
            let error = plot(&path, &counts, &names(classes), "").unwrap_err().to_string();
            assert!(error.contains(&format!("got {classes} names and {} counts", counts.len())), "{error}");
        }
    }

    #[test]
    fn the_colours_darken_evenly() {
        let luma = |share: f64| luma(color(share));
        for step in 0..100 {
            assert!(luma(f64::from(step + 1) / 100.0) < luma(f64::from(step) / 100.0), "{step}");
        }
        // A hundredth of the row is seen.
        assert!(luma(0.0) - luma(0.01) > 10.0);
    }
}
