//! What is pulled and built: images made on the spot from Debian packages, and the registry that serves them.
//!
//! `busybox` one small layer · `debian` minbase, one layer · `many` eight layers, some 40,000 files, about 1 GB ·
//! `big` one layer with one incompressible file of 1 GiB. They are kept in the scratch folder between runs.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use fs_err as fs;

use super::volume::done;
use crate::Outcome;

/// Debian's registry on localhost, over plain HTTP.
pub(super) struct Registry {
    process: Child,
    port: u16,
}

impl Registry {
    pub(super) fn start(scratch: &Path) -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = scratch.join("registry.yml");
        let storage = scratch.join("registry");
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
                return Ok(Self { process, port });
            }
            thread::sleep(Duration::from_millis(25));
        }
        Err("docker-registry does not answer".into())
    }

    fn reference(&self, name: &str) -> String {
        format!("localhost:{}/bench/{name}:latest", self.port)
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
    pub(super) many: String,
    pub(super) big: String,
}

/// Packages that make the many-file image about 1 GB: what a Python developer's image holds.
const MANY_PACKAGES: &str = "python3-full,python3-pip,python3-numpy,python3-scipy,python3-pandas,python3-matplotlib,\
                             python3-django,python3-sklearn,build-essential,git,ca-certificates,python3-sympy";

pub(super) fn ensure(scratch: &Path, registry: &Registry) -> Outcome<Images> {
    let layout = scratch.join("layout");
    if !layout.exists() {
        done(Command::new("umoci").args(["init", "--layout"]).arg(&layout))?;
    }
    let busybox_tar = scratch.join("busybox.tar");
    if !busybox_tar.exists() {
        eprintln!("making the images (once)");
        make_busybox(scratch, &busybox_tar)?;
        add_image(&layout, "busybox", std::slice::from_ref(&busybox_tar))?;
    }
    let debian_tar = scratch.join("debian.tar");
    if !debian_tar.exists() {
        debootstrap(&debian_tar, "ca-certificates")?;
        add_image(&layout, "debian", std::slice::from_ref(&debian_tar))?;
    }
    if !scratch.join("many.done").exists() {
        let layers = make_many(scratch)?;
        add_image(&layout, "many", &layers)?;
        for layer in layers {
            fs::remove_file(layer)?;
        }
        fs::write(scratch.join("many.done"), "")?;
    }
    if !scratch.join("big.done").exists() {
        let folder = scratch.join("big");
        fs::create_dir_all(&folder)?;
        let file = folder.join("noise");
        done(
            Command::new("dd")
                .args(["if=/dev/urandom", "bs=1M", "count=1024"])
                .arg(format!("of={}", file.display())),
        )?;
        let tar = scratch.join("big.tar");
        done(
            Command::new("tar")
                .arg("-C")
                .arg(&folder)
                .arg("-cf")
                .arg(&tar)
                .arg("."),
        )?;
        add_image(&layout, "big", std::slice::from_ref(&tar))?;
        fs::remove_dir_all(folder)?;
        fs::remove_file(tar)?;
        fs::write(scratch.join("big.done"), "")?;
    }
    for name in ["busybox", "debian", "many", "big"] {
        done(
            Command::new("skopeo")
                .args(["copy", "-q", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:{name}", layout.display()))
                .arg(format!("docker://{}", registry.reference(name))),
        )?;
    }
    Ok(Images {
        busybox: registry.reference("busybox"),
        debian: registry.reference("debian"),
        many: registry.reference("many"),
        big: registry.reference("big"),
    })
}

fn make_busybox(scratch: &Path, tar: &Path) -> Outcome {
    let root = scratch.join("busybox");
    let _ = fs::remove_dir_all(&root);
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

fn debootstrap(tar: &Path, packages: &str) -> Outcome {
    done(
        Command::new("mmdebstrap")
            .args([
                "--quiet",
                "--variant=minbase",
                "--aptopt=APT::Install-Recommends false",
            ])
            .arg(format!("--include={packages}"))
            .arg("bookworm")
            .arg(tar),
    )
    .map(drop)
}

/// One Debian root file system, dealt into eight layers by folder.
fn make_many(scratch: &Path) -> Outcome<Vec<PathBuf>> {
    let whole = scratch.join("many.tar");
    debootstrap(&whole, MANY_PACKAGES)?;
    let root = scratch.join("many-root");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root)?;
    done(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(&whole))?;
    fs::remove_file(&whole)?;
    let shares: [(&str, &[&str]); 8] = [
        ("base", &["--exclude=./usr/*", "."]),
        ("bin", &["./usr/bin", "./usr/sbin"]),
        ("python", &["./usr/lib/python3"]),
        ("python-lib", &["./usr/lib/python3.11"]),
        ("gcc", &["./usr/lib/gcc", "./usr/include"]),
        ("libraries", &["./usr/lib/x86_64-linux-gnu"]),
        ("share", &["./usr/share"]),
        (
            "rest",
            &[
                "--exclude=./usr/bin",
                "--exclude=./usr/sbin",
                "--exclude=./usr/lib/python3",
                "--exclude=./usr/lib/python3.11",
                "--exclude=./usr/lib/gcc",
                "--exclude=./usr/include",
                "--exclude=./usr/lib/x86_64-linux-gnu",
                "--exclude=./usr/share",
                "./usr",
            ],
        ),
    ];
    let mut layers = Vec::new();
    for (name, paths) in shares {
        let tar = scratch.join(format!("many-{name}.tar"));
        done(
            Command::new("tar")
                .arg("-C")
                .arg(&root)
                .arg("-cf")
                .arg(&tar)
                .args(paths),
        )?;
        layers.push(tar);
    }
    fs::remove_dir_all(root)?;
    Ok(layers)
}

fn add_image(layout: &Path, name: &str, layers: &[PathBuf]) -> Outcome {
    let image = format!("{}:{name}", layout.display());
    done(Command::new("umoci").args(["new", "--image", &image]))?;
    for layer in layers {
        done(
            Command::new("umoci")
                .args(["raw", "add-layer", "--image", &image])
                .arg(layer),
        )?;
    }
    done(Command::new("umoci").args(["config", "--image", &image, "--config.cmd", "/bin/sh"])).map(drop)
}
