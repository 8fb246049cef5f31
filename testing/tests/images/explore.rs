//! What is in an image, without running it: files, cat, extract, explore.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use fs_err as fs;
use havre_testing::{Compression, Image, Layer, TestEngine, eventually, havre_binary};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

/// Three layers that add, change, take away and hide.
fn layered() -> Image {
    Image::from_layers([
        Layer::new()
            .dir("etc")
            .file("etc/app.conf", "first\n")
            .file("etc/gone", "soon")
            .dir("var")
            .dir("var/lib")
            .file("var/lib/old", "old")
            .symlink("conf", "etc/app.conf")
            .symlink("var/up", "../../../etc")
            .symlink("loop", "loop")
            .hardlink("etc/same", "etc/app.conf"),
        Layer::new()
            .dir("etc")
            .file("etc/app.conf", "second\n")
            .whiteout("etc/gone")
            .dir("var")
            .dir("var/lib")
            .file("var/lib/.wh..wh..opq", "")
            .file("var/lib/new", "new"),
        Layer::new().file_with_mode("run.sh", "#!/bin/sh\n", 0o4755),
    ])
}

fn engine() -> TestEngine {
    let engine = TestEngine::start();
    engine.load(&layered(), "app");
    engine
}

#[test]
fn files_are_listed_as_a_container_would_see_them() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = engine();
    assert_eq!(
        engine.ok("image files -R -q app"),
        "/conf\n/etc\n/etc/app.conf\n/etc/same\n/loop\n/run.sh\n/var\n/var/lib\n/var/lib/new\n/var/up"
    );
    let text = engine.ok("image files app");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["MODE", "OWNER", "SIZE", "MODIFIED", "NAME"]);
    let found = |name: &str| {
        lines
            .iter()
            .find(|line| line.contains(&name))
            .unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert_eq!(found("run.sh")[..3], ["-rwsr-xr-x", "0:0", "10B"]);
    assert_eq!(
        found("conf")[found("conf").len() - 3..],
        ["conf", "->", "etc/app.conf"]
    );
    // A link in the way is followed within the image, never out of it; a file is shown itself.
    assert_eq!(engine.ok("image files -q app var/up"), "/etc/app.conf\n/etc/same");
    assert_eq!(
        engine.ok("image files -q app /var/lib/../up/app.conf"),
        "/etc/app.conf"
    );
    let json: Value =
        serde_json::from_str(&engine.ok("image files --format json app /etc/same")).expect("JSON");
    assert_eq!(
        (json["Layer"].as_str(), json["Type"].as_str()),
        (Some("0"), Some("file"))
    );
    for (words, told) in [
        (
            "image files app nothing",
            "no such file or directory in app: /nothing",
        ),
        (
            "image files app run.sh/x",
            "no such file or directory in app: /run.sh/x",
        ),
        (
            "image files app loop/x",
            "too many levels of symbolic links: loop/x",
        ),
        ("image files --layer 3 app", "app has layers 0 to 2, not 3"),
        ("image files nosuch", "No such image: nosuch:latest"),
    ] {
        assert_eq!(
            engine.fails(1, words),
            format!("Error response from daemon: {told}"),
            "{words}"
        );
    }
    assert_eq!(
        engine.fails(1, "image files --layer -1 app"),
        "--layer -1: layers count from 0, the lowest"
    );
}

#[test]
fn one_layer_alone_shows_what_it_takes_away() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = engine();
    let text = engine.ok([
        "image",
        "files",
        "-R",
        "--layer",
        "1",
        "--format",
        "{{.Type}} {{.Path}}",
        "app",
    ]);
    assert_eq!(
        text,
        "directory /etc\nfile /etc/app.conf\nremoved /etc/gone\ndirectory /var\ndirectory /var/lib\nfile /var/lib/new"
    );
    assert_eq!(engine.ok("image cat --layer 0 app etc/app.conf"), "first");
    let gone = engine.fails(1, "image cat --layer 1 app etc/gone");
    assert!(gone.ends_with("/etc/gone is removed by this layer"), "{gone}");
    assert!(
        engine
            .fails(1, "image extract --layer 1 app etc/gone")
            .contains("removed by this layer")
    );
}

