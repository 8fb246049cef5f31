//! Four lessons: what images are, names and pushing, layers, a first image of one's own.

use fs_err as fs;

use crate::{PASSWORD, Student, USER, rows};

/// The login as a person does it, once.
pub(crate) fn log_in(student: &Student) {
    let screen = student.sits_at(
        "sudo docker login",
        &[
            ("Username", &format!("{USER}\n")),
            ("Password", &format!("{PASSWORD}\n")),
        ],
    );
    assert!(screen.contains("Login Succeeded"), "{screen}");
    assert!(!screen.contains(PASSWORD), "a password is not shown: {screen}");
}

#[test]
fn the_lessons_of_the_classroom() {
    let Some(student) = Student::arrives() else { return };
    images_and_registry(&student);
    images_and_containers(&student);
    using_images(&student);
    an_image_of_ones_own(&student);
}

/// "Images Docker": list, clean up, tag, push, and use what was pushed.
fn images_and_registry(student: &Student) {
    let dockerfile = "FROM python:3.9\nCMD [\"python3\"]\n";
    fs::write(student.home.join("Dockerfile"), dockerfile).expect("Dockerfile");
    student.types("docker build -t 3olen/tp-git-01-python .");
    for list in ["docker image ps", "docker images", "docker image ls"] {
        let listed = student.types(list);
        assert!(listed.contains("3olen/tp-git-01-python"), "{listed}");
    }
    let asked = student.answers("docker image prune", "y\n");
    assert!(asked.contains("Total reclaimed space"), "{asked}");

    student.types("docker tag 3olen/tp-git-01-python utilisateur_docker/3olen-tp-git-01-python:1.0.0");
    let ids = student.types("docker images --format '{{.ID}}' | sort | uniq -d");
    assert_eq!(ids.lines().count(), 1, "two names of one image: {ids}");
    let refused =
        student.types("docker push utilisateur_docker/3olen-tp-git-01-python:1.0.0 2>&1 || echo refused");
    assert!(refused.contains("refused"), "nobody is logged in: {refused}");
    log_in(student);
    student.types("docker push utilisateur_docker/3olen-tp-git-01-python:1.0.0");
    student.types("docker image remove 3olen/tp-git-01-python");
    student.types("docker rmi utilisateur_docker/3olen-tp-git-01-python:1.0.0");
    let left = student.types("docker images");
    assert!(!left.contains("3olen"), "{left}");
    let screen = student.sits_at(
        "docker run --rm -it utilisateur_docker/3olen-tp-git-01-python:1.0.0 python --version",
        &[],
    );
    assert!(screen.contains("Unable to find image"), "{screen}");
    assert!(screen.contains("Python 3."), "{screen}");
}

/// "Images & Conteneur": run, build with and without tags, the cache, stop and remove.
fn images_and_containers(student: &Student) {
    let missing = student.types("docker run python 2>&1");
    assert!(
        missing.contains("Unable to find image 'python:latest' locally"),
        "{missing}"
    );
    let all = student.types("sudo docker ps -a");
    assert!(all.contains("python"), "{all}");
    let screen = student.sits_at(
        "sudo docker run -it python",
        &[(">>> ", "print(6 * 7)\n"), (">>> ", "exit()\n")],
    );
    assert!(screen.contains("42"), "{screen}");

    let app = student.home.join("app");
    fs::create_dir_all(&app).expect("directory");
    let dockerfile = "FROM python:3.9\n\nWORKDIR /app\nCOPY . /app/\n\nRUN pip3 install -r requirements.txt\n\n\
                      CMD [\"uvicorn\", \"main:app\", \"--host\", \"0.0.0.0\", \"--port\", \"80\"]\n";
    let main = "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get(\"/\")\ndef read():\n    return {\"fast\": True}\n";
    for (name, text) in [
        ("Dockerfile", dockerfile),
        ("requirements.txt", "fastapi\nuvicorn\n"),
        ("main.py", main),
    ] {
        fs::write(app.join(name), text).expect("file");
    }
    let types = |line: &str| student.types(&format!("cd app\n{line}"));
    types("sudo docker build . -t fast");
    assert!(types("sudo docker images").contains("fast"));
    types("sudo docker build . -t fast:1");
    let cached = types("sudo docker build . -t fast:2 2>&1");
    assert!(cached.contains("Using cache"), "{cached}");
    let names = types("docker images fast --format '{{.Tag}} {{.ID}}' | sort");
    let ids: Vec<_> = names.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(
        ids.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(),
        ["1", "2", "latest"]
    );
    assert!(ids.iter().all(|(_, id)| *id == ids[0].1), "one image: {names}");

    let mut running = student.command("bash");
    let mut running = running
        .args(["-c", "sudo docker run fast"])
        .spawn()
        .expect("bash");
    student.awaits("sudo docker ps | grep -q uvicorn");
    assert!(types("docker ps --help").contains("--all"));
    let name = types("docker ps --format '{{.Names}}'");
    types(&format!("sudo docker stop {}", name.trim()));
    running.wait().expect("it ends");

    types("sudo docker run -p 80:80 -d fast");
    student.awaits("curl -fs http://localhost:80/ | grep -q fast");
    let stopped = types("docker ps -a --filter status=exited --format '{{.Names}}' | head -2 | tr '\\n' ' '");
    types(&format!("sudo docker rm {stopped}"));
    let refused = types("sudo docker rmi $(docker images -q fast | head -1) 2>&1 || true");
    assert!(refused.contains("conflict"), "a container uses it: {refused}");
    types("sudo docker rm -f $(sudo docker ps -aq)");
    assert_eq!(rows(&types("sudo docker ps -a")).len(), 0);
    types("sudo docker run -d --name fast_container fast");
    types("sudo docker rm -f fast_container");

    types("sudo docker tag fast jonjon94000/fast_api");
    types("sudo docker build . -t jonjon94000/fast_api:build");
    let again = types("sudo docker login");
    assert!(again.contains("Login Succeeded"), "with what is known: {again}");
    let pushed = types("sudo docker push jonjon94000/fast_api:build");
    assert!(pushed.contains("build: digest: sha256:"), "{pushed}");
    let pushed = types("sudo docker push jonjon94000/fast_api:latest");
    assert!(pushed.contains("Layer already exists"), "{pushed}");
    types("sudo docker rmi -f $(docker images -q fast | head -1)");
}

