//! The rows of the benchmark, in the order in which one engine does them on its fresh volume.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use fs_err as fs;

use super::{
    Scale, archive, dive,
    engines::Engine,
    images::{Images, Registry},
    table::Results,
    volume::{settle, settle_memory},
};
use crate::Outcome;

/// How often the short rows are repeated within a round.
const REPEATS: usize = 7;
/// What takes longer is done once a round.
const LONG: Duration = Duration::from_secs(5);
const TAGS: usize = 500;
const CONTAINERS: usize = 200;
const STARTS: usize = 50;

const DOCKERFILE: &str = "FROM bench-base\nENV GREETING=hello\nCOPY app.txt /app/app.txt\nRUN cat /app/app.txt > /app/copy.txt\n\
                          WORKDIR /app\nCMD [\"/bin/cat\", \"/app/copy.txt\"]\n";

pub(super) fn all(
    engine: &Engine,
    images: &Images,
    wanted: &dyn Fn(&str) -> bool,
    scale: Scale,
    scratch: &Path,
    results: &mut Results,
) -> Outcome {
    engine.run(&engine.pull_args(&images.busybox))?;
    engine.run(&["tag", &images.busybox, "bench-base"])?;
    if wanted("pull") {
        pull(engine, images, results)?;
    }
    if wanted("remote") {
        one_file(engine, images, results)?;
    }
    if wanted("save") {
        save_load_push(engine, images, results)?;
    }
    if wanted("images") || wanted("rmi") {
        let names = load_many(engine, scale.images)?;
        if wanted("images") {
            many_images(engine, scale.images, results)?;
        }
        if wanted("rmi") {
            remove_images(engine, images, &names, results)?;
        } else {
            remove(engine, &names)?;
        }
    }
    if wanted("images") {
        dive::rows(engine, images, scratch, results)?;
    }
    if wanted("run") {
        repeat(
            engine,
            results,
            "run --rm true, bridge",
            &["run", "--rm", "bench-base", "true"],
        )?;
        repeat(
            engine,
            results,
            "run --rm true, none",
            &["run", "--rm", "--network", "none", "bench-base", "true"],
        )?;
        repeat(
            engine,
            results,
            "run --rm true, host",
            &["run", "--rm", "--network", "host", "bench-base", "true"],
        )?;
    }
    if wanted("exec") {
        let id = engine.run(&["run", "-d", "bench-base", "sleep", "1000"])?;
        repeat(engine, results, "exec true", &["exec", &id, "true"])?;
        engine.run(&["rm", "-f", &id])?;
    }
    if wanted("starts") {
        concurrent_starts(engine, results)?;
    }
    if wanted("build") {
        build(engine, results)?;
    }
    if wanted("lists") {
        lists(engine, results)?;
    }
    if wanted("memory") {
        memory(engine, results)?;
    }
    Ok(())
}

fn pull(engine: &Engine, images: &Images, results: &mut Results) -> Outcome {
    for (row, reference) in [
        ("pull debian, one layer", &images.debian),
        ("pull pydev, nine layers", &images.pydev),
        ("pull one file of 1 GiB", &images.big),
    ] {
        settle_memory()?;
        let pulled = engine.time(&engine.pull_args(reference))?;
        results.time(row, &engine.name, pulled);
        if *reference == images.pydev {
            let started = Instant::now();
            settle()?;
            let durable = pulled + started.elapsed();
            results.time("the same until it is on the disk", &engine.name, durable);
        }
    }
    settle_memory()?;
    engine.run(&["rmi", "-f", &images.pydev])?;
    let again = engine.time(&engine.pull_args(&images.pydev))?;
    results.time("pull pydev right after removing it", &engine.name, again);
    remove_large(engine, images, results)
}

/// What a file of an image that is not here says: who cannot look into registries pulls it, and runs a container. One file is in
/// the uppermost layer, one in the lowest.
fn one_file(engine: &Engine, images: &Images, results: &mut Results) -> Outcome {
    for (row, path) in [
        (
            "cat of a file of pydev's uppermost layer, not pulled",
            "/app/app.py",
        ),
        (
            "cat of a file of pydev's lowest layer, not pulled",
            "/etc/os-release",
        ),
    ] {
        settle()?;
        let started = Instant::now();
        if engine.name == "havre" {
            engine.run(&["image", "cat", "--remote", &images.pydev, path])?;
        } else {
            engine.run(&engine.pull_args(&images.pydev))?;
            engine.run(&["run", "--rm", "--network", "none", &images.pydev, "cat", path])?;
        }
        results.time(row, &engine.name, started.elapsed());
        if engine.name != "havre" {
            engine.run(&["rmi", "-f", &images.pydev])?;
        }
    }
    Ok(())
}

