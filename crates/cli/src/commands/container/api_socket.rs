//! `--use-api-socket`: the engine's own socket in a container, and the user's credentials for registries with it, so that
//! a client in there works as one outside.

use serde_json::{Value, json};

use crate::client::Client;
use crate::credentials;
use crate::endpoint::{DEFAULT_SOCKET, Endpoint};
use crate::error::CliError;
use crate::session::Session;

/// Where clients look for an engine, and where a dockerd is.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where a container finds the credentials.
const DIRECTORY: &str = "run/secrets/docker";

/// A configuration file to be put into the container once it is there.
pub(super) struct Secrets(Option<Vec<u8>>);

/// Adds the mount, and the variable that names the credentials if there are any, to the body of a creation.
pub(super) async fn mount(session: &Session, body: &mut Value) -> Result<Secrets, CliError> {
    let source = match session.settings.target()?.endpoint {
        Endpoint::Unix(path) => path.display().to_string(),
        // On another machine it is where an engine of its kind has it.
        Endpoint::Tcp(_) | Endpoint::Ssh(_) => {
            let headers = session.client()?.head("/_ping").headers().await?;
            let server = headers.get("server").and_then(|server| server.to_str().ok());
            match server {
                Some(server) if server.starts_with("Havre/") => DEFAULT_SOCKET.to_owned(),
                _ => DOCKER_SOCKET.to_owned(),
            }
        }
    };
    append(
        &mut body["HostConfig"]["Mounts"],
        json!({"Type": "bind", "Source": source, "Target": DOCKER_SOCKET}),
    );
    let auths = credentials::auths(&session.settings)?;
    if auths.is_empty() {
        return Ok(Secrets(None));
    }
    append(&mut body["Env"], json!(format!("DOCKER_CONFIG=/{DIRECTORY}")));
    Ok(Secrets(Some(json!({ "auths": auths }).to_string().into_bytes())))
}

fn append(list: &mut Value, value: Value) {
    match list {
        Value::Array(list) => list.push(value),
        list => *list = json!([value]),
    }
}

impl Secrets {
    /// Puts the file, which only the container's root can read, into its place.
    pub(super) async fn put(self, client: &Client, id: &str) -> Result<(), CliError> {
        let Some(text) = self.0 else { return Ok(()) };
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, format!("{DIRECTORY}/config.json"), text.as_slice())?;
        client
            .put(format!("/containers/{id}/archive"))
            .query("path", "/")
            .query("noOverwriteDirNonDir", "true")
            .text("application/x-tar", tar.into_inner()?)
            .status()
            .await?;
        Ok(())
    }
}
