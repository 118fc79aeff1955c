//! The run: executes the steps one after the other, whatever happens to each.

use super::child::{self, Limit, Running, STOP};
use super::environment::{self, here};
use super::figures::Lines;
use super::journal::{self, Journal};
use super::plan::{self, Step, Task};
use super::pretend::Sabotage;
use super::scratch::Scratch;
use super::state::State;
use super::{Arguments, Common, check, clocks, jem_of, orders, orphans, own, pack, results, summary};
use jem::compute::shader;
use jem::interrupt;
use serde_json::{Value, json};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Prints a line. If the terminal is gone, the run continues.
macro_rules! say {
    ($($words:tt)*) => {
        // A closed terminal is no reason to stop.
        let _ = writeln!(std::io::stdout(), $($words)*);
    };
}

struct Run {
    state: State,
    scratch: Scratch,
    journal: Journal,
    steps: Vec<Step>,
    sabotage: Vec<Sabotage>,
    began: Instant,
    /// Seconds after which no step runs.
    until: f64,
    /// PyTorch's compilation.
    background: Option<Running>,
    /// The card's clocks.
    clocks: Option<Running>,
}

/// Runs all steps into the folder `out`.
pub fn run(arguments: &Arguments, common: &Common, out: &Path) -> ExitCode {
    let began = Instant::now();
    let (state, scratch, journal) = match begin(arguments, common, out) {
        Ok(begun) => begun,
        Err(message) => {
            remove_links(arguments);
            // A closed terminal is no reason to panic.
            let _ = writeln!(std::io::stderr(), "error: {message}");
            return ExitCode::FAILURE;
        }
    };
    if interrupt::handle(|| STOP.store(true, Ordering::Relaxed)).is_err() {
        say!("cannot catch signals: Ctrl-C will end the run without an archive of logs");
    }
    orphans::adopt();
    let steps = plan::steps(common.quick, common.seconds);
    let mut journal = journal;
    journal.add(start(arguments, common, &steps));
    say!("{} steps in {:.0} s; logs in {}", steps.len(), common.seconds, state.scratch.display());
    let until = common.seconds - plan::ending(common.quick);
    let sabotage = arguments.sabotage.clone();
    let mut run =
        Run { state, scratch, journal, steps, sabotage, began, until, background: None, clocks: None };
    for index in 0..run.steps.len() {
        let step = run.steps[index];
        let lines = run.journal.lines().len();
        let guarded = catch_unwind(AssertUnwindSafe(|| run.step(index)));
        if guarded.is_err() && run.journal.lines().len() == lines {
            let reason = "measure itself failed in this step, with the message above";
            run.journal.add(journal::skipped(step.name, step.about, run.at(), reason));
        }
        run.end_orphans();
        run.tell(step.name);
        run.summarise(false);
    }
    let status = run.end();
    remove_links(arguments);
    status
}

/// Checks the arguments, makes the folders, and returns what the run begins with. After an error nothing is left.
fn begin(arguments: &Arguments, common: &Common, out: &Path) -> Result<(State, Scratch, Journal), String> {
    let told = |error| format!("{}: {error}", out.display());
    let (bench, jem) = (own()?, jem_of(arguments)?);
    check::check(arguments, common, out, &jem)?;
    std::fs::create_dir_all(out).map_err(told)?;
    let out = std::path::absolute(out).map_err(told)?;
    let scratch = Scratch::new(&parents(arguments, &out), |folder| {
        environment::make(folder)?;
        std::fs::write(folder.join("time_pytorch.py"), orders::PEER)
    })?;
    let Some(journal) = Journal::new(&out) else {
        // The error below matters more than a folder left behind.
        let _ = scratch.remove();
        return Err(check::earlier(&out, journal::FILE));
    };
    let data = Path::new(&arguments.data);
    let python = &arguments.python;
    let state = State {
        bench,
        jem,
        variables: environment::absolute(|name| std::env::var_os(name)),
        data: if data.is_dir() { here(data).display().to_string() } else { arguments.data.clone() },
        quick: common.quick,
        device: common.device.clone(),
        // A name without a folder is looked for in $PATH.
        python: if python.components().count() > 1 { here(python) } else { python.clone() },
        ..State::new(&out, &scratch.path)
    };
    Ok((state, scratch, journal))
}