#[test]
fn contents_are_printed_byte_for_byte() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = engine();
    let noise: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    engine.load(
        &layered().with_layer(&Layer::new().file("noise", &noise).file("empty", "")),
        "more",
    );
    let printed = engine.cmd("image cat more conf noise /empty etc/same").run();
    assert_eq!(printed.code, 0, "{}", printed.err());
    assert_eq!(printed.stdout, [&b"second\n"[..], &noise, b"first\n"].concat());
    // What cannot be printed doesn't keep the rest from it.
    let some = engine.run("image cat app etc nothing conf");
    assert_eq!(some.out(), "second");
    let told = some.fails(1);
    assert!(
        told.contains("/etc is a directory") && told.contains("in app: /nothing"),
        "{told}"
    );
}

#[test]
fn files_and_trees_are_extracted() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = engine();
    let dir = engine.dir().join("out");
    fs::create_dir(&dir).expect("directory");
    let to = |name: &str| dir.join(name).to_string_lossy().into_owned();
    engine.ok(["image", "extract", "-o", &to("tree"), "app", "/"]);
    assert_eq!(
        fs::read_to_string(dir.join("tree/etc/app.conf")).expect("file"),
        "second\n"
    );
    assert_eq!(
        fs::read_to_string(dir.join("tree/etc/same")).expect("file"),
        "first\n"
    );
    assert!(!dir.join("tree/etc/gone").exists() && !dir.join("tree/var/lib/old").exists());
    assert_eq!(
        fs::symlink_metadata(dir.join("tree/run.sh"))
            .expect("file")
            .mode()
            & 0o7777,
        0o4755
    );
    engine.ok(["image", "extract", "-o", &to(""), "app", "etc/app.conf"]);
    assert_eq!(
        fs::read_to_string(dir.join("app.conf")).expect("file"),
        "second\n"
    );
    // Names of one file stay so.
    engine.ok([
        "image",
        "extract",
        "--layer",
        "0",
        "-o",
        &to("lower"),
        "app",
        "etc",
    ]);
    let inode = |name: &str| fs::metadata(dir.join(name)).expect("file").ino();
    assert_eq!(inode("lower/app.conf"), inode("lower/same"));
    engine.cmd("image extract app var").dir(&dir).ok();
    assert_eq!(fs::read_to_string(dir.join("var/lib/new")).expect("file"), "new");
    let tar = engine.cmd("image extract -o - app etc").run();
    let mut archive = tar::Archive::new(&tar.stdout[..]);
    let names: Vec<String> = archive
        .entries()
        .expect("tar")
        .map(|entry| entry.expect("entry").path().expect("path").display().to_string())
        .collect();
    assert_eq!(names, ["etc/", "etc/app.conf", "etc/same"]);
}

/// Layers that replace, take away and hide at random: what is listed and packed is what the kernel shows a container.
#[test]
fn merged_layers_are_what_a_container_sees() {
    if !TestEngine::is_dockerd() {
        merged_layers(&TestEngine::start());
        merged_layers(&TestEngine::with_config("[storage]\nlayers = \"directories\"\n"));
    }
}

