//! The fresh chains of an evaluation that a session was stopped in: a later session adds their energies to its row.

use super::{COLUMNS, RunDirectory};
use crate::ebm::FreshEnergies;
use crate::report::metrics::{MetricsLog, MetricsTable};

impl RunDirectory {
    /// Adds the energies of the fresh chains after the last row's evaluation to the row.
    pub fn record_fresh(&mut self, fresh: &FreshEnergies) {
        let path = self.path.join("metrics.csv");
        let at = COLUMNS.len() - fresh.0.len();
        let energies = fresh.0.map(|energy| (!energy.is_nan()).then_some(energy));
        let amended = self.metrics.sync().and_then(|()| {
            let mut table = MetricsTable::read(&path)?;
            let last = table.rows.last_mut().map(|row| {
                row[at..].copy_from_slice(&energies);
                row[0].unwrap_or(0.0) as u64
            });
            Ok((MetricsLog::replace(&path, &table)?, last))
        });
        if let Some((log, Some(iteration))) = self.attempt("metrics", 0, amended) {
            self.metrics = log;
            self.scalars(iteration, COLUMNS[at..].iter().zip(energies));
        }
    }

    /// Whether the last row has an evaluation without fresh chains.
    pub fn lacks_fresh(&self) -> bool {
        let Ok(table) = self.metrics() else { return false };
        let has = |row: &[Option<f64>], name| table.column(name).is_some_and(|column| row[column].is_some());
        table.rows.last().is_some_and(|row| has(row, "validation_energy") && !has(row, "fresh_energy_k"))
    }
}
