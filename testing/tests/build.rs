//! Builds end to end: instructions, contexts, cache, errors. Needs root.

use std::path::Path;

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Output, Registry, TestEngine, http};
use serde_json::json;

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Builds a context of these files as `test:latest`.
fn build(engine: &TestEngine, files: &[(&str, &str)], flags: &str) -> Output {
    let dir = engine.files(&format!("context-{}", files.len()), files);
    let mut words: Vec<String> = ["build", "-t", "test"].map(str::to_owned).to_vec();
    words.extend(flags.split_whitespace().map(str::to_owned));
    words.push(path(&dir));
    engine.run(words)
}

/// Builds one Dockerfile that must succeed.
fn built(engine: &TestEngine, dockerfile: &str) -> String {
    let output = build(engine, &[("Dockerfile", dockerfile)], "");
    assert_eq!(output.code, 0, "{output}");
    output.out() + &output.err()
}

fn refused(engine: &TestEngine, dockerfile: &str) -> String {
    let output = build(engine, &[("Dockerfile", dockerfile)], "");
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(engine.ok("images -q test"), "", "nothing half-built is listed");
    // dockerd's classic builder keeps the container of a step that failed.
    assert!(
        TestEngine::is_dockerd() || engine.ok("ps -aq").is_empty(),
        "no container is left"
    );
    output.out() + &output.err()
}

fn run(engine: &TestEngine, script: &str) -> String {
    engine.ok(["run", "--rm", "test", "sh", "-c", script])
}

// ---- instructions ------------------------------------------------------------------------------------------------

#[test]
fn the_configuration_is_what_the_file_says() {
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "FROM busybox\nENV A=1 B=\"two words\"\nENV C three words\nLABEL l=v \"with space\"=yes\nEXPOSE 80 53/udp\nVOLUME /v1 /v2\n\
         USER user:extra\nWORKDIR /work\nWORKDIR sub\nSTOPSIGNAL SIGUSR1\nENTRYPOINT [\"echo\"]\nCMD [\"a\", \"b\"]\n\
         HEALTHCHECK --interval=5s --retries=2 CMD true\nMAINTAINER somebody\n",
    );
    let config = engine.inspect("test")["Config"].clone();
    for (key, expected) in [
        ("Labels", json!({"l": "v", "with space": "yes"})),
        ("ExposedPorts", json!({"53/udp": {}, "80/tcp": {}})),
        ("Volumes", json!({"/v1": {}, "/v2": {}})),
        ("User", json!("user:extra")),
        ("WorkingDir", json!("/work/sub")),
        ("StopSignal", json!("SIGUSR1")),
        ("Entrypoint", json!(["echo"])),
        ("Cmd", json!(["a", "b"])),
    ] {
        assert_eq!(config[key], expected, "{key}");
    }
    let env: Vec<_> = config["Env"]
        .as_array()
        .expect("env")
        .iter()
        .skip(1)
        .cloned()
        .collect();
    assert_eq!(env, [json!("A=1"), json!("B=two words"), json!("C=three words")]);
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    assert_eq!(engine.inspect("test")["Author"], "somebody");
    assert_eq!(engine.ok("run --rm test"), "a b");
    let shell = "FROM busybox\nSHELL [\"/bin/sh\", \"-e\", \"-c\"]\nRUN echo $0 > /shell; false || true\nCMD cat /shell\n";
    built(&engine, shell);
    assert_eq!(
        engine.inspect("test")["Config"]["Cmd"],
        json!(["/bin/sh", "-e", "-c", "cat /shell"])
    );
}

#[test]
fn a_command_that_a_base_brought_goes_with_a_new_entrypoint() {
    let engine = TestEngine::with_busybox();
    built(&engine, "FROM busybox\nENTRYPOINT [\"echo\", \"alone\"]\n");
    assert_eq!(
        engine.ok("run --rm test"),
        "alone",
        "/bin/sh of the base is no argument"
    );
}

