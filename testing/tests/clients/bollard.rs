//! bollard: its own requests and models, over the socket.

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, ExecConfig, HealthConfig, HealthStatusEnum, HostConfig,
    NetworkConnectRequest, NetworkCreateRequest, PortBinding, VolumeCreateRequest,
};
use bollard::query_parameters as query;
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use futures_util::{Stream, StreamExt, TryStreamExt};
use havre_testing::{DockerRegistry, Image, Layer, TestEngine};
use tokio::io::AsyncWriteExt;

fn connect(engine: &TestEngine) -> Docker {
    let socket = engine.socket().to_string_lossy();
    Docker::connect_with_unix(&socket, 30, API_DEFAULT_VERSION).expect("a connection")
}

fn words(words: &[&str]) -> Option<Vec<String>> {
    Some(words.iter().map(|word| (*word).to_owned()).collect())
}

fn shell(script: &str) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: words(&["sh", "-c", script]),
        ..Default::default()
    }
}

fn named(name: &str) -> Option<query::CreateContainerOptions> {
    Some(query::CreateContainerOptionsBuilder::new().name(name).build())
}

/// Standard output and standard error of a stream that ends.
async fn apart(stream: impl Stream<Item = Result<LogOutput, Error>>) -> (String, String) {
    let all: Vec<LogOutput> = stream.try_collect().await.expect("output");
    let (mut out, mut err) = (String::new(), String::new());
    for piece in all {
        match &piece {
            LogOutput::StdErr { .. } => err.push_str(&piece.to_string()),
            _ => out.push_str(&piece.to_string()),
        }
    }
    (out, err)
}

fn status(error: Error) -> u16 {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            assert_ne!(message, "");
            status_code
        }
        other => panic!("no answer of the engine: {other}"),
    }
}

