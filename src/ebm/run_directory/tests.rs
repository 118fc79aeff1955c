use super::best::read_best;
use super::*;
use crate::io::checkpoint;
use std::fs;

fn model(iteration: u64) -> Checkpoint {
    let mut model = Checkpoint::default();
    model.push_f32("weight", &[2], vec![iteration as f32, 0.5]);
    model.metadata.insert("iteration".into(), iteration.to_string());
    model
}

fn evaluation(accuracy: f64) -> Evaluation {
    Evaluation { accuracy, cross_entropy: 1.0 / 3.0, energy: -2.0 / 7.0, calibration_error: 0.125 }
}

fn resume(path: &Path) -> RunDirectory {
    let recovered = RunDirectory::recover(path).unwrap();
    RunDirectory::open(path, None, Some(&recovered)).unwrap()
}

fn names(path: &Path, prefix: &str) -> Vec<u64> {
    let found = checkpoint::list_numbered(&path.join("checkpoints"), prefix).unwrap();
    found.into_iter().map(|(iteration, _)| iteration).collect()
}

#[test]
fn the_best_model_is_that_of_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut run = RunDirectory::open(path, Some("settings"), None).unwrap();
    run.checkpoint(1, &mut model(1), 3).unwrap();
    // Values whose last digits an imprecise parser would lose.
    let second = Best { iteration: 2, evaluation: evaluation(0.1 + 0.2) };
    run.keep_best(2, second.evaluation, model(2));
    run.checkpoint(3, &mut model(3), 3).unwrap();
    run.keep_best(4, evaluation(0.5), model(4));
    run.keep_best(6, evaluation(0.6), model(6));
    assert_eq!(names(path, BEST), [2, 4]);
    // Killed; the model after iteration 3 is not yet evaluated.
    drop(run);
    let mut run = resume(path);
    assert_eq!(run.best(), Some(&second));
    assert_eq!(read_best(&run.best_path()).unwrap(), second);
    assert_eq!(names(path, BEST), [0; 0]);
    // With other settings, a later model beats the second.
    run.keep_best(4, evaluation(0.4), model(4));
    assert_eq!(names(path, BEST), [2]);
    run.checkpoint(5, &mut model(5), 3).unwrap();
    // The checkpoint of iteration 5 is damaged, so that of 3 is used, then that of 1.
    fs::write(checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 5), "").unwrap();
    drop(run);
    let mut run = resume(path);
    assert_eq!((run.best().copied(), run.warnings().len()), (Some(second), 1));
    fs::write(checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 3), "").unwrap();
    drop(run);
    let mut run = resume(path);
    assert_eq!(run.best(), None);
    // No remaining checkpoint names the earlier models.
    run.keep_best(2, second.evaluation, model(2));
    run.keep_best(4, evaluation(0.5), model(4));
    run.checkpoint(4, &mut model(4), 2).unwrap();
    assert_eq!(names(path, BEST), [2]);
    run.checkpoint(6, &mut model(6), 2).unwrap();
    assert_eq!((names(path, BEST), names(path, CHECKPOINT)), (vec![], vec![4, 6]));
}

#[test]
fn a_run_is_one_processs() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = RunDirectory::open(folder.path(), Some("settings"), None).unwrap();
    run.checkpoint(1, &mut model(1), 3).unwrap();
    let recovered = RunDirectory::recover(folder.path()).unwrap();
    let second = || RunDirectory::open(folder.path(), None, Some(&recovered));
    let message = second().unwrap_err().to_string();
    assert!(message.contains("another process") && message.lines().count() == 1, "{message}");
    drop(run);
    second().unwrap();
}

#[test]
fn what_cannot_be_written_is_said_once_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut run = RunDirectory::open(path, Some("settings"), None).unwrap();
    run.checkpoint(1, &mut model(1), 1).unwrap();
    // Directories with the names of files; each holds a file, so that no write can replace it.
    let blocked =
        ["checkpoints/checkpoint-00000002.safetensors", "best.safetensors", "samples/samples-00000002.png"]
            .map(|name| path.join(name));
    for path in &blocked {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), "").unwrap();
    }
    run.keep_best(2, evaluation(0.5), model(2));
    assert_eq!(run.samples(2, &[0.0; 12], [2, 2, 3], None).unwrap(), None);
    for _ in 0..2 {
        assert_eq!(run.checkpoint(2, &mut model(2), 1), None);
    }
    let warnings = run.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings.iter().all(|line| line.contains("training continues") && line.lines().count() == 1),
        "{warnings:?}"
    );
    let events = fs::read_to_string(path.join("events.jsonl")).unwrap();
    assert_eq!(events.matches("write_failed").count(), 3, "{events}");
    for (result, name) in [
        (run.last_checkpoint(2, &mut model(2), 1).map(drop), "checkpoint-00000002"),
        (run.last_best(), "best.safetensors"),
    ] {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(name) && message.contains("make room"), "{message}");
    }
    // The previous checkpoint is kept, and no partial file is left.
    assert_eq!(
        Checkpoint::load(&checkpoint::numbered(&path.join("checkpoints"), CHECKPOINT, 1)).unwrap().tensors,
        model(1).tensors
    );
    let left = |folder: &str| fs::read_dir(path.join(folder)).unwrap().count();
    assert_eq!([left("checkpoints"), left("samples")], [2, 1]);

    blocked.iter().for_each(|path| fs::remove_dir_all(path).unwrap());
    run.checkpoint(2, &mut model(2), 1).unwrap();
    assert_eq!(read_best(&run.best_path()).unwrap().iteration, 2);
    assert_eq!(names(path, CHECKPOINT), [2]);
    assert!(run.warnings().is_empty());
}
