//! Real containers on a busybox root file system. Needs root, cgroups and a statically linked `/bin/busybox`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use havre_runtime::{
    AttachRequest, ContainerSpec, ExecSpec, ExitStatus, Runtime, RuntimeConfig, Shim, StartError,
};

pub const ALL: AttachRequest = AttachRequest {
    stdin: true,
    stdout: true,
    stderr: true,
};
pub const OUTPUT: AttachRequest = AttachRequest {
    stdin: false,
    stdout: true,
    stderr: true,
};

/// A runtime of its own, removed with everything in it at the end.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub runtime: Runtime,
    pub config: RuntimeConfig,
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Bench {
    pub fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        busybox(&directory.path().join("rootfs"));
        let number = COUNTER.fetch_add(1, Ordering::SeqCst);
        let config = RuntimeConfig {
            shim_program: Some(shim_program()),
            shim_args: vec!["shim".into()],
            state_dir: directory.path().join("state"),
            cgroup_parent: format!("havre-test-{}-{number}", std::process::id()),
        };
        let runtime = Runtime::new(config.clone()).unwrap();
        Bench {
            directory,
            runtime,
            config,
        }
    }

    pub fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    pub fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A container that runs `sh -c script`, with a log.
    pub fn sh(&self, script: &str) -> ContainerSpec {
        self.spec(&["sh", "-c", script])
    }

    pub fn spec(&self, args: &[&str]) -> ContainerSpec {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut spec = ContainerSpec::new("c1", self.rootfs(), args);
        spec.log.path = Some(self.log_path());
        spec
    }

    /// Creates and starts.
    pub fn start(&self, spec: &ContainerSpec) -> Shim {
        let shim = self.runtime.create(spec).unwrap();
        shim.start().unwrap();
        shim
    }

    /// Runs a container to its end: its status, standard output and standard error.
    pub fn run(&self, spec: &ContainerSpec) -> (ExitStatus, String, String) {
        let shim = self.runtime.create(spec).unwrap();
        let stream = shim.attach(OUTPUT).unwrap();
        shim.start().unwrap();
        let (stdout, stderr) = if spec.tty {
            (read_all(stream), String::new())
        } else {
            read_frames(stream)
        };
        let exit = shim.wait().unwrap();
        self.runtime.delete(&spec.id).unwrap();
        (exit, stdout, stderr)
    }

    /// The standard output of a script that has to succeed.
    pub fn output(&self, spec: &ContainerSpec) -> String {
        let (exit, stdout, stderr) = self.run(spec);
        assert_eq!(exit.code, 0, "{stdout}{stderr}");
        stdout
    }

    pub fn create_error(&self, spec: &ContainerSpec) -> StartError {
        let error = self.runtime.create(spec).unwrap_err();
        assert!(
            self.runtime.list().unwrap().is_empty(),
            "left something after {error}"
        );
        error
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for id in self.runtime.list().unwrap_or_default() {
            let _ = self.runtime.delete(&id);
        }
        for controller in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _ = fs_err::remove_dir(controller.path().join(&self.config.cgroup_parent));
        }
        let _ = fs_err::remove_dir(Path::new("/sys/fs/cgroup").join(&self.config.cgroup_parent));
    }
}

/// The example that plays the shim, built with the tests; or the program named by `HAVRE_TEST_SHIM`.
pub fn shim_program() -> PathBuf {
    if let Some(program) = std::env::var_os("HAVRE_TEST_SHIM") {
        return program.into();
    }
    let test = std::env::current_exe().unwrap();
    let program = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/runtime_shim");
    assert!(
        program.exists(),
        "{} is missing: build the examples",
        program.display()
    );
    program
}

fn busybox(root: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
        fs_err::create_dir_all(root.join(directory)).unwrap();
    }
    fs_err::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "true", "false", "cat", "echo", "sleep", "ls", "id", "env", "stty", "ps", "mount", "touch",
        "kill", "hostname", "head", "tail", "yes", "dd", "mkdir", "grep", "test", "pwd", "tty", "wc", "seq",
        "stat", "nc",
    ] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs_err::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n",
    )
    .unwrap();
    fs_err::write(root.join("etc/group"), "root:x:0:\napp:x:1001:\nstaff:x:50:app\n").unwrap();
}

pub fn exec_spec(id: &str, args: &[&str]) -> ExecSpec {
    ExecSpec {
        id: id.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        attach: OUTPUT,
        ..ExecSpec::default()
    }
}

pub fn read_all(mut stream: UnixStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes stdcopy frames apart until the end of the stream.
pub fn read_frames(mut stream: UnixStream) -> (String, String) {
    let mut outputs = [Vec::new(), Vec::new()];
    let mut header = [0; 8];
    while stream.read_exact(&mut header).is_ok() {
        assert_eq!(header[1..4], [0, 0, 0]);
        let mut data = vec![0; u32::from_be_bytes(header[4..].try_into().unwrap()) as usize];
        stream.read_exact(&mut data).unwrap();
        outputs[usize::from(header[0]) - 1].extend_from_slice(&data);
    }
    let [stdout, stderr] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (stdout, stderr)
}

/// Reads until `text` has come.
pub fn read_until(mut stream: &UnixStream, text: &str) -> String {
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !got.contains(text) {
        let read = stream
            .read(&mut buffer)
            .unwrap_or_else(|error| panic!("{error} after {got:?}"));
        assert!(read > 0, "ended after {got:?}");
        got.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    got
}

pub fn send(mut stream: &UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("never happened: {what}");
}

/// What this process could give to a container, as `/proc/<pid>/status` shows it.
pub fn all_capabilities() -> String {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    format!("{:016x}", mask("CapEff:") & mask("CapBnd:"))
}
