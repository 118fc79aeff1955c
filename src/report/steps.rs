//! The energies of chains, step by step.

use std::path::Path;

use plotters::prelude::*;

use super::axes::{Axes, Axis};
use super::canvas;
use super::curves::panels::BLUE;
use super::curves::range_of;
use crate::error::Result;

/// The size of the picture in pixels.
const SIZE: (u32, u32) = (960, 540);
/// The maximum number of chains drawn.
const CHAINS: usize = 200;

/// Writes a PNG of 960x540 pixels: the energy (minus the log density) of every chain as a faint line, their mean as a
/// strong one. `log_density` has a row per step with a value per chain.
///
/// # Errors
/// [`crate::Error::Io`] when the file cannot be written.
pub fn plot(path: &Path, log_density: &[Vec<f32>]) -> Result<()> {
    let line = |value: &dyn Fn(&[f32]) -> f64| -> Vec<(f64, f64)> {
        let points = log_density.iter().enumerate().map(|(step, row)| (step as f64, -value(row)));
        points.filter(|point| point.1.is_finite()).collect()
    };
    let chains = log_density.first().map_or(0, Vec::len).min(CHAINS);
    let lines: Vec<_> = (0..chains).map(|chain| line(&|row: &[f32]| f64::from(row[chain]))).collect();
    let mean = line(&|row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64);
    let lines: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let range = range_of(lines.iter().map(|line| &line[..]));
    let last = (log_density.len().max(2) - 1) as f64;
    canvas::write_png(path, SIZE, |root| {
        let axes = Axes {
            x: Axis::from(0.0..last),
            y: range.clone(),
            margins: [16; 4],
            areas: [46, 90],
            labels: [11, 6],
            x_label: &|step| format!("{step:.0}"),
            names: ["SGLD step", "energy (nats, up to a constant)"],
            fonts: [16, 18],
        };
        let mut chart = axes.draw(root)?;
        let clipped = |points: Vec<(f64, f64)>| {
            points.into_iter().map(|(x, y)| (x, y.clamp(range.start, range.end))).collect::<Vec<_>>()
        };
        for line in lines {
            chart.draw_series(LineSeries::new(clipped(line), BLUE.mix(0.2)))?;
        }
        chart.draw_series(LineSeries::new(clipped(mean), BLUE.stroke_width(3)))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_energies_and_none_at_all_can_be_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("energies.png");
        let chain =
            |step: usize, chain: usize| 3.0 - 5.0 * (-(step as f32) / 30.0).exp() + 0.1 * chain as f32;
        let rows: Vec<Vec<f32>> = (0..=100).map(|s| (0..16).map(|c| chain(s, c)).collect()).collect();
        plot(&path, &rows).unwrap();
        if let Some(keep) = std::env::var_os("JEM_KEEP_PICTURES") {
            std::fs::copy(&path, Path::new(&keep).join("energies.png")).unwrap();
        }
        let picture = image::open(&path).unwrap().into_rgb8();
        let strong = picture.pixels().filter(|pixel| pixel.0 == [BLUE.0, BLUE.1, BLUE.2]).count();
        assert!(strong > 1000, "{strong} pixels of the mean");
        for rows in [vec![], vec![vec![1.0]], vec![vec![f32::NAN, 1.0], vec![f32::INFINITY, 2.0]]] {
            plot(&path, &rows).unwrap();
        }
    }
}
