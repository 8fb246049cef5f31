//! Where the time of a container goes; run by hand: `cargo test -p havre-runtime --test timing -- --ignored --nocapture`.
//! Needs root.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::*;

#[test]
#[ignore = "a measurement"]
fn create_start_wait_delete() {
    let bench = Bench::new();
    let mut steps = [const { Vec::new() }; 5];
    for _ in 0..30 {
        let spec = bench.spec(&["true"]);
        let mut times = vec![Instant::now()];
        let shim = bench.runtime.create(&spec).unwrap();
        times.push(Instant::now());
        shim.start().unwrap();
        times.push(Instant::now());
        shim.wait().unwrap();
        times.push(Instant::now());
        bench.runtime.delete("c1").unwrap();
        times.push(Instant::now());
        for (step, pair) in times.windows(2).enumerate() {
            steps[step].push(pair[1] - pair[0]);
        }
        steps[4].push(times[4] - times[0]);
    }
    for (name, times) in ["create", "start", "wait", "delete", "all"]
        .iter()
        .zip(&mut steps)
    {
        println!("{name:8} {:?}", median(times));
    }
    let shim = bench.start(&bench.sh("sleep 60"));
    let mut times = Vec::new();
    for number in 0..30 {
        let begin = Instant::now();
        let id = number.to_string();
        read_frames(shim.exec(&exec_spec(&id, &["true"])).unwrap().stream.unwrap());
        shim.exec_wait(&id).unwrap();
        times.push(begin.elapsed());
    }
    println!("exec     {:?}", median(&mut times));
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
