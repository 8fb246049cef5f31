//! Debian's docker-registry (package docker-registry), which behaves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use tempfile::TempDir;

use crate::certificate::Pair;
use crate::token::TokenServer;

/// `htpasswd -nbB me secret`
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A docker-registry on a free port of 127.0.0.1.
pub struct DockerRegistry {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl DockerRegistry {
    /// Serves over TLS with this certificate; lets `me` with the password `secret` in and nobody else.
    ///
    /// # Panics
    /// When the package is not installed.
    pub fn start(pair: &Pair) -> Self {
        let files = [
            ("htpasswd", HTPASSWD),
            ("server.crt", &pair.certificate),
            ("server.key", &pair.key),
        ];
        Self::serve(&files, None, |root| {
            format!(
                "http:\n  addr: '127.0.0.1:0'\n  tls: {{certificate: {root}/server.crt, key: {root}/server.key}}\n\
                 auth:\n  htpasswd: {{realm: test, path: {root}/htpasswd}}\n"
            )
        })
    }

    /// Serves everybody in the clear.
    ///
    /// # Panics
    /// When the package is not installed.
    pub fn open() -> Self {
        Self::serve(&[], None, |_| "http: {addr: '127.0.0.1:0'}\n".to_owned())
    }

    /// The same with what is in a folder.
    ///
    /// # Panics
    /// When the package is not installed.
    pub fn over(data: &Path) -> Self {
        Self::serve(&[], Some(data), |_| "http: {addr: '127.0.0.1:0'}\n".to_owned())
    }

    /// Lets in who has a token of this server.
    ///
    /// # Panics
    /// When the package is not installed.
    pub fn trusting(server: &TokenServer) -> Self {
        let certificate = server.issuer().certificate();
        Self::serve(&[("issuer.crt", &certificate)], None, |root| {
            let token = server.configuration(&format!("{root}/issuer.crt"));
            format!("http: {{addr: '127.0.0.1:0'}}\nauth:\n  token: {token}\n")
        })
    }

    /// With such files in its directory, whose path makes the rest of its configuration.
    fn serve(
        files: &[(&str, &str)],
        data: Option<&Path>,
        rest: impl Fn(std::path::Display<'_>) -> String,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let own = dir.path().join("data");
        let data = data.unwrap_or(&own).display();
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {data}}}\n\
             {}",
            rest(dir.path().display())
        );
        for (name, content) in files.iter().copied().chain([("config.yml", config.as_str())]) {
            fs::write(dir.path().join(name), content).expect("file");
        }
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry must be installed: apt-get install docker-registry");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let port = loop {
            let start = said.len();
            let read = log.read_line(&mut said).expect("log");
            assert!(read > 0, "docker-registry ended:\n{said}");
            if let Some((_, rest)) = said[start..].split_once("listening on 127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break digits.parse().expect("a port");
            }
        };
        // Its log must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            port,
            _dir: dir,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
