//! A test of this program, in a process of its own that is killed.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The process. It says lines on standard error, and ends when its standard input does.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    _leash: Option<ChildStdin>,
}

impl Running {
    /// Runs the ignored test of this name.
    pub(crate) fn test(name: &str, told: &[(&str, &str)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .envs(told.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, lines) = channel();
        thread::spawn(move || said.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { _leash: child.stdin.take(), child, lines }
    }

    /// What it says next, if it says something by then.
    pub(crate) fn line_until(&self, deadline: Instant) -> Option<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("it ended by itself"),
        }
    }

    /// What it says next.
    pub(crate) fn line(&self) -> String {
        self.line_until(Instant::now() + Duration::from_secs(60)).unwrap()
    }

    /// SIGKILL. Returns what it had still to say.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        assert!(!self.child.wait().unwrap().success());
        self.lines.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Says a line to whoever runs this process.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Returns when whoever runs this process has gone.
pub(crate) fn until_let_go() {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
}