#[test]
fn run_in_every_form() {
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "FROM busybox\nARG NAME=arg\nENV E=env\nRUN echo \"$NAME $E\" > /shell && \\\n  # a comment inside\n  echo more >> /shell\nRUN [\"sh\", \"-c\", \"echo exec > /exec\"]\n\
         WORKDIR /w\nRUN pwd > /pwd\nUSER user\nRUN id -u > /tmp/id\n",
    );
    assert_eq!(
        run(&engine, "cat /shell /exec /pwd /tmp/id"),
        "arg env\nmore\nexec\n/w\n1000"
    );
    let id = engine.ok(["run", "--rm", "-u", "root", "test", "env"]);
    assert!(!id.contains("NAME=arg"), "an ARG is gone after the build: {id}");
}

#[test]
fn heredocs() {
    if TestEngine::is_dockerd() {
        return; // The classic builder of dockerd knows none.
    }
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "FROM busybox\nRUN <<EOF\necho one > /one\necho two > /two\nEOF\nRUN cat <<-TABS > /three\n\tthree\nTABS\nCOPY <<file <<\"other\" /dir/\nv=$HOME\nfile\nv=$HOME\nother\n",
    );
    assert_eq!(
        run(&engine, "cat /one /two /three; cat /dir/file /dir/other"),
        "one\ntwo\nthree\nv=\nv=$HOME"
    );
}

#[test]
fn copy_in_every_form() {
    let engine = TestEngine::with_busybox();
    let files = [
        (
            "Dockerfile",
            "FROM busybox\nCOPY a.txt /one\nCOPY a.txt b.txt /many/\nCOPY *.txt /glob/\nCOPY dir /dir\nCOPY --chown=user:extra dir/deep /owned/\nCOPY [\"with space\", \"/space/\"]\nWORKDIR /w\nCOPY a.txt .\nCOPY dir/d?ep/[f]ile /pattern\n",
        ),
        ("a.txt", "A"),
        ("b.txt", "B"),
        ("dir/deep/file", "deep"),
        ("with space", "S"),
    ];
    let output = build(&engine, &files, "");
    assert_eq!(output.code, 0, "{output}");
    let script = "cat /one /many/a.txt /many/b.txt /glob/a.txt /dir/deep/file '/space/with space' /w/a.txt /pattern; stat -c ' %U:%G' /owned/file; stat -c %u:%g /one";
    assert_eq!(run(&engine, script), "AABAdeepSAdeep user:extra\n0:0");
}

#[test]
fn copy_with_modes_and_links() {
    if TestEngine::is_dockerd() {
        return; // --chmod and --link ask for BuildKit there.
    }
    let engine = TestEngine::with_busybox();
    let files = [
        (
            "Dockerfile",
            "FROM busybox\nCOPY --chmod=751 f /f\nCOPY --link --chown=1000 f /linked/f\n",
        ),
        ("f", "x"),
    ];
    let output = build(&engine, &files, "");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(run(&engine, "stat -c '%a %u' /f /linked/f"), "751 0\n644 1000");
}

#[test]
fn add_unpacks_and_fetches() {
    let engine = TestEngine::with_busybox();
    let registry = Registry::start();
    registry.put_manifest("x", "y", "text/plain", b"fetched".to_vec());
    let url = format!("http://{}/v2/x/manifests/y", registry.host());
    let dir = engine.files("add", &[("Dockerfile", &format!("FROM busybox\nADD archive.tar.gz /unpacked/\nADD {url} /fetched\nADD {url} /dir/\nCOPY archive.tar.gz /plain\n"))]);
    fs::write(
        dir.join("archive.tar.gz"),
        Compression::Gzip.compress(&Layer::new().file("in/side", "packed").tar()),
    )
    .expect("archive");
    engine.ok(["build", "-t", "test", &path(&dir)]);
    assert_eq!(
        run(
            &engine,
            "cat /unpacked/in/side /fetched /dir/y; stat -c ' %a' /fetched; head -c 2 /plain | od -x | head -1 >/dev/null; test -s /plain && echo plain"
        ),
        "packedfetchedfetched 600\nplain"
    );
}

#[test]
fn onbuild_waits_for_the_next() {
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "FROM busybox\nONBUILD RUN echo triggered > /file\nONBUILD ENV T=1\n",
    );
    engine.ok("tag test base");
    assert_eq!(engine.run("run --rm base cat /file").code, 1);
    built(&engine, "FROM base\n");
    assert_eq!(run(&engine, "cat /file; echo $T"), "triggered\n1");
    assert_eq!(engine.inspect("test")["Config"]["OnBuild"], json!(null));
}

