//! Registries that share a bucket and a database server, behind a balancer, ended without a warning again and again.
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use havre_testing::http::{Response, over_tcp, to_tcp};
use havre_testing::{HavreRegistry, PostgresServer, S3Server, digest_of, eventually, noise};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket, a database, and what replicas need to know of them.
struct Shared {
    bucket: S3Server,
    database: PostgresServer,
    folder: tempfile::TempDir,
}

impl Shared {
    fn start() -> Self {
        Self {
            bucket: S3Server::start(),
            database: PostgresServer::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn replica(&self, redirect: bool) -> HavreRegistry {
        self.replica_with(redirect, &[])
    }

    fn replica_with(&self, redirect: bool, more: &[(&str, &str)]) -> HavreRegistry {
        let (endpoint, url) = (self.bucket.endpoint(), self.database.url());
        let usual = [
            ("REGISTRY_STORAGE", "s3"),
            ("REGISTRY_STORAGE_S3_BUCKET", S3Server::BUCKET),
            ("REGISTRY_STORAGE_S3_REGION", "us-east-1"),
            ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &endpoint),
            ("REGISTRY_STORAGE_S3_ACCESSKEY", S3Server::ACCESS_KEY),
            ("REGISTRY_STORAGE_S3_SECRETKEY", S3Server::SECRET_KEY),
            (
                "REGISTRY_STORAGE_REDIRECT_DISABLE",
                if redirect { "false" } else { "true" },
            ),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_DATABASE_URL", &url),
            ("REGISTRY_LOG_LEVEL", "warn"),
        ];
        HavreRegistry::configured(self.folder.path(), &[&usual, more].concat())
    }
}

/// Gives each connection to the next replica that takes one.
struct Balancer {
    address: SocketAddr,
    replicas: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    fn start(replicas: &[HavreRegistry]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hosts = replicas.iter().map(|replica| replica.host().to_owned()).collect();
        let replicas: Arc<Mutex<Vec<String>>> = Arc::new(Mutex::new(hosts));
        let next = AtomicUsize::new(0);
        std::thread::spawn({
            let replicas = Arc::clone(&replicas);
            move || {
                for client in listener.incoming().map_while(Result::ok) {
                    let hosts = replicas.lock().unwrap().clone();
                    let first = next.fetch_add(1, Ordering::Relaxed);
                    let tried = (0..hosts.len()).map(|step| &hosts[(first + step) % hosts.len()]);
                    if let Some(server) = tried.map(TcpStream::connect).find_map(Result::ok) {
                        forward(&client, &server);
                        forward(&server, &client);
                    }
                }
            }
        });
        Self { address, replicas }
    }
}

/// One direction of a connection.
fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// What a client that was cut does is begin again.
struct Cut;

/// An answer with the status; one that others' end caused is none.
fn expect(answer: io::Result<Response>, status: u16) -> Result<Response, Cut> {
    match answer {
        Ok(response) if response.status == status => Ok(response),
        // The upload is held by who was ended, or storage went away under a request.
        Ok(response) if response.status >= 500 || response.status == 409 => Err(Cut),
        Ok(response) => panic!("{} instead of {status}: {}", response.status, response.text()),
        Err(_) => Err(Cut),
    }
}

fn push_blob(to: &str, repository: &str, bytes: &[u8]) -> Result<(), Cut> {
    let uploads = format!("/v2/{repository}/blobs/uploads/");
    let begun = expect(to_tcp(to, "POST", &uploads, "", b""), 202)?;
    let location = begun.header("location").unwrap().to_owned();
    let (first, second) = bytes.split_at(bytes.len() / 3);
    for piece in [first, second] {
        expect(
            to_tcp(to, "PATCH", &location, "application/octet-stream", piece),
            202,
        )?;
    }
    let end = format!("{location}?digest={}", digest_of(bytes));
    expect(to_tcp(to, "PUT", &end, "", b""), 201).map(drop)
}

/// Image number `index`: every 25th has a layer of several parts, and some layers are those of others.
fn layer(index: usize) -> Vec<u8> {
    match index % 25 {
        0 => noise(index as u64, 9 << 20),
        3 | 13 => noise(3, 100_000),
        _ => noise(index as u64, 10_000 * (index % 7 + 1)),
    }
}

fn manifest(index: usize) -> Vec<u8> {
    let (config, layer) = (index.to_string(), layer(index));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(config.as_bytes()),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": digest_of(&layer),
            "size": layer.len(),
        }],
    });
    manifest.to_string().into_bytes()
}

