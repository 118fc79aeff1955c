//! Steps that fail on purpose, to test that the run survives them.

use std::io::Write;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

/// A failure of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pretence {
    /// It reads where there is no memory.
    Crash,
    /// It waits for ever, and starts a process outside its group that does too.
    Hang,
    /// It prints for ever.
    Flood,
}

/// A step that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sabotage {
    /// The step.
    pub step: String,
    /// Its failure.
    pub pretence: Pretence,
}

impl Pretence {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Flood => "flood",
        }
    }

    /// Goes wrong.
    pub fn begin(self) -> ! {
        println!("this process was told to {}", self.name());
        match self {
            Self::Crash => {
                // SAFETY: none; the crash is intended, as a faulty driver would cause it: nothing is mapped at
                // address 8, so the system ends the process.
                unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
                std::process::abort();
            }
            Self::Hang => {
                let mut command = Command::new("sleep");
                command.arg("1000");
                // In a group of its own, as the workers of PyTorch's compiler.
                #[cfg(unix)]
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                let child = command.spawn();
                println!(
                    "{}",
                    child.map_or_else(|error| error.to_string(), |child| format!("with {}", child.id()))
                );
                loop {
                    std::thread::sleep(Duration::from_secs(1000));
                }
            }
            Self::Flood => loop {
                // It does not matter whether anybody reads it.
                let _ = std::io::stdout().write_all(b"on and on and on and on and on and on and on\n");
            },
        }
    }
}

impl FromStr for Pretence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Crash, Self::Hang, Self::Flood];
        all.into_iter().find(|one| one.name() == text).ok_or("expected crash, hang or flood".into())
    }
}

impl FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (step, pretence) = text.split_once('=').ok_or("expected STEP=crash, STEP=hang or STEP=flood")?;
        Ok(Self { step: step.into(), pretence: pretence.parse()? })
    }
}
