//! What is pulled and built: images made on the spot from Debian packages, and the registry that serves them.
//!
//! `busybox` one small layer · `debian` minbase, one layer · `pydev` nine layers, some 60,000 files, about 1.7 GB ·
//! `big` one layer with one incompressible file of 1 GiB. They are kept in the scratch folder between runs.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use fs_err as fs;

use super::{pydev, volume::done};
use crate::Outcome;

/// Debian's registry on localhost, over plain HTTP.
pub(super) struct Registry {
    process: Child,
    port: u16,
    storage: PathBuf,
}

impl Registry {
    /// With its configuration and everything pushed to it in the folder `home`.
    pub(super) fn start(home: &Path) -> Outcome<Self> {
        fs::create_dir_all(home)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = home.join("registry.yml");
        let storage = home.join("registry");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem:\n    \
                 rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
                storage.display()
            ),
        )?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self {
                    process,
                    port,
                    storage,
                });
            }
            thread::sleep(Duration::from_millis(25));
        }
        Err("docker-registry does not answer".into())
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its blobs are.
    pub(super) fn storage(&self) -> &Path {
        &self.storage
    }

    pub(super) fn reference(&self, name: &str) -> String {
        format!("localhost:{}/bench/{name}:latest", self.port)
    }

    /// Whether an image was pushed to it, in this run or an earlier one.
    pub(super) fn has(&self, name: &str) -> bool {
        let repositories = self.storage.join("docker/registry/v2/repositories/bench");
        repositories
            .join(name)
            .join("_manifests/tags/latest/current/link")
            .exists()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// References of the images as the registry serves them.
pub(super) struct Images {
    pub(super) busybox: String,
    pub(super) debian: String,
    pub(super) pydev: String,
    pub(super) big: String,
}

/// Makes what the registry does not have yet.
pub(super) fn ensure(scratch: &Path, havre: &Path, registry: &Registry) -> Outcome<Images> {
    for (name, make) in [
        ("busybox", make_busybox as fn(&Path, &Path) -> Outcome),
        ("debian", make_debian),
        ("big", make_big),
    ] {
        if registry.has(name) {
            continue;
        }
        eprintln!("making the image {name} (once)");
        let folder = scratch.join("making");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let tar = folder.join("layer.tar");
        make(&folder, &tar)?;
        push_layer(&folder, &tar, &registry.reference(name))?;
        fs::remove_dir_all(folder)?;
    }
    let pydev = registry.reference("pydev");
    pydev::ensure(scratch, havre, registry, &pydev)?;
    Ok(Images {
        busybox: registry.reference("busybox"),
        debian: registry.reference("debian"),
        pydev,
        big: registry.reference("big"),
    })
}

fn make_busybox(folder: &Path, tar: &Path) -> Outcome {
    let root = folder.join("root");
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))?;
    for applet in done(Command::new("/bin/busybox").arg("--list"))?
        .lines()
        .filter(|name| *name != "busybox")
    {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    done(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(tar)
            .arg("."),
    )
    .map(drop)
}

fn make_debian(_: &Path, tar: &Path) -> Outcome {
    done(
        Command::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--include=ca-certificates"])
            .args(["--aptopt=APT::Install-Recommends false", "bookworm"])
            .arg(tar),
    )
    .map(drop)
}

fn make_big(folder: &Path, tar: &Path) -> Outcome {
    done(
        Command::new("dd")
            .args(["if=/dev/urandom", "bs=1M", "count=1024"])
            .arg(format!("of={}", folder.join("noise").display())),
    )?;
    done(
        Command::new("tar")
            .arg("-C")
            .arg(folder)
            .arg("-cf")
            .arg(tar)
            .arg("noise"),
    )
    .map(drop)
}

/// An image of one layer, made without any of the engines that are compared.
fn push_layer(folder: &Path, tar: &Path, reference: &str) -> Outcome {
    let layout = folder.join("layout");
    let image = format!("{}:image", layout.display());
    done(Command::new("umoci").args(["init", "--layout"]).arg(&layout))?;
    done(Command::new("umoci").args(["new", "--image", &image]))?;
    done(
        Command::new("umoci")
            .args(["raw", "add-layer", "--image", &image])
            .arg(tar),
    )?;
    done(Command::new("umoci").args(["config", "--image", &image, "--config.cmd", "/bin/sh"]))?;
    done(
        Command::new("skopeo")
            .args(["copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("oci:{image}"))
            .arg(format!("docker://{reference}")),
    )
    .map(drop)
}
