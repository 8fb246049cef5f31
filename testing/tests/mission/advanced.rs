//! The workshop on managing images: tags, archives, registries, analysis, cleaning up, platforms, a whole pipeline.

use crate::classroom::log_in;
use crate::{Student, USER, rows};

#[test]
fn the_workshop_on_managing_images() {
    let Some(student) = Student::arrives() else { return };
    let student = &student;
    tags(student);
    tags_of_ones_own(student);
    archives(student);
    registries(student);
    analysis(student);
    platforms(student);
    pipeline(student);
    good_practice(student);
    further(student);
    cleaning_up(student);
}

fn tags(student: &Student) {
    student.types(
        "docker pull nginx:1.25\ndocker pull nginx:1.25-alpine\ndocker pull nginx:alpine\ndocker pull nginx:latest\ndocker pull nginx:stable",
    );
    assert_eq!(rows(&student.types("docker images nginx")).len(), 5);
    let table = student
        .types("docker images nginx --format \"table {{.Repository}}:{{.Tag}}\\t{{.ID}}\\t{{.Size}}\"");
    assert!(
        table.starts_with("REPOSITORY:TAG") && table.contains("nginx:1.25-alpine"),
        "{table}"
    );

    student.types("docker history nginx:alpine");
    let history =
        student.types("docker history nginx:alpine --no-trunc --format \"table {{.CreatedBy}}\\t{{.Size}}\"");
    assert!(history.starts_with("CREATED BY"), "{history}");
    assert!(
        student
            .types("docker inspect nginx:alpine --format '{{json .}}' | less")
            .contains("RepoTags")
    );
    student.types("docker inspect nginx:alpine --format 'Created: {{.Created}}'");
    let architecture =
        student.types("docker inspect nginx:alpine --format 'Architecture: {{.Architecture}}'");
    assert!(["Architecture: amd64\n", "Architecture: arm64\n"].contains(&architecture.as_str()));
    assert_eq!(
        student.types("docker inspect nginx:alpine --format 'OS: {{.Os}}'"),
        "OS: linux\n"
    );
    let size = student.types("docker inspect nginx:alpine --format 'Size: {{.Size}} bytes'");
    let bytes = size.trim_start_matches("Size: ").trim_end_matches(" bytes\n");
    assert!(bytes.parse::<u64>().is_ok_and(|bytes| bytes > 100_000), "{size}");
}

fn tags_of_ones_own(student: &Student) {
    student.types(
        "docker pull nginx:alpine\ndocker tag nginx:alpine mon-nginx:v1.0\ndocker tag nginx:alpine mon-nginx:latest\ndocker tag nginx:alpine mon-nginx:production",
    );
    assert_eq!(rows(&student.types("docker images mon-nginx")).len(), 3);
    assert_eq!(
        rows(&student.types("docker images --filter reference=mon-nginx")).len(),
        3
    );
    let both = student.types(
        "docker images --format \"table {{.Repository}}:{{.Tag}}\\t{{.ID}}\" | grep -E \"(nginx|mon-nginx)\"",
    );
    assert_eq!(both.lines().count(), 8, "{both}");

    student.types("docker run -d --name custom-nginx nginx:alpine");
    student.types("docker exec custom-nginx sh -c 'echo \"<h1>My Custom Nginx v1.0</h1>\" > /usr/share/nginx/html/index.html'");
    let page = student.types("docker exec custom-nginx cat /usr/share/nginx/html/index.html");
    assert_eq!(page, "<h1>My Custom Nginx v1.0</h1>\n");
    student.types("docker commit custom-nginx my-custom-nginx:v1.0");
    assert_eq!(rows(&student.types("docker images my-custom-nginx")).len(), 1);
    student.types("docker run -d --name test-custom -p 8080:80 my-custom-nginx:v1.0");
    student.awaits("curl -fs http://localhost:8080");
    assert_eq!(
        student.types("curl http://localhost:8080"),
        "<h1>My Custom Nginx v1.0</h1>\n"
    );
    student.types("docker rm -f custom-nginx test-custom");
}

