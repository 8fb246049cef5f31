//! Images without a daemon: from the machine's static busybox, or from nothing.

use std::io::Write;
use std::sync::OnceLock;

use fs_err as fs;
use serde_json::{Value, json};

use crate::archive::{Entry, Layer};
use crate::digest_of;

/// How a layer is stored in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.finish())
                    .expect("writing to memory")
            }
            Self::Zstd => zstd::encode_all(bytes, 1).expect("writing to memory"),
        }
    }

    /// The OCI media type of a layer.
    pub fn layer_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// An image: uncompressed layers and a configuration.
#[derive(Clone, Debug)]
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    /// The `config` part of the configuration: `Cmd`, `Env`, ….
    pub config: Value,
    pub architecture: String,
    pub variant: Option<String>,
    /// When it was made.
    pub created: String,
}

impl Image {
    /// Layers over nothing.
    pub fn from_layers(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self {
            layers: layers.into_iter().map(|layer| layer.tar()).collect(),
            config: json!({"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}),
            architecture: host_architecture().to_owned(),
            variant: None,
            created: "2024-01-01T00:00:00Z".to_owned(),
        }
    }

    /// A small system: busybox under the names tests use, `/etc/passwd` with root and nobody, `/tmp`.
    pub fn busybox() -> Self {
        static MADE: OnceLock<Image> = OnceLock::new();
        MADE.get_or_init(|| Self::from_layers([busybox_layer()])).clone()
    }

    /// The same with another layer on top.
    #[must_use]
    pub fn with_layer(mut self, layer: &Layer) -> Self {
        self.layers.push(layer.tar());
        self
    }

    #[must_use]
    pub fn with_config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    #[must_use]
    pub fn with_architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.to_owned();
        self
    }

    #[must_use]
    pub fn with_created(mut self, created: &str) -> Self {
        self.created = created.to_owned();
        self
    }

    /// The configuration blob.
    pub fn config_json(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| digest_of(layer)).collect();
        let history: Vec<_> = self
            .layers
            .iter()
            .enumerate()
            .map(|(at, _)| json!({"created": "2024-01-01T00:00:00Z", "created_by": format!("layer {at}")}))
            .collect();
        let mut config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": self.created,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        if let Some(variant) = &self.variant {
            config["variant"] = json!(variant);
        }
        config.to_string().into_bytes()
    }

    /// IMAGE ID: the digest of the configuration.
    pub fn id(&self) -> String {
        digest_of(&self.config_json())
    }

    /// What `docker save` writes: `manifest.json`, the configuration, a folder per layer.
    pub fn docker_archive(&self, tags: &[&str]) -> Vec<u8> {
        let config = self.config_json();
        let config_name = format!("{}.json", digest_of(&config).trim_start_matches("sha256:"));
        let mut archive = Layer::new().file(&config_name, &config);
        let mut names = Vec::new();
        for layer in &self.layers {
            let folder = digest_of(layer).trim_start_matches("sha256:").to_owned();
            let name = format!("{folder}/layer.tar");
            archive = archive.dir(&folder).file(&name, layer);
            names.push(name);
        }
        let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
        archive.file("manifest.json", manifest.to_string()).tar()
    }

    /// An OCI image layout with this image under a name.
    pub fn oci_archive(&self, name: &str, compression: Compression) -> Vec<u8> {
        let (manifest, blobs) = self.oci_manifest(compression);
        let descriptor = json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest_of(&manifest),
            "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name},
        });
        let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
        let mut archive = Layer::new()
            .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", index.to_string())
            .dir("blobs")
            .dir("blobs/sha256");
        for blob in blobs.iter().chain([&manifest]) {
            archive = archive.file(&format!("blobs/{}", digest_of(blob).replace(':', "/")), blob);
        }
        archive.tar()
    }

    /// The OCI manifest, and its blobs: the configuration, then the layers.
    pub fn oci_manifest(&self, compression: Compression) -> (Vec<u8>, Vec<Vec<u8>>) {
        self.manifest(
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.config.v1+json",
            compression.layer_type(),
            compression,
        )
    }

    /// The Docker v2 schema 2 manifest (gzip layers), and its blobs.
    pub fn docker_manifest(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        self.manifest(
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Compression::Gzip,
        )
    }

    fn manifest(&self, own: &str, config: &str, layer: &str, how: Compression) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut blobs = vec![self.config_json()];
        blobs.extend(self.layers.iter().map(|layer| how.compress(layer)));
        let describe = |kind: &str, blob: &[u8]| json!({"mediaType": kind, "digest": digest_of(blob), "size": blob.len()});
        let layers: Vec<_> = blobs[1..].iter().map(|blob| describe(layer, blob)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": own, "config": describe(config, &blobs[0]), "layers": layers});
        (manifest.to_string().into_bytes(), blobs)
    }
}

/// The architecture of this machine as images name it.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn busybox_layer() -> Layer {
    const APPLETS: &str = "sh ls cat echo true false sleep id pwd env printenv head tail grep sed awk wc sort mkdir rm rmdir \
        mv cp ln touch chmod chown ps kill test [ hostname ip ifconfig ping wget nc mount umount df du stat tar gzip dd date \
        yes seq stty tty mkfifo readlink find xargs basename dirname sha256sum md5sum vi which uname whoami nproc ulimit \
        httpd nslookup cut tr tee trap timeout usleep mknod su expr";
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok())
        .expect("busybox: apt-get install busybox-static");
    let mut layer = Layer::new()
        .dir("bin")
        .file_with_mode("bin/busybox", busybox, 0o755)
        .dir("etc")
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n")
        .file("etc/group", "root:x:0:\nnogroup:x:65534:\nuser:x:1000:\nextra:x:2000:user\n")
        .dir_with_mode("root", 0o700)
        .dir("home")
        .dir("proc")
        .dir("sys")
        .dir("dev")
        .dir_with_mode("tmp", 0o1777);
    for applet in APPLETS
        .split_whitespace()
        .filter(|applet| *applet != "ulimit" && *applet != "trap")
    {
        // A link's header repeats the file's mode, and readers apply it.
        let name = format!("bin/{applet}");
        let link = Entry {
            mode: 0o755,
            link: "bin/busybox",
            ..Entry::new(&name, b'1')
        };
        layer = layer.raw(&link, &[]);
    }
    layer
}
