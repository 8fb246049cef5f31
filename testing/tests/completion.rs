//! Completion as the shells do it: bash, zsh and fish load their scripts, Tab is pressed, and names of an engine come.
//! Needs root, and the packages bash, zsh, fish and bsdutils (`script`, which is a terminal).

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use fs_err as fs;
use havre_testing::{TestEngine, eventually, havre_binary};
use tempfile::TempDir;

/// An engine with things of every kind, and a directory where `havre` and `docker` are our binary.
struct Place {
    engine: TestEngine,
    path: TempDir,
}

impl Place {
    fn new() -> Self {
        let engine = TestEngine::with_busybox();
        let path = tempfile::tempdir().expect("a directory");
        for name in ["havre", "docker"] {
            symlink(havre_binary(), path.path().join(name)).expect("link");
        }
        engine.ok("run -d --name web-running busybox sleep 1000");
        engine.ok("create --name web-created busybox true");
        engine.ok("run -d --name still busybox sleep 1000");
        engine.ok("pause still");
        engine.ok("volume create data-first");
        engine.ok("volume create data-second");
        engine.ok("network create backend");
        engine.ok("tag busybox registry.test:5000/team/app:v1");
        engine.ok("context create elsewhere --docker host=unix:///nonexistent.sock");
        Self { engine, path }
    }

    fn shell(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", self.path.path().display()))
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_CONFIG", self.engine.client_dir())
            .env("HOME", self.path.path())
            .env("TERM", "dumb")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("DOCKER_CONTEXT")
            .current_dir(self.path.path());
        command
    }

