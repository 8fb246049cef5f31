//! Registries over TLS: whom a daemon trusts, what it says of those it does not, and a whole round with a password.
//! Needs root, and the packages docker-registry and skopeo.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use havre_testing::{
    Auth, Authority, Compression, DockerRegistry, Image, Pair, Registry, Surroundings, TestEngine, Validity,
};
use tempfile::TempDir;

/// The registry's name: not loopback's, which needs no certificate.
const NAME: &str = "registry.lab.test";

/// Files a daemon sees, made before it starts.
struct Place {
    dir: TempDir,
    surroundings: Surroundings,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = dir.path().join("hosts");
        fs::write(&hosts, format!("127.0.0.1 localhost {NAME}\n")).expect("file");
        let certs = dir.path().join("certs.d");
        fs::create_dir(&certs).expect("directory");
        let surroundings = Surroundings {
            config: format!("certs-dir = \"{}\"\n", certs.display()),
            environment: vec![("NO_PROXY".to_owned(), "*".to_owned())],
            files: vec![("/etc/hosts".into(), hosts)],
            ..Surroundings::default()
        };
        Self { dir, surroundings }
    }

    fn start(&self) -> TestEngine {
        TestEngine::amid(self.surroundings.clone())
    }

    /// A file of the directory of a registry's certificates.
    fn put(&self, port: u16, file: &str, content: &str) {
        let dir = self.dir.path().join("certs.d").join(format!("{NAME}:{port}"));
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join(file), content).expect("file");
    }

    fn path(&self, port: u16, file: &str) -> String {
        let dir = self.dir.path().join("certs.d").join(format!("{NAME}:{port}"));
        dir.join(file).display().to_string()
    }
}

/// The first words of every complaint.
fn get(host: &str) -> String {
    format!("Error response from daemon: Get \"https://{host}/v2/\": ")
}

fn unknown_authority(place: &Place, port: u16) -> String {
    format!(
        "{}tls: failed to verify certificate: x509: certificate signed by unknown authority; to trust {NAME}:{port}, put \
         the certificate of its authority into {}, or set insecure = true for [registry.\"{NAME}:{port}\"] in the \
         configuration of the daemon",
        get(&format!("{NAME}:{port}")),
        place.path(port, "ca.crt")
    )
}

fn publish(registry: &Registry) -> String {
    registry.publish("app", "latest", &Image::busybox(), Compression::Gzip);
    format!("{NAME}:{}/app", registry.port())
}

#[track_caller]
fn pulls(engine: &TestEngine, name: &str) {
    let said = engine.ok(["pull", name]);
    assert!(
        said.contains(&format!("Status: Downloaded newer image for {name}:latest")),
        "{said}"
    );
    engine.ok(["rmi", name]);
}

#[track_caller]
fn refused(engine: &TestEngine, name: &str, complaint: &str) {
    let out = engine.run(["pull", name]);
    assert_eq!(out.out(), "Using default tag: latest");
    assert_eq!(out.fails(1), complaint);
}

#[test]
fn an_authority_is_trusted_by_a_file_of_the_registry_alone() {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("foreign"));
    let registry = Registry::start_tls(&ours.issue(&[NAME]));
    let name = publish(&registry);
    let place = Place::new();
    let engine = place.start();
    let complaint = unknown_authority(&place, registry.port());
    refused(&engine, &name, &complaint);
    // Nobody was asked anything, least of all in the clear.
    assert_eq!(
        registry.seen("GET", "").len() + registry.seen("HEAD", "").len(),
        0
    );
    let login = engine.cmd([
        "login",
        "-u",
        "me",
        "--password-stdin",
        &format!("{NAME}:{}", registry.port()),
    ]);
    let said = login.stdin("secret").run().fails(1);
    assert!(said.ends_with(&complaint), "{said}");

    // Files count from the next command on, and any number of them.
    place.put(registry.port(), "foreign.crt", foreign.certificate());
    refused(&engine, &name, &complaint);
    place.put(registry.port(), "ours.crt", ours.certificate());
    pulls(&engine, &name);
    let context = engine.files("context", &[("Dockerfile", &format!("FROM {name}\nRUN true\n"))]);
    engine.ok(["build", "-t", "built", &context.display().to_string()]);
    engine.ok(["rmi", "built", &name]);
    // A connection that is still open is not used for somebody who is trusted no more.
    place.put(registry.port(), "ours.crt", foreign.certificate());
    refused(&engine, &name, &complaint);

    // The directory of another port says nothing of this one.
    let second = Registry::start_tls(&ours.issue(&[NAME]));
    place.put(registry.port(), "ours.crt", ours.certificate());
    refused(
        &engine,
        &publish(&second),
        &unknown_authority(&place, second.port()),
    );

    place.put(registry.port(), "ours.crt", "no certificate");
    let complaint = format!(
        "Error response from daemon: cannot use the certificates for {NAME}:{port}: {}: no certificate in PEM form",
        place.path(registry.port(), "ours.crt"),
        port = registry.port()
    );
    refused(&engine, &name, &complaint);
}

