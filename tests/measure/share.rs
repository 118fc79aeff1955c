//! The division of a run's time among the steps.

use crate::measure::plan::{Step, ending, steps};
use crate::measure::share::Share;
use std::collections::BTreeSet;

/// The limits of all steps if each uses the time `used` of its limit; `None` for a skipped step.
fn limits(steps: &[Step], seconds: f64, used: impl Fn(&Step) -> f64) -> (Vec<Option<f64>>, f64) {
    let mut left = seconds;
    let mut limits = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let later = steps[index + 1..].iter().map(|step| step.share.kept).sum();
        let limit = step.share.limit(left, later);
        left -= limit.map_or(0.0, |limit| limit * used(step));
        limits.push(limit);
    }
    (limits, left)
}

#[test]
fn a_step_has_what_is_kept_for_it_and_what_is_to_spare() {
    let share = Share { kept: 10.0, limit: 30.0 };
    assert_eq!(share.limit(100.0, 20.0), Some(30.0), "no more than its limit");
    assert_eq!(share.limit(45.0, 20.0), Some(25.0), "what nothing is kept for");
    assert_eq!(share.limit(30.0, 20.0), Some(10.0), "what is kept for it");
    // When time runs short, the later steps lose it: they are worth less.
    assert_eq!(share.limit(20.0, 20.0), Some(10.0));
    assert_eq!(share.limit(7.0, 20.0), Some(7.0), "what is left");
    assert_eq!(share.limit(4.9, 20.0), None, "of no use");
    assert_eq!(share.limit(-1.0, 0.0), None);
    assert_eq!(share.scaled(0.5).limit(4.9, 20.0), Some(4.9), "of use where all is shorter");
}

#[test]
fn every_step_has_its_time_even_if_all_take_their_limits() {
    for (quick, seconds) in [(false, 540.0), (false, 200.0), (true, 60.0), (true, 40.0)] {
        let steps = steps(quick, seconds);
        let all = seconds - ending(quick);
        let (limits, left) = limits(&steps, all, |_| 1.0);
        assert!(left >= -1e-9, "they share {all} s, {left} are left");
        for (step, limit) in steps.iter().zip(&limits) {
            let limit = limit.unwrap_or_else(|| panic!("{} is skipped of {seconds} s", step.name));
            assert!(limit >= step.share.kept.min(step.share.limit) - 1e-9, "{}: {limit}", step.name);
        }
    }
}

/// The steps in f32 are estimated at 60 s on an H100: PyTorch starts with two modes, and then all alternate.
#[test]
fn whole_steps_have_their_time_if_all_before_them_take_their_limits() {
    let steps = steps(false, 540.0);
    let (limits, _) = limits(&steps, 540.0 - ending(false), |_| 1.0);
    for (name, least) in [("steps-f32", 50.0), ("steps-f16", 38.0), ("profile-f32", 18.0)] {
        let at = steps.iter().position(|step| step.name == name).unwrap();
        assert!(limits[at].unwrap() >= least, "{name}: {:?}", limits[at]);
    }
}

#[test]
fn room_for_repeats_is_a_matter_of_seconds_however_short_the_run() {
    let of = |seconds, name| steps(false, seconds).into_iter().find(|step| step.name == name).unwrap();
    for name in ["steps-f32", "steps-f16", "profile-f32", "profile-f16"] {
        let (whole, short) = (of(540.0, name), of(200.0, name));
        assert!(whole.is_roomy(whole.share.limit), "{name} never has room");
        assert!(!whole.is_roomy(1.5 * whole.share.kept), "{name}");
        assert!(!short.is_roomy(whole.share.kept), "{name}");
    }
}

#[test]
fn time_that_is_left_over_goes_to_later_steps() {
    let steps = steps(false, 540.0);
    let (all, _) = limits(&steps, 532.0, |_| 1.0);
    let (some, left) = limits(&steps, 532.0, |_| 0.3);
    let longer = all.iter().zip(&some).filter(|(all, some)| some.unwrap() > all.unwrap() + 1.0).count();
    assert!(longer > 10, "only {longer} steps gain");
    assert!(all.iter().zip(&some).all(|(all, some)| some >= all));
    // The remaining tests take the time that is left.
    let rest = steps.iter().position(|step| step.name == "test-rest").unwrap();
    assert!(some[rest].unwrap() > 60.0, "{left} s are left, of which the last tests had {:?}", some[rest]);
    assert_eq!(rest + 1, steps.len(), "steps after it would have only what is reserved for them");
}

#[test]
fn a_step_that_runs_over_costs_the_last_ones() {
    let steps = steps(false, 540.0);
    // A step that hangs in the kernel takes 200 s more than its limit.
    let (limits, _) =
        limits(
            &steps,
            532.0,
            |step| {
                if step.name == "gate-naga" { 1.0 + 250.0 / step.share.limit } else { 1.0 }
            },
        );
    let first = limits.iter().position(Option::is_none).expect("not all have their time");
    let of = |name| steps.iter().position(|step| step.name == name).unwrap();
    assert!(first > of("steps-f16"), "{} is the first that is skipped", steps[first].name);
}

#[test]
fn steps_have_names_of_their_own() {
    let names: Vec<&str> = steps(false, 540.0).iter().map(|step| step.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}
