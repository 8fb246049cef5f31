//! What others made, installed or built once per list of versions: `$XDG_CACHE_HOME/havre-ci/clients` (or `~/.cache/…`).
//!
//! The lists stand in `testing/data/clients/{python/requirements.txt, node/package-lock.json}` and
//! `testing/data/pages/package-lock.json`. Where no registry can be reached and nothing is installed yet, the tests say so and
//! pass, unless `CI` is set.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

/// Where everything of `testing/data` is.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(path)
}

/// Where things are kept between runs.
pub fn cache() -> PathBuf {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache"),
    };
    let dir = base.join("havre-ci/clients");
    fs::create_dir_all(&dir).expect("the cache");
    dir
}

/// Python's environment with the packages of `requirements.txt`; `None` if it cannot be made.
pub fn python() -> Option<PathBuf> {
    let list = data("clients/python/requirements.txt");
    once("python", &fs::read(&list).expect("the list"), |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        let mut install = Command::new(dir.join("bin/pip"));
        install.args([
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "-r",
        ]);
        run(install.arg(&list))
    })
}

/// A directory with `node_modules` of the clients' `package-lock.json`; `None` if it cannot be made.
pub fn node() -> Option<PathBuf> {
    node_packages("node", &data("clients/node"))
}

/// A directory with `node_modules` of what drives a browser; `None` if it cannot be made.
pub fn browser() -> Option<PathBuf> {
    node_packages("browser", &data("pages"))
}

fn node_packages(kind: &str, list: &Path) -> Option<PathBuf> {
    let lock = fs::read(list.join("package-lock.json")).expect("the list");
    once(kind, &lock, |dir| {
        fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(list.join(file), dir.join(file)).map_err(|error| error.to_string())?;
        }
        // No script of a package runs: what they would build is optional.
        let words = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
        run(Command::new("npm").args(words).current_dir(dir))
    })
}

/// The directory of a thing that `make` made, now or in an earlier run with the same `key`.
pub fn once(kind: &str, key: &[u8], make: impl FnOnce(&Path) -> Result<(), String>) -> Option<PathBuf> {
    let digest = crate::digest_of(key);
    let dir = cache().join(format!("{kind}-{}", &digest["sha256:".len()..][..12]));
    let lock = fs::File::create(dir.with_extension("lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let done = dir.join("complete");
    if done.exists() {
        return Some(dir);
    }
    // Of a run that was interrupted.
    let _ = fs::remove_dir_all(&dir);
    match make(&dir) {
        Ok(()) => {
            fs::write(done, "").expect("the mark");
            Some(dir)
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&dir);
            skipped(kind, &error);
            None
        }
    }
}

/// Says loudly that nothing was tested; in CI that is a failure.
fn skipped(kind: &str, error: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "cannot install the clients of {kind}:\n{error}"
    );
    let _ = writeln!(
        std::io::stderr(),
        "\n*** NOT TESTED: the clients of {kind} cannot be installed ***\n{error}\n"
    );
}

/// Runs a program, which must succeed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{} ended with {}\n{}{}",
        command.get_program().display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}
