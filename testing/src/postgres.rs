//! Debian's PostgreSQL, on a socket of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fs_err as fs;

use crate::eventually;
use crate::installed::run;

/// A running server with an empty database; ended when it is dropped.
pub struct PostgresServer {
    folder: tempfile::TempDir,
    child: Child,
}

/// Where Debian has the programs, of the newest version that is there.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's package postgresql");
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.expect("a version").path()).collect();
    versions.sort();
    versions.pop().expect("a version").join("bin")
}

/// The server doesn't run as root.
fn as_postgres(program: PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
        .arg(program)
        .current_dir("/");
    command
}

impl PostgresServer {
    /// Makes one. Texts sort by the rules of a language, not by bytes.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("permissions");
        let data = folder.path().join("data");
        let mut init = as_postgres(programs().join("initdb"));
        init.arg("-D").arg(&data).args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale-provider=icu",
            "--icu-locale=en-US",
            "--locale=C.UTF-8",
        ]);
        run(&mut init).expect("a database");
        let mut server = as_postgres(programs().join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]);
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = server
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .expect("PostgreSQL");
        let server = Self { folder, child };
        let ready = programs().join("pg_isready");
        eventually("PostgreSQL to answer", || {
            let mut ask = Command::new(&ready);
            run(ask.args(["-q", "-h"]).arg(server.folder.path())).is_ok()
        });
        server
    }

    /// How to connect.
    pub fn url(&self) -> String {
        format!(
            "host={} user=postgres dbname=postgres",
            self.folder.path().display()
        )
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // At once, with all its processes: SIGQUIT.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.child.wait();
    }
}