fn merged_layers(engine: &TestEngine) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut image = Image::busybox().with_layer(&Layer::new().dir("t"));
    for number in 0..4 {
        let mut layer = Layer::new().dir("t");
        for top in 0..12 {
            // A layer says one thing of a name, and has something only in directories of its own.
            let mut said: Vec<(String, bool)> = vec![(format!("t/{top}"), true)];
            layer = layer.dir(&said[0].0);
            for _ in 0..10 {
                let parents: Vec<String> = said
                    .iter()
                    .filter(|(_, dir)| *dir)
                    .map(|(path, _)| path.clone())
                    .collect();
                let parent = &parents[random(parents.len() as u64) as usize];
                let path = format!("{parent}/{}", ["a", "b", "c", "d"][random(4) as usize]);
                if said.iter().any(|(other, _)| *other == path) {
                    continue;
                }
                let kind = random(8);
                layer = match kind {
                    0 | 1 => layer.file(&path, format!("layer {number} {path}")),
                    2 => layer.symlink(&path, "nowhere"),
                    3 | 4 => layer.whiteout(&path),
                    5 => layer.dir(&path).file(&format!("{path}/.wh..wh..opq"), ""),
                    _ => layer.dir(&path),
                };
                said.push((path, kind >= 5));
            }
        }
        image = image.with_layer(&layer);
    }
    engine.load(&image, "random");
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    // The kernel names what a layer takes away that isn't there below, and finds nothing by that name.
    let seen = sorted(&engine.ok([
        "run",
        "--rm",
        "random",
        "sh",
        "-c",
        "find /t 2> /dev/null || true",
    ]));
    let listed = engine.ok("image files -R -q random t");
    assert_eq!(sorted(&format!("/t\n{listed}")), seen);
    let contents = engine.ok([
        "run",
        "--rm",
        "random",
        "sh",
        "-c",
        "find /t -type f | sort | xargs cat",
    ]);
    let files: Vec<String> = engine
        .ok([
            "image",
            "files",
            "-R",
            "--format",
            "{{.Type}} {{.Path}}",
            "random",
            "t",
        ])
        .lines()
        .filter_map(|line| line.strip_prefix("file ").map(str::to_owned))
        .collect();
    assert!(files.len() > 10, "{files:?}");
    let mut sorted_files = files;
    sorted_files.sort_unstable();
    let words = ["image", "cat", "random"].iter().map(|word| (*word).to_owned());
    assert_eq!(engine.ok(words.chain(sorted_files).collect::<Vec<_>>()), contents);
    // The client puts the layers together by itself.
    let dir = engine.dir().join("tree");
    engine.ok(["image", "extract", "-o", &dir.to_string_lossy(), "random", "t"]);
    let report: Value = serde_json::from_str(&engine.ok("explore --json - random")).expect("JSON");
    let stored = report["image"]["sizeBytes"].as_u64().expect("bytes");
    let hidden = report["image"]["hiddenBytes"].as_u64().expect("bytes");
    let bytes = |path: &str| {
        engine.ok([
            "run",
            "--rm",
            "random",
            "sh",
            "-c",
            &format!("find {path} -type f | sort | xargs cat | wc -c"),
        ])
    };
    let base: u64 = report["layer"][0]["sizeBytes"].as_u64().expect("bytes");
    assert_eq!(
        stored - hidden - base,
        bytes("/t").trim().parse::<u64>().expect("a number")
    );
}

/// Names that speak to a terminal or lead elsewhere, and layers that hide one another at every level.
#[test]
fn hostile_names_stay_names() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let deep = vec!["d"; 200].join("/");
    let image = Image::from_layers([
        Layer::new()
            .file("a\u{1b}[31mred", "")
            .file("line\nbreak", "x")
            .symlink("out", "/../../../../etc/passwd")
            .file(&format!("{deep}/end"), "deep"),
        Layer::new().file("d", "not a directory"),
    ]);
    engine.load(&image, "hostile");
    let text = engine.ok("image files hostile");
    assert!(
        text.contains("a\\x1b[31mred") && text.contains("line\\nbreak") && !text.contains('\u{1b}'),
        "{text}"
    );
    let out = engine.fails(1, "image cat hostile out");
    assert!(
        out.contains("no such file or directory in hostile: /out"),
        "{out}"
    );
    assert_eq!(engine.ok(["image", "cat", "hostile", "line\nbreak"]), "x");
    assert_eq!(engine.ok("image cat hostile d"), "not a directory");
    assert_eq!(
        engine.ok(["image", "cat", "--layer", "0", "hostile", &format!("{deep}/end")]),
        "deep"
    );
    let below = engine.fails(1, ["image", "cat", "hostile", &format!("{deep}/end")]);
    assert!(below.contains("no such file or directory"), "{below}");
    for target in ["path=a%00b", "path64=%25%25"] {
        let answer = engine
            .api("GET", &format!("/havre/images/hostile/file?{target}"))
            .expect("an answer");
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
}

// ---- explore -----------------------------------------------------------------------------------------------------

/// Ten bytes overwritten by twenty, a directory of thirty taken away, five that stay.
fn wasteful() -> Image {
    Image::from_layers([
        Layer::new()
            .dir("a")
            .file("a/conf", "0123456789")
            .dir("lists")
            .file("lists/one", "0123456789")
            .file("lists/two", "01234567890123456789")
            .file("stays", "12345"),
        Layer::new().dir("a").file("a/conf", "01234567890123456789"),
        Layer::new().whiteout("lists"),
    ])
}