fn push(to: &str, index: usize) -> Result<(), Cut> {
    let repository = format!("team-{}/app", index % 3);
    push_blob(to, &repository, index.to_string().as_bytes())?;
    push_blob(to, &repository, &layer(index))?;
    let target = format!("/v2/{repository}/manifests/v{index}");
    expect(to_tcp(to, "PUT", &target, MANIFEST, &manifest(index)), 201).map(drop)
}

/// An image that is there is whole; whether it is there.
fn pull(from: &str, index: usize) -> Result<bool, Cut> {
    let repository = format!("/v2/team-{}/app", index % 3);
    let target = format!("{repository}/manifests/v{index}");
    let answer = over_tcp(from, "GET", &target, PATIENCE);
    if answer.as_ref().is_ok_and(|response| response.status == 404) {
        return Ok(false);
    }
    assert!(
        expect(answer, 200)?.body == manifest(index),
        "image {index} is another"
    );
    for bytes in [index.to_string().into_bytes(), layer(index)] {
        let target = format!("{repository}/blobs/{}", digest_of(&bytes));
        let blob = expect(over_tcp(from, "GET", &target, PATIENCE), 200)?;
        // A connection that ended early has fewer bytes than it said.
        assert!(blob.body == bytes, "a blob of image {index} is another");
    }
    Ok(true)
}

/// Three replicas, 100 pushes and as many pulls at once, and one replica killed every now and then.
#[test]
fn any_replica_may_end_at_any_time() {
    const IMAGES: usize = 100;
    let shared = Shared::start();
    let replicas: Vec<HavreRegistry> = (0..3).map(|_| shared.replica(false)).collect();
    let balancer = Balancer::start(&replicas);
    let address = balancer.address.to_string();
    let (next, ends) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged: Mutex<BTreeMap<usize, Instant>> = Mutex::default();
    let (mut kills, mut pulls, mut cuts) = (0, 0, 0);
    let mut replicas: Vec<Option<HavreRegistry>> = replicas.into_iter().map(Some).collect();
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut cuts = 0;
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= IMAGES {
                            return cuts;
                        }
                        while push(&address, index).is_err() {
                            cuts += 1;
                            assert!(cuts < 2000, "nothing goes through");
                            std::thread::sleep(Duration::from_millis(20));
                        }
                        acknowledged.lock().unwrap().insert(index, Instant::now());
                    }
                })
            })
            .collect();
        let pullers: Vec<_> = (0..4)
            .map(|thread| {
                let (acknowledged, ends, address) = (&acknowledged, &ends, &address);
                scope.spawn(move || {
                    let mut pulls = 0;
                    while !ends.load(Ordering::Relaxed) {
                        let index = (pulls * 7 + thread * 13) % IMAGES;
                        let known = acknowledged.lock().unwrap().contains_key(&index);
                        match pull(address, index) {
                            Ok(is_there) => assert!(is_there || !known, "image {index} is lost"),
                            Err(Cut) => std::thread::sleep(Duration::from_millis(5)),
                        }
                        pulls += 1;
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    pulls
                })
            })
            .collect();
        while !pushers.iter().all(|pusher| pusher.is_finished()) {
            std::thread::sleep(Duration::from_millis(400 + 130 * (kills % 5)));
            let index = (kills as usize * 2) % 3;
            if let Some(replica) = replicas[index].take() {
                replica.kill();
            }
            std::thread::sleep(Duration::from_millis(100));
            let replica = shared.replica(false);
            balancer.replicas.lock().unwrap()[index] = replica.host().to_owned();
            replicas[index] = Some(replica);
            kills += 1;
        }
        ends.store(true, Ordering::Relaxed);
        cuts += pushers
            .into_iter()
            .map(|pusher| pusher.join().unwrap())
            .sum::<usize>();
        pulls += pullers
            .into_iter()
            .map(|puller| puller.join().unwrap())
            .sum::<usize>();
    });
    assert!(kills >= 3, "{kills} kills are too few to say anything");
    assert!(pulls > IMAGES / 2, "{pulls} pulls");
    assert!(cuts > 0, "no push was cut by {kills} kills");
    assert_eq!(acknowledged.lock().unwrap().len(), IMAGES);
    for replica in replicas.iter().flatten() {
        for index in 0..IMAGES {
            assert!(
                pull(replica.host(), index).is_ok_and(|is_there| is_there),
                "image {index}"
            );
        }
    }
}

