//! PyTorch's side: a Python process that runs one step for each line it is sent.

use jem::jem::Recipe;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// How long a side's threads may go on waiting busily after a step; the other side's turn begins after it.
const PAUSE: Duration = Duration::from_millis(30);

/// The process. It ends when its input does.
pub struct Peer {
    /// Version and device, as it says.
    pub title: String,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `benches/peers/time_pytorch.py` for the network and batch of `recipe`.
    ///
    /// # Errors
    /// If Python does not start or ends at once, as it does without torch.
    pub fn start(python: &Path, device: &str, recipe: &Recipe) -> io::Result<Self> {
        let mut child = Command::new(python)
            .args(["-c", include_str!("../peers/time_pytorch.py")])
            .args(["--serve", "--device", device])
            .args(["--depth", &recipe.depth.to_string()])
            .args(["--width", &recipe.width.to_string()])
            .args(["--batch", &recipe.batch.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", python.display())))?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("a piped output"));
        let mut peer = Self { title: String::new(), child, requests, answers };
        peer.title = peer.answer()?;
        Ok(peer)
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::Error::other("the peer ended; does its Python have torch?")),
            _ => Ok(line.trim().to_owned()),
        }
    }

    /// The time of the step that the peer calls `step`, as it measures it.
    ///
    /// # Errors
    /// If the process ended or answers something else.
    pub fn time(&mut self, step: &str) -> io::Result<Duration> {
        std::thread::sleep(PAUSE);
        let requests = self.requests.as_mut().expect("open until it is dropped");
        writeln!(requests, "{step}")?;
        requests.flush()?;
        let answer = self.answer()?;
        let milliseconds: f64 =
            answer.parse().map_err(|_| io::Error::other(format!("the peer answered {answer:?}")))?;
        std::thread::sleep(PAUSE);
        Ok(Duration::from_secs_f64(milliseconds / 1e3))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.requests.take());
        // Its time is of no interest any more, nor is its exit status.
        let _ = self.child.wait();
    }
}
