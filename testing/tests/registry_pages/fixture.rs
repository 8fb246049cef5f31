//! Registries with something in them to look at.

use std::io::Write as _;
use std::process::{Command, Stdio};

use havre_testing::{Compression, HavreRegistry, Image, Layer, digest_of, havre_binary, http};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of all accounts.
pub(crate) const PASSWORD: &str = "correct horse battery";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that allows to delete, with a folder of its own.
pub(crate) struct Fixture {
    pub(crate) registry: HavreRegistry,
    _dir: TempDir,
}

/// A manifest as others name it.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) digest: String,
    pub(crate) size: usize,
}

impl Fixture {
    pub(crate) fn empty() -> Self {
        Self::configured(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true")])
    }

    pub(crate) fn configured(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            registry: HavreRegistry::configured(&dir.path().join("registry"), variables),
            _dir: dir,
        }
    }

    /// The same images in a registry with accounts: `boss`, who runs it, `me` and `you`, all with [`PASSWORD`].
    pub(crate) fn with_people(signup: &str) -> Self {
        let Self { registry, _dir } = Self::with_images();
        registry.stop();
        let root = _dir.path().join("registry");
        for words in [&["--admin", "boss"][..], &["me"], &["you"]] {
            let mut add = Command::new(havre_binary())
                .args(["registry", "account", "--password-stdin", "--root"])
                .arg(&root)
                .arg("add")
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("the havre binary");
            let mut stdin = add.stdin.take().expect("a pipe");
            writeln!(stdin, "{PASSWORD}").expect("a reader");
            drop(stdin);
            assert!(add.wait().expect("its end").success());
        }
        let variables = [
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("REGISTRY_ACCOUNTS_SIGNUP", signup),
        ];
        Self {
            registry: HavreRegistry::configured(&root, &variables),
            _dir,
        }
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) {
        let answer = http::to_tcp(self.registry.host(), method, path, kind, body).expect("an answer");
        assert!(
            answer.status < 300,
            "{method} {path}: {} {}",
            answer.status,
            answer.text()
        );
    }

