//! What once differed from Docker: one test for each difference that somebody could trip over. Needs root.

use havre_testing::{Program, TestEngine};

#[test]
fn an_exec_that_cannot_start_says_so_as_runc() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name box busybox sleep 100");
    let missing = engine.run("exec box nosuch");
    let words = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nosuch\": \
                 executable file not found in $PATH: unknown";
    assert_eq!(missing.code, 127, "{missing}");
    assert!(missing.to_string().contains(words), "{missing}");
    // Neither the program nor the engine is at fault: 126, as for everything else that keeps an exec from starting.
    let nobody = engine.run("exec -u nosuch box true");
    assert_eq!(nobody.code, 126, "{nobody}");
    assert!(
        nobody.to_string().contains("unable to find user nosuch"),
        "{nobody}"
    );
}

#[test]
fn a_refused_copy_reaches_a_client_that_still_sends() {
    let engine = TestEngine::with_busybox();
    engine.ok("volume create data");
    engine.ok("run -d --name box -v data:/data:ro busybox sleep 100");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("big");
    fs_err::write(&file, vec![b'x'; 4 << 20]).expect("a file");
    for program in [Program::Havre, Program::Docker] {
        let source = file.to_str().expect("UTF-8");
        let refused = engine
            .cmd_of(program, ["cp", source, "box:/data/big"])
            .run()
            .fails(1);
        assert!(
            refused.contains("mounted volume is marked read-only"),
            "{program:?}: {refused}"
        );
    }
}

#[test]
fn mounts_that_make_no_sense_leave_no_volume() {
    let engine = TestEngine::with_busybox();
    let double = engine.fails(125, "run --rm -v first:/m -v second:/m busybox true");
    assert!(double.contains("Duplicate mount point: /m"), "{double}");
    assert_eq!(engine.ok("volume ls -q"), "");
    for (flags, words) in [
        (
            "--mount type=foo,dst=/m",
            "invalid mount config for type \"foo\": mount type unknown",
        ),
        (
            "--mount type=bind,dst=/m",
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            "--mount type=bind,src=rel,dst=/m",
            "invalid mount path: 'rel' mount path must be absolute",
        ),
        ("-v a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        (
            "-v v1:/",
            "invalid volume specification: 'v1:/': invalid mount config for type \"volume\": invalid specification: \
             destination can't be '/'",
        ),
    ] {
        let refused = engine.fails(125, format!("run --rm {flags} busybox true"));
        assert!(refused.contains(words), "{flags}: {refused}");
    }
}

#[test]
fn processors_that_do_not_exist_are_refused() {
    let engine = TestEngine::with_busybox();
    let missing = engine.fails(125, "run --rm --cpuset-cpus 4095 busybox true");
    assert!(
        missing.contains("Requested CPUs are not available - requested 4095, available: 0"),
        "{missing}"
    );
    let nonsense = engine.fails(125, "run --rm --cpuset-cpus x busybox true");
    assert!(nonsense.contains("Invalid value x for cpuset cpus"), "{nonsense}");
}

#[test]
fn builder_prune_empties_the_cache() {
    let engine = TestEngine::with_busybox();
    engine
        .cmd("build -q -")
        .stdin("FROM busybox\nRUN echo one > /one\n")
        .ok();
    let kept = engine.ok("builder prune -f");
    assert!(
        kept.ends_with("Total reclaimed space: 0B"),
        "steps of an image stay: {kept}"
    );
    let gone = engine.ok("builder prune -af");
    assert!(gone.contains("Deleted build cache objects:\n"), "{gone}");
    assert_eq!(engine.ok("builder prune -af"), "Total reclaimed space: 0B");
}

#[test]
fn contents_are_copied_into_a_directory_of_another_name() {
    let engine = TestEngine::with_busybox();
    let dir = engine.files("source", &[("f", "text")]);
    let source = dir.to_str().expect("UTF-8");
    engine.ok("create --name box busybox true");
    engine.ok(["cp", source, "box:/made"]);
    for program in [Program::Havre, Program::Docker] {
        let target = tempfile::tempdir().expect("a directory");
        // Neither exists: Docker's client puts the new name in the place of `.` and `/` in the names of the entries.
        for (from, name, file) in [("box:/made/.", "contents", "f"), ("box:/", "all", "made/f")] {
            let made = target.path().join(name);
            let words = ["cp", from, made.to_str().expect("UTF-8")];
            engine.cmd_of(program, words).ok();
            let text = fs_err::read_to_string(made.join(file)).expect("a copy");
            assert_eq!(text, "text", "{program:?}: {from}");
        }
    }
}

#[test]
fn a_program_that_stops_reading_ends_well() {
    let engine = TestEngine::with_busybox();
    for program in [Program::Havre, Program::Docker] {
        let output = engine
            .cmd_of(
                program,
                [
                    "run",
                    "-i",
                    "--rm",
                    "busybox",
                    "sh",
                    "-c",
                    "exec 0<&-; echo closed",
                ],
            )
            .stdin(vec![b'x'; 8 << 20])
            .run();
        assert_eq!(
            (output.code, output.out().as_str()),
            (0, "closed"),
            "{program:?}: {output}"
        );
    }
}
