//! A service that speaks S3, over a folder, in this process.

use std::net::SocketAddr;
use std::path::Path;

use fs_err as fs;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A running service; ended when it is dropped.
pub struct S3Server {
    folder: tempfile::TempDir,
    address: SocketAddr,
    _runtime: Runtime,
}

impl S3Server {
    /// Its one bucket.
    pub const BUCKET: &str = "images";
    /// Who may use it.
    pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// With an empty bucket.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(Self::BUCKET)).expect("a bucket");
        let files = FileSystem::new(folder.path()).expect("a service");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY, Self::SECRET_KEY));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            folder,
            address,
            _runtime: runtime,
        }
    }

    /// `http://HOST:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the bucket be unknown to the service.
    ///
    /// # Panics
    /// When it is already.
    pub fn take_away(&mut self) {
        fs::rename(self.folder(), self.folder.path().join("elsewhere")).expect("the bucket");
    }

    /// … and be there again.
    ///
    /// # Panics
    /// When it is.
    pub fn bring_back(&mut self) {
        fs::rename(self.folder.path().join("elsewhere"), self.folder()).expect("the bucket");
    }

    /// Where the objects of the bucket lie, as files.
    pub fn folder(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join(Self::BUCKET)
    }
}
