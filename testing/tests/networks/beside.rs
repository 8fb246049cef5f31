//! Beside a dockerd that runs on the same host, with its own rules.

use std::process::{Child, Command, Stdio};

use havre_testing::{Surroundings, TestEngine, eventually, http, in_network_of};

use crate::world::{Namespace, internet};

/// A dockerd in a namespace, ended when dropped.
struct Dockerd {
    child: Child,
    dir: tempfile::TempDir,
}

impl Dockerd {
    /// `None` where dockerd is not installed.
    fn start(host: &Namespace) -> Option<Self> {
        let installed = Command::new("dockerd").arg("--version").output().is_ok();
        if !installed {
            return None;
        }
        let dir = tempfile::Builder::new()
            .prefix("havre-beside-")
            .tempdir_in("/var/tmp")
            .expect("directory");
        let path = |name: &str| dir.path().join(name);
        let log = fs_err::File::create(path("log")).expect("log").into_parts().0;
        let child = Command::new("nsenter")
            .arg(format!("--net={}", host.path()))
            .arg("dockerd")
            .arg("--data-root")
            .arg(path("root"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("sock").display()))
            .args(["--storage-driver", "vfs"])
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().expect("log")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("dockerd");
        let dockerd = Self { child, dir };
        eventually("dockerd answers", || dockerd.run("version").is_some());
        Some(dockerd)
    }

    /// What the official client prints; `None` when it fails.
    fn run(&self, line: &str) -> Option<String> {
        let words: Vec<_> = line.split(' ').collect();
        self.run_words(&words)
    }

    fn run_words(&self, words: &[&str]) -> Option<String> {
        let output = Command::new("docker")
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.dir.path().join("sock").display()),
            )
            .args(words)
            .output()
            .expect("docker");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn load(&self, archive: &std::path::Path) {
        self.run(&format!("load -i {}", archive.display()))
            .expect("loaded");
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        for container in self.run("ps -aq").unwrap_or_default().lines() {
            self.run(&format!("rm -f {container}"));
        }
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// All rules of the host but those of our table, without counters.
fn rules(host: &Namespace) -> String {
    let mut kept = String::new();
    let mut ours = false;
    for line in host.run("nft --stateless list ruleset").lines() {
        if line.starts_with("table ") {
            ours = line.contains("havre_test_");
        }
        if !ours {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    for program in ["iptables-save", "ip6tables-save"] {
        let saved = host.run(program);
        let lines = saved.lines().filter(|line| !line.starts_with('#'));
        kept.extend(lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned() + "\n"));
    }
    kept
}

fn get(host: &Namespace, address: &str) -> Option<String> {
    in_network_of(host.pid(), || {
        let answer = http::over_tcp(address, "GET", "/", std::time::Duration::from_millis(800)).ok()?;
        Some(answer.text().trim().to_owned())
    })
}

const SERVE: [&str; 2] = ["sh", "-c"];

fn script(name: &str) -> String {
    format!("mkdir -p /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www")
}

#[test]
fn both_engines_publish_and_neither_disturbs_the_other() {
    let (host, outside) = internet();
    let Some(docker) = Dockerd::start(&host) else {
        return;
    };
    let engine = TestEngine::amid(Surroundings {
        network: Some(host.path().into()),
        ..Surroundings::default()
    });
    engine.load(&havre_testing::Image::busybox(), "busybox");
    let dir = tempfile::tempdir().expect("directory");
    let archive = dir.path().join("busybox.tar");
    engine.ok(format!("save -o {} busybox", archive.display()));
    docker.load(&archive);

    docker.run("network create theirs").expect("network");
    let theirs = script("theirs");
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "theirs",
        "-p",
        "8080:80",
        "busybox",
    ];
    docker
        .run_words(&[&run[..], &SERVE, &[&theirs]].concat())
        .expect("their container");
    eventually("theirs serves", || get(&outside, "203.0.113.2:8080").is_some());
    let before = rules(&host);

    engine.ok("network create --ipv6 ours");
    let ours = script("ours");
    let run = [
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "ours",
        "-p",
        "8081:80",
        "busybox",
    ];
    engine.ok(&[&run[..], &SERVE, &[&ours]].concat()[..]);
    let run = ["run", "-d", "--name", "plain", "-p", "8082:80", "busybox"];
    engine.ok(&[&run[..], &SERVE, &[&ours]].concat()[..]);
    eventually("ours serves", || get(&outside, "203.0.113.2:8081").is_some());
    for (address, says) in [
        ("203.0.113.2:8080", "theirs"),
        ("203.0.113.2:8081", "ours"),
        ("203.0.113.2:8082", "ours"),
        ("[2001:db8::2]:8081", "ours"),
        ("[2001:db8::2]:8082", "ours"),
    ] {
        assert_eq!(
            get(&outside, address).as_deref(),
            Some(says),
            "{address} from outside"
        );
        assert_eq!(
            get(&host, address).as_deref(),
            Some(says),
            "{address} from the host"
        );
    }
    assert_eq!(get(&host, "127.0.0.1:8080").as_deref(), Some("theirs"));
    assert_eq!(get(&host, "127.0.0.1:8081").as_deref(), Some("ours"));
    engine.ok("exec web ping -c 1 -W 2 203.0.113.1");
    engine.ok("exec plain ping -c 1 -W 2 203.0.113.1");
    docker
        .run("exec web ping -c 1 -W 2 203.0.113.1")
        .expect("out of theirs");

    let taken = engine.fails(125, "run --rm -p 8080:80 busybox true");
    assert!(taken.contains("address already in use"), "{taken}");
    assert!(
        docker.run("run --rm -p 8081:80 busybox true").is_none(),
        "and the other way round"
    );
    let pid = engine.inspect("web")["State"]["Pid"].as_u64().expect("pid");
    let published = in_network_of(pid, || {
        http::over_tcp(
            "203.0.113.2:8080",
            "GET",
            "/",
            std::time::Duration::from_millis(800),
        )
        .is_ok()
    });
    assert!(published, "what theirs publishes is there for ours");

    // Ours go, and nothing of the host's rules has changed.
    engine.ok("rm -f web plain");
    engine.ok("network rm ours");
    assert_eq!(engine.stop_daemon(), Some(0));
    assert_eq!(rules(&host), before);
    assert_eq!(get(&outside, "203.0.113.2:8080").as_deref(), Some("theirs"));
}

#[test]
fn a_dockerd_that_comes_later_does_not_cut_ours_off() {
    let (host, outside) = internet();
    let engine = TestEngine::amid(Surroundings {
        network: Some(host.path().into()),
        ..Surroundings::default()
    });
    engine.load(&havre_testing::Image::busybox(), "busybox");
    let ours = script("ours");
    let run = ["run", "-d", "--name", "web", "-p", "8081:80", "busybox"];
    engine.ok(&[&run[..], &SERVE, &[&ours]].concat()[..]);
    eventually("ours serves", || get(&outside, "203.0.113.2:8081").is_some());
    let Some(docker) = Dockerd::start(&host) else {
        return;
    };
    eventually("ours is let through again", || {
        get(&outside, "203.0.113.2:8081").is_some()
    });
    engine.ok("exec web ping -c 1 -W 2 203.0.113.1");
    drop(docker);
    assert_eq!(get(&outside, "203.0.113.2:8081").as_deref(), Some("ours"));
}
