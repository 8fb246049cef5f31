//! What is done with one container: start and stop, logs, copies, the network.

use std::{
    io::Read,
    net::{IpAddr, TcpListener, UdpSocket},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use fs_err as fs;

use super::{Scale, context, engines::Engine, environment::read_all, table::Results, volume::settle};
use crate::Outcome;

/// How often start and stop are repeated within a round.
const REPEATS: usize = 7;
/// Ends at once when it is told to.
const OBEDIENT: &str = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done";
const LINE: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.";
const LOOKUPS: usize = 200;

pub(super) fn rows(engine: &Engine, scratch: &Path, scale: Scale, results: &mut Results) -> Outcome {
    start_and_stop(engine, results)?;
    logs(engine, scale, results)?;
    copy(engine, scratch, scale, results)?;
    throughput(engine, scale, results)?;
    if let Err(error) = lookups(engine, results) {
        // Podman resolves names only with a plugin that not everybody has.
        eprintln!("{}: names of containers are not measured: {error}", engine.name);
    }
    Ok(())
}

fn start_and_stop(engine: &Engine, results: &mut Results) -> Outcome {
    let id = engine.run(&["create", "bench-base", "sh", "-c", OBEDIENT])?;
    for round in 0..=REPEATS {
        let started = engine.time(&["start", &id])?;
        // It must have come to listen to signals, or what is measured is the time until it is killed.
        thread::sleep(Duration::from_millis(100));
        let stopped = engine.time(&["stop", &id])?;
        // The first is not counted.
        if round > 0 {
            results.time("start", &engine.name, started);
            results.time("stop of a program that ends when told", &engine.name, stopped);
        }
    }
    engine.run(&["rm", &id]).map(drop)
}

/// A program that writes as fast as it is read, and reading all of it again.
fn logs(engine: &Engine, scale: Scale, results: &mut Results) -> Outcome {
    let lines = scale.log / (LINE.len() as u64 + 1);
    let megabytes = scale.log / 1_000_000;
    let script = format!("yes {LINE} | head -n {lines}");
    let started = Instant::now();
    let id = engine.run(&[
        "run",
        "-d",
        "--network",
        "none",
        "bench-base",
        "sh",
        "-c",
        &script,
    ])?;
    engine.run(&["wait", &id])?;
    let row = format!("a program writes {megabytes} MB of log");
    results.time(&row, &engine.name, started.elapsed());

    let started = Instant::now();
    let mut client = engine.command(&["logs", &id]).stdout(Stdio::piped()).spawn()?;
    let mut count = 0_u64;
    let mut out = client.stdout.take().ok_or("no pipe")?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match out.read(&mut buffer)? {
            0 => break,
            read => count += read as u64,
        }
    }
    let status = client.wait()?;
    let expected = lines * (LINE.len() as u64 + 1);
    if !status.success() || count != expected {
        return Err(format!("{}: logs gave {count} of {expected} bytes: {status}", engine.name).into());
    }
    let row = format!("logs of {megabytes} MB");
    results.time(&row, &engine.name, started.elapsed());
    engine.run(&["rm", &id]).map(drop)
}

/// A directory of many files into a container that runs, and out again.
fn copy(engine: &Engine, scratch: &Path, scale: Scale, results: &mut Results) -> Outcome {
    let source = context::ensure(scratch, scale.files)?;
    read_all(&source)?;
    let id = engine.run(&["run", "-d", "--network", "none", "bench-base", "sleep", "1000"])?;
    let back = engine.folder().join("copied");
    let inside = format!("{id}:/copied");
    for (row, from, to) in [
        (
            "into a container",
            source.to_string_lossy(),
            inside.as_str().into(),
        ),
        ("out of it", inside.as_str().into(), back.to_string_lossy()),
    ] {
        settle()?;
        let taken = engine.time(&["cp", &from, &to])?;
        results.time(&format!("cp of {} files {row}", scale.files), &engine.name, taken);
    }
    if !back.join("part39/group24").exists() {
        return Err(format!("{}: cp lost files", engine.name).into());
    }
    engine.run(&["rm", "-f", &id])?;
    Ok(fs::remove_dir_all(back)?)
}

/// Bytes from a container to the host, over the default network. The client's own time is not part of it.
fn throughput(engine: &Engine, scale: Scale, results: &mut Results) -> Outcome {
    let listener = TcpListener::bind(("0.0.0.0", 0))?;
    let (address, port) = (own_address()?, listener.local_addr()?.port());
    let receiver = thread::spawn(move || -> std::io::Result<(u64, Duration)> {
        let (mut stream, _) = listener.accept()?;
        let started = Instant::now();
        let mut buffer = vec![0; 1 << 20];
        let mut count = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((count, started.elapsed())),
                read => count += read as u64,
            }
        }
    });
    let blocks = scale.traffic >> 20;
    let script = format!("dd if=/dev/zero bs=1M count={blocks} 2>/dev/null | nc {address} {port}");
    engine.run(&["run", "--rm", "bench-base", "sh", "-c", &script])?;
    let (count, taken) = receiver.join().map_err(|_| "the receiver ended")??;
    if count != blocks << 20 {
        return Err(format!("{}: {count} bytes of {} arrived", engine.name, blocks << 20).into());
    }
    let row = format!("{} MB from a container to the host", scale.traffic / 1_000_000);
    results.time(&row, &engine.name, taken);
    Ok(())
}

/// The host's address on the way out. Nothing is sent.
fn own_address() -> Outcome<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(("192.0.2.1", 9))?;
    Ok(socket.local_addr()?.ip())
}

/// Names of containers on a network of their own.
fn lookups(engine: &Engine, results: &mut Results) -> Outcome {
    engine.run(&["network", "create", "bench-names"])?;
    let on_network = ["run", "-d", "--network", "bench-names", "--name"];
    for name in ["asked", "asker"] {
        engine.run(&[&on_network[..], &[name, "bench-base", "sleep", "1000"]].concat())?;
    }
    let script = format!("for i in $(seq {LOOKUPS}); do nslookup asked >/dev/null || exit 1; done");
    let taken = engine.time(&["exec", "asker", "sh", "-c", &script]);
    engine.run(&["rm", "-f", "asked", "asker"])?;
    engine.run(&["network", "rm", "bench-names"])?;
    results.time(
        &format!("{LOOKUPS} lookups of a container's name"),
        &engine.name,
        taken?,
    );
    Ok(())
}
