//! Whole builds on a real store with a fake executor. Needs root.

mod support;

use std::os::unix::fs::{MetadataExt as _, symlink};

use fs_err as fs;
use havre_build::{BuildRequest, Context, DockerfileSource, FailureKind};
use havre_oci::Reference;
use support::Bench;

#[tokio::test(flavor = "multi_thread")]
async fn a_small_image() {
    let bench = Bench::new();
    bench.file("app/main.txt", "hello");
    bench.file("app/sub/deep.txt", "deep");
    let (id, text) = bench
        .good(
            "ARG NAME=world\nFROM scratch AS base\nARG NAME\nENV GREETING=\"hello $NAME\" A=1\nWORKDIR /srv\nCOPY app /srv/app/\nCOPY app/main.txt .\n\
             RUN write /srv/out.txt made\nEXPOSE 80 53/udp\nVOLUME /data\nUSER 1000:1000\nLABEL a.b=c\nSTOPSIGNAL SIGINT\n\
             HEALTHCHECK --interval=30s CMD true\nENTRYPOINT [\"/app\"]\nCMD [\"-x\", \"y z\"]\n",
        )
        .await;
    let config = bench.config(&id).await;
    assert_eq!(config.config.env, ["GREETING=hello world", "A=1"]);
    assert_eq!(config.config.working_dir, "/srv");
    assert_eq!(
        config.config.entrypoint.as_deref(),
        Some(&["/app".to_owned()][..])
    );
    assert_eq!(
        config.config.cmd.as_deref(),
        Some(&["-x".to_owned(), "y z".to_owned()][..])
    );
    assert_eq!(
        config.config.exposed_ports.keys().collect::<Vec<_>>(),
        ["53/udp", "80/tcp"]
    );
    assert_eq!(
        config.config.healthcheck.expect("healthcheck").test,
        ["CMD-SHELL", "true"]
    );
    assert_eq!(config.rootfs.diff_ids.len(), 4);
    let history: Vec<_> = config
        .history
        .iter()
        .map(|entry| (entry.created_by.as_str(), entry.empty_layer))
        .collect();
    assert_eq!(history[0], ("/bin/sh -c #(nop)  ARG NAME", true));
    assert_eq!(
        history[1],
        ("/bin/sh -c #(nop)  ENV GREETING=hello world A=1", true)
    );
    assert_eq!(history[2], ("/bin/sh -c #(nop)  WORKDIR /srv", false));
    assert!(
        history[3].0.starts_with("/bin/sh -c #(nop) COPY dir:") && history[3].0.ends_with(" in /srv/app/ ")
    );
    assert_eq!(
        history[5],
        ("|1 NAME=world /bin/sh -c write /srv/out.txt made", false)
    );
    assert_eq!(
        history.last(),
        Some(&("/bin/sh -c #(nop)  CMD [\"-x\" \"y z\"]", true))
    );
    assert!(
        text.starts_with("Step 1/16 : ARG NAME=world\nStep 2/16 : FROM scratch AS base\n ---> "),
        "{text}"
    );
    assert!(
        text.contains("Step 8/16 : RUN write /srv/out.txt made\n ---> Running in "),
        "{text}"
    );
    assert!(
        text.ends_with(&format!("Successfully built {}\n", id.short())),
        "{text}"
    );
    bench
        .files(&id, |root| {
            assert_eq!(
                fs::read_to_string(root.join("srv/app/sub/deep.txt")).expect("read"),
                "deep"
            );
            assert_eq!(
                fs::read_to_string(root.join("srv/main.txt")).expect("read"),
                "hello"
            );
            assert_eq!(
                fs::read_to_string(root.join("srv/out.txt")).expect("read"),
                "made"
            );
            assert_eq!(fs::metadata(root.join("srv/main.txt")).expect("stat").uid(), 0);
        })
        .await;
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_build_is_cached_and_the_same() {
    let bench = Bench::new();
    bench.file("a.txt", "one");
    let text = "FROM scratch AS one\nCOPY a.txt /a\nRUN write /b b\nFROM scratch\nWORKDIR /w\nCOPY --from=one /a /b /w/\nADD a.txt /c\nENV X=1\nRUN print hi\nCMD x\n";
    let (first, _) = bench.good(text).await;
    let runs = bench.runs();
    // Times are no content.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1000);
    fs::File::options()
        .write(true)
        .open(bench.context().join("a.txt"))
        .expect("open")
        .into_parts()
        .0
        .set_modified(later)
        .expect("touched");
    let (second, stream) = bench.good(text).await;
    assert_eq!(first, second);
    assert_eq!(bench.runs(), runs);
    assert_eq!(stream.matches("Using cache").count(), 8, "{stream}");
    assert!(!stream.contains("Running in"), "{stream}");
    // One byte is.
    bench.file("a.txt", "two");
    let (third, stream) = bench.good(text).await;
    assert_ne!(first, third);
    assert!(bench.runs() > runs);
    assert!(stream.contains("Running in"), "{stream}");
    // And so is a mode.
    fs::set_permissions(
        bench.context().join("a.txt"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("chmod");
    let (fourth, _) = bench.good(text).await;
    assert_ne!(third, fourth);
    // Asked to, everything is done again.
    let before = bench.runs();
    let request = BuildRequest {
        no_cache: true,
        ..bench.request(text)
    };
    let (result, stream) = bench.run(request).await;
    result.expect("builds");
    assert_eq!(bench.runs(), before + 2);
    assert!(!stream.contains("Using cache"), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_run_together_report_in_order_and_only_if_needed() {
    let bench = Bench::new();
    let (id, text) = bench
        .good(
            "FROM scratch AS a\nRUN meet a b; print from a; write /a a\nFROM scratch AS unused\nRUN fail 1\n\
             FROM scratch AS b\nRUN print from b; meet b a; write /b b\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=2 /b /\n",
        )
        .await;
    assert_eq!(bench.runs(), 2);
    let (a, b) = (
        text.find("\nfrom a\n").expect("a"),
        text.find("\nfrom b\n").expect("b"),
    );
    let (step_a, step_b) = (
        text.find("Step 2/7").expect("2"),
        text.find("Step 4/7").expect("4"),
    );
    assert!(step_a < a && a < step_b && step_b < b, "{text}");
    assert!(!text.contains("unused"), "{text}");
    bench
        .files(&id, |root| {
            assert!(root.join("a").exists() && root.join("b").exists())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_points_at_its_line_and_leaves_nothing() {
    let bench = Bench::new();
    let (result, text) = bench
        .build("FROM scratch\nRUN print before \\\n  ; fail 3\nRUN print never\n")
        .await;
    let error = result.expect_err("fails");
    assert_eq!(
        error.to_string(),
        "The command '/bin/sh -c print before   ; fail 3' returned a non-zero code: 3"
    );
    assert_eq!((error.kind(), error.exit_code()), (FailureKind::Step, Some(3)));
    let excerpt = error.excerpt().expect("excerpt");
    assert!(
        excerpt
            .contains("   2 | >>> RUN print before \\\n   3 | >>>   ; fail 3\n   4 |     RUN print never\n"),
        "{excerpt}"
    );
    assert!(text.contains("before"), "{text}");
    assert!(bench.store.snapshots().list().expect("list").is_empty());
    assert!(bench.store.meta().images().expect("images").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stops_the_stages_beside_it() {
    let bench = Bench::new();
    let (result, text) = bench
        .build("FROM scratch AS a\nRUN meet a b; hang\nFROM scratch AS b\nRUN meet b a; print last words; fail 7\nFROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n")
        .await;
    assert_eq!(result.expect_err("fails").exit_code(), Some(7));
    assert!(text.contains("last words"), "{text}");
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_kills_the_step() {
    let bench = Bench::new();
    let request = bench.request("FROM scratch\nRUN hang\n");
    let cancel = request.cancel.clone();
    let stop = async {
        while bench.runs() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let ((result, _), ()) = tokio::join!(bench.run(request), stop);
    assert_eq!(result.expect_err("cancelled").kind(), FailureKind::Cancelled);
    assert!(bench.store.snapshots().list().expect("list").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_build_kills_the_step() {
    let bench = Bench::new();
    let request = bench.request("FROM scratch\nRUN hang\n");
    tokio::select! {
        _ = bench.run(request) => panic!("ended"),
        () = async { while bench.runs() == 0 { tokio::time::sleep(std::time::Duration::from_millis(5)).await } } => {}
    }
    for _ in 0..400 {
        if bench.store.snapshots().list().expect("list").is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the step's snapshot is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn base_images_and_triggers() {
    let bench = Bench::new();
    bench.file("app.txt", "app");
    let base = "FROM scratch\nCMD from-base\nENV E=1\nONBUILD COPY app.txt /app\nONBUILD RUN write /run done\nHEALTHCHECK CMD x\n";
    let request = BuildRequest {
        tags: vec![Reference::parse("base").expect("reference")],
        ..bench.request(base)
    };
    let (result, text) = bench.run(request).await;
    assert!(text.ends_with("Successfully tagged base:latest\n"), "{text}");
    let base = result.expect("builds").id;
    assert_eq!(bench.config(&base).await.config.on_build.len(), 2);
    let (child, text) = bench.good("FROM base\nENTRYPOINT [\"e\"]\n").await;
    assert!(text.contains("# Executing 2 build triggers\n"), "{text}");
    let config = bench.config(&child).await;
    assert!(config.config.on_build.is_empty());
    assert_eq!(
        config.config.cmd, None,
        "an inherited command goes when the entrypoint changes"
    );
    assert_eq!(config.config.env, ["E=1"]);
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    bench
        .files(&child, |root| {
            assert!(root.join("app").exists() && root.join("run").exists())
        })
        .await;
    // Nothing but FROM is the base itself.
    let (same, _) = bench.good("FROM scratch\nCMD x\n").await;
    let tagged = BuildRequest {
        tags: vec![Reference::parse("again").expect("reference")],
        ..bench.request(&format!("FROM {}\n", same.hex()))
    };
    assert_eq!(bench.run(tagged).await.0.expect("builds").id, same);
    assert_eq!(bench.images.resolve("again").await.expect("tagged").id, same);
}

#[tokio::test(flavor = "multi_thread")]
async fn bases_that_differ_only_in_configuration_share_no_steps() {
    let bench = Bench::new();
    for (name, line) in [("one", "HEALTHCHECK CMD good"), ("two", "HEALTHCHECK CMD evil")] {
        let request = BuildRequest {
            tags: vec![Reference::parse(name).expect("reference")],
            ..bench.request(&format!("FROM scratch\nRUN write /x x\n{line}\n"))
        };
        bench.run(request).await.0.expect("builds");
    }
    let (_, first) = bench.good("FROM one\nRUN write /y y\n").await;
    let (id, second) = bench.good("FROM two\nRUN write /y y\n").await;
    assert!(
        first.contains("Running in") && second.contains("Running in"),
        "{second}"
    );
    assert_eq!(
        bench.config(&id).await.config.healthcheck.expect("check").test[1],
        "evil"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments() {
    let bench = Bench::new();
    let text = "ARG G=global\nFROM scratch\nARG A=default\nARG G\nARG B\nARG TARGETOS\nRUN env A /a; env G /g; env B /b; env TARGETOS /os; env HTTP_PROXY /proxy; env PATH /path\n";
    let mut request = bench.request(text);
    request.build_args = [("A", "given"), ("HTTP_PROXY", "http://p"), ("WRONG", "x")]
        .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
        .into();
    let (result, stream) = bench.run(request).await;
    assert!(
        stream.contains("[Warning] One or more build-args [WRONG] were not consumed\n"),
        "{stream}"
    );
    let id = result.expect("builds").id;
    bench
        .files(&id, |root| {
            let read = |name: &str| fs::read_to_string(root.join(name)).expect("read");
            assert_eq!(
                [read("a"), read("g"), read("b"), read("os"), read("proxy")],
                ["given", "global", "unset", "linux", "http://p"]
            );
            assert!(read("path").starts_with("/usr/local/sbin:"));
        })
        .await;
    let config = bench.config(&id).await;
    let last = &config.history.last().expect("history").created_by;
    assert!(
        last.starts_with("|3 A=given G=global TARGETOS=linux /bin/sh -c "),
        "{last}"
    );
    // A proxy is no reason to run again, another argument is.
    let mut request = bench.request(text);
    request.build_args = [("A".to_owned(), Some("given".to_owned()))].into();
    assert_eq!(bench.run(request).await.0.expect("builds").id, id);
    let (other, _) = bench.good(text).await;
    assert_ne!(other, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn heredocs() {
    let bench = Bench::new();
    let (id, _) = bench
        .good(
            "FROM scratch\nENV V=value\nRUN <<EOF\nwrite /a a\nwrite /b b\nEOF\nRUN <<EOF\n#!/some/interpreter\nwrite /c c\nEOF\n\
             COPY <<one <<-\"two\" /dir/\nx $V\none\n\ty $V\n\ttwo\nCOPY <<EOF /single\n\"q\"\nEOF\n",
        )
        .await;
    bench
        .files(&id, |root| {
            let read = |name: &str| fs::read_to_string(root.join(name)).expect("read");
            assert_eq!([read("a"), read("b"), read("c")], ["a", "b", "c"]);
            assert_eq!(
                [read("dir/one"), read("dir/two"), read("single")],
                ["x value\n", "y $V\n", "\"q\"\n"]
            );
            let names: Vec<_> = fs::read_dir(root)
                .expect("list")
                .map(|entry| entry.expect("entry").file_name())
                .collect();
            assert!(
                !names
                    .iter()
                    .any(|name| name.to_string_lossy().starts_with(".run")),
                "{names:?}"
            );
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_of_run() {
    let bench = Bench::new();
    bench.file("data/x", "x");
    bench.file("data/hidden", "h");
    bench.file(".dockerignore", "data/hidden\n");
    let text = "FROM scratch\nRUN --mount=target=/in,source=data --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t,size=1m --network=none print\n";
    let (id, _) = bench.good(text).await;
    let request = bench.words.runs.lock().expect("lock")[0].clone();
    assert_eq!(request.network, "none");
    assert_eq!(
        request
            .mounts
            .iter()
            .map(|mount| mount.target.as_str())
            .collect::<Vec<_>>(),
        ["/in", "/cache", "/t"]
    );
    assert!(request.mounts[0].read_only && !request.mounts[1].read_only);
    bench
        .files(&id, |root| {
            assert_eq!(
                fs::read_dir(root).expect("list").count(),
                0,
                "mount points are no content"
            )
        })
        .await;
    let (_, stream) = bench.good(text).await;
    assert!(stream.contains("Using cache"));
    bench.file("data/x", "y");
    let (_, stream) = bench.good(text).await;
    assert!(stream.contains("Running in"), "the content of a bind counts");
    let error = bench
        .bad("FROM scratch\nRUN --mount=type=secret,id=x true\n")
        .await;
    assert!(
        error
            .to_string()
            .contains("line 2: RUN --mount=type=secret is not supported"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dockerfile_outside_of_the_usual_place() {
    let bench = Bench::new();
    bench.file("a", "a");
    bench.file("b", "b");
    bench.file("sub/Other", "FROM scratch\nCOPY . /\n");
    bench.file("sub/Other.dockerignore", "sub\nb\n");
    bench.file(".dockerignore", "*\n");
    let context = || BuildRequest::new(Context::directory(&bench.context()).expect("context"));
    let request = BuildRequest {
        dockerfile: DockerfileSource::Path("sub/Other".to_owned()),
        ..context()
    };
    let id = bench.run(request).await.0.expect("builds").id;
    bench
        .files(&id, |root| {
            assert!(root.join("a").exists());
            assert!(!root.join("b").exists() && !root.join("sub").exists());
        })
        .await;
    let text = DockerfileSource::Text {
        name: "stdin".to_owned(),
        text: b"FROM scratch\nFRMO x\n".to_vec(),
    };
    let error = bench
        .run(BuildRequest {
            dockerfile: text,
            ..context()
        })
        .await
        .0
        .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "dockerfile parse error on line 2: unknown instruction: FRMO (did you mean FROM?)"
    );
    assert!(error.excerpt().expect("excerpt").starts_with("stdin:2\n"));
    let missing = BuildRequest {
        dockerfile: DockerfileSource::Path("none".to_owned()),
        ..context()
    };
    let error = bench.run(missing).await.0.expect_err("refused");
    assert_eq!(error.to_string(), "Cannot locate specified Dockerfile: none");
    symlink("/etc/passwd", bench.context().join("escape")).expect("link");
    let escape = BuildRequest {
        dockerfile: DockerfileSource::Path("escape".to_owned()),
        ..context()
    };
    assert_eq!(
        bench.run(escape).await.0.expect_err("refused").kind(),
        FailureKind::NotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    let bench = Bench::new();
    let (id, _) = bench.good("FROM scratch\nRUN write /x x\n").await;
    let layers = bench.config(&id).await.rootfs.diff_ids;
    // As a killed process leaves them: a step's snapshot, mounted; a stage mounted for reading; a container's.
    let snapshots = bench.store.snapshots();
    let step = snapshots.prepare("a-step", &layers).expect("prepared");
    fs::write(step.dir.join("build-step"), "").expect("marked");
    snapshots.mount(&step).expect("mounted");
    snapshots.prepare("a-container", &layers).expect("prepared");
    let left = bench.store.layout().root().join("build/tmp/build-old/view");
    fs::create_dir_all(&left).expect("created");
    std::mem::forget(snapshots.view(&layers, &left).expect("view"));
    let executor = std::sync::Arc::clone(&bench.words) as std::sync::Arc<dyn havre_build::Executor>;
    havre_build::Builder::new(bench.store.clone(), bench.images.clone(), executor);
    let ids: Vec<_> = snapshots
        .list()
        .expect("list")
        .into_iter()
        .map(|snapshot| snapshot.id)
        .collect();
    assert_eq!(ids, ["a-container"]);
    assert!(!left.parent().expect("parent").exists());
    bench
        .files(&id, |root| {
            assert!(root.join("x").exists(), "the layer behind the mount is whole")
        })
        .await;
}