fn archives(student: &Student) {
    student.types("docker save nginx:alpine -o nginx-alpine.tar\nls -lh nginx-alpine.tar");
    student.types("docker save nginx:alpine | gzip > nginx-alpine.tar.gz\nls -lh nginx-alpine.tar.gz");
    student.types("docker rmi nginx:alpine");
    let loaded = student.types("docker load -i nginx-alpine.tar");
    assert_eq!(loaded, "Loaded image: nginx:alpine\n");
    assert_eq!(rows(&student.types("docker images nginx:alpine")).len(), 1);

    student.types("docker pull redis:alpine\ndocker pull postgres:15-alpine");
    student.types(
        "docker save -o mes-images.tar nginx:alpine redis:alpine postgres:15-alpine\nls -lh mes-images.tar",
    );
    student.types("docker rmi nginx:alpine redis:alpine postgres:15-alpine");
    assert_eq!(student.types("docker load -i mes-images.tar").lines().count(), 3);
    let alpine = student.types("docker images --filter reference=\"*:alpine\"");
    assert_eq!(rows(&alpine).len(), 2, "{alpine}");

    let said = student.types("docker run --name data-container alpine sh -c \"echo 'Important data' > /data.txt && cat /data.txt\"");
    assert_eq!(said, "Important data\n");
    student.types("docker export data-container -o container-export.tar");
    student.types("cat container-export.tar | docker import - my-alpine:from-container");
    assert_eq!(rows(&student.types("docker images alpine")).len(), 1);
    assert_eq!(rows(&student.types("docker images my-alpine")).len(), 1);
    assert_eq!(
        student.types("docker run --rm my-alpine:from-container cat /data.txt"),
        "Important data\n"
    );
}

fn registries(student: &Student) {
    log_in(student);
    // The notes ask to put one's own name here.
    let types = |lines: &str| student.types(&lines.replace("VOTRE_USERNAME", USER));
    types("docker tag nginx:alpine VOTRE_USERNAME/mon-nginx:v1.0");
    types("docker push VOTRE_USERNAME/mon-nginx:v1.0");
    types("docker rmi VOTRE_USERNAME/mon-nginx:v1.0\ndocker pull VOTRE_USERNAME/mon-nginx:v1.0");

    types("docker run -d -p 5000:5000 --name registry registry:2");
    student.awaits("curl -fs http://localhost:5000/v2/");
    types("docker tag nginx:alpine localhost:5000/nginx:alpine\ndocker push localhost:5000/nginx:alpine");
    assert_eq!(
        types("curl http://localhost:5000/v2/_catalog").trim(),
        r#"{"repositories":["nginx"]}"#
    );
    let tags = types("curl http://localhost:5000/v2/nginx/tags/list");
    assert_eq!(tags.trim(), r#"{"name":"nginx","tags":["alpine"]}"#);
    types("docker rmi localhost:5000/nginx:alpine\ndocker pull localhost:5000/nginx:alpine");

    types("docker rm -f registry\ndocker volume create registry-data");
    types(
        "docker run -d \\\n  -p 5000:5000 \\\n  --name registry \\\n  -v registry-data:/var/lib/registry \\\n  registry:2",
    );
    student.awaits("curl -fs http://localhost:5000/v2/");
    types("docker tag redis:alpine localhost:5000/redis:alpine\ndocker push localhost:5000/redis:alpine");
    types("docker restart registry");
    student.awaits("curl -fs http://localhost:5000/v2/");
    assert_eq!(
        types("curl http://localhost:5000/v2/_catalog").trim(),
        r#"{"repositories":["redis"]}"#
    );
}

fn analysis(student: &Student) {
    student.types("docker pull node:18");
    student.types("docker history node:18");
    student.types("docker history node:18 --no-trunc | grep -v \"<missing>\"");
    let sum = student.types("docker history node:18 --format \"{{.Size}}\" | sed 's/MB//g' | awk '{sum += $1} END {print sum \" MB\"}'");
    assert!(sum.ends_with(" MB\n") && !sum.starts_with("0 "), "{sum}");
    let layers =
        student.types("docker inspect node:18 --format '{{json .RootFS.Layers}}' | python3 -m json.tool");
    assert!(layers.contains("sha256:"), "{layers}");

    let sizes = student.types(
        "docker images --format \"table {{.Repository}}:{{.Tag}}\\t{{.Size}}\" | grep -E \"(nginx|node)\"",
    );
    assert!(sizes.contains("node:18"), "{sizes}");
    student.types("docker pull node:18\ndocker pull node:18-alpine");
    let size = student.types("docker images node:18 --format \"Size: {{.Size}}\"");
    assert!(
        size.starts_with("Size: ") && size.trim_end().ends_with("MB"),
        "{size}"
    );
    student.types("docker history node:18 --no-trunc | wc -l\ndocker images node:18-alpine --format \"Size: {{.Size}}\"\ndocker history node:18-alpine --no-trunc | wc -l");

    student.types("docker images -a\ndocker images -f dangling=true");
    let usage = student.types("docker system df");
    for kind in ["Images", "Containers", "Local Volumes", "Build Cache"] {
        assert!(usage.contains(kind), "{usage}");
    }
    student.types("docker system df -v");
}

fn platforms(student: &Student) {
    let shown = student.types("docker manifest inspect nginx:alpine | grep -A 5 \"architecture\"");
    assert!(
        shown.contains("\"amd64\"") && shown.contains("\"arm64\""),
        "{shown}"
    );
    let listed = student.types("docker manifest inspect nginx:alpine | jq -r '.manifests[] | \"\\(.platform.architecture) / \\(.platform.os)\"'");
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["amd64 / linux", "arm64 / linux"]);
    student.types("docker pull --platform linux/arm64 nginx:alpine");
    let architecture = student.types("docker inspect nginx:alpine --format '{{.Architecture}}'");
    // It has both by now: without a platform the host's is meant.
    assert!(["amd64\n", "arm64\n"].contains(&architecture.as_str()));
    let arm = student
        .types("docker image inspect --platform linux/arm64 nginx:alpine --format '{{.Architecture}}'");
    assert_eq!(arm, "arm64\n");

    assert!(student.types("docker buildx version").contains('v'));
    assert!(student.types("docker buildx ls").contains("default*"));
    assert_eq!(
        student.types("docker buildx create --name multiarch --use"),
        "multiarch\n"
    );
    let builder = student.types("docker buildx inspect multiarch --bootstrap");
    assert!(
        builder.contains("running") && builder.contains("linux/"),
        "{builder}"
    );
    assert!(student.types("docker buildx ls").contains("multiarch*"));
}