#[test]
fn variables_are_expanded_as_docker_does() {
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "ARG TAG=latest\nFROM busybox:${TAG}\nARG A=one\nARG B\nENV V=${A}-${B:-unset}-${A:+set}-\\$A-'$A'\nENV ABC=hello\nENV ABC=bye DEF=$ABC\nLABEL l=$V\nWORKDIR /$A\n",
    );
    assert_eq!(
        run(&engine, "echo \"$V $DEF\"; pwd"),
        "one-unset-set-$A-$A hello\n/one"
    );
    let output = build(
        &engine,
        &[(
            "Dockerfile",
            "FROM busybox\nARG A\nARG B=default\nRUN echo \"$A $B\" > /f\n",
        )],
        "--build-arg A=given --build-arg B",
    );
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(run(&engine, "cat /f"), "given default");
    let unused = build(
        &engine,
        &[("Dockerfile", "FROM busybox\n")],
        "--build-arg NOSUCH=1",
    );
    assert!(
        format!("{unused}").contains("build-args [NOSUCH] were not consumed"),
        "{unused}"
    );
}

#[test]
fn stages() {
    let engine = TestEngine::with_busybox();
    let dockerfile = "FROM busybox AS builder\nRUN mkdir /out && echo made > /out/file\nFROM builder AS tester\nRUN exit 1\nFROM busybox AS unneeded\nRUN exit 2\n\
        FROM scratch AS export\nCOPY --from=builder /out /\nFROM busybox AS last\nCOPY --from=builder /out/file /from-builder\nCOPY --from=0 /out/file /from-number\nCOPY --from=busybox /etc/passwd /from-image\n";
    // dockerd's classic builder builds every stage up to the target.
    let dockerfile = if TestEngine::is_dockerd() {
        dockerfile.replace("exit", "true")
    } else {
        dockerfile.to_owned()
    };
    built(&engine, &dockerfile);
    assert_eq!(
        run(
            &engine,
            "cat /from-builder /from-number; grep -c root /from-image"
        ),
        "made\nmade\n1"
    );
    let output = build(&engine, &[("Dockerfile", &dockerfile)], "--target export");
    assert_eq!(output.code, 0, "{output}");
    engine.ok("create --name box test x");
    let listing = engine.cmd("export box").run().stdout;
    let mut archive = tar::Archive::new(&listing[..]);
    let found = archive
        .entries()
        .expect("tar")
        .any(|entry| entry.expect("entry").path().expect("path").ends_with("file"));
    assert!(found, "scratch with one file");
    engine.ok("rm box");
    engine.ok("rmi test");
    let unknown = build(&engine, &[("Dockerfile", &dockerfile)], "--target nosuch");
    assert_eq!(unknown.code, 1);
    assert!(format!("{unknown}").contains("nosuch"), "{unknown}");
}

