//! The official `docker` command against this engine, and both clients side by side: what one prints, the other prints.
//! Needs root and `docker` on the PATH.

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, Program, Registry, TestEngine};

/// Runs lines with both clients and compares what they say and how they end.
fn same(engine: &TestEngine, lines: &[&str]) {
    let mut differences = Vec::new();
    for line in lines {
        // A second may pass between the two: what differs is asked again.
        let tries: Vec<_> = (0..3).map_while(|_| difference(engine, line)).collect();
        if tries.len() == 3 {
            differences.extend(tries.into_iter().last());
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        lines.len(),
        differences.join("\n")
    );
}

fn difference(engine: &TestEngine, line: &str) -> Option<String> {
    let [official, own] = [Program::Docker, Program::Havre].map(|program| engine.cmd_of(program, line).run());
    // The client's name in usage and error lines is the program's.
    let program = own.program();
    let neutral = |text: String| {
        text.replace(&program, "docker")
            .replace("havre", "docker")
            .replace("Havre", "docker")
    };
    let theirs = (neutral(official.out()), neutral(official.err()), official.code);
    let ours = (neutral(own.out()), neutral(own.err()), own.code);
    (theirs != ours).then(|| format!("{own}\n{official}\n"))
}

#[test]
fn the_main_job_with_the_official_client() {
    let (engine, registry) = (TestEngine::with_busybox(), Registry::start());
    let docker = |line: &str| engine.cmd_of(Program::Docker, line).ok();
    let dir = engine.files(
        "app",
        &[
            (
                "Dockerfile",
                "FROM busybox\nCOPY app.sh /app.sh\nRUN chmod +x /app.sh\nENTRYPOINT [\"/app.sh\"]\n",
            ),
            ("app.sh", "#!/bin/sh\necho \"application says $1\"\n"),
        ],
    );
    docker(&format!("build -t app:v1 {}", dir.display()));
    assert_eq!(docker("run --rm app:v1 hello"), "application says hello");
    let name = registry.name("team/app:v1");
    docker(&format!("tag app:v1 {name}"));
    let pushed = docker(&format!("push {name}"));
    assert!(pushed.contains("v1: digest: sha256:"), "{pushed}");
    docker(&format!("rmi app:v1 {name}"));
    let pulled = docker(&format!("pull {name}"));
    assert!(pulled.contains("Status: Downloaded newer image for"), "{pulled}");
    assert_eq!(
        docker(&format!("run --rm {name} again")),
        "application says again"
    );
}

#[test]
fn a_life_with_the_official_client() {
    let engine = TestEngine::with_busybox();
    let docker = |line: &str| engine.cmd_of(Program::Docker, line).ok();
    let id = docker("run -d --name box -p 127.0.0.1::80 -v data:/data -e A=1 busybox sleep 100");
    assert_eq!(docker("ps -q --no-trunc"), id);
    assert_eq!(
        engine
            .cmd_of(Program::Docker, "exec -i box cat")
            .stdin("piped")
            .ok(),
        "piped"
    );
    let failed = engine
        .cmd_of(Program::Docker, ["exec", "box", "sh", "-c", "exit 7"])
        .run();
    assert_eq!(failed.code, 7);
    let file = engine.files("cp", &[("file", "content")]).join("file");
    docker(&format!("cp {} box:/data/file", file.display()));
    docker(&format!(
        "cp box:/data/file {}",
        engine.dir().join("back").display()
    ));
    assert_eq!(
        fs::read_to_string(engine.dir().join("back")).expect("file"),
        "content"
    );
    docker("stop -t 0 box");
    docker("start box");
    docker("rename box other");
    docker("kill other");
    assert_eq!(docker("wait other"), "137");
    docker("commit other made");
    docker("rm other");
    docker("volume rm data");
    let saved = engine.cmd_of(Program::Docker, "save made").run().stdout;
    docker("rmi made");
    let loaded = engine.cmd_of(Program::Docker, "load").stdin(saved).ok();
    assert_eq!(loaded, "Loaded image: made:latest");
    let output = engine
        .cmd_of(
            Program::Docker,
            [
                "run",
                "--rm",
                "-i",
                "made",
                "sh",
                "-c",
                "cat; echo err >&2; exit 3",
            ],
        )
        .stdin("in")
        .run();
    assert_eq!(
        (output.code, output.out().as_str(), output.err().as_str()),
        (3, "in", "err")
    );
    let missing = engine.cmd_of(Program::Docker, "run --rm busybox nosuch").run();
    assert_eq!(missing.code, 127, "{missing}");
}

#[test]
fn both_clients_say_the_same_of_containers() {
    let engine = TestEngine::with_busybox();
    engine.ok("run -d --name up -l a=b -p 127.0.0.1::80 busybox sleep 1000");
    engine.run([
        "run",
        "--name",
        "down",
        "busybox",
        "sh",
        "-c",
        "echo one; echo two; exit 3",
    ]);
    let lines = [
        "ps",
        "ps -a",
        "ps -aq",
        "ps -a --no-trunc",
        "ps -a -s",
        "ps -a --format {{.Names}}:{{.Labels}}:{{.Ports}}:{{.Mounts}}:{{.Networks}}",
        "ps -a --format json",
        "ps --filter status=exited",
        "ps --filter nosuch=1",
        "inspect up",
        "inspect --type container down",
        "inspect nosuch",
        "inspect -f {{.State.Status}} up down",
        "container inspect nosuch",
        "logs down",
        "logs --tail 1 down",
        "logs nosuch",
        "port up",
        "port up 80/tcp",
        "port up 81",
        "diff down",
        "top up",
        "exec up echo hello",
        "exec up nosuch",
        "exec down true",
        "exec nosuch true",
        "exec",
        "start nosuch",
        "stop nosuch",
        "kill down",
        "rm up",
        "rm nosuch",
        "wait down",
        "rename up down",
        "run nosuch-image-here:tag",
        "run --nosuch busybox",
        "run",
        "run --rm busybox nosuch",
        "run --rm busybox /etc",
        "run --rm busybox echo hello",
        "run --rm --name up busybox true",
        "run --rm -m 1m busybox true",
        "run --rm -v relative busybox true",
        "run --rm -p x:y busybox true",
        "run --rm -e =x busybox true",
        "run --rm --network nosuch busybox true",
        "create --name a/b busybox",
        "attach down",
        "cp up:/nosuch /tmp/x",
        "cp up:/etc",
        "network ls",
        "network inspect nosuch",
        "volume ls",
        "volume inspect nosuch",
        "volume rm nosuch",
    ];
    same(&engine, &lines);
}

#[test]
fn both_clients_say_the_same_of_images() {
    let (engine, registry) = (TestEngine::with_busybox(), Registry::start());
    engine.load(
        &Image::busybox().with_layer(&Layer::new().file("x", "y")),
        "other:v1",
    );
    registry.publish("app", "v1", &Image::busybox(), Compression::Gzip);
    engine.ok(["pull", "-q", &registry.name("app:v1")]);
    let (app, missing) = (registry.name("app:v1"), registry.name("missing"));
    let lines = [
        "images",
        "images -a",
        "images -q",
        "images --digests",
        "images --no-trunc",
        "images other",
        "images --format {{.Repository}}|{{.Tag}}|{{.ID}}|{{.Size}}",
        "images --format json",
        "images --filter nosuch=1",
        "inspect other:v1",
        "image inspect nosuch",
        "history other:v1",
        "history --no-trunc other:v1",
        "history -q other:v1",
        "history nosuch",
        "tag nosuch x",
        "tag busybox Upper",
        "rmi nosuch",
        "pull Upper",
        "pull a:b:c",
        &format!("pull {app}"),
        &format!("pull -q {app}"),
        &format!("pull {missing}"),
        &format!("push {missing}"),
        "save nosuch",
        "load -i /nosuch",
        "import /nosuch x",
        "search",
        "version --format {{.Server.Os}}",
        "nosuch",
    ];
    same(&engine, &lines);
}

/// The official client puts a Dockerfile from elsewhere into the context's archive, which then ends with its last byte.
#[test]
fn a_dockerfile_from_outside_of_the_context() {
    let engine = TestEngine::with_busybox();
    let context = engine.files("context", &[("file", "from the context")]);
    let outside = engine.files(
        "outside",
        &[("Dockerfile", "FROM busybox\nCOPY . /app/\nRUN ls /app > /list\n")],
    );
    let dockerfile = outside.join("Dockerfile");
    let words = [
        "build",
        "-t",
        "app",
        "-f",
        &dockerfile.to_string_lossy(),
        &context.to_string_lossy(),
    ];
    let output = engine
        .cmd_of(Program::Docker, words)
        .env("DOCKER_BUILDKIT", "0")
        .run();
    assert_eq!(output.code, 0, "{output}");
    assert_eq!(
        engine.ok("run --rm app cat /app/file /list"),
        "from the contextfile"
    );
}