/// "Utilisation des images": the list, all tags, several systems, search, remove.
fn using_images(student: &Student) {
    student.types("docker image ls");
    let pulled = student.types("docker image pull --all-tags alpine");
    for tag in ["3.5", "3.6", "3.8", "edge", "latest"] {
        assert!(
            pulled.contains(&format!("{tag}: Pulling from library/alpine")),
            "{pulled}"
        );
    }
    assert!(
        pulled.contains("Status: Downloaded newer image for alpine"),
        "{pulled}"
    );
    let listed = student.types("docker image ls");
    assert_eq!(
        listed.lines().filter(|line| line.starts_with("alpine ")).count(),
        5,
        "{listed}"
    );
    let same = student.types("docker images alpine --format '{{.Tag}} {{.ID}}' | grep -E '^(3.8|latest) ' | cut -d' ' -f2 | sort -u");
    assert_eq!(same.lines().count(), 1, "two tags of one image: {same}");

    for (line, version) in [
        ("docker container run -i -t alpine /bin/sh", "VERSION_ID=3.8.0"),
        (
            "docker container run -i -t alpine:3.5 /bin/sh",
            "VERSION_ID=3.5.2",
        ),
    ] {
        let screen = student.sits_at(line, &[("# ", "cat /etc/os-release\n"), ("# ", "exit\n")]);
        assert!(screen.contains(version), "{screen}");
    }

    let found = student.types("docker search mysql");
    assert!(
        found.contains("NAME") && found.contains("STARS") && found.contains("OFFICIAL"),
        "{found}"
    );
    assert!(
        rows(&found)
            .iter()
            .any(|row| row.starts_with("mysql ") && row.contains("[OK]")),
        "{found}"
    );
    student.types("docker image pull mysql");
    let screen = student.sits_at(
        "docker container run -i -t --name=mysql mysql /bin/bash",
        &[("# ", "mysql --version\n"), ("# ", "exit\n")],
    );
    assert!(screen.contains("MariaDB"), "{screen}");
    let refused = student.types("docker image rm mysql 2>&1 || true");
    assert!(refused.contains("conflict"), "{refused}");
    student.types("docker container rm mysql");
    let removed = student.types("docker image rm mysql");
    assert!(removed.contains("Untagged: mysql:latest"), "{removed}");
    // What the questions at its end ask for.
    student.types("docker image history alpine");
    student.types("docker images --no-trunc --digests --filter \"dangling=true\"");
}

/// "Images": public ones, and one of Debian with Python.
fn an_image_of_ones_own(student: &Student) {
    for name in ["python:3.11", "mysql:5.7", "wordpress", "linuxserver/wikijs"] {
        student.types(&format!("docker pull {name}"));
    }
    let listed = student.types("docker images");
    for name in ["python", "mysql", "wordpress", "linuxserver/wikijs"] {
        assert!(
            listed.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{listed}"
        );
    }
    let screen = student.sits_at(
        "docker run -it python:3.11 bash",
        &[("# ", "python --version\n"), ("# ", "exit\n")],
    );
    assert!(screen.contains("Python 3.11"), "{screen}");

    let dir = student.home.join("python_app_build");
    fs::create_dir_all(&dir).expect("directory");
    let app = "import emoji\n\nprint(emoji.emojize(\"Cet exemple d'application est vraiment naze :thumbs_down:\"))\n";
    let dockerfile = "FROM debian\nRUN apt update && apt install -y python3 python3-pip\nRUN pip install emoji\n\
                      COPY app.py /app.py\nENTRYPOINT [\"python3\", \"/app.py\"]\n";
    fs::write(dir.join("app.py"), app).expect("file");
    fs::write(dir.join("Dockerfile"), dockerfile).expect("file");
    student.types("cd python_app_build\ndocker build . -t python_app:version_de_ouf");
    assert!(student.types("docker images").contains("version_de_ouf"));
    let said = student.types("docker run python_app:version_de_ouf");
    assert!(said.contains('👎'), "{said}");
}
