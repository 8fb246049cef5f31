//! Stores, layers and images to test with. Everything lives in temporary directories.
#![allow(dead_code, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a fixture that fails fails the test")]

pub(crate) mod images;
#[path = "../../../registry-client/tests/support/mod.rs"]
pub(crate) mod registry;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use havre_image::{ImageService, KeepCompressed, Progress, ProgressEvent};
use havre_oci::{Descriptor, Digest, History, ImageConfig, Index, Manifest, Platform, media_type};
use havre_registry_client::{Client, ClientOptions, Hosts, RetryPolicy};
use havre_store::Store;
use registry::FakeRegistry;

pub(crate) struct Bench {
    pub(crate) store: Arc<Store>,
    pub(crate) images: ImageService,
    /// Last: the store unmounts its layers before it goes.
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    /// With the defaults: no compressed layer is kept.
    pub(crate) fn new() -> Self {
        Self::with(havre_image::Options::default())
    }

    pub(crate) fn keeping(keep: KeepCompressed) -> Self {
        Self::with(havre_image::Options {
            keep,
            ..havre_image::Options::default()
        })
    }

    pub(crate) fn with(settings: havre_image::Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&dir.path().join("root")).unwrap());
        let options = ClientOptions {
            retry: RetryPolicy {
                attempts: 3,
                base: Duration::from_millis(5),
                cap: Duration::from_secs(1),
            },
            stall_timeout: Duration::from_secs(2),
            certs_dir: None,
            ..ClientOptions::default()
        };
        let client = Client::new(Hosts::default(), options).unwrap();
        let images = ImageService::with_options(Arc::clone(&store), client, settings);
        Bench { dir, store, images }
    }
}

impl Bench {
    /// Names of the partial downloads in the store.
    pub(crate) fn ingests(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.store.layout().root().join("ingest")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<ProgressEvent>>);

impl Progress for Told {
    fn emit(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    /// `ID: STATUS` lines in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let line = |event: &ProgressEvent| match &event.id {
            Some(id) => format!("{id}: {}", event.status),
            None => event.status.clone(),
        };
        events.iter().map(line).collect()
    }

    pub(crate) fn count(&self, status: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.ends_with(&format!(": {status}")))
            .count()
    }
}

/// A tar of files, reproducible.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, path, *contents).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image at a registry.
pub(crate) struct Fixture {
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) tars: Vec<Vec<u8>>,
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) descriptors: Vec<Descriptor>,
}

impl Fixture {
    pub(crate) fn new(seed: u64, layers: usize, size: usize) -> Self {
        Self::of(seed, layers, size, &Platform::host())
    }

    pub(crate) fn of(seed: u64, layers: usize, size: usize, platform: &Platform) -> Self {
        let mut config = ImageConfig::new(platform);
        config.created = Some("2024-05-06T07:08:09Z".parse().unwrap());
        config.config.labels.insert("seed".into(), seed.to_string());
        config.config.cmd = Some(vec!["sh".into()]);
        config.rootfs.kind = "layers".into();
        let (mut tars, mut blobs, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..layers {
            let data = registry::content(size, seed * 1000 + index as u64);
            let name = format!("data/file-{index}");
            let bytes = tar(&[(&name, &data), ("etc/shared", b"shared\n")]);
            config.rootfs.diff_ids.push(Digest::sha256_of(&bytes));
            config.history.push(History {
                created_by: format!("COPY {index}"),
                ..History::default()
            });
            let empty = History {
                created_by: "ENV x=y".into(),
                empty_layer: true,
                ..History::default()
            };
            config.history.push(empty);
            // All three forms of layers.
            let (media_type, blob) = match index % 3 {
                0 => (media_type::OCI_LAYER_GZIP, gzip(&bytes)),
                1 => (
                    media_type::OCI_LAYER_ZSTD,
                    zstd::encode_all(bytes.as_slice(), 1).unwrap(),
                ),
                _ => (media_type::OCI_LAYER, bytes.clone()),
            };
            descriptors.push(Descriptor::of(media_type, &blob));
            tars.push(bytes);
            blobs.push(blob);
        }
        let config = config.to_bytes();
        let manifest = Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, &config),
            descriptors.clone(),
        )
        .to_bytes();
        Fixture {
            config,
            manifest,
            tars,
            blobs,
            descriptors,
        }
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::sha256_of(&self.config)
    }

    /// Puts it into a registry; the digest of its manifest.
    pub(crate) fn publish(&self, registry: &FakeRegistry, repository: &str, tag: &str) -> Digest {
        registry.blob(repository, self.config.clone().into());
        for blob in &self.blobs {
            registry.blob(repository, blob.clone().into());
        }
        registry.manifest(repository, tag, media_type::OCI_MANIFEST, self.manifest.clone())
    }

    pub(crate) fn descriptor(&self, platform: &Platform) -> Descriptor {
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &self.manifest);
        descriptor.platform = Some(platform.clone());
        descriptor
    }
}

/// An index over images of several platforms.
pub(crate) fn index(
    registry: &FakeRegistry,
    repository: &str,
    tag: &str,
    images: &[(&Fixture, &Platform)],
) -> Digest {
    let mut descriptors = Vec::new();
    for (fixture, platform) in images {
        let digest = Digest::sha256_of(&fixture.manifest);
        fixture.publish(registry, repository, digest.as_str());
        descriptors.push(fixture.descriptor(platform));
    }
    registry.manifest(
        repository,
        tag,
        media_type::OCI_INDEX,
        Index::oci(descriptors).to_bytes(),
    )
}