    pub(crate) fn push_blob(&self, name: &str, bytes: &[u8]) -> Value {
        let digest = digest_of(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.send("POST", &path, "application/octet-stream", bytes);
        json!({"digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest under a tag, or under its digest.
    pub(crate) fn push_manifest(&self, name: &str, tag: Option<&str>, manifest: &Value) -> Pushed {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest_of(&bytes);
        let kind = manifest["mediaType"].as_str().expect("a media type");
        let path = format!("/v2/{name}/manifests/{}", tag.unwrap_or(&digest));
        self.send("PUT", &path, kind, &bytes);
        Pushed {
            digest,
            size: bytes.len(),
        }
    }

    /// Pushes an image with this configuration and these layers, each compressed in its way.
    pub(crate) fn push(
        &self,
        name: &str,
        tag: Option<&str>,
        config: &Value,
        layers: &[(Vec<u8>, Compression)],
    ) -> Pushed {
        let mut config = config.clone();
        let diff_ids: Vec<String> = layers.iter().map(|(tar, _)| digest_of(tar)).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let described = |blob: &[u8], kind: &str| {
            let mut descriptor = self.push_blob(name, blob);
            descriptor["mediaType"] = json!(kind);
            descriptor
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(config.to_string().as_bytes(), CONFIG),
            "layers": layers
                .iter()
                .map(|(tar, how)| described(&how.compress(tar), how.layer_type()))
                .collect::<Vec<_>>(),
        });
        self.push_manifest(name, tag, &manifest)
    }

    /// A small image of one file, which is another for each text.
    pub(crate) fn push_small(&self, name: &str, tag: &str, text: &str) -> Pushed {
        let layer = Layer::new().file("hello", text).tar();
        self.push(
            name,
            Some(tag),
            &config("amd64", &[]),
            &[(layer, Compression::Gzip)],
        )
    }

    pub(crate) fn push_index(&self, name: &str, tag: &str, images: &[(&str, &Pushed)]) -> Pushed {
        let manifests: Vec<Value> = images
            .iter()
            .map(|(platform, image)| {
                let (os, architecture) = platform.split_once('/').expect("a platform");
                json!({"mediaType": MANIFEST, "digest": image.digest, "size": image.size,
                       "platform": {"os": os, "architecture": architecture}})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.push_manifest(name, Some(tag), &index)
    }

    /// `team/app`: 1.0 and 2.0 for two platforms, with a statement about one; `team/tool`; `library/base` with their first layer.
    pub(crate) fn with_images() -> Self {
        let fixture = Self::empty();
        let base = base();
        let (first, second) = (app("one"), app("two"));
        let third = Layer::new()
            .whiteout("app/old.conf")
            .file("app/main.conf", "workers = 8\ncolour = \"<b>green</b>\"\n")
            .file("app/new.bin", [0_u8, 159, 146, 150].repeat(900))
            .tar();
        let gzip = Compression::Gzip;
        let name = "team/app";
        fixture.push(
            "library/base",
            Some("latest"),
            &config("amd64", &["ADD rootfs.tar / # buildkit"]),
            &[(base.clone(), gzip)],
        );
        let steps = ["ADD rootfs.tar / # buildkit", "COPY app /app # buildkit"];
        let old = fixture.push(
            name,
            None,
            &config("amd64", &steps),
            &[(base.clone(), gzip), (first.clone(), Compression::Zstd)],
        );
        let arm = fixture.push(
            name,
            None,
            &config("arm64", &steps),
            &[(base.clone(), gzip), (second, Compression::None)],
        );
        fixture.push_index(name, "1.0", &[("linux/amd64", &old), ("linux/arm64", &arm)]);
        let steps = [steps[0], steps[1], "/bin/sh -c rm /app/old.conf &&     configure"];
        let mut changed = config("amd64", &steps);
        changed["config"]["Env"] = json!(["PATH=/bin", "MODE=fast"]);
        let new = fixture.push(
            name,
            None,
            &changed,
            &[(base, gzip), (first, Compression::Zstd), (third, gzip)],
        );
        fixture.push_index(name, "2.0", &[("linux/amd64", &new), ("linux/arm64", &arm)]);
        fixture.push_index(name, "latest", &[("linux/amd64", &new), ("linux/arm64", &arm)]);
        fixture.push_statement(name, &new);
        fixture.push_small("team/tool", "0.1", "a tool");
        fixture
    }

    fn push_statement(&self, name: &str, about: &Pushed) {
        let mut empty = self.push_blob(name, b"{}");
        empty["mediaType"] = json!("application/vnd.oci.empty.v1+json");
        let mut bill = self.push_blob(name, b"{\"spdxVersion\":\"SPDX-2.3\"}");
        bill["mediaType"] = json!("application/spdx+json");
        let statement = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/spdx+json",
            "config": empty,
            "layers": [bill],
            "subject": {"mediaType": MANIFEST, "digest": about.digest, "size": about.size},
            "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
        });
        self.push_manifest(name, None, &statement);
    }
}

fn base() -> Vec<u8> {
    let mut layer = Layer::new()
        .dir("bin")
        .file_with_mode("bin/sh", vec![0x7f; 400_000], 0o755)
        .dir("etc")
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .file("usr/lib/libc.so", &Image::busybox().layers[0][..200_000])
        .hardlink("usr/lib/libc.so.6", "usr/lib/libc.so")
        .dir("var");
    for number in 0..30 {
        layer = layer.file(&format!("usr/lib/module{number:02}.so"), vec![number; 3000]);
    }
    layer.tar()
}

fn app(text: &str) -> Vec<u8> {
    Layer::new()
        .dir("app")
        .file("app/data.tar", Layer::noise(7, 90_000).tar())
        .file("app/main.conf", "workers = 4\n\tcolour = \"green\"\n")
        .file("app/old.conf", "deprecated = true\n")
        .file("app/empty", "")
        .file("app/which", text)
        .symlink("app/current", "main.conf")
        .symlink("app/nowhere", "/not/there")
        // What a name may hold: markup, a line's end, a mark that turns the direction of writing.
        .file("app/<img src=x onerror=alert(1)>", "no image\n")
        .file("app/line\nend", "two lines\n")
        .file("app/txt.\u{202e}gpj", "turned\n")
        .tar()
}

pub(crate) fn config(architecture: &str, steps: &[&str]) -> Value {
    let mut history: Vec<Value> = steps
        .iter()
        .map(|step| json!({"created": "2026-02-03T04:05:06Z", "created_by": step}))
        .collect();
    history.push(
        json!({"created": "2026-02-03T04:05:07Z", "created_by": "CMD [\"/bin/sh\"]", "empty_layer": true}),
    );
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": "2026-02-03T04:05:07Z",
        "config": {
            "Cmd": ["/bin/sh", "-c", "echo it's"],
            "Env": ["PATH=/bin", "MODE=slow"],
            "ExposedPorts": {"8080/tcp": {}},
            "WorkingDir": "/app",
            "Labels": {"org.opencontainers.image.title": "An app", "hostile": "<script>alert(1)</script>\u{202e}"},
        },
        "history": history,
    })
}
