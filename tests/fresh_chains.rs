//! The fresh chains of evaluations, and the chains that the best model keeps.

#[path = "common/every_recipe.rs"]
#[allow(dead_code, reason = "one recipe of the list is enough")]
mod every_recipe;
#[path = "common/run_files.rs"]
mod run_files;
#[path = "common/small.rs"]
mod small;
#[path = "common/when_scoring.rs"]
mod when_scoring;

use every_recipe::family;
use jem::data::Dataset;
use jem::device::Device;
use jem::ebm::{ChainStart, Langevin, Model, Outcome, Recipe, RunOptions, Sampler, run, uniform_image};
use jem::io::checkpoint::Checkpoint;
use jem::nn::batch_norm::NormMode;
use jem::report::metrics::MetricsTable;
use run_files::{assert_same_run, checkpoints};
use small::pictures;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use when_scoring::WhenScoring;

/// Twelve iterations with an evaluation after every third.
fn short(recipe: &Recipe) -> Recipe {
    Recipe { iterations: 12, validation: 16, evaluate_every: 3, checkpoint_every: 3, ..recipe.clone() }
}

fn data() -> (Dataset, Dataset) {
    (pictures(48, 8), pictures(16, 8))
}

fn train(recipe: &Recipe, out: &Path, options: RunOptions<'_>) -> Outcome {
    let (train, test) = data();
    let outcome = run(&Device::cpu(), recipe, &train, &test, options);
    outcome.unwrap_or_else(|error| panic!("{}: {error}", out.display()))
}

fn table(out: &Path) -> MetricsTable {
    MetricsTable::read(&out.join("metrics.csv")).expect("metrics")
}

#[test]
fn training_is_the_same_with_and_without_them() {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, recipe) in family() {
        let [with, without] = [3, 0].map(|fresh_chains| {
            let out = folder.path().join(format!("{name}, {fresh_chains}"));
            let recipe = Recipe { fresh_chains, ..short(&recipe) };
            train(&recipe, &out, RunOptions::new(&out));
            out
        });
        let last = |out: &Path| {
            let path = checkpoints(out).pop().expect("a checkpoint").1;
            Checkpoint::load(&path).expect("a checkpoint").tensors
        };
        assert!(last(&with) == last(&without), "{name}");
        let (found, expected) = (table(&with), table(&without));
        let column = |name| found.column(name).expect("a column");
        let time = [column("seconds"), column("images_per_second")];
        let fresh = [column("fresh_energy_k"), column("fresh_energy_10k"), column("fresh_energy_100k")];
        for (index, (found, expected)) in found.rows.iter().zip(&expected.rows).enumerate() {
            for at in (0..found.len()).filter(|at| !time.contains(at) && !fresh.contains(at)) {
                assert_eq!(found[at], expected[at], "{name}: row {index}, column {at}");
            }
            let evaluated = [2, 5, 8, 11].contains(&index);
            let recipe = Recipe { fresh_chains: 3, ..short(&recipe) };
            let due = recipe.fresh_chains_due(index as u64 + 1, 12).filter(|_| evaluated);
            assert_eq!(due.is_some(), evaluated && recipe.samples(), "{name}: row {index}");
            let lengths = fresh.map(|at| found[at].is_some_and(f64::is_finite));
            assert_eq!(lengths, [1, 10, 100].map(|length| due >= Some(length)), "{name}: row {index}");
            assert!(fresh.iter().all(|&at| expected[at].is_none()), "{name}: row {index}");
        }
    }
}

/// The energies are those that sampling from the finished model reaches: with the moving average of its weights, the
/// running statistics of its batch norm, and its SGLD.
#[test]
fn they_reach_what_sampling_from_the_model_reaches() {
    let folder = tempfile::tempdir().expect("a directory");
    let family = family();
    let of = |wanted: &str| &family.iter().find(|(name, _)| *name == wanted).expect("a recipe").1;
    let plus = Recipe { start: ChainStart::Uniform, noise: 0.01, ema: 0.5, ..of("jem++").clone() };
    let cases =
        [("jem", of("jem").clone()), ("jem++", plus), ("by class", of("jem-class-conditional").clone())];
    for (name, recipe) in cases {
        let out = folder.path().join(name);
        // Long enough for one chain of 100 × K steps.
        let recipe = Recipe { fresh_chains: 1, evaluate_every: 500, iterations: 250, ..short(&recipe) };
        let recipe = Recipe { checkpoint_every: 250, ..recipe };
        let outcome = train(&recipe, &out, RunOptions::new(&out));
        let model = Model::open(&outcome.checkpoint).expect("a model");
        let langevin = Langevin::of(&recipe);
        let conditional = recipe.class_conditional;
        let sampler =
            Sampler::new(&Device::cpu(), &model, NormMode::Inference, langevin, 1, conditional, None)
                .expect("programs");
        let seed = !recipe.seed;
        let image = uniform_image(seed, 0, 8 * 8 * 3);
        sampler.start(&image, &[0], seed, 0).expect("a start");
        let mut expected = Vec::new();
        for step in 1..=100 * recipe.steps {
            sampler.step().expect("a step");
            if [1, 10, 100].contains(&(step / recipe.steps)) && step % recipe.steps == 0 {
                expected.push(Some(f64::from(sampler.energies().expect("energies")[0])));
            }
        }
        let table = table(&out);
        let last = table.rows.last().expect("a row");
        let found = ["fresh_energy_k", "fresh_energy_10k", "fresh_energy_100k"]
            .map(|name| last[table.column(name).expect("a column")]);
        assert_eq!(found.to_vec(), expected, "{name}");
        let gap = outcome.fresh.expect("a gap");
        assert_eq!((gap.iteration, gap.multiple, Some(gap.fresh)), (250, 100, found[2]), "{name}");
        assert_eq!(Some(gap.data), last[table.column("validation_energy").expect("a column")], "{name}");
    }
}