fn pipeline(student: &Student) {
    let types = |lines: &str| student.types(&format!("cd ~/docker-tp/custom-app\n{lines}"));
    student.types("mkdir -p ~/docker-tp/custom-app");
    types(
        "cat > index.html << 'EOF'\n<!DOCTYPE html>\n<html>\n<body>\n    <h1>Custom Application v1.0</h1>\n    <p>Built: $(date)</p>\n</body>\n</html>\nEOF",
    );
    types("docker run -d --name app-builder nginx:alpine");
    types("docker cp index.html app-builder:/usr/share/nginx/html/index.html");
    types("docker commit app-builder myapp:v1.0\ndocker rm -f app-builder");
    for tag in ["latest", "dev", "1.0.0", "1.0", "1"] {
        types(&format!("docker tag myapp:v1.0 myapp:{tag}"));
    }
    assert_eq!(rows(&types("docker images myapp")).len(), 6);
    types("docker run -d --name app-test -p 8080:80 myapp:v1.0");
    student.awaits("curl -fs http://localhost:8080");
    assert!(types("curl http://localhost:8080").contains("Custom Application v1.0"));
    types("docker rm -f app-test");
    types("docker save myapp:v1.0 | gzip > myapp-v1.0.tar.gz\nls -lh myapp-v1.0.tar.gz");

    types("docker rm -f registry");
    types("docker run -d -p 5000:5000 --name registry -v registry-data:/var/lib/registry registry:2");
    student.awaits("curl -fs http://localhost:5000/v2/");
    types("docker tag myapp:v1.0 localhost:5000/myapp:v1.0\ndocker push localhost:5000/myapp:v1.0");
    assert!(types("curl http://localhost:5000/v2/_catalog").contains("\"myapp\""));
    assert!(types("curl http://localhost:5000/v2/myapp/tags/list").contains("\"v1.0\""));

    types("docker run -d --name app-builder-v2 myapp:v1.0");
    types(
        "docker exec app-builder-v2 sh -c 'echo \"<h1>Custom Application v2.0</h1>\" > /usr/share/nginx/html/index.html'",
    );
    types(
        "docker commit app-builder-v2 myapp:v2.0\ndocker tag myapp:v2.0 myapp:latest\ndocker rm -f app-builder-v2",
    );
    types(
        "docker tag myapp:v2.0 localhost:5000/myapp:v2.0\ndocker tag myapp:v2.0 localhost:5000/myapp:latest",
    );
    types("docker push localhost:5000/myapp:v2.0\ndocker push localhost:5000/myapp:latest");
    let tags = types("curl http://localhost:5000/v2/myapp/tags/list");
    for tag in ["v1.0", "v2.0", "latest"] {
        assert!(tags.contains(&format!("\"{tag}\"")), "{tags}");
    }
    types("docker rmi myapp:dev myapp:1 myapp:1.0 myapp:1.0.0\ndocker system df");
}

