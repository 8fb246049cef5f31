//! The benchmark: the same work on havre, Docker and Podman, in turn, in one run, reported as medians and ratios.
//!
//! Each engine of each round works on its own fresh loop-mounted ext4: a mass delete slows ext4 for a minute or two, and
//! a shared file system would carry one engine's litter into the next one's time. What is timed is always the whole
//! client process, as a person would wait for it.

mod archive;
mod context;
mod engines;
mod images;
mod plot;
mod pydev;
mod table;
mod volume;
mod work;

use std::path::PathBuf;

use crate::Outcome;

/// What the person asked for.
struct Options {
    havre: PathBuf,
    rounds: usize,
    engines: Vec<String>,
    only: Vec<String>,
    scratch: PathBuf,
}

const USAGE: &str = "usage: xtask bench [--havre PATH] [--rounds N] [--engines havre,docker,podman] \
                     [--only pull,run,exec,starts,build,context,save,rmi,lists,memory] [--scratch DIR]";

pub(crate) fn run(args: Vec<String>) -> Outcome {
    let options = parse(args)?;
    if !rustix::process::geteuid().is_root() {
        return Err("the benchmark mounts file systems and starts engines: run it as root".into());
    }
    fs_err::create_dir_all(&options.scratch)?;
    let registry = images::Registry::start(&options.scratch)?;
    let images = images::ensure(&options.scratch, &options.havre, &registry)?;
    let mut results = table::Results::default();
    for round in 1..=options.rounds {
        for name in &options.engines {
            eprintln!("round {round}/{}: {name}", options.rounds);
            let volume = volume::Volume::create(&options.scratch, name)?;
            let engine = engines::Engine::start(name, &options.havre, &volume)?;
            work::all(&engine, &images, &options.only, &mut results)?;
            if options.only.is_empty() || options.only.iter().any(|name| name == "context") {
                context::rows(&engine, &options.scratch, &mut results)?;
            }
            engine.stop();
        }
    }
    println!("{}", results.markdown(&options.engines));
    let folder = PathBuf::from("bench-results");
    results.save(&folder)?;
    results.plot(&folder.join("speed.svg"), &options.engines)
}

fn parse(args: Vec<String>) -> Outcome<Options> {
    let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut options = Options {
        havre: PathBuf::from("target/release/havre"),
        rounds: 3,
        engines: list("havre,docker,podman".into()),
        only: Vec::new(),
        scratch: PathBuf::from("/var/tmp/havre-bench"),
    };
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--havre" => options.havre = value.into(),
            "--rounds" => options.rounds = value.parse()?,
            "--engines" => options.engines = list(value),
            "--only" => options.only = list(value),
            "--scratch" => options.scratch = value.into(),
            _ => return Err(USAGE.into()),
        }
    }
    options.havre = fs_err::canonicalize(&options.havre)?;
    Ok(options)
}