#[test]
fn a_report_has_the_figures_of_dive_and_ours() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&wasteful(), "app");
    let report: Value = serde_json::from_str(&engine.ok("explore --json - app")).expect("JSON");
    let image = &report["image"];
    assert_eq!(image["sizeBytes"], 65);
    assert_eq!(image["inefficientBytes"], 60);
    assert_eq!(image["hiddenBytes"], 40);
    let efficiency = image["efficiencyScore"].as_f64().expect("a share");
    assert!((efficiency - 15.0 / 65.0).abs() < 1e-9, "{efficiency}");
    let files: Vec<_> = image["fileReference"].as_array().expect("list").iter().collect();
    let row = |at: usize| {
        (
            files[at]["file"].as_str().unwrap_or_default(),
            files[at]["count"].as_u64(),
            files[at]["sizeBytes"].as_u64(),
        )
    };
    assert_eq!(row(0), ("/a/conf", Some(2), Some(30)));
    assert_eq!(row(1), ("/lists", Some(2), Some(30)));
    assert_eq!(report["layer"][1]["changed"], 1);
    assert_eq!(report["layer"][2]["removed"], 1);
    assert_eq!(report["layer"][2]["fileList"][0]["removed"], true);

    // The same image in files of every kind.
    let dir = engine.dir().join("archives");
    fs::create_dir(&dir).expect("directory");
    let docker = wasteful().docker_archive(&["app:latest"]);
    let oci = wasteful().oci_archive("app:latest", Compression::Gzip);
    fs::write(dir.join("docker.tar"), &docker).expect("archive");
    fs::write(dir.join("docker.tgz"), Compression::Gzip.compress(&docker)).expect("archive");
    fs::write(dir.join("oci.tar"), &oci).expect("archive");
    tar::Archive::new(&oci[..])
        .unpack(dir.join("layout"))
        .expect("layout");
    for name in [
        "./docker.tar",
        "docker.tgz",
        "archive:oci.tar",
        "./layout",
        "oci:layout:app",
    ] {
        let found = engine.cmd(["explore", "-j", "-", name]).dir(&dir).ok();
        let found: Value = serde_json::from_str(&found).expect("JSON");
        assert_eq!(found, report, "{name}");
    }
    for (name, told) in [
        ("./nothing", "No such file or directory"),
        (
            "archive:docker.tar:other",
            "holds no image called other: app:latest",
        ),
        ("/etc/passwd", "/etc/passwd is no archive of an image"),
        ("/etc", "it has neither manifest.json nor index.json"),
    ] {
        let error = engine.cmd(["explore", "-j", "-", name]).dir(&dir).run().fails(1);
        assert!(error.contains(told), "{name}: {error}");
    }
}

#[test]
fn a_judgement_ends_with_its_status() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&wasteful(), "app");
    let bad = engine.run("explore --ci app");
    assert_eq!(bad.code, 1, "{bad}");
    for part in [
        "efficiency:         23.08 %",
        "hidden bytes:       40B (40)",
        "  2       30B       30B       /lists\n",
        "  FAIL  lowestEfficiency          23.08 %, asked: at least 90.00 %\n",
        "  SKIP  highestWastedBytes        disabled\n",
        "Result: FAIL",
    ] {
        assert!(format!("{}\n", bad.out()).contains(part), "{part:?} in {bad}");
    }
    let flags =
        "explore --ci --lowest-efficiency 0.2 --highestWastedBytes 60 --highest-user-wasted-percent off app";
    assert!(engine.ok(flags).ends_with("Result: PASS"));
    // The file beside, and one that is named; the command line counts more.
    let dir = engine.files(
        "rules",
        &[(
            ".dive-ci",
            "rules:\n  lowestEfficiency: 0.1\n  highestUserWastedPercent: disabled\n",
        )],
    );
    assert!(
        engine
            .cmd("explore app")
            .env("CI", "true")
            .dir(&dir)
            .ok()
            .ends_with("Result: PASS")
    );
    let file = dir.join(".dive-ci").to_string_lossy().into_owned();
    engine.ok(["explore", "--ci", "--ci-config", &file, "app"]);
    let strict = engine.run([
        "explore",
        "--ci",
        "--ci-config",
        &file,
        "--highest-wasted-bytes",
        "59",
        "app",
    ]);
    assert_eq!(strict.code, 1, "{strict}");
    let wrong = engine.fails(1, "explore --ci --lowest-efficiency 90 app");
    assert_eq!(
        wrong,
        "lowestEfficiency: \"90\" is no number from 0 to 1, nor 'disabled'"
    );
    let nowhere = engine.cmd("explore app").env("CI", "").run().fails(1);
    assert!(
        nowhere.contains("--ci") && nowhere.contains("--json"),
        "{nowhere}"
    );
}