#[test]
fn an_image_from_nothing() {
    let engine = TestEngine::start();
    let dir = engine.files("scratch", &[("Dockerfile", "FROM scratch\nCOPY busybox /bin/sh\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo from nothing\"]\n")]);
    fs::copy("/bin/busybox", dir.join("busybox")).expect("busybox");
    engine.ok(["build", "-t", "test", &path(&dir)]);
    assert_eq!(engine.ok("run --rm test"), "from nothing");
    assert_eq!(
        engine.inspect("test")["RootFS"]["Layers"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[test]
fn the_escape_directive() {
    let engine = TestEngine::with_busybox();
    built(
        &engine,
        "# escape=`\nFROM busybox\nRUN echo one `\n  two > /file\nENV V=C:\\dir\n",
    );
    assert_eq!(
        run(&engine, "cat /file; printenv V 2>/dev/null || env | grep '^V='"),
        "one two\nV=C:\\dir"
    );
}

// ---- contexts ----------------------------------------------------------------------------------------------------

#[test]
fn ignored_files_do_not_count() {
    let engine = TestEngine::with_busybox();
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /ctx/\n"),
        (
            ".dockerignore",
            "# comment\n*.log\n!keep.log\n**/cache\ndir/*\n!dir/kept\n/top\nDockerfile\n.dockerignore\n",
        ),
        ("a.log", ""),
        ("keep.log", ""),
        ("sub/a.log", ""),
        ("sub/cache/x", ""),
        ("dir/lost", ""),
        ("dir/kept", ""),
        ("top", ""),
        ("sub/top", ""),
    ];
    let output = build(&engine, &files, "");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(
        run(&engine, "cd /ctx; find . -type f | sort"),
        "./dir/kept\n./keep.log\n./sub/a.log\n./sub/top"
    );
}

#[test]
fn contexts_and_files_from_elsewhere() {
    let engine = TestEngine::with_busybox();
    let tar = Layer::new()
        .file("Dockerfile", "FROM busybox\nCOPY f /f\n")
        .file("f", "streamed")
        .tar();
    engine.cmd("build -t test -").stdin(tar.clone()).ok();
    assert_eq!(run(&engine, "cat /f"), "streamed");
    engine
        .cmd("build -t test -")
        .stdin(Compression::Gzip.compress(&tar))
        .ok();
    engine
        .cmd("build -t test -")
        .stdin("FROM busybox\nRUN echo alone > /f\n")
        .ok();
    assert_eq!(run(&engine, "cat /f"), "alone");
    let dir = engine.files(
        "other",
        &[
            ("f", "local"),
            ("sub/Other.Dockerfile", "FROM busybox\nCOPY f /f\n"),
        ],
    );
    engine.ok([
        "build",
        "-t",
        "test",
        "-f",
        &path(&dir.join("sub/Other.Dockerfile")),
        &path(&dir),
    ]);
    assert_eq!(run(&engine, "cat /f"), "local");
    engine
        .cmd(["build", "-t", "test", "-f", "-", &path(&dir)])
        .stdin("FROM busybox\nCOPY sub /sub\n")
        .ok();
    assert_eq!(run(&engine, "ls /sub"), "Other.Dockerfile");
    engine
        .cmd(["build", "-t", "test", "-f", "sub/Other.Dockerfile", "."])
        .dir(&dir)
        .ok();
}

#[test]
fn names_labels_and_ids() {
    let engine = TestEngine::with_busybox();
    let dir = engine.files("names", &[("Dockerfile", "FROM busybox\nLABEL a=file\n")]);
    let iid = engine.dir().join("iid");
    engine.ok([
        "build",
        "-t",
        "one:v1",
        "-t",
        "two",
        "--label",
        "a=flag",
        "--label",
        "b=2",
        "--iidfile",
        &path(&iid),
        &path(&dir),
    ]);
    let id = engine.inspect("one:v1")["Id"].as_str().expect("id").to_owned();
    assert_eq!(engine.inspect("two")["Id"], id);
    assert_eq!(fs::read_to_string(&iid).expect("iidfile"), id);
    assert_eq!(
        engine.inspect("two")["Config"]["Labels"],
        json!({"a": "flag", "b": "2"})
    );
    assert_eq!(
        engine.ok(["build", "-q", &path(&dir)]).len(),
        "sha256:".len() + 64
    );
    let bad = engine.run(["build", "-t", "Not:Lower", &path(&dir)]);
    assert_ne!(bad.code, 0);
    assert!(
        bad.err().contains("repository name") && bad.err().contains("lowercase"),
        "{bad}"
    );
}

#[test]
fn a_base_is_pulled_when_missing_and_when_told() {
    let (engine, registry) = (TestEngine::start(), Registry::start());
    let name = registry.busybox();
    let dockerfile = format!("FROM {name}\nRUN true\n");
    built(&engine, &dockerfile);
    let asked = || registry.seen("GET", "/manifests/").len() + registry.seen("HEAD", "/manifests/").len();
    let before = asked();
    built(&engine, &dockerfile);
    assert_eq!(asked(), before, "what is here is not asked for");
    let newer = Image::busybox().with_layer(&Layer::new().file("newer", "yes"));
    registry.publish("busybox", "latest", &newer, Compression::Gzip);
    let output = build(&engine, &[("Dockerfile", &dockerfile)], "--pull");
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(run(&engine, "cat /newer"), "yes");
}

// ---- cache -------------------------------------------------------------------------------------------------------

#[test]
fn a_second_build_is_cached() {
    let engine = TestEngine::with_busybox();
    let files = [
        (
            "Dockerfile",
            "FROM busybox\nRUN head -c 8 /dev/urandom | md5sum > /random\nCOPY f /f\nRUN head -c 8 /dev/urandom | md5sum > /second\n",
        ),
        ("f", "1"),
    ];
    let id = |engine: &TestEngine| engine.inspect("test")["Id"].clone();
    assert_eq!(build(&engine, &files, "").code, 0);
    let first = id(&engine);
    let second = build(&engine, &files, "");
    assert_eq!(id(&engine), first, "{second}");
    assert!(format!("{second}").to_lowercase().contains("cache"), "{second}");
    // The same content at another time is the same.
    let dir = engine.files("context-2", &[]);
    let again = std::process::Command::new("touch")
        .arg(dir.join("f"))
        .status()
        .expect("touch");
    assert!(again.success());
    assert_eq!(build(&engine, &files, "").code, 0);
    assert_eq!(id(&engine), first, "time is not content");

    let random = run(&engine, "cat /random");
    assert_eq!(build(&engine, &[files[0], ("f", "2")], "").code, 0);
    assert_ne!(id(&engine), first);
    assert_eq!(
        run(&engine, "cat /random"),
        random,
        "what comes before the change is kept"
    );
    assert_eq!(run(&engine, "cat /f"), "2");
    assert_eq!(build(&engine, &files, "--no-cache").code, 0);
    assert_ne!(run(&engine, "cat /random"), random);
}

#[test]
fn arguments_and_modes_are_part_of_the_key() {
    let engine = TestEngine::with_busybox();
    let files = [
        (
            "Dockerfile",
            "FROM busybox\nARG A\nRUN head -c 8 /dev/urandom | md5sum > /random\nCOPY f /f\n",
        ),
        ("f", "1"),
    ];
    let random = |flags: &str| {
        let output = build(&engine, &files, flags);
        assert_eq!(output.code, 0, "{output}");
        run(&engine, "cat /random")
    };
    let one = random("--build-arg A=1");
    assert_eq!(random("--build-arg A=1"), one);
    assert_ne!(random("--build-arg A=2"), one);
    let mode = |bits: &str| {
        let dir = engine.files("context-2", &[]);
        assert!(
            std::process::Command::new("chmod")
                .arg(bits)
                .arg(dir.join("f"))
                .status()
                .expect("chmod")
                .success()
        );
        let output = engine.run(["build", "-t", "test", &path(&dir)]);
        assert_eq!(output.code, 0, "{output}");
        run(&engine, "stat -c %a /f")
    };
    assert_eq!(
        (mode("600").as_str(), mode("755").as_str()),
        ("600", "755"),
        "a mode is content"
    );
}

// ---- errors ------------------------------------------------------------------------------------------------------

#[test]
fn a_failing_command_shows_its_output_and_code() {
    let engine = TestEngine::with_busybox();
    let text = refused(
        &engine,
        "FROM busybox\nRUN echo before-it-fails; exit 42\nRUN echo never\n",
    );
    assert!(
        text.contains("before-it-fails") && text.contains("42") && !text.contains("Step 3"),
        "{text}"
    );
    assert!(text.contains("returned a non-zero code: 42"), "{text}");
    let text = refused(&engine, "FROM busybox\nRUN no-such-program\n");
    assert!(text.contains("not found") && text.contains("127"), "{text}");
}

#[test]
fn an_invalid_file_is_refused_with_its_line() {
    let engine = TestEngine::with_busybox();
    for (dockerfile, expected) in [
        ("FROM busybox\nNOSUCH thing\n", "unknown instruction: NOSUCH"),
        ("RUN true\n", "no build stage in current context"),
        (
            "",
            if TestEngine::is_dockerd() {
                "cannot be empty"
            } else {
                "no instructions"
            },
        ),
        ("FROM busybox\nCOPY one\n", "COPY requires at least two arguments"),
        ("FROM busybox\nEXPOSE notaport\n", "notaport"),
        ("FROM busybox\nENV novalue\n", "ENV must have two arguments"),
        ("FROM busybox\nCOPY --nosuch=1 a b\n", "nosuch"),
        ("FROM busybox\nHEALTHCHECK nosuch\n", "nosuch"),
        (
            "FROM busybox\nONBUILD FROM busybox\n",
            "FROM isn't allowed as an ONBUILD trigger",
        ),
        ("FROM busybox\nSTOPSIGNAL nosuch\n", "nosuch"),
        ("FROM Not/Lower\n", "must be lowercase"),
        ("FROM busybox AS 1st\n", "invalid name for build stage"),
    ] {
        let text = refused(&engine, dockerfile);
        assert!(
            text.to_lowercase().contains(&expected.to_lowercase()),
            "{dockerfile:?} → {text}"
        );
    }
    if !TestEngine::is_dockerd() {
        let text = refused(&engine, "FROM busybox\nENV A=1\nNOSUCH thing\n");
        assert!(
            text.contains("Dockerfile:3") && text.contains("NOSUCH thing"),
            "the line and an excerpt: {text}"
        );
    }
}

#[test]
fn a_missing_source_is_named() {
    let engine = TestEngine::with_busybox();
    let text = refused(&engine, "FROM busybox\nCOPY nosuch /\n");
    assert!(
        text.contains("nosuch") && (text.contains("not found") || text.contains("no such file or directory")),
        "{text}"
    );
    let text = refused(&engine, "FROM busybox\nCOPY *.nosuch /\n");
    assert!(
        text.contains("no source files were specified") || text.contains("*.nosuch"),
        "{text}"
    );
    let text = refused(&engine, "FROM busybox\nCOPY --from=busybox /nosuch /\n");
    assert!(text.contains("nosuch"), "{text}");
    refused(&engine, "FROM busybox\nCOPY ../../../../etc/shadow /\n");
}

#[test]
fn a_context_does_not_lead_out() {
    let engine = TestEngine::with_busybox();
    let secret = engine.files("secret", &[("file", "secret")]);
    let dir = engine.files(
        "leads-out",
        &[("Dockerfile", "FROM busybox\nCOPY link/file /stolen\n")],
    );
    std::os::unix::fs::symlink(&secret, dir.join("link")).expect("link");
    let output = engine.run(["build", "-t", "test", &path(&dir)]);
    assert_ne!(output.code, 0, "{output}");
    let tar = Layer::new()
        .file("Dockerfile", "FROM busybox\nCOPY . /ctx/\n")
        .file("../../escaped", "x")
        .file("ok", "")
        .tar();
    engine.cmd("build -t test -").stdin(tar).run();
    assert!(!engine.dir().join("escaped").exists());
    let link = Layer::new()
        .file("Dockerfile", "FROM busybox\nCOPY d/file /stolen\n")
        .symlink("d", &path(&secret))
        .tar();
    let output = engine.cmd("build -t test -").stdin(link).run();
    assert_ne!(output.code, 0, "{output}");
}

#[test]
fn missing_files_and_contexts() {
    let engine = TestEngine::with_busybox();
    let dir = engine.files("empty", &[("x", "")]);
    let output = engine.run(["build", "-t", "test", &path(&dir)]);
    assert_ne!(output.code, 0);
    assert!(
        output.err().contains("Dockerfile") && output.err().contains("no such file or directory"),
        "{output}"
    );
    let output = engine.run("build -t test /nosuch/context");
    assert_ne!(output.code, 0);
    assert!(output.err().contains("/nosuch/context"), "{output}");
    let answer = http::over_unix(
        engine.socket(),
        "POST",
        "/build?t=test",
        "application/x-tar",
        b"this is no tar",
    )
    .expect("answer");
    assert!(
        answer.status >= 400 || answer.text().contains("error"),
        "{} {}",
        answer.status,
        answer.text()
    );
}

#[test]
fn builds_at_the_same_time() {
    let engine = TestEngine::with_busybox();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let dockerfile = format!("FROM busybox\nRUN echo shared > /shared\nRUN echo {at} > /own\n");
                engine.cmd(format!("build -t at{at} -")).stdin(dockerfile).ok();
            });
        }
    });
    for at in 0..4 {
        assert_eq!(
            engine.ok(format!("run --rm at{at} cat /shared /own")),
            format!("shared\n{at}")
        );
    }
}