#[tokio::test]
async fn a_container_lives() {
    let engine = TestEngine::with_busybox();
    let docker = connect(&engine).negotiate_version().await.expect("a version");
    let body = ContainerCreateBody {
        healthcheck: Some(HealthConfig {
            test: words(&["CMD", "true"]),
            interval: Some(100_000_000),
            ..Default::default()
        }),
        exposed_ports: words(&["80/tcp"]),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            port_bindings: Some(HashMap::from([(
                "80/tcp".to_owned(),
                Some(vec![PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: None,
                }]),
            )])),
            ..Default::default()
        }),
        ..shell("echo out; echo err >&2; trap 'exit 9' TERM; while true; do sleep 0.05; done")
    };
    let id = docker
        .create_container(named("box"), body)
        .await
        .expect("created")
        .id;
    // Its streams ask when they are read.
    let waiting = tokio::spawn({
        let docker = docker.clone();
        async move {
            let condition = query::WaitContainerOptionsBuilder::new().condition("next-exit");
            docker.wait_container("box", Some(condition.build())).next().await
        }
    });
    docker.start_container("box", None).await.expect("started");
    let state = loop {
        let inspected = docker.inspect_container("box", None).await.expect("inspected");
        let state = inspected.state.expect("a state");
        if state.health.as_ref().and_then(|health| health.status) == Some(HealthStatusEnum::HEALTHY) {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(state.status, Some(ContainerStateStatusEnum::RUNNING));
    let logs = query::LogsOptionsBuilder::new().stdout(true).stderr(true).build();
    assert_eq!(
        apart(docker.logs("box", Some(logs))).await,
        ("out\n".to_owned(), "err\n".to_owned())
    );
    let filters = HashMap::from([("name", vec!["box"])]);
    let listed = query::ListContainersOptionsBuilder::new()
        .filters(&filters)
        .build();
    let listed = docker.list_containers(Some(listed)).await.expect("a list");
    assert_eq!((listed.len(), listed[0].id.as_deref()), (1, Some(id.as_str())));
    let once = query::StatsOptionsBuilder::new().stream(false).build();
    let stats = docker
        .stats("box", Some(once))
        .next()
        .await
        .expect("one")
        .expect("statistics");
    assert_eq!(stats.memory_stats.and_then(|memory| memory.limit), Some(64 << 20));
    let top = docker.top_processes("box", None).await.expect("processes");
    assert!(top.processes.is_some_and(|processes| !processes.is_empty()));
    let twice = docker
        .create_container(named("box"), shell("true"))
        .await
        .expect_err("a conflict");
    assert_eq!(status(twice), 409);
    assert_eq!(
        status(
            docker
                .inspect_container("nosuch", None)
                .await
                .expect_err("nothing")
        ),
        404
    );
    docker.pause_container("box").await.expect("paused");
    docker.unpause_container("box").await.expect("unpaused");
    docker.stop_container("box", None).await.expect("stopped");
    // It makes an error of a code that is not 0.
    let ended = waiting.await.expect("no panic").expect("an end");
    assert!(
        matches!(ended, Err(Error::DockerContainerWaitError { code: 9, .. })),
        "{ended:?}"
    );
    let changes = docker.container_changes("box").await.expect("changes");
    assert!(changes.unwrap_or_default().is_empty());
    docker.remove_container("box", None).await.expect("removed");
}

#[tokio::test]
async fn streams_go_both_ways() {
    let engine = TestEngine::with_busybox();
    let docker = connect(&engine);
    let body = ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..shell("cat; echo end >&2")
    };
    docker
        .create_container(named("box"), body)
        .await
        .expect("created");
    let options = query::AttachContainerOptionsBuilder::new()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .stream(true)
        .build();
    let AttachContainerResults { output, mut input } = docker
        .attach_container("box", Some(options))
        .await
        .expect("attached");
    docker.start_container("box", None).await.expect("started");
    input
        .write_all(b"through the container\n")
        .await
        .expect("written");
    input.shutdown().await.expect("closed");
    let expected = ("through the container\n".to_owned(), "end\n".to_owned());
    assert_eq!(apart(output).await, expected);
    let ended = docker
        .wait_container("box", None::<query::WaitContainerOptions>)
        .next()
        .await;
    assert!(matches!(ended, Some(Ok(_))), "{ended:?}");
    docker.remove_container("box", None).await.expect("removed");

    docker
        .create_container(named("server"), shell("sleep 1000"))
        .await
        .expect("created");
    docker.start_container("server", None).await.expect("started");
    let exec = |cmd: &[&str], tty| ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        cmd: words(cmd),
        ..Default::default()
    };
    let made = docker
        .create_exec("server", exec(&["sh", "-c", "cat; exit 6"], false))
        .await
        .expect("made");
    let Ok(StartExecResults::Attached { output, mut input }) =
        docker.start_exec(&made.id, None::<StartExecOptions>).await
    else {
        panic!("not attached");
    };
    input.write_all(b"typed").await.expect("written");
    input.shutdown().await.expect("closed");
    assert_eq!(apart(output).await.0, "typed");
    assert_eq!(
        docker.inspect_exec(&made.id).await.expect("inspected").exit_code,
        Some(6)
    );

    let made = docker
        .create_exec("server", exec(&["sh"], true))
        .await
        .expect("made");
    let Ok(StartExecResults::Attached { output, mut input }) =
        docker.start_exec(&made.id, None::<StartExecOptions>).await
    else {
        panic!("not attached");
    };
    let size = ResizeExecOptions {
        height: 22,
        width: 99,
    };
    docker.resize_exec(&made.id, size).await.expect("another size");
    input.write_all(b"stty size; exit\n").await.expect("written");
    let shown = apart(output).await.0;
    assert!(shown.contains("22 99"), "{shown}");

    let mut archive = Layer::new().file("file", "content").tar();
    archive.resize(archive.len() + 1024, 0);
    let upload = query::UploadToContainerOptionsBuilder::new().path("/tmp").build();
    docker
        .upload_to_container("server", Some(upload), body_full(archive.into()))
        .await
        .expect("uploaded");
    let download = query::DownloadFromContainerOptionsBuilder::new()
        .path("/tmp/file")
        .build();
    let pieces: Vec<_> = docker
        .download_from_container("server", Some(download))
        .try_collect()
        .await
        .expect("an archive");
    let bytes = pieces.concat();
    assert!(bytes.windows(7).any(|at| at == b"content"));
}