#[test]
fn a_page_needs_nothing_else() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let hostile = "</script><script>alert(1)</script>";
    engine.load(
        &wasteful().with_layer(
            &Layer::new()
                .file(&hostile.replace('/', "_"), "x")
                .file("<!--", "y"),
        ),
        "app",
    );
    let file = engine.dir().join("page.html");
    engine.ok(["dive", "--html", &file.to_string_lossy(), "app"]);
    let page = fs::read_to_string(&file).expect("page");
    assert!(
        page.contains("default-src 'none'; script-src 'sha256-"),
        "{}",
        &page[..600]
    );
    for forbidden in [
        "http://",
        "https://",
        "src=",
        "href=",
        "url(",
        "@import",
        "alert(1)</script>",
        "<!--",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let data = page
        .split("id=\"data\">")
        .nth(1)
        .and_then(|rest| rest.split("</script>").next());
    let data: Value = serde_json::from_str(data.expect("data")).expect("JSON");
    assert_eq!(
        (data["total"].as_u64(), data["seen"].as_u64()),
        (Some(67), Some(27))
    );
    let names: Vec<_> = data["tree"]["c"]
        .as_array()
        .expect("tree")
        .iter()
        .map(|one| &one["n"])
        .collect();
    assert_eq!(
        names,
        ["<!--", "<_script><script>alert(1)<_script>", "a", "stays"]
    );
}

/// A client at a terminal of its own.
#[test]
fn a_person_walks_through_an_image() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    engine.load(&wasteful(), "app");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&master)
        .and_then(|()| unlockpt(&master))
        .expect("a terminal");
    let size = rustix::termios::Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&master, size).expect("a size");
    let name = ptsname(&master, Vec::new())
        .expect("a name")
        .into_string()
        .expect("a path");
    let open = || {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&name)
            .expect("a terminal")
            .into_parts()
            .0
    };
    let mut child = Command::new(havre_binary())
        .args(["explore", "app"])
        .env("DOCKER_HOST", engine.host())
        .env("DOCKER_CONFIG", engine.client_dir())
        .env("TERM", "xterm")
        .env_remove("CI")
        .stdin(Stdio::from(open()))
        .stdout(Stdio::from(open()))
        .stderr(Stdio::from(open()))
        .spawn()
        .expect("the explorer");
    let mut keys = std::fs::File::from(master);
    let mut screen = keys.try_clone().expect("a terminal");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&seen);
    let reading = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // The end of the last who has it open is an error.
        while let Ok(count) = screen.read(&mut piece) {
            written.lock().expect("bytes").extend_from_slice(&piece[..count]);
        }
    });
    let mut from = 0;
    let mut shows = |what: &str| {
        eventually(what, || {
            let seen = seen.lock().expect("bytes");
            let text = String::from_utf8_lossy(&seen[from..]).into_owned();
            let found = text.contains(what);
            if found {
                from = seen.len();
            }
            found
        });
    };
    shows("efficiency");
    keys.write_all(b"w").expect("a key");
    shows("/lists");
    // To the first of them, the file that was overwritten, and into it.
    keys.write_all(b"\r").expect("a key");
    shows("layer 1");
    keys.write_all(b"\r").expect("a key");
    shows("/a/conf in layer 1");
    keys.write_all(b"d").expect("a key");
    shows("-0123456789");
    keys.write_all(b"qq").expect("a key");
    assert!(child.wait().expect("its end").success());
    drop(keys);
    let text = || String::from_utf8_lossy(&seen.lock().expect("bytes")).into_owned();
    eventually("the terminal given back", || text().contains("\u{1b}[?1049l"));
    drop(reading);
}

// ---- diff --------------------------------------------------------------------------------------------------------

const STATUS: &str = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\nPackage: wget\nStatus: install ok installed\nVersion: 1.21\n";