#[test]
fn a_run_that_is_stopped_in_them_runs_them_again() {
    let folder = tempfile::tempdir().expect("a directory");
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let recipe = short(&small::recipe());
    train(&recipe, &whole, RunOptions::new(&whole));
    let stop = AtomicBool::new(false);
    let mut done = Vec::new();
    for resume in [false, true, true, true] {
        stop.store(false, Ordering::Relaxed);
        let progress = WhenScoring(|part: &str, done: usize| {
            if part.contains("fresh chains") && done == 1 {
                stop.store(true, Ordering::Relaxed);
            }
        });
        // A resumed run repeats the chains, and is stopped in them at once.
        let options =
            RunOptions { resume, stop: &stop, progress: Some(Box::new(progress)), ..RunOptions::new(&parts) };
        let outcome = train(&recipe, &parts, options);
        assert!(outcome.interrupted);
        done.push(outcome.iterations);
    }
    assert_eq!(done, [3; 4], "the first fresh chains run after the third iteration");
    assert_eq!(run_files::events(&parts).iter().filter(|event| event["event"] == "fresh_chains").count(), 0);
    // The row of the evaluation waits until its chains are done.
    let rows = table(&parts).rows;
    assert_eq!(rows.last().expect("a row")[0], Some(1.0));
    train(&recipe, &parts, RunOptions { resume: true, ..RunOptions::new(&parts) });
    assert_same_run(&parts, &whole);
    let energies = |out: &Path| -> Vec<_> {
        let events = run_files::events(out).into_iter().filter(|event| event["event"] == "fresh_chains");
        events.map(|event| (event["iteration"].clone(), event["details"]["k"].clone())).collect()
    };
    assert_eq!(energies(&parts), energies(&whole));
    assert_eq!(energies(&whole).iter().filter(|(_, k)| k.is_number()).count(), 4);
}

#[test]
fn the_time_of_a_row_is_without_its_evaluation() {
    let folder = tempfile::tempdir().expect("a directory");
    let out = folder.path().join("run");
    let recipe = Recipe { iterations: 2, evaluate_every: 2, ..short(&small::recipe()) };
    let (began, delay) = (Instant::now(), Duration::from_secs(2));
    let mut once = delay;
    let progress = WhenScoring(move |_: &str, _: usize| std::thread::sleep(std::mem::take(&mut once)));
    train(&recipe, &out, RunOptions { progress: Some(Box::new(progress)), ..RunOptions::new(&out) });
    let whole = began.elapsed().as_secs_f64();
    let rows = table(&out).rows;
    let seconds = rows.last().and_then(|row| row[1]).expect("a time");
    assert!(seconds > 0.0 && seconds + delay.as_secs_f64() <= whole, "{seconds} of {whole} s");
    assert!(rows[0][1] <= rows[1][1], "{rows:?}");
}

#[test]
fn the_best_model_keeps_the_chains_of_its_iteration() {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, recipe) in family() {
        let out = folder.path().join(name);
        // The best of one evaluation is the last model.
        let recipe = Recipe { evaluate_every: 12, ..short(&recipe) };
        let outcome = train(&recipe, &out, RunOptions::new(&out));
        let best = out.join("best.safetensors");
        let (best, last) = (Checkpoint::load(&best), Checkpoint::load(&outcome.checkpoint));
        let (best, last) = (best.expect("the best model"), last.expect("a checkpoint"));
        let tensor =
            |file: &Checkpoint, name: &str| file.tensors.iter().find(|(found, ..)| found == name).cloned();
        for name in ["replay_buffer", "chain_ages"] {
            assert!(tensor(&best, name) == tensor(&last, name), "{name}");
            assert_eq!(tensor(&best, name).is_some(), recipe.samples(), "{name}");
        }
        let model = Model::open(&out).expect("the best model");
        assert_eq!(model.chains(), recipe.samples().then_some(recipe.buffer), "{name}");
        let ages = model.chain_ages().map_or(0.0, |ages| ages.iter().copied().fold(0.0, f32::max));
        assert_eq!(ages > 0.0, recipe.samples(), "{name}");
        let options = jem::ebm::ImportOptions { without_chains: true, ..Default::default() };
        let light = Model::import(&out, options).expect("the best model");
        assert_eq!(light.chains(), model.chains());
        assert!(light.replay_buffer().is_none());
    }
    // Before log p(x) joins there are no chains to keep.
    let out = folder.path().join("early");
    let recipe = Recipe { p_x_after: 20, ..short(&small::recipe()) };
    train(&recipe, &out, RunOptions::new(&out));
    assert_eq!(Model::open(&out).expect("the best model").chains(), None);
    let column = table(&out).column("fresh_energy_k").expect("a column");
    assert!(table(&out).rows.iter().all(|row| row[column].is_none()));
}