/// Removes one large image; and how long it takes until its space is free, whoever frees it.
fn remove_large(engine: &Engine, images: &Images, results: &mut Results) -> Outcome {
    settle()?;
    let before = free(engine.folder())?;
    let started = Instant::now();
    engine.run(&["rmi", "-f", &images.pydev])?;
    results.time("rmi pydev", &engine.name, started.elapsed());
    // Free space that doesn't grow any more for two seconds is all there is to come.
    let (mut most, mut at) = (free(engine.folder())?, Instant::now());
    let mut freed_at = at;
    while at.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(2));
        let now = free(engine.folder())?;
        // Logs and databases come and go.
        if now > most + (1 << 20) {
            (most, at) = (now, Instant::now());
            freed_at = at;
        }
    }
    if most < before + (1 << 30) {
        return Err(format!("{}: rmi freed {} bytes", engine.name, most.saturating_sub(before)).into());
    }
    let until = freed_at.duration_since(started);
    results.time("rmi pydev, until its space is free", &engine.name, until);
    Ok(())
}

/// Free bytes of a file system.
fn free(path: &Path) -> Outcome<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bfree * status.f_frsize)
}

/// Push what was pulled, as whoever fills a registry of their own does; save, load, and push what was loaded: nobody has its
/// compressed layers then.
fn save_load_push(engine: &Engine, images: &Images, results: &mut Results) -> Outcome {
    engine.run(&engine.pull_args(&images.pydev))?;
    push(
        engine,
        images,
        "pulled",
        &["push pydev as it was pulled, nothing there yet"],
        results,
    )?;
    let archive = engine.folder().join("pydev.tar");
    let path = archive.to_string_lossy().into_owned();
    settle_memory()?;
    let saved = engine.time(&["save", "-o", &path, &images.pydev])?;
    results.time("save pydev", &engine.name, saved);
    fs::remove_file(&archive)?;
    settle_memory()?;
    let again = engine.time(&["save", "-o", &path, &images.pydev])?;
    results.time("save pydev again", &engine.name, again);
    engine.run(&["rmi", "-f", &images.pydev])?;
    settle_memory()?;
    let loaded = engine.time(&["load", "-q", "-i", &path])?;
    results.time("load pydev after removing it", &engine.name, loaded);
    fs::remove_file(archive)?;

    let rows = [
        "push pydev as it was loaded, nothing there yet",
        "push pydev again",
    ];
    push(engine, images, "loaded", &rows, results)
}

/// Pushes pydev to a registry of its own, once for every row.
fn push(engine: &Engine, images: &Images, to: &str, rows: &[&str], results: &mut Results) -> Outcome {
    let home = engine.folder().join(to);
    let registry = Registry::start(&home)?;
    let target = registry.reference("pydev");
    engine.run(&["tag", &images.pydev, &target])?;
    for row in rows {
        settle_memory()?;
        results.time(row, &engine.name, engine.time(&engine.push_args(&target))?);
    }
    engine.run(&["rmi", &target])?;
    drop(registry);
    Ok(fs::remove_dir_all(home)?)
}

/// Many small images; their names.
fn load_many(engine: &Engine, count: usize) -> Outcome<Vec<String>> {
    let archive = engine.folder().join("images.tar");
    let names = archive::write(&archive, count)?;
    engine.run(&["load", "-q", "-i", &archive.to_string_lossy()])?;
    fs::remove_file(archive)?;
    settle()?;
    Ok(names)
}

fn remove_args(names: &[String]) -> Vec<&str> {
    let mut args = vec!["rmi"];
    args.extend(names.iter().map(String::as_str));
    args
}

fn remove(engine: &Engine, names: &[String]) -> Outcome {
    engine.run(&remove_args(names)).map(drop)
}

