//! Against Debian's docker-registry (package docker-registry, which must be installed). Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{BufRead as _, BufReader, Cursor};
use std::process::{Child, Command, Stdio};

use havre_image::{CreateImage, ErrorKind, ImportOptions, PullOptions, PushOptions, Silent};
use havre_oci::{ImageConfig, Platform, Reference};
use havre_registry_client::Credentials;
use support::{Bench, Told, tar};

struct Registry {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {root}}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:0'}}\n{}",
            extra.replace("ROOT", &root)
        );
        fs_err::write(dir.path().join("config.yml"), config).unwrap();
        // bcrypt of "secret".
        fs_err::write(dir.path().join("htpasswd"), "me:HASH\n".replace("HASH", BCRYPT)).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry must be installed: apt-get install docker-registry");
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let port = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "docker-registry ended");
            if let Some(rest) = line.split("listening on 127.0.0.1:").nth(1) {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().unwrap();
            }
        };
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Registry {
            child,
            port,
            _dir: dir,
        }
    }

    fn name(&self, rest: &str) -> Reference {
        Reference::parse(&format!("localhost:{}/{rest}", self.port)).unwrap()
    }
}

/// htpasswd -nbB me secret
const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

async fn made(bench: &Bench, tag: &Reference, size: usize) -> havre_store::Image {
    let mut layers = Vec::new();
    for seed in 0..3 {
        let data = support::registry::content(size, seed);
        let options = ImportOptions {
            reference: Some(Reference::parse("part").unwrap()),
            ..Default::default()
        };
        let input = Cursor::new(tar(&[(&format!("file-{seed}"), &data)]));
        let id = bench.images.import(input, options, &Silent).await.unwrap();
        layers.extend(bench.images.resolve(id.as_str()).await.unwrap().layers);
    }
    let config = ImageConfig::new(&Platform::host());
    let request = CreateImage {
        parent: None,
        layers,
        config,
        tags: vec![tag.clone()],
        command: "build".into(),
    };
    let lease = bench.store.lease();
    bench.images.create_from(request, &lease).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back() {
    let registry = Registry::start("");
    let (bench, fresh) = (Bench::new(), Bench::new());
    let name = registry.name("team/app:1");
    let image = made(&bench, &name, 3 << 20).await;
    let pushed = bench
        .images
        .push(&name, &PushOptions::default(), &Silent)
        .await
        .unwrap();
    let pulled = fresh
        .images
        .pull(&name, &PullOptions::default(), &Silent)
        .await
        .unwrap();
    assert_eq!(
        (&pulled[0].image, &pulled[0].digest),
        (&image.id, &pushed[0].digest)
    );

    // Mounted into another repository, listed with its tags, found by a search.
    let copy = registry.name("team/copy:2");
    fresh.images.tag(&name.familiar(), &copy).await.unwrap();
    let told = Told::default();
    let again = fresh
        .images
        .push(&copy, &PushOptions::default(), &told)
        .await
        .unwrap();
    assert_eq!(again[0].digest, pushed[0].digest);
    assert_eq!(told.count("Mounted from team/app"), 3, "{:?}", told.lines());
    let client = fresh.images.client();
    assert_eq!(
        client.repository(&copy, &Credentials::None).tags().await.unwrap(),
        ["2"]
    );
    let term = format!("localhost:{}/team", registry.port);
    let found = client.search(&term, 10, &Credentials::None).await.unwrap();
    assert_eq!(
        found.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(),
        ["team/app", "team/copy"]
    );

    let error = fresh
        .images
        .pull(&registry.name("team/app:9"), &PullOptions::default(), &Silent)
        .await
        .unwrap_err();
    let host = format!("localhost:{}", registry.port);
    assert_eq!(
        error.to_string(),
        format!("manifest for {host}/team/app:9 not found: manifest unknown: manifest unknown")
    );
    let error = fresh
        .images
        .pull(&registry.name("nosuch"), &PullOptions::default(), &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_password() {
    let registry = Registry::start("auth: {htpasswd: {realm: test, path: ROOT/htpasswd}}\n");
    let bench = Bench::new();
    let name = registry.name("app:1");
    made(&bench, &name, 1000).await;
    let error = bench
        .images
        .push(&name, &PushOptions::default(), &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.to_string().ends_with("no basic auth credentials"),
        "{error}"
    );
    let server = format!("localhost:{}", registry.port);
    let client = bench.images.client();
    assert_eq!(
        client.login(&server, "me", "secret").await.unwrap().status,
        "Login Succeeded"
    );
    assert!(client.login(&server, "me", "wrong").await.is_err());
    let credentials = Credentials::Basic {
        username: "me".into(),
        password: "secret".into(),
    };
    let options = PushOptions {
        credentials: credentials.clone(),
        ..PushOptions::default()
    };
    bench.images.push(&name, &options, &Silent).await.unwrap();
    let fresh = Bench::new();
    let options = PullOptions {
        credentials,
        ..PullOptions::default()
    };
    fresh.images.pull(&name, &options, &Silent).await.unwrap();
}