    /// What `complete -C` of fish says of a line: values with descriptions.
    fn fish(&self, program: &str, line: &str) -> Vec<String> {
        let script = format!("{program} completion fish | source; complete -C '{line}'");
        let output = self
            .shell("fish")
            .args(["--no-config", "-c", &script])
            .output()
            .expect("fish");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}

/// A shell at a terminal.
struct Terminal {
    child: Child,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(place: &Place, shell: &str) -> Self {
        let mut child = place
            .shell("script")
            .args(["-qefc", shell, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script");
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut output, into) = (child.stdout.take().expect("a pipe"), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Self { child, shown }
    }

    fn send(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("written");
        stdin.flush().expect("written");
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Types, and waits until all of `wanted` have been shown since; returns what was.
    #[track_caller]
    fn shows(&mut self, typed: &str, wanted: &[&str]) -> String {
        let before = self.shown().len();
        self.send(typed);
        eventually(&format!("{wanted:?} after {typed:?}"), || {
            let shown = self.shown();
            wanted.iter().all(|wanted| shown[before..].contains(wanted))
        });
        self.shown()[before..].to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- the terminal\n{}", self.shown());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn bash() {
    let place = Place::new();
    let mut bash = Terminal::start(&place, "bash --norc --noprofile -i");
    bash.shows(
        "PS1='re''ady> '; bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'\n",
        &["ready> "],
    );
    bash.shows(
        "source <(havre completion bash); echo lo''aded\n",
        &["loaded\r\nready> "],
    );
    // One candidate stands there at once, and the command runs with it.
    bash.shows("havre volume rm data-f\t\n", &["data-first\r\nready> "]);
    assert_eq!(place.engine.ok("volume ls -q"), "data-second");
    bash.shows("havre start web\t && echo started\n", &["web-created\r\nstarted"]);
    // By state: of what begins the same, only what can be stopped so.
    bash.shows("havre unpause \t\n", &["still\r\nready> "]);
    let shown = bash.shows("havre rename \t\t", &["still", "web-created", "web-running"]);
    assert!(!shown.contains("data-second"), "{shown}");
    bash.shows("web-run\tend\u{15}\n", &["ready> "]);
    // Flags, their values, and values behind `=` and with colons in them, where bash cuts words.
    bash.shows(
        "havre run --network backe\t--read\t--pull=mis\t busybox true; echo \"<$?>\"\n",
        &["<0>\r\nready> "],
    );
    bash.shows(
        "havre inspect -f='{{.Id}}' registry.test:5000/te\t\n",
        &["team/app:v1 ", "sha256:"],
    );
    bash.shows("havre -c else\tps\n", &["Is the docker daemon running?"]);
    bash.shows(
        "havre context use el\t\n",
        &["Current context is now \"elsewhere\""],
    );
    // Files where files are wanted.
    fs::create_dir(place.path.path().join("sources")).expect("directory");
    bash.shows("havre build sour\t\n", &["havre build sources"]);
    bash.send("exit\n");
}

#[test]
fn zsh() {
    let place = Place::new();
    let mut zsh = Terminal::start(&place, "zsh -f -i");
    zsh.shows(
        "PS1='re''ady> '; unsetopt prompt_cr prompt_sp zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste; autoload -Uz compinit && compinit -u -D; echo con''figured\n",
        &["configured"],
    );
    zsh.shows("source <(docker completion zsh); echo lo''aded\n", &["loaded"]);
    zsh.shows("docker volume rm data-f\t\n", &["data-first\r\n"]);
    eventually("the volume is removed", || {
        place.engine.ok("volume ls -q") == "data-second"
    });
    // Candidates come with what they are.
    zsh.shows(
        "docker rename \t\t",
        &["still", "web-created", "web-running", "-- busybox"],
    );
    zsh.shows(
        "\u{15}docker inspect -f={{.Id}} registry.test:5000/te\t\n",
        &["sha256:"],
    );
    zsh.shows(
        "docker network inspect -f=\"{{.Name}}-seen\" backe\t\n",
        &["backend-seen"],
    );
    zsh.send("exit\n");
}

#[test]
fn fish() {
    let place = Place::new();
    let line = |line: &str| place.fish("havre", line);
    assert_eq!(
        line("havre volume rm "),
        ["data-first\tlocal", "data-second\tlocal"]
    );
    assert_eq!(line("havre start web"), ["web-created\tbusybox"]);
    assert_eq!(line("havre exec "), ["web-running\tbusybox"]);
    assert_eq!(line("havre stop "), ["still\tbusybox", "web-running\tbusybox"]);
    assert_eq!(line("havre unpause "), ["still\tbusybox"]);
    // Who is named already is not offered again.
    assert_eq!(line("havre stop still "), ["web-running\tbusybox"]);
    assert_eq!(line("havre rm "), ["web-created\tbusybox"]);
    assert_eq!(
        line("havre rm -f w"),
        ["web-created\tbusybox", "web-running\tbusybox"]
    );
    assert_eq!(line("havre run reg"), ["registry.test:5000/team/app:v1"]);
    assert_eq!(line("havre run --network back"), ["backend\tbridge"]);
    assert_eq!(line("havre run --network=back"), ["--network=backend\tbridge"]);
    assert_eq!(
        line("havre run --ipc container:web"),
        ["container:web-running\tbusybox"]
    );
    assert_eq!(
        line("havre context use el"),
        ["elsewhere\tunix:///nonexistent.sock"]
    );
    assert_eq!(line("havre volume pr"), ["prune\tRemove unused local volumes"]);
    assert_eq!(
        place.fish("docker", "docker tag bus"),
        ["busybox", "busybox:latest"]
    );
    // Nobody answers: nothing to offer, and no waiting.
    assert_eq!(
        line("havre -H unix:///nonexistent.sock stop "),
        Vec::<String>::new()
    );
}

#[test]
fn scripts_of_the_official_client_work_with_this_binary() {
    let place = Place::new();
    let script = Command::new("docker")
        .args(["completion", "bash"])
        .output()
        .expect("docker");
    assert!(script.status.success(), "{script:?}");
    let file = place.path.path().join("official.bash");
    fs::write(&file, script.stdout).expect("file");
    let complete = format!(
        "_get_comp_words_by_ref() {{ cur=data-f prev=rm words=(docker volume rm data-f) cword=3; }}; compopt() {{ :; }}; \
         source {}; COMP_TYPE=9; __start_docker; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let output = place
        .shell("bash")
        .args(["--norc", "-c", &complete])
        .output()
        .expect("bash");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        "data-first",
        "{output:?}"
    );
}

#[test]
fn shells_without_a_script() {
    let engine = TestEngine::start();
    assert_eq!(
        engine.fails(1, "completion powershell"),
        "no completion script for \"powershell\": there is one for bash, for zsh and for fish"
    );
    let plain = engine.ok("completion zsh --no-descriptions");
    assert!(plain.contains("__completeNoDesc") && plain.starts_with("#compdef havre\n"));
}