/// The bytes of blobs come from the service itself where clients may go there; everything else comes from here.
#[test]
fn clients_are_sent_to_the_bucket() {
    let shared = Shared::start();
    let replica = shared.replica(true);
    assert!(push(replica.host(), 1).is_ok());
    let blob = format!("/v2/team-1/app/blobs/{}", digest_of(&layer(1)));
    let answer = over_tcp(replica.host(), "GET", &blob, PATIENCE).unwrap();
    assert_eq!(answer.status, 307);
    let location = answer.header("location").unwrap();
    let (host, path) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert_eq!(format!("http://{host}"), shared.bucket.endpoint());
    let read = |host: &str, target: &str| {
        let stream = TcpStream::connect(host).unwrap();
        let mut stream = stream;
        use std::io::Write as _;
        write!(
            stream,
            "GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        havre_testing::http::read_response(&mut io::BufReader::new(stream), false).unwrap()
    };
    let signed = read(host, path);
    assert_eq!(signed.status, 200, "{}", signed.text());
    assert!(signed.body == layer(1));
    let (unsigned, _) = path.split_once('?').unwrap();
    assert_eq!(read(host, unsigned).status, 403);
    let head = over_tcp(replica.host(), "HEAD", &blob, PATIENCE).unwrap();
    assert_eq!(head.status, 200);
    let reference = format!("docker://{}/team-1/app:v1", replica.host());
    eventually("skopeo to copy", || {
        let mut skopeo = std::process::Command::new("skopeo");
        let target = format!("dir:{}", shared.folder.path().join("copy").display());
        skopeo.args(["copy", "-q", "--src-tls-verify=false", &reference, &target]);
        havre_testing::installed::run(&mut skopeo).is_ok()
    });
    assert_eq!(replica.stop(), Some(0), "it ends as it is told to");
}

/// What is wrong with a configuration is said before anything is served.
#[test]
fn what_cannot_be_reached_is_named() {
    let shared = Shared::start();
    let folder = shared.folder.path();
    let endpoint = shared.bucket.endpoint();
    let said = |variables: &[(&str, &str)]| {
        let output = std::process::Command::new(havre_testing::havre_binary())
            .args(["registry", "--listen", "127.0.0.1:0", "--root"])
            .arg(folder)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = said(&[("REGISTRY_DATABASE_URL", "host=/nowhere user=me")]);
    assert!(error.contains("cannot connect to the database"), "{error}");
    let error = said(&[("REGISTRY_DATABASE_URL", "postgresql://me:secret@[")]);
    assert!(
        error.contains("address of the database") && !error.contains("secret"),
        "{error}"
    );
    let mut bucket = vec![
        ("REGISTRY_STORAGE_S3_BUCKET", S3Server::BUCKET),
        ("REGISTRY_STORAGE_S3_REGION", "us-east-1"),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &endpoint),
        ("REGISTRY_STORAGE_S3_ACCESSKEY", S3Server::ACCESS_KEY),
        ("REGISTRY_STORAGE_S3_SECRETKEY", "wrong"),
    ];
    let error = said(&bucket);
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    bucket[4].1 = S3Server::SECRET_KEY;
    bucket[0].1 = "elsewhere";
    let error = said(&bucket);
    assert!(
        error.contains("NoSuchBucket") || error.contains("bucket elsewhere"),
        "{error}"
    );
}

/// Monitors learn when the bucket does not answer, and when it does; what was asked for is counted.
#[test]
fn monitors_are_told() {
    let mut shared = Shared::start();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let replica = shared.replica_with(
        false,
        &[
            ("REGISTRY_HTTP_DEBUG_ADDR", &free),
            ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
            ("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true"),
            ("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "1s"),
            ("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "1"),
        ],
    );
    assert!(push(replica.host(), 1).is_ok());
    let ask = |path: &str| over_tcp(&free, "GET", path, PATIENCE).unwrap();
    assert_eq!(
        (ask("/debug/health").status, ask("/debug/health").text().as_str()),
        (200, "{}")
    );
    let metrics = ask("/metrics").text();
    for line in [
        "registry_http_requests_total{handler=\"manifest\",method=\"put\",code=\"201\"} 1",
        "registry_http_requests_total{handler=\"blob_upload_chunk\",method=\"patch\",code=\"202\"} 4",
        "registry_storage_blobs 3",
    ] {
        assert!(
            metrics.lines().any(|there| there == line),
            "{line} is not in\n{metrics}"
        );
    }
    shared.bucket.take_away();
    eventually("the registry to be ill", || ask("/debug/health").status == 503);
    assert!(ask("/debug/health").text().contains("storagedriver"));
    shared.bucket.bring_back();
    eventually("the registry to be well", || ask("/debug/health").status == 200);
}