#[test]
fn a_certificate_signed_by_its_own_key() {
    let pair = Pair::self_signed(&[NAME]);
    let registry = Registry::start_tls(&pair);
    let name = publish(&registry);
    let place = Place::new();
    let engine = place.start();
    refused(&engine, &name, &unknown_authority(&place, registry.port()));
    place.put(registry.port(), "ca.crt", &pair.certificate);
    pulls(&engine, &name);
    // It is trusted as what it says, not as anything.
    let wrong = Pair::self_signed(&["somebody.test"]);
    let registry = Registry::start_tls(&wrong);
    place.put(registry.port(), "ca.crt", &wrong.certificate);
    let complaint = format!(
        "{}tls: failed to verify certificate: x509: certificate is valid for somebody.test, not {NAME}",
        get(&format!("{NAME}:{}", registry.port()))
    );
    refused(&engine, &publish(&registry), &complaint);
}

#[test]
fn authorities_of_the_environment_and_of_the_system() {
    let authority = Authority::new("ours");
    let registry = Registry::start_tls(&authority.issue(&[NAME]));
    let name = publish(&registry);

    let mut place = Place::new();
    let file = place.dir.path().join("bundle.pem");
    fs::write(&file, authority.certificate()).expect("file");
    let variable = ("SSL_CERT_FILE".to_owned(), file.display().to_string());
    place.surroundings.environment.push(variable);
    pulls(&place.start(), &name);

    // As update-ca-certificates writes it.
    let mut place = Place::new();
    let system = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let mut bundle = fs::read_to_string(system).expect("the package ca-certificates");
    bundle.push_str(authority.certificate());
    let file = place.dir.path().join("bundle.pem");
    fs::write(&file, bundle).expect("file");
    place.surroundings.files.push((system.to_owned(), file));
    pulls(&place.start(), &name);

    // The system's own know nothing of it.
    let place = Place::new();
    refused(&place.start(), &name, &unknown_authority(&place, registry.port()));
}

#[test]
fn names_and_times_of_certificates() {
    let authority = Authority::new("ours");
    let place = Place::new();
    let engine = place.start();
    for (pair, complaint) in [
        (
            authority.issue(&["somebody.test", "*.else.test"]),
            format!("certificate is valid for somebody.test, *.else.test, not {NAME}"),
        ),
        (
            authority.issue(&["127.0.0.1"]),
            format!("certificate is not valid for any names, but wanted to match {NAME}"),
        ),
    ] {
        let registry = Registry::start_tls(&pair);
        place.put(registry.port(), "ca.crt", authority.certificate());
        let complaint = format!(
            "{}tls: failed to verify certificate: x509: {complaint}",
            get(&format!("{NAME}:{}", registry.port()))
        );
        refused(&engine, &publish(&registry), &complaint);
        assert_eq!(registry.seen("GET", "").len(), 0);
    }
    for (validity, word) in [(Validity::Past, "after"), (Validity::Future, "before")] {
        let registry = Registry::start_tls(&authority.issue_for(&[NAME], validity));
        place.put(registry.port(), "ca.crt", authority.certificate());
        let said = engine.fails(1, ["pull", &publish(&registry)]);
        let start = format!(
            "{}tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time ",
            get(&format!("{NAME}:{}", registry.port()))
        );
        let times = said.strip_prefix(&start).unwrap_or_else(|| panic!("{said}"));
        let words: Vec<_> = times.split(' ').collect();
        assert!(
            words.len() == 4
                && words[0].ends_with('Z')
                && words[1..3] == ["is", word]
                && words[3].ends_with('Z'),
            "{said}"
        );
    }
    let wildcard = Registry::start_tls(&authority.issue(&["*.lab.test"]));
    place.put(wildcard.port(), "ca.crt", authority.certificate());
    pulls(&engine, &publish(&wildcard));
}

#[test]
fn insecure_registries_need_no_certificate_and_no_tls() {
    let authority = Authority::new("ours");
    let secret = Registry::start_tls(&authority.issue_for(&["somebody.test"], Validity::Past));
    let open = Registry::start();
    let mut place = Place::new();
    for registry in [&secret, &open] {
        let table = format!("[registry.\"{NAME}:{}\"]\ninsecure = true\n", registry.port());
        place.surroundings.config.push_str(&table);
    }
    let engine = place.start();
    for registry in [&secret, &open] {
        pulls(&engine, &publish(registry));
    }
    // Loopback's addresses are insecure by themselves.
    for registry in [&secret, &open] {
        pulls(&engine, &format!("127.0.0.1:{}/app", registry.port()));
    }
}

#[test]
fn no_secure_registry_is_asked_in_the_clear() {
    let registry = Registry::start();
    let name = publish(&registry);
    let place = Place::new();
    let engine = place.start();
    let host = format!("{NAME}:{}", registry.port());
    let complaint = format!(
        "{}http: server gave HTTP response to HTTPS client; if {host} is meant to have no TLS, set insecure = true for \
         [registry.\"{host}\"] in the configuration of the daemon",
        get(&host)
    );
    refused(&engine, &name, &complaint);
    let login = engine.cmd(["login", "-u", "me", "--password-stdin", &host]);
    let said = login.stdin("secret").run().fails(1);
    assert!(said.ends_with(&complaint), "{said}");
    assert_eq!(
        registry.seen("GET", "").len() + registry.seen("HEAD", "").len(),
        0
    );
}