/// What is asked of an engine that has many.
fn many_images(engine: &Engine, count: usize, results: &mut Results) -> Outcome {
    for (row, args) in [
        ("images", &["images"][..]),
        (
            "images --filter reference",
            &["images", "--filter", "reference=bench/small:*7"],
        ),
        ("system df", &["system", "df"]),
    ] {
        repeat(engine, results, &format!("{row}, {count} images"), args)?;
    }
    Ok(())
}

/// Removes many images of a layer of their own each, and starts a container right behind it.
fn remove_images(engine: &Engine, images: &Images, names: &[String], results: &mut Results) -> Outcome {
    // The first container of an engine's life takes longer, removed images or not.
    engine.run(&["run", "--rm", "--network", "none", &images.busybox, "true"])?;
    results.time(
        &format!("rmi of {} images", names.len()),
        &engine.name,
        engine.time(&remove_args(names))?,
    );
    let run = engine.time(&["run", "--rm", "--network", "none", &images.busybox, "true"])?;
    results.time("run --rm true right after it, none", &engine.name, run);
    Ok(())
}

fn concurrent_starts(engine: &Engine, results: &mut Results) -> Outcome {
    let started = Instant::now();
    let clients: Vec<_> = (0..STARTS)
        .map(|_| {
            engine
                .command(&["run", "-d", "bench-base", "sleep", "1000"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    let mut ids = Vec::new();
    for client in clients {
        let output = client.wait_with_output()?;
        if !output.status.success() {
            return Err(format!(
                "{}: run -d: {}",
                engine.name,
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
        ids.push(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    results.time("50 concurrent run -d", &engine.name, started.elapsed());
    let mut remove = vec!["rm", "-f"];
    remove.extend(ids.iter().map(String::as_str));
    engine.run(&remove).map(drop)
}

fn build(engine: &Engine, results: &mut Results) -> Outcome {
    let context = engine.folder().join("context");
    fs::create_dir_all(&context)?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    fs::write(context.join("app.txt"), "hello\n")?;
    let path = context.to_string_lossy().into_owned();
    for (builder, note) in engine.builders() {
        for _ in 0..3 {
            settle()?;
            let cold = ["build", "-q", "--no-cache", "-t", "bench-app", &path];
            let cold = engine.time_with(&cold, &builder)?;
            for row in engine.rows_of("build of five lines, no cache", note) {
                results.time(&row, &engine.name, cold);
            }
        }
        let args = ["build", "-q", "-t", "bench-app", &path];
        engine.time_with(&args, &builder)?;
        for _ in 0..REPEATS {
            let cached = engine.time_with(&args, &builder)?;
            for row in engine.rows_of("build of five lines, cached", note) {
                results.time(&row, &engine.name, cached);
            }
        }
    }
    Ok(())
}

fn lists(engine: &Engine, results: &mut Results) -> Outcome {
    for number in 0..TAGS {
        engine.run(&["tag", "bench-base", &format!("bench/tag:{number}")])?;
    }
    repeat(engine, results, "images with 500 tags", &["images"])?;
    for _ in 0..CONTAINERS {
        engine.run(&["create", "--network", "none", "bench-base", "true"])?;
    }
    repeat(engine, results, "ps -a with 200 containers", &["ps", "-a"])
}

fn memory(engine: &Engine, results: &mut Results) -> Outcome {
    let count = 10;
    let ids: Vec<String> = (0..count)
        .map(|_| engine.run(&["run", "-d", "--network", "none", "bench-base", "sleep", "1000"]))
        .collect::<Outcome<_>>()?;
    // At rest, not just after work.
    std::thread::sleep(Duration::from_secs(6));
    let (daemon, shim) = engine.memory(&ids)?;
    if let Some(daemon) = daemon {
        results.bytes("memory of the daemon, PSS", &engine.name, daemon);
    }
    results.bytes("memory per idle container, PSS", &engine.name, shim);
    let mut remove = vec!["rm", "-f"];
    remove.extend(ids.iter().map(String::as_str));
    engine.run(&remove).map(drop)
}

/// A short command, repeated after one that is not counted; one that turns out to be long is not.
fn repeat(engine: &Engine, results: &mut Results, row: &str, args: &[&str]) -> Outcome {
    let first = engine.time(args)?;
    if first > LONG {
        results.time(row, &engine.name, first);
        return Ok(());
    }
    for _ in 0..REPEATS {
        results.time(row, &engine.name, engine.time(args)?);
    }
    Ok(())
}