// ---- export ------------------------------------------------------------------------------------------------------

/// How the layers of an image lie on the disk, from the bottom: whether each is one file.
fn files(engine: &TestEngine, image: &str) -> Vec<bool> {
    let layers = engine.inspect(image)["RootFS"]["Layers"].clone();
    let layers = layers.as_array().expect("layers").iter();
    let is_file = |diff_id: &serde_json::Value| {
        let hex = diff_id
            .as_str()
            .and_then(|id| id.strip_prefix("sha256:"))
            .expect("a digest");
        engine
            .root()
            .join("layers")
            .join(hex)
            .join("layer.erofs")
            .exists()
    };
    layers.map(is_file).collect()
}

/// A step's layer is a directory, in which nothing is copied; what is exported is a file with its archive, to the byte the
/// same. Whoever runs on it, or builds on it, notices nothing.
#[test]
fn layers_become_files_when_they_are_exported() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    if !files(&engine, "busybox")[0] {
        // Here all layers are directories.
        return;
    }
    let dockerfile = "FROM busybox\nRUN mkdir /d && for i in 1 2 3 4 5; do echo file $i > /d/$i; done && ln /d/1 /d/6 && rm /bin/wget\nRUN echo more > /d/7\nCMD cat /d/3\n";
    built(&engine, dockerfile);
    assert_eq!(files(&engine, "test"), [true, false, false]);
    let save = |name: &str| {
        let path = engine.dir().join(name);
        engine.ok(["save", "-o", &path.to_string_lossy(), "test"]);
        fs::read(path).expect("archive")
    };
    let image = engine.inspect("test")["Id"].clone();

    // While something stands on the directories they stay, and give the same archive.
    engine.ok("run -d --name box test sleep 1000");
    let before = save("before.tar");
    assert_eq!(files(&engine, "test"), [true, false, false]);
    assert_eq!(engine.ok("exec box cat /d/7 /d/6"), "more\nfile 1");
    engine.ok("rm -f box");
    let after = save("after.tar");
    assert_eq!(files(&engine, "test"), [true, true, true]);
    assert!(before == after, "the archive is another");

    assert_eq!(engine.inspect("test")["Id"], image);
    assert_eq!(engine.ok("run --rm test"), "file 3");
    let again = built(&engine, dockerfile);
    assert_eq!(again.matches("Using cache").count(), 3, "{again}");
    engine.ok("run -d --name box test sleep 1000");

    // Pushed from the files, under a running container, and pulled back.
    let registry = Registry::start();
    let name = registry.name("test:v1");
    engine.ok(["tag", "test", &name]);
    engine.ok(["push", &name]);
    assert_eq!(engine.ok("exec box cat /d/7 /d/6"), "more\nfile 1");
    engine.ok("rm -f box");
    engine.ok(["rmi", "-f", &name, "test"]);
    engine.ok("builder prune -af");
    engine.ok(["pull", &name]);
    assert_eq!(engine.inspect(&name)["Id"], image);
    assert_eq!(engine.ok(["run", "--rm", &name]), "file 3");
}