#[test]
fn a_server_that_wants_to_know_its_clients() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let registry = Registry::start_tls_for(&servers.issue(&[NAME]), &clients);
    let port = registry.port();
    let name = publish(&registry);
    let place = Place::new();
    let engine = place.start();
    place.put(port, "ca.crt", servers.certificate());
    let start = "Error response from daemon: ";
    let said = engine.fails(1, ["pull", &name]);
    assert!(
        said.starts_with(start)
            && said.ends_with(&format!(
                "remote error: tls: certificate required; {NAME}:{port} asks for a certificate of the client: client.cert \
                 and client.key in {}",
                place.path(port, "").trim_end_matches('/')
            )),
        "{said}"
    );

    let known = clients.issue_client("me");
    place.put(port, "client.cert", &known.certificate);
    let complaint = format!(
        "{start}cannot use the certificates for {NAME}:{port}: {}: missing key client.key for client certificate; CA \
         certificates should use the extension .crt",
        place.path(port, "client.cert")
    );
    refused(&engine, &name, &complaint);
    place.put(port, "client.key", &known.key);
    pulls(&engine, &name);

    // Of several the one counts that the server's authority issued.
    let unknown = Authority::new("strangers").issue_client("me");
    place.put(port, "a.cert", &unknown.certificate);
    place.put(port, "a.key", &unknown.key);
    pulls(&engine, &name);
    // Not the key of that certificate.
    place.put(port, "client.key", &unknown.key);
    let said = engine.fails(1, ["pull", &name]);
    assert!(
        said.starts_with(&format!(
            "{start}cannot use the certificates for {NAME}:{port}: {}: ",
            place.path(port, "client.key")
        )),
        "{said}"
    );
}

#[test]
fn tokens_over_tls() {
    let authority = Authority::new("ours");
    let registry = Registry::start_tls(&authority.issue(&[NAME]));
    let name = publish(&registry);
    registry.require(Auth::Token {
        user: "me".to_owned(),
        password: "secret".to_owned(),
    });
    let place = Place::new();
    place.put(registry.port(), "ca.crt", authority.certificate());
    let engine = place.start();
    let host = format!("{NAME}:{}", registry.port());
    let said = engine.fails(1, ["pull", &name]);
    assert!(said.contains("incorrect username or password"), "{said}");
    let login = engine.cmd(["login", "-u", "me", "--password-stdin", &host]);
    assert!(login.stdin("secret").ok().ends_with("Login Succeeded"));
    pulls(&engine, &name);
    assert!(!registry.seen("GET", "/token").is_empty());
}

#[test]
fn a_round_with_a_password() {
    let authority = Authority::new("ours");
    let registry = DockerRegistry::start(&authority.issue(&[NAME, "127.0.0.1"]));
    let place = Place::new();
    place.put(registry.port(), "ca.crt", authority.certificate());
    let engine = place.start();
    engine.load(&Image::busybox(), "busybox");
    let host = format!("{NAME}:{}", registry.port());
    let name = format!("{host}/team/app:1");
    engine.ok(["tag", "busybox", &name]);
    let said = engine.fails(1, ["push", &name]);
    assert!(said.ends_with("no basic auth credentials"), "{said}");
    let login = |password: &str| {
        let login = engine.cmd(["login", "-u", "me", "--password-stdin", &host]);
        login.stdin(password).run()
    };
    assert_eq!(
        login("wrong").fails(1),
        format!(
            "Error response from daemon: login attempt to https://{host}/v2/ failed with status: 401 Unauthorized"
        )
    );
    assert!(login("secret").ok().ends_with("Login Succeeded"));
    let said = engine.ok(["push", &name]);
    let digest = said
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned();
    engine.ok(["rmi", &name, "busybox"]);
    let said = engine.ok(["pull", &name]);
    assert!(said.contains(&format!("Digest: {digest}")), "{said}");
    assert_eq!(engine.ok(["run", "--rm", &name, "echo", "runs"]), "runs");

    // What others find there is what we put there.
    fs::write(place.dir.path().join("ca.crt"), authority.certificate()).expect("file");
    let inspected = Command::new("skopeo")
        .args(["inspect", "--creds", "me:secret", "--cert-dir"])
        .arg(place.dir.path())
        .arg(format!("docker://127.0.0.1:{}/team/app:1", registry.port()))
        .env("NO_PROXY", "*")
        .output()
        .expect("skopeo");
    let text =
        String::from_utf8_lossy(&inspected.stdout).into_owned() + &String::from_utf8_lossy(&inspected.stderr);
    assert!(inspected.status.success() && text.contains(&digest), "{text}");

    engine.ok(["logout", &host]);
    engine.ok(["rmi", &name]);
    let said = engine.fails(1, ["pull", &name]);
    assert!(said.ends_with("no basic auth credentials"), "{said}");
}
