//! Registers, spills and workgroup memory of the pipelines of an SGLD step and an update, as the Vulkan driver reports
//! them (`VK_KHR_pipeline_executable_properties`), with other facts that only Vulkan reports about a device.
//!
//! wgpu exposes none of this, so this module opens a second device beside wgpu's and makes the same pipelines there.

mod facts;
mod pipelines;
mod statistics;
mod vulkan;

use crate::options::Setting;
use crate::report::Report;
use pipelines::Shader;
use serde_json::{Value, json};
use statistics::{Executable, executables};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use vulkan::Gpu;

/// The stack of a compiling thread: drivers recurse deeply on kernels that unroll to thousands of instructions.
const STACK: usize = 64 << 20;

const COLUMNS: [&str; 10] = [
    "pipeline",
    "threads",
    "registers",
    "spills",
    "workgroup",
    "subgroup",
    "binary",
    "dispatches",
    "first dispatch",
    "statistics",
];

/// Reports on the device and on the pipelines of each recipe.
///
/// # Errors
/// If Vulkan cannot open the device.
pub fn run(setting: &Setting, report: &mut Report) -> Result<(), String> {
    let vulkan = setting.device.adapter().filter(|adapter| adapter.backend == "Vulkan");
    let Some(adapter) = vulkan else {
        report.left_out("registers: the device is not a Vulkan adapter");
        return Ok(());
    };
    let gpu = Gpu::open(adapter, !setting.device.cooperative().is_empty())
        .map_err(|error| format!("registers: {error}"))?;
    facts::tables(&gpu, report).map_err(|error| format!("registers: {error}"))?;
    if !gpu.reports {
        report.left_out("registers: the driver offers no VK_KHR_pipeline_executable_properties");
    }
    for (name, recipe) in &setting.recipes() {
        let (shaders, choice) =
            pipelines::of(&setting.device, recipe).map_err(|error| format!("{name}: {error}"))?;
        let about = format!(
            "batch {}, {choice}; spills, workgroup memory as declared and binary in bytes; dispatches of an SGLD step \
             and an update",
            recipe.batch
        );
        report.table(&format!("Registers and spills: {name}"), &about, &COLUMNS);
        let failed = compile(&gpu, &shaders, report);
        for message in failed {
            report.error(&format!("registers: {name}: {message}"));
        }
    }
    Ok(())
}

/// Compiles on all cores and reports each pipeline, in order, as soon as it is done: if the driver crashes, the missing
/// rows show where. Returns the messages of those that failed.
fn compile(gpu: &Gpu, shaders: &[Shader], report: &mut Report) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = |done: Sender<_>| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(shader) = shaders.get(at) else { break };
            if done.send((at, executables(gpu, shader))).is_err() {
                break;
            }
        }
    };
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        let (sender, done) = channel();
        for _ in 0..threads {
            let (work, sender) = (&work, sender.clone());
            let thread = std::thread::Builder::new().stack_size(STACK);
            thread.spawn_scoped(scope, move || work(sender)).expect("a thread");
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut reported = 0;
        for (at, result) in done {
            waiting.insert(at, result);
            while let Some(result) = waiting.remove(&reported) {
                failed.extend(rows(&shaders[reported], result, report));
                reported += 1;
            }
        }
    });
    failed
}

/// Writes the rows of one pipeline, one for each executable; returns the error, if it failed.
fn rows(shader: &Shader, result: Result<Vec<Executable>, String>, report: &mut Report) -> Option<String> {
    let (threads, workgroup) = shader.workgroup().unzip();
    let mut row = |label: &str, executable: &Executable, statistics: Value| {
        report.row(vec![
            json!(label),
            json!(threads),
            executable.find(&["register", "vgprs"]),
            executable.find(&["local memory", "spill", "scratch"]),
            json!(workgroup),
            json!(executable.subgroup),
            executable.find(&["binary size", "code size"]),
            json!(shader.dispatches),
            json!(shader.first),
            statistics,
        ]);
    };
    match result {
        Err(message) => {
            row(&shader.label, &Executable::default(), json!(message));
            Some(format!("{}: {message}", shader.label))
        }
        Ok(all) if all.is_empty() => {
            row(&shader.label, &Executable::default(), Value::Null);
            None
        }
        Ok(all) => {
            for executable in &all {
                let label = match all.len() {
                    1 => shader.label.clone(),
                    _ => format!("{} ({})", shader.label, executable.name),
                };
                row(&label, executable, executable.object());
            }
            None
        }
    }
}