#[tokio::test]
async fn images_travel() {
    let (engine, registry) = (TestEngine::with_busybox(), DockerRegistry::open());
    let docker = connect(&engine);
    let context = Layer::new().file(
        "Dockerfile",
        "FROM busybox\nARG WHAT\nRUN echo $WHAT > /what\nCMD cat /what\n",
    );
    let arguments = HashMap::from([("WHAT", "something")]);
    let options = query::BuildImageOptionsBuilder::new()
        .t("app:v1")
        .buildargs(&arguments)
        .build();
    let built: Vec<_> = docker
        .build_image(options, None, Some(body_full(context.tar().into())))
        .try_collect()
        .await
        .expect("a build");
    assert!(
        built
            .iter()
            .any(|line| line.stream.as_deref() == Some("Successfully tagged app:v1\n")),
        "{built:?}"
    );
    let id = docker.inspect_image("app:v1").await.expect("inspected").id;
    let name = format!("{}/team/app", registry.host());
    let tag = query::TagImageOptionsBuilder::new().repo(&name).tag("v1").build();
    docker.tag_image("app:v1", Some(tag)).await.expect("tagged");
    let push = query::PushImageOptionsBuilder::new().tag("v1").build();
    let pushed: Vec<_> = docker
        .push_image(&name, Some(push), None)
        .try_collect()
        .await
        .expect("a push");
    assert!(
        pushed.iter().all(|line| line.error_detail.is_none()),
        "{pushed:?}"
    );
    let full = format!("{name}:v1");
    let there = docker
        .inspect_registry_image(&full, None)
        .await
        .expect("looked at");
    assert!(
        there
            .descriptor
            .digest
            .is_some_and(|digest| digest.starts_with("sha256:"))
    );
    let remove = None::<query::RemoveImageOptions>;
    docker.remove_image(&full, remove, None).await.expect("removed");
    let pull = query::CreateImageOptionsBuilder::new()
        .from_image(&name)
        .tag("v1")
        .build();
    let _: Vec<_> = docker
        .create_image(Some(pull), None, None)
        .try_collect()
        .await
        .expect("a pull");
    assert_eq!(docker.inspect_image(&full).await.expect("inspected").id, id);
    let saved: Vec<_> = docker
        .export_image("app:v1")
        .try_collect()
        .await
        .expect("an archive");
    for name in [&full, "app:v1"] {
        docker
            .remove_image(name, None::<query::RemoveImageOptions>, None)
            .await
            .expect("removed");
    }
    assert_eq!(
        status(docker.inspect_image("app:v1").await.expect_err("nothing")),
        404
    );
    let load = query::ImportImageOptionsBuilder::new().build();
    let loaded: Vec<_> = docker
        .import_image(load, body_full(saved.concat().into()), None)
        .try_collect()
        .await
        .expect("a load");
    assert!(!loaded.is_empty());
    assert_eq!(docker.inspect_image("app:v1").await.expect("inspected").id, id);
    assert!(
        !docker
            .image_history("app:v1")
            .await
            .expect("a history")
            .is_empty()
    );
    assert!(
        docker
            .list_images(None::<query::ListImagesOptions>)
            .await
            .expect("a list")
            .len()
            >= 2
    );
    let broken = Layer::new().file("Dockerfile", "FROM busybox\nRUN exit 7\n");
    let options = query::BuildImageOptionsBuilder::new().build();
    let failed: Result<Vec<_>, _> = docker
        .build_image(options, None, Some(body_full(broken.tar().into())))
        .try_collect()
        .await;
    let failed = failed.expect_err("a failure").to_string();
    assert!(failed.contains("non-zero code: 7"), "{failed}");
}

#[tokio::test]
async fn volumes_networks_and_events() {
    let engine = TestEngine::start();
    engine.load(&Image::busybox(), "busybox");
    let docker = connect(&engine);
    let mut events = Box::pin(docker.events(None));
    // Asked for before the request is sent, so that nothing is missed.
    let first = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    assert!(first.is_err(), "{first:?}");
    let volume = VolumeCreateRequest {
        name: Some("data".to_owned()),
        ..Default::default()
    };
    assert_eq!(docker.create_volume(volume).await.expect("a volume").name, "data");
    let network = NetworkCreateRequest {
        name: "net".to_owned(),
        ..Default::default()
    };
    docker.create_network(network).await.expect("a network");
    let body = ContainerCreateBody {
        host_config: Some(HostConfig {
            binds: words(&["data:/data"]),
            ..Default::default()
        }),
        ..shell("sleep 1000")
    };
    docker
        .create_container(named("box"), body)
        .await
        .expect("created");
    docker.start_container("box", None).await.expect("started");
    let request = NetworkConnectRequest {
        container: "box".to_owned(),
        endpoint_config: None,
    };
    docker.connect_network("net", request).await.expect("connected");
    let inspected = docker.inspect_network("net", None).await.expect("inspected");
    assert_eq!(inspected.containers.map(|all| all.len()), Some(1));
    assert_eq!(
        status(
            docker
                .remove_volume("data", None::<query::RemoveVolumeOptions>)
                .await
                .expect_err("in use")
        ),
        409
    );
    let force = query::RemoveContainerOptionsBuilder::new().force(true).build();
    docker
        .remove_container("box", Some(force))
        .await
        .expect("removed");
    docker.remove_network("net").await.expect("removed");
    docker
        .remove_volume("data", None::<query::RemoveVolumeOptions>)
        .await
        .expect("removed");
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("volume destroy") {
        let event = events.next().await.expect("more").expect("an event");
        let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
        seen.push(format!("{kind} {}", event.action.unwrap_or_default()));
    }
    for expected in [
        "volume create",
        "network create",
        "container create",
        "container start",
        "network connect",
        "container die",
        "container destroy",
        "network destroy",
    ] {
        assert!(seen.iter().any(|one| one == expected), "{expected} in {seen:?}");
    }
    assert_eq!(docker.ping().await.expect("a pong"), "OK");
    assert_eq!(docker.info().await.expect("information").images, Some(1));
    assert_eq!(
        docker.version().await.expect("a version").os.as_deref(),
        Some("linux")
    );
    docker.df(None::<query::DataUsageOptions>).await.expect("usage");
}
