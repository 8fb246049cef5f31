//! A registry of its own for each test, and a client that says exactly what it is told to.

use std::net::SocketAddr;

use bytes::Bytes;
use havre_hub::Hub;
use havre_oci::{Algorithm, Descriptor, Digest, Manifest, media_type};
use havre_registry_server::{Config, Server};
use havre_registry_store::RegistryStore;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub(crate) struct Registry {
    hub: Option<Hub>,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) dir: tempfile::TempDir,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// An error with this status and code.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.json()["errors"][0]["code"], code, "{answer:?}");
        answer
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// Over what is in a directory.
    pub(crate) async fn over(dir: tempfile::TempDir) -> Self {
        Self::configured(dir, Config::usual()).await
    }

    pub(crate) async fn configured(dir: tempfile::TempDir, config: Config) -> Self {
        let store = RegistryStore::open(dir.path()).unwrap();
        let server = std::sync::Arc::new(Server::new(store, &config, dir.path()).unwrap());
        let hub = server.hub().cloned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(havre_registry_server::serve(
            server,
            listener,
            None,
            std::future::pending(),
        ));
        Self {
            hub,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            dir,
        }
    }

    /// The people of one that has accounts.
    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("accounts")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let (parts, body) = self.client.request(request).await.unwrap().into_parts();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0");
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(Method::HEAD, path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.send(Method::POST, path, &[], "").await
    }

    pub(crate) async fn put(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        self.send(Method::PUT, path, &[("content-type", kind)], body)
            .await
    }

    /// The path of a new upload.
    pub(crate) async fn upload(&self, name: &str) -> String {
        let begun = self.post(&format!("/v2/{name}/blobs/uploads/")).await.is(202);
        begun.header("location").to_owned()
    }

    /// Pushes a blob as most clients do.
    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256_of(bytes);
        let place = self.upload(name).await;
        let octets = "application/octet-stream";
        self.put(&format!("{place}?digest={digest}"), octets, bytes.to_vec())
            .await
            .is(201);
        digest
    }

    /// Pushes an image of one layer under a tag; the manifest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> (Digest, Vec<u8>) {
        let bytes = self.image(name, layer).await.to_bytes();
        let path = format!("/v2/{name}/manifests/{tag}");
        self.put(&path, media_type::OCI_MANIFEST, bytes.clone())
            .await
            .is(201);
        (Digest::sha256_of(&bytes), bytes)
    }

    /// A manifest whose blobs are there.
    pub(crate) async fn image(&self, name: &str, layer: &[u8]) -> Manifest {
        self.push_blob(name, b"{}").await;
        self.push_blob(name, layer).await;
        Manifest::oci(
            Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            vec![Descriptor::of(media_type::OCI_LAYER, layer)],
        )
    }
}

pub(crate) fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}