fn good_practice(student: &Student) {
    student.types("docker tag myapp:latest myapp:$(date +%Y%m%d)\ndocker tag myapp:latest myapp:v1.0.0\ndocker tag myapp:latest myapp:prod-stable");
    student.types(
        "docker tag nginx:alpine localhost:5000/mycompany/nginx:latest\ndocker tag nginx:alpine localhost:5000/mycompany/nginx:1.25-alpine\ndocker tag nginx:alpine localhost:5000/mycompany/nginx:stable",
    );
    let by_date = student.types("docker images --format \"table {{.Repository}}\\t{{.Tag}}\\t{{.CreatedAt}}\\t{{.Size}}\" | sort -k 3");
    assert!(by_date.contains("prod-stable"), "{by_date}");
    let old = student.types(
        "docker images --format \"{{.Repository}}:{{.Tag}} {{.CreatedAt}}\" | \\\n  awk -v date=$(date -d '30 days ago' +%s) \\\n  '{cmd=\"date -d \\\"\"$2\" \"$3\"\\\" +%s\"; cmd | getline created; close(cmd); if (created < date) print $1}'",
    );
    assert!(
        old.lines().any(|name| name == "redis:alpine"),
        "made in 2024: {old}"
    );
    assert!(!old.contains("myapp"), "made now: {old}");
}

fn further(student: &Student) {
    let types = |lines: &str| student.types(lines);
    types("docker rm -f registry\nmkdir auth");
    types("docker run --rm --entrypoint htpasswd registry:2 \\\n  -Bbn username password > auth/htpasswd");
    // Into the volume that the notes give to the registry.
    types("docker run --rm -i -v registry-auth:/auth alpine sh -c 'cat > /auth/htpasswd' < auth/htpasswd");
    types(
        "docker run -d -p 5000:5000 \\\n  -e REGISTRY_AUTH=htpasswd \\\n  -e REGISTRY_AUTH_HTPASSWD_PATH=/auth/htpasswd \\\n  -e REGISTRY_AUTH_HTPASSWD_REALM=\"Registry Realm\" \\\n  -v registry-auth:/auth \\\n  -v registry-data:/var/lib/registry \\\n  registry:2",
    );
    // The notes link to it by this name.
    types("docker rename $(docker ps -lq) registry");
    student.awaits("curl -s -o /dev/null -w '%{http_code}' http://localhost:5000/v2/ | grep -q 401");
    let screen = student.sits_at(
        "docker login localhost:5000",
        &[("Username", "username\n"), ("Password", "password\n")],
    );
    assert!(screen.contains("Login Succeeded"), "{screen}");
    types("docker push localhost:5000/mycompany/nginx:stable");
    types(
        "docker run -d -p 8082:80 \\\n  -e REGISTRY_URL=http://registry:5000 \\\n  -e DELETE_IMAGES=true \\\n  --link registry \\\n  joxit/docker-registry-ui:latest",
    );
    student.awaits("curl -fs http://localhost:8082/");

    // The explorer by the name of the program the notes install, then that program itself, in its container, through the engine's socket.
    let found = student.sits_at("dive nginx:alpine", &[("Layers", "q")]);
    assert!(found.contains("efficiency"), "{found}");
    let found = student.sits_at(
        "docker run --rm -it \\\n  -v /var/run/docker.sock:/var/run/docker.sock \\\n  wagoodman/dive:latest nginx:alpine",
        &[("Layers", "\u{3}")],
    );
    assert!(found.contains("Layers"), "{found}");
}

fn cleaning_up(student: &Student) {
    student.types("docker rm -f $(docker ps -aq)");
    student.answers("docker image prune", "y\n");
    student.types("docker rmi nginx:1.25");
    student.types("docker rmi nginx:alpine redis:alpine postgres:15-alpine");
    student.types("docker images --format \"{{.Repository}}:{{.Tag}}\" | grep \"alpine\" | xargs docker rmi");
    let left = student.types("docker images --format \"{{.Repository}}:{{.Tag}}\"");
    assert!(!left.contains("alpine"), "{left}");
    student.types("docker rmi -f mon-nginx:v1.0");
    student.answers("docker image prune -a", "y\n");
    assert_eq!(rows(&student.types("docker images")).len(), 0);
    student.types("docker system df");
    let pruned = student.answers("docker system prune -a --volumes", "y\n");
    assert!(pruned.contains("Total reclaimed space"), "{pruned}");
    student.types("docker system df");
}
