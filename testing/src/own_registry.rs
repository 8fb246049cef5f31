//! `havre registry` on a free port.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cli::havre_binary;

/// A running `havre registry`, ended when it is dropped.
pub struct HavreRegistry {
    child: Child,
    host: String,
}

impl HavreRegistry {
    /// Serves what is in a folder.
    ///
    /// # Panics
    /// When it does not start.
    pub fn over(root: &Path) -> Self {
        Self::configured(root, &[])
    }

    /// The same with variables as Docker's registry takes them.
    ///
    /// # Panics
    /// When it does not start.
    pub fn configured(root: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(havre_binary())
            .args(["registry", "--listen", "127.0.0.1:0", "--root"])
            .arg(root)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the havre binary");
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        lines.read_line(&mut said).expect("a line");
        let (_, host) = said.trim().split_once("://").unwrap_or_else(|| {
            panic!("havre registry did not start: {said:?}");
        });
        let host = host.to_owned();
        // What else it says must find somebody who reads.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, host }
    }

    /// Reads everything that lies in a folder.
    ///
    /// # Panics
    /// When something of it is damaged.
    #[track_caller]
    pub fn check(root: &Path) {
        let checked = Command::new(havre_binary())
            .args(["registry", "check", "--root"])
            .arg(root)
            .output()
            .expect("the havre binary");
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{said}");
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Ends it as an administrator would; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        self.child.wait().ok().and_then(|status| status.code())
    }

    /// Ends it without a warning.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for HavreRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
