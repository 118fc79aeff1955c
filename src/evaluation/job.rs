//! Measurements to be made, in their order, with progress.

use super::store::{Arrays, Store};
use crate::error::Result;
use serde_json::Value;

/// A measurement: its name and key in the store, and how to make it.
pub(super) struct Job<'a> {
    /// The name in the store.
    pub name: String,
    /// The work in words, for the progress, such as `scoring svhn:test`.
    pub what: String,
    /// Everything that its numbers depend on.
    pub key: Value,
    /// The work, as a number of images that pass through the network once.
    pub cost: f64,
    /// Makes the measurement; earlier ones are in the store. The closure is called with the part of the work that is
    /// done, 0 to 1, and returns whether to go on; `None` if it returned false.
    pub measure: Measure<'a>,
}

/// Makes a measurement.
pub(super) type Measure<'a> = Box<dyn FnOnce(&Store, GoesOn<'_>) -> Result<Option<Arrays>> + 'a>;

/// Receives the part of a measurement that is done; returns whether to go on.
pub type GoesOn<'a> = &'a mut dyn FnMut(f64) -> bool;

/// Receives the progress of an evaluation.
pub trait Watch {
    /// All work begins: `total`, in images that pass through a network once.
    fn begin(&mut self, total: f64);

    /// A measurement begins, such as `scoring svhn:test`.
    fn measures(&mut self, what: &str);

    /// So much of the work is done. Returns whether to go on.
    fn at(&mut self, done: f64) -> bool;
}

/// A [`Watch`] that shows nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&mut self, _total: f64) {}

    fn measures(&mut self, _what: &str) {}

    fn at(&mut self, _done: f64) -> bool {
        true
    }
}

/// Makes the measurements that are not in the store. Returns their cost; `None` if `watch` stopped them.
pub(super) fn measure(jobs: Vec<Job<'_>>, store: &Store, watch: &mut dyn Watch) -> Result<Option<f64>> {
    let jobs: Vec<Job<'_>> =
        jobs.into_iter().filter(|job| store.load(&job.name, &job.key).is_none()).collect();
    watch.begin(jobs.iter().map(|job| job.cost).sum());
    let mut before = 0.0;
    for job in jobs {
        watch.measures(&job.what);
        let mut goes_on = |part: f64| watch.at(before + part * job.cost);
        if !goes_on(0.0) || store.part(&job.name, &job.key, || (job.measure)(store, &mut goes_on))?.is_none()
        {
            return Ok(None);
        }
        before += job.cost;
    }
    Ok(Some(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Notes everything, and stops at `stop`.
    struct Notes(Vec<String>, f64);

    impl Watch for Notes {
        fn begin(&mut self, total: f64) {
            self.0.push(format!("begin {total}"));
        }

        fn measures(&mut self, what: &str) {
            self.0.push(what.to_owned());
        }

        fn at(&mut self, done: f64) -> bool {
            self.0.push(format!("at {done}"));
            done < self.1
        }
    }

    #[test]
    fn finished_measurements_are_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let jobs = || {
            let job = |name: &str, cost: f64| Job {
                name: name.into(),
                what: format!("measuring {name}"),
                key: json!(name),
                cost,
                measure: Box::new(|_, goes_on| Ok(goes_on(0.5).then(Arrays::default))),
            };
            vec![job("a", 10.0), job("b", 4.0)]
        };
        let mut notes = Notes(Vec::new(), 12.0);
        assert_eq!(measure(jobs(), &store, &mut notes).unwrap(), None);
        assert_eq!(notes.0, ["begin 14", "measuring a", "at 0", "at 5", "measuring b", "at 10", "at 12"]);
        let mut notes = Notes(Vec::new(), 12.0);
        assert_eq!(measure(jobs(), &store, &mut notes).unwrap(), Some(4.0));
        assert_eq!(notes.0, ["begin 4", "measuring b", "at 0", "at 2"]);
        assert_eq!(measure(jobs(), &store, &mut Unwatched).unwrap(), Some(0.0));
    }
}