/// Two versions of an image on one base.
fn versions() -> [Image; 2] {
    let base = Image::from_layers([Layer::new().dir("etc").file("etc/base", "base").dir("var")]);
    let old = Layer::new()
        .file("etc/conf", "old conf")
        .file("etc/rewritten", "same size")
        .file("etc/gone", "gone")
        .symlink("link", "etc/conf")
        .file("var/lib/dpkg/status", STATUS);
    let new = Layer::new()
        .file("etc/conf", "new and longer")
        .file_with_mode("etc/rewritten", "SAME SIZE", 0o644)
        .file("etc/fresh", "fresh")
        .symlink("link", "etc/fresh")
        .file(
            "var/lib/dpkg/status",
            STATUS
                .replace("2.36-9", "2.36-10")
                .replace("wget", "curl")
                .replace("1.21", "8.1"),
        );
    [
        base.clone()
            .with_layer(&old)
            .with_config("Env", serde_json::json!(["A=1", "B=2"])),
        base.with_layer(&new)
            .with_config("Env", serde_json::json!(["A=2", "B=2"]))
            .with_config("User", serde_json::json!("app")),
    ]
}

#[test]
fn two_images_are_compared() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let [old, new] = versions();
    engine.load(&old, "app:v1");
    engine.load(&new, "app:v2");
    let text = engine.ok("image diff app:v1 app:v2");
    assert_eq!(engine.ok("diff app:v1 app:v2"), text);
    for line in [
        "Layers: 1 (4B) shared, 1 (139B) only in app:v1, 1 (146B) only in app:v2",
        "Configuration: 1 added, 0 removed, 1 changed",
        "C  Env A  1 -> 2",
        "A  User   app",
        "Packages: 1 added, 1 removed, 1 changed",
        "A  dpkg curl   8.1",
        "C  dpkg libc6  2.36-9 -> 2.36-10",
        "D  dpkg wget   1.21",
        "Files: 1 added (5B), 1 removed (4B), 4 changed (141B)",
        "C  8B -> 14B  /etc/conf",
        "A  5B         /etc/fresh",
        "D  4B         /etc/gone",
        "C  9B         /etc/rewritten (other contents)",
        "C  link       /link (target etc/conf -> etc/fresh)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
    // All have one time here: only the contents tell.
    let quick = engine.ok("image diff --files --quick app:v1 app:v2");
    assert!(
        !quick.contains("/etc/rewritten") && !quick.contains("Layers"),
        "{quick}"
    );
    let json: Value =
        serde_json::from_str(&engine.ok("diff --format json --packages app:v1 app:v2")).expect("JSON");
    assert_eq!(
        json["Packages"][0],
        serde_json::json!({"Manager": "dpkg", "Name": "curl", "New": "8.1"})
    );
    assert!(json.get("Files").is_none());
    let same = engine.ok("diff app:v1 app:v1");
    assert!(
        same.contains("Configuration: the same") && same.contains("Files: the same"),
        "{same}"
    );

    // An archive beside an image, and two archives.
    let file = engine.dir().join("v2.tar");
    fs::write(&file, new.docker_archive(&["app:v2"])).expect("archive");
    let file = file.to_string_lossy().into_owned();
    let mixed = engine.ok(["diff", "--config", "--packages", "--files", "app:v1", &file]);
    let all = engine.ok("diff --config --packages --files app:v1 app:v2");
    assert_eq!(mixed, all);
    assert!(engine.ok(["diff", "--files", &file, &file]).contains("the same"));
    assert_eq!(
        engine.fails(1, "diff --format {{.Name}} app:v1 app:v2"),
        "--format \"{{.Name}}\": expected 'table' or 'json'"
    );
    assert!(
        engine
            .fails(1, "diff app:v1 nosuch")
            .contains("No such image: nosuch:latest")
    );
    assert_eq!(
        engine.fails(1, "diff --files box"),
        "--files is about two images: name a second one, or leave it out"
    );
}

/// Of many files that may differ, whole layers are read.
#[test]
fn many_files_are_compared_by_their_contents() {
    if TestEngine::is_dockerd() {
        return;
    }
    let engine = TestEngine::start();
    let layer = |odd: &str| {
        let names = (0..100).map(|number| format!("file{number:03}"));
        let files = names.fold(Layer::new(), |layer, name| {
            layer.file(&name, format!("contents of {name}"))
        });
        files.file("odd", odd).hardlink("same", "odd")
    };
    engine.load(&Image::from_layers([layer("odd one")]), "one");
    engine.load(&Image::from_layers([layer("odd two")]), "two");
    assert_eq!(
        engine.ok("diff --files one two"),
        "Files: 0 added (0B), 0 removed (0B), 2 changed (14B)\nC  7B  /odd (other contents)\nC  7B  /same (other contents)"
    );
}