/// The folders that may hold the one for logs and caches, the best first.
fn parents(arguments: &Arguments, out: &Path) -> Vec<PathBuf> {
    let usual =
        || [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()].into_iter().filter(|f| f.is_dir());
    let mut parents = arguments.scratch.clone().map_or_else(|| usual().collect(), |folder| vec![folder]);
    parents.push(out.to_owned());
    parents
}

/// Removes the folder that `run` made, whose name begins with `jem-measure.`.
fn remove_links(arguments: &Arguments) {
    let own = |folder: &&PathBuf| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jem-measure."))
    };
    if let Some(folder) = arguments.links.as_ref().filter(own) {
        // If this fails, only links are left behind.
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// The line that describes the run itself.
fn start(arguments: &Arguments, common: &Common, steps: &[Step]) -> Value {
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    json!({
        "step": journal::START,
        "about": "the run",
        "status": "ok",
        "exit": null,
        "signal": null,
        "seconds": 0.0,
        "limit": common.seconds,
        "at": 0.0,
        "last_words": [],
        "result": {
            "commit": common.commit,
            "date": common.date,
            "quick": common.quick,
            "seconds": common.seconds,
            "device": common.device.to_string(),
            "data": arguments.data,
            "shaders": shader::folder().ok().flatten().map(shader::Folder::json),
            "steps": names,
        },
    })
}

impl Run {
    /// Seconds since the beginning.
    fn at(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Runs or skips a step, and adds its line.
    fn step(&mut self, index: usize) {
        let step = self.steps[index];
        let at = self.at();
        let skip = |reason: &str| journal::skipped(step.name, step.about, at, reason);
        if STOP.load(Ordering::Relaxed) {
            return self.journal.add(skip("the run was stopped"));
        }
        if let Some(reason) = orders::blocked(step.task, &self.state) {
            self.state.learn(step.task, false, &Value::Null);
            return self.journal.add(skip(&reason));
        }
        let (left, later) = (self.until - at, self.later(index));
        let Some(limit) = step.share.limit(left, later) else {
            self.state.learn(step.task, false, &Value::Null);
            return self.journal.add(skip(&format!("too little time was left ({:.0} s)", left.max(0.0))));
        };
        let told = self.clocks.as_ref().map_or(0, |clocks| clocks.text().lines().count());
        let (ended, result) = if step.task == Task::Warm {
            let Some(running) = self.background.take() else {
                return self.journal.add(skip("PyTorch's compilation could not be started"));
            };
            let ended = running.wait(Limit { kill: Duration::from_secs_f64(limit), interrupt: None });
            let result = results::read(orders::Reader::Lines, &ended, &self.state.scratch);
            (ended, result)
        } else {
            self.quietly(step.task, true);
            let ended = self.process(&step, index, limit);
            self.quietly(step.task, false);
            ended
        };
        let mut line = journal::line(step.name, step.about, at, limit, &ended, result.clone());
        if let Some(clocks) = &self.clocks {
            line["clocks"] = clocks::largest(&clocks.text(), told, &self.state.device);
        }
        self.journal.add(line);
        let ok = ended.status == child::Status::Ok;
        self.state.learn(step.task, ok, &result);
        if let (Task::Card, true, Some(tool)) = (step.task, ok, orders::on_path("nvidia-smi")) {
            self.clocks = Running::start(clocks::command(&tool), &self.log("sampled-clocks", index)).ok();
        }
        if step.task == Task::Torch && orders::blocked(Task::Warm, &self.state).is_none() {
            let mut command = orders::warm(&self.state);
            environment::apply(&mut command, &self.state);
            self.background = Running::start(command, &self.log("torch-warm", index + 1)).ok();
        }
    }

    /// Runs the process of a step; returns how it ended, and its result.
    fn process(&self, step: &Step, index: usize, limit: f64) -> (child::Ended, Value) {
        let roomy = step.is_roomy(limit);
        let mut order = orders::order(step.task, step.name, limit, roomy, &self.state);
        if let Some(sabotage) = self.sabotage.iter().find(|one| one.step == step.name) {
            order.command = Command::new(&self.state.bench);
            order.command.args(["measure", "--pretend", sabotage.pretence.name()]);
        }
        environment::apply(&mut order.command, &self.state);
        let (limits, reader) = (orders::limit(&order, limit), order.reader);
        let ended = child::run(order.command, limits, &self.log(step.name, index));
        let folder = self.state.scratch.join(step.name);
        let result = results::read(reader, &ended, &folder);
        (ended, result)
    }

    /// The file of a step's output.
    fn log(&self, name: &str, index: usize) -> PathBuf {
        self.state.scratch.join("logs").join(format!("{:02}-{name}.log", index + 1))
    }

    /// Seconds reserved for the steps after `index` that can run.
    fn later(&self, index: usize) -> f64 {
        let steps = self.steps[index + 1..].iter();
        let may = steps.filter(|step| orders::blocked(step.task, &self.state).is_none());
        may.map(|step| step.share.kept).sum()
    }

    /// Pauses PyTorch's compilation during steps whose times it would distort, or resumes it.
    fn quietly(&self, task: Task, pause: bool) {
        if let (Task::Launch | Task::Ceilings, Some(background)) = (task, &self.background) {
            background.pause(pause);
        }
    }

    /// Ends processes that steps left behind outside their groups.
    fn end_orphans(&self) {
        let kept: Vec<u32> =
            [&self.background, &self.clocks].into_iter().flatten().map(Running::id).collect();
        orphans::end(&kept);
    }

    /// Prints how the step `name` ended.
    fn tell(&self, name: &str) {
        let Some(line) = Lines(self.journal.lines()).line(name) else { return };
        let (status, seconds) = (line["status"].as_str().unwrap_or_default(), &line["seconds"]);
        let more = match status {
            "skipped" => format!(": {}", line["reason"].as_str().unwrap_or_default()),
            _ => format!(", {seconds} s"),
        };
        say!("[{:5.1} s] {name:<18} {status}{more}", self.at());
    }

    /// Writes the summary; if that panics, a line that reports it.
    fn summarise(&self, print: bool) {
        let page = catch_unwind(AssertUnwindSafe(|| summary::page(self.journal.lines())));
        let page = page
            .unwrap_or_else(|_| "# The summary could not be made; results.jsonl has all results\n".into());
        let path = self.state.out.join(summary::FILE);
        let written = pack::put(&path, |file| file.write_all(page.as_bytes()));
        if print {
            say!("\n{page}");
        }
        if let (true, Err(error)) = (print, written) {
            say!("{}: {error}; the only copy of the summary is above", summary::FILE);
        }
    }

    /// Ends the processes that still run, packs the logs, and writes the last summary.
    fn end(mut self) -> ExitCode {
        for running in [self.background.take(), self.clocks.take()].into_iter().flatten() {
            running.wait(Limit { kill: Duration::ZERO, interrupt: None });
        }
        self.end_orphans();
        let State { out, scratch, .. } = &self.state;
        let mut messages = pack::results(out, Lines(self.journal.lines()));
        messages.extend(pack::logs(out, &scratch.join("logs")).err().map(|e| format!("logs.tar.gz: {e}")));
        for message in messages {
            say!("{message}");
        }
        // A full disk has room again once the caches are gone.
        if let Err(error) = self.scratch.remove() {
            say!("{} could not be removed: {error}", scratch.display());
        }
        let written = self.journal.flush() && out.join(journal::FILE).is_file();
        if !written {
            say!("{} could not be written; these are its lines:", journal::FILE);
            self.journal.lines().iter().for_each(|line| {
                say!("{line}");
            });
        }
        self.summarise(true);
        let measured =
            self.state.no_device.is_none() && plan::has_measured(&self.steps, self.journal.lines());
        if !measured {
            say!("nothing was measured");
        }
        let place = if written { self.state.out.display().to_string() } else { "the lines above".into() };
        say!("the results are in {place}, after {:.0} s", self.at());
        match STOP.load(Ordering::Relaxed) {
            true => ExitCode::from(130),
            false if measured && written => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}
