//! The course notes this project was asked to implement, command by command, as a student types them: `docker` is our
//! binary, Docker Hub is a stand-in with images made here, interactive programs get a terminal. Needs root; the first run
//! builds the images from packages of Debian and PyPI into the user's cache (see `havre_testing::installed`).
//!
//! Everything happens in a network namespace of its own: the notes use ports 80, 5000, 8080 and 8082 of the machine.

mod advanced;
mod classroom;
mod hub;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use havre_testing::{Auth, Registry, Surroundings, TestEngine, eventually, havre_binary, in_network_of};
use tempfile::TempDir;

/// Who has an account on the stand-in.
const USER: &str = "jonjon94000";
const PASSWORD: &str = "correct horse";

/// A student at a terminal: a machine with nothing but our binary, and Docker Hub.
struct Student {
    // Ended before its namespace.
    engine: TestEngine,
    network: Child,
    home: PathBuf,
    /// What stands at `/run`.
    _run: TempDir,
}

impl Student {
    /// With a Docker Hub that has all images of the notes; `None` where they cannot be made.
    fn arrives() -> Option<Self> {
        let archive = hub::images()?;
        let mut command = Command::new("unshare");
        let network = command
            .args(["--net", "sleep", "1800"])
            .stdin(Stdio::null())
            .spawn();
        let network = network.expect("unshare");
        let path = format!("/proc/{}/ns/net", network.id());
        let own = fs::read_link("/proc/self/ns/net").expect("own namespace");
        eventually("the namespace is there", || {
            fs::read_link(&path).is_ok_and(|other| other != own)
        });
        let up = Command::new("nsenter")
            .arg(format!("--net={path}"))
            .args(["ip", "link", "set", "lo", "up"])
            .status();
        assert!(up.expect("nsenter").success());
        let registry = in_network_of(u64::from(network.id()), Registry::start);
        // `/run` is its own: `/var/run/docker.sock` is this engine's.
        let run = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let engine = TestEngine::amid(Surroundings {
            config: format!(
                "[registry.\"docker.io\"]\nendpoint = \"http://{}\"\n",
                registry.host()
            ),
            network: Some(path.into()),
            files: vec![("/run".into(), run.path().into())],
            ..Surroundings::default()
        });
        std::os::unix::fs::symlink(engine.socket(), run.path().join("docker.sock")).expect("link");
        let home = engine.dir().join("home");
        let bin = home.join("bin");
        fs::create_dir_all(&bin).expect("home");
        for name in ["docker", "dive"] {
            std::os::unix::fs::symlink(havre_binary(), bin.join(name)).expect("link");
        }
        fs::write(bin.join("sudo"), "#!/bin/sh\nexec \"$@\"\n").expect("sudo");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bin.join("sudo"), mode).expect("sudo");
        let student = Self {
            engine,
            network,
            home,
            _run: run,
        };
        hub::fill(&student, &registry, &archive);
        registry.require(Auth::Hub {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        });
        Some(student)
    }

    /// A shell's command in the student's directory.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.network.id()))
            .arg(program)
            .current_dir(&self.home)
            // A student's shell: `CI`, say, makes `dive` judge an image where it would show it.
            .env_clear()
            .env("HOME", &self.home)
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_CONFIG", self.home.join(".docker"))
            .env(
                "PATH",
                format!(
                    "{}:/usr/sbin:/usr/bin:/sbin:/bin",
                    self.home.join("bin").display()
                ),
            )
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm")
            .env("USER", "student");
        command
    }

    /// Types lines that must succeed; what they print.
    #[track_caller]
    fn types(&self, lines: &str) -> String {
        self.answers(lines, "")
    }

    /// Types lines, and what they ask for; they must succeed.
    #[track_caller]
    fn answers(&self, lines: &str, input: &str) -> String {
        let answers = self.home.join("answers");
        fs::write(&answers, input).expect("answers");
        let output = self
            .command("bash")
            .args(["-o", "pipefail", "-c", lines])
            .stdin(Stdio::from(
                fs::File::open(&answers).expect("answers").into_parts().0,
            ))
            .output()
            .expect("bash");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success(),
            "`{lines}` ended with {}\n--- stdout\n{out}\n--- stderr\n{err}\n--- daemon\n{}",
            output.status,
            last_lines(&self.engine.log(), 30)
        );
        out.into_owned()
    }

    /// Types a line on a terminal, then what it asks for; what stands on the screen.
    #[track_caller]
    fn sits_at(&self, line: &str, keys: &[(&str, &str)]) -> String {
        let mut script = self.command("python3");
        script
            .arg(installed_terminal())
            .arg(line)
            .args(keys.iter().flat_map(|(prompt, answer)| [*prompt, *answer]));
        let output = script.output().expect("python3");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "`{line}` on a terminal ended with {}\n{out}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        out
    }

    /// Waits until a line succeeds.
    fn awaits(&self, line: &str) {
        eventually(line, || {
            let outcome = self.command("bash").args(["-c", line]).output();
            outcome.expect("bash").status.success()
        });
    }
}

impl Drop for Student {
    fn drop(&mut self) {
        let _ = self.network.kill();
        let _ = self.network.wait();
    }
}

/// What types on a terminal: waits for each text and answers it.
fn installed_terminal() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mission/terminal.py")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The rows of a table without its header.
fn rows(table: &str) -> Vec<&str> {
    table.lines().skip(1).collect()
}
