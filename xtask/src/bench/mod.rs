//! The benchmark: the same work on havre, Docker and Podman, in turn, in one run, reported as medians and ratios.
//!
//! Each engine of each round works on a fresh loop-mounted ext4 of its own: a mass delete slows ext4 for a minute or two, and
//! a shared file system would carry one engine's litter into the next one's time. What is timed is always the whole
//! client process, as a person would wait for it. Every round begins with another engine, and what is pulled or copied is
//! read once before each: nobody finds it in memory because somebody else was first.
//!
//! Work that an engine leaves to the background is work all the same: there are rows that end only when everything is on the
//! disk, and when space is free again.

mod archive;
mod containers;
mod context;
mod dive;
mod engines;
mod environment;
mod images;
mod plot;
mod pydev;
mod registry;
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
    scale: Scale,
}

/// How much there is of what is counted by the thousand.
#[derive(Clone, Copy)]
struct Scale {
    /// Images that are removed.
    images: usize,
    /// Files of the large build context.
    files: u64,
    /// Bytes of a container's log.
    log: u64,
    /// Bytes sent over the network.
    traffic: u64,
    /// Tags of a repository.
    tags: usize,
}

impl Scale {
    const FULL: Self = Self {
        images: 1000,
        files: 20_000,
        log: 250_000_000,
        traffic: 4 << 30,
        tags: 10_000,
    };
    /// To see that everything works.
    const SMALL: Self = Self {
        images: 50,
        files: 1000,
        log: 10_000_000,
        traffic: 64 << 20,
        tags: 500,
    };
}

const USAGE: &str = "usage: xtask bench [--havre PATH] [--rounds N] [--engines havre,docker,podman] \
                     [--only pull,remote,run,exec,starts,build,context,save,images,rmi,lists,memory,containers,registry] [--scale full|small] [--scratch DIR]";

pub(crate) fn run(args: Vec<String>) -> Outcome {
    let options = parse(args)?;
    if !rustix::process::geteuid().is_root() {
        return Err("the benchmark mounts file systems and starts engines: run it as root".into());
    }
    fs_err::create_dir_all(&options.scratch)?;
    let registry = images::Registry::start(&options.scratch)?;
    let images = images::ensure(&options.scratch, &options.havre, &registry)?;
    let mut results = table::Results::default();
    let mut order = options.engines.clone();
    let wanted = |row: &str| options.only.is_empty() || options.only.iter().any(|name| name == row);
    for round in 1..=options.rounds {
        for name in &order {
            eprintln!("round {round}/{}: {name}", options.rounds);
            if wanted("pull") || wanted("remote") || wanted("save") || wanted("images") {
                environment::read_all(registry.storage())?;
            }
            let volume = volume::Volume::create(&options.scratch, name)?;
            let engine = engines::Engine::start(name, &options.havre, &volume)?;
            work::all(
                &engine,
                &images,
                &wanted,
                options.scale,
                &options.scratch,
                &mut results,
            )?;
            if wanted("context") {
                context::rows(&engine, &options.scratch, options.scale.files, &mut results)?;
            }
            if wanted("containers") {
                containers::rows(&engine, &options.scratch, options.scale, &mut results)?;
            }
            engine.stop();
        }
        order.rotate_left(1);
    }
    if wanted("registry") {
        registry::rows(&options.havre, &options.scratch, options.scale.tags, &mut results)?;
    }
    volume::remove(&options.scratch);
    println!("{}\n", environment::describe(&options.havre, &options.engines));
    println!("{}", results.markdown(&options.engines));
    if !options.only.is_empty() || options.scale.images != Scale::FULL.images {
        // A part is not what the README shows.
        return Ok(());
    }
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
        scale: Scale::FULL,
    };
    let mut args = args.into_iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--havre" => options.havre = value.into(),
            "--rounds" => options.rounds = value.parse()?,
            "--engines" => options.engines = list(value),
            "--only" => options.only = list(value),
            "--scale" => {
                options.scale = match value.as_str() {
                    "full" => Scale::FULL,
                    "small" => Scale::SMALL,
                    _ => return Err(USAGE.into()),
                }
            }
            "--scratch" => options.scratch = value.into(),
            _ => return Err(USAGE.into()),
        }
    }
    options.havre = fs_err::canonicalize(&options.havre)?;
    Ok(options)
}