/// The first push of a build converts too, and what comes of it is what a push of the directories gave.
#[test]
fn a_push_of_directories_and_of_files_has_the_same_digests() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::with_busybox();
    let registry = Registry::start();
    let dockerfile = "FROM busybox\nRUN echo one > /one; mkdir /e; touch /e/f\n";
    let manifest = |tag: &str| {
        let name = registry.name(tag);
        engine.ok(["tag", "test", &name]);
        engine.ok(["push", &name]);
        registry
            .manifest(tag.split(':').next().unwrap_or_default(), "v1")
            .expect("manifest")
    };
    built(&engine, dockerfile);
    let kept = engine.inspect("test")["RootFS"]["Layers"].clone();
    engine.ok("run -d --name box test sleep 1000");
    let of_directories = manifest("one:v1");
    engine.ok("rm -f box");
    // Forgotten and loaded again: nothing is known of how it was compressed.
    let saved = engine.dir().join("saved.tar");
    let saved = saved.to_string_lossy();
    engine.ok(["save", "-o", &saved, "test"]);
    engine.ok(["rmi", "-f", &registry.name("one:v1"), "test"]);
    engine.ok("builder prune -af");
    engine.ok(["load", "-i", &saved]);
    assert_eq!(engine.inspect("test")["RootFS"]["Layers"], kept);
    let of_files = manifest("two:v1");
    assert_eq!(
        String::from_utf8_lossy(&of_directories),
        String::from_utf8_lossy(&of_files)
    );
}
