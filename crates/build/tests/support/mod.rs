//! A builder on a store of its own, with an executor that understands a few words instead of a shell. Needs root:
//! steps are overlay mounts.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs_err as fs;
use havre_build::{
    BuildError, BuildEvent, BuildRequest, Builder, Built, Context, ExecError, Executor, RunRequest, Stream,
};
use havre_image::ImageService;
use havre_oci::{Digest, ImageConfig};
use havre_registry_client::{Client, ClientOptions, Hosts, HostsConfig};
use havre_store::Store;
use tokio::sync::mpsc;

/// Carries out `write PATH TEXT`, `print TEXT`, `warn TEXT`, `fail CODE`, `hang`, `meet NAME`, `env NAME PATH`,
/// joined by ` ; `.
#[derive(Default)]
pub(crate) struct Words {
    pub(crate) runs: Mutex<Vec<RunRequest>>,
    killed: Mutex<BTreeSet<String>>,
    met: Mutex<BTreeSet<String>>,
}

impl Executor for Words {
    fn run(&self, request: RunRequest, output: &mut dyn FnMut(Stream, &[u8])) -> Result<i32, ExecError> {
        self.runs.lock().expect("lock").push(request.clone());
        let script = match request.args.last() {
            Some(last) if last.starts_with("/.run-") => {
                fs::read_to_string(request.rootfs.join(&last[1..])).expect("script")
            }
            Some(last) => last.clone(),
            None => String::new(),
        };
        for command in script.split([';', '\n']).map(str::trim) {
            let mut words = command.splitn(3, ' ');
            let inside = |path: &str| request.rootfs.join(path.trim_start_matches('/'));
            match (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
                words.next(),
            ) {
                ("write", path, text) => fs::write(inside(path), text.unwrap_or_default()).expect("written"),
                ("print", word, rest) => {
                    output(
                        Stream::Stdout,
                        format!("{word} {}\n", rest.unwrap_or_default()).as_bytes(),
                    );
                }
                ("warn", word, _) => output(Stream::Stderr, format!("{word}\n").as_bytes()),
                ("env", name, Some(path)) => {
                    let value = request
                        .env
                        .iter()
                        .find_map(|line| line.strip_prefix(&format!("{name}=")));
                    fs::write(inside(path), value.unwrap_or("unset")).expect("written");
                }
                ("fail", code, _) => return Ok(code.parse().expect("a code")),
                ("hang", ..) => {
                    while !self.killed.lock().expect("lock").contains(&request.id) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    return Ok(137);
                }
                // Waits until another step runs at the same time.
                ("meet", name, Some(other)) => {
                    self.met.lock().expect("lock").insert(name.to_owned());
                    let end = Instant::now() + Duration::from_secs(20);
                    while !self.met.lock().expect("lock").contains(other) {
                        if Instant::now() > end {
                            return Ok(99);
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
                _ => {}
            }
        }
        Ok(0)
    }

    fn kill(&self, id: &str) {
        self.killed.lock().expect("lock").insert(id.to_owned());
    }
}

pub(crate) struct Bench {
    pub(crate) store: Arc<Store>,
    pub(crate) images: Arc<ImageService>,
    pub(crate) words: Arc<Words>,
    pub(crate) builder: Builder,
    /// Last: the store unmounts its layers before it goes.
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let dir = tempfile::tempdir().expect("temp dir");
        let store = Arc::new(Store::open(&dir.path().join("root")).expect("store"));
        let hosts = Hosts::new(HostsConfig::default()).expect("hosts");
        let client = Client::new(hosts, ClientOptions::default()).expect("client");
        let images = Arc::new(ImageService::new(Arc::clone(&store), client));
        let words = Arc::new(Words::default());
        let builder = Builder::new(
            Arc::clone(&store),
            Arc::clone(&images),
            Arc::clone(&words) as Arc<dyn Executor>,
        );
        fs::create_dir(dir.path().join("context")).expect("created");
        Bench {
            dir,
            store,
            images,
            words,
            builder,
        }
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.dir.path().join("context")
    }

    /// Writes a file of the context.
    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("created");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn request(&self, dockerfile: &str) -> BuildRequest {
        self.file("Dockerfile", dockerfile);
        BuildRequest::new(Context::directory(&self.context()).expect("context"))
    }

    /// Builds and gives the classic stream too.
    pub(crate) async fn run(&self, request: BuildRequest) -> (Result<Built, BuildError>, String) {
        let (sender, mut receiver) = mpsc::channel::<BuildEvent>(4);
        let collect = async {
            let mut text = String::new();
            while let Some(event) = receiver.recv().await {
                text.push_str(&event.classic().unwrap_or_default());
            }
            text
        };
        tokio::join!(self.builder.build(request, sender), collect)
    }

    pub(crate) async fn build(&self, dockerfile: &str) -> (Result<Built, BuildError>, String) {
        self.run(self.request(dockerfile)).await
    }

    /// Builds what must succeed.
    pub(crate) async fn good(&self, dockerfile: &str) -> (Digest, String) {
        let (result, text) = self.build(dockerfile).await;
        match result {
            Ok(built) => (built.id, text),
            Err(error) => panic!("{error}\n{}\n{text}", error.excerpt().unwrap_or_default()),
        }
    }

    /// Builds what must fail.
    pub(crate) async fn bad(&self, dockerfile: &str) -> BuildError {
        match self.build(dockerfile).await {
            (Err(error), _) => error,
            (Ok(_), text) => panic!("built:\n{text}"),
        }
    }

    pub(crate) async fn config(&self, id: &Digest) -> ImageConfig {
        self.images.config(id).await.expect("config")
    }

    /// Lets `look` see the image's files.
    pub(crate) async fn files<T>(&self, id: &Digest, look: impl FnOnce(&Path) -> T) -> T {
        let layers = self.config(id).await.rootfs.diff_ids;
        let target = tempfile::tempdir_in(self.dir.path()).expect("temp dir");
        let view = self.store.snapshots().view(&layers, target.path()).expect("view");
        look(view.path())
    }

    pub(crate) fn runs(&self) -> usize {
        self.words.runs.lock().expect("lock").len()
    }
}
