//! A bucket of S3, or of a service that speaks as it does, as [`ObjectStorage`].
//!
//! The store blocks, the service is spoken to asynchronously: calls wait for it on the runtime they were given, and must come
//! from threads that may block.

mod error;
mod reader;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use havre_registry_store::{Contents, ObjectStorage, Result, Storage, StoreError};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _};
use tokio::runtime::Handle;

use crate::error::{failed, there};
use crate::reader::Reader;

/// What a service copies at once; beyond, bytes go through here.
const COPIED_AT_ONCE: u64 = 5 << 30;
/// Bytes of parts that go through here.
const PART: u64 = 64 << 20;
/// How long an address that a client was sent to is good for.
const REDIRECTED: Duration = Duration::from_secs(20 * 60);

/// Where a bucket is, and who we are there. Without `access_key` the environment says it, or the machine (AWS's chain: variables,
/// web identity, container, instance).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketSettings {
    pub bucket: String,
    pub region: Option<String>,
    /// Of a service that is not AWS: `https://HOST[:PORT]`.
    pub endpoint: Option<String>,
    /// The bucket is the first component of the path, not a part of the host's name.
    pub path_style: bool,
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
    pub session_token: Option<String>,
    /// What all keys begin with.
    pub root: String,
    /// The service encrypts with the keys it has.
    pub encrypt: bool,
    /// … or with this one of its key service.
    pub key_id: Option<String>,
    /// Clients are sent to the service for the bytes of blobs.
    pub redirect: bool,
}

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    s3: Arc<AmazonS3>,
    root: String,
    redirect: bool,
    runtime: Handle,
}

impl Bucket {
    /// Looks whether the bucket is there and lets us in.
    pub fn open(settings: &BucketSettings, runtime: Handle) -> Result<Self> {
        // What speaks TLS in here takes the process's provider; another one that was set does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_virtual_hosted_style_request(!settings.path_style);
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        if let (Some(access), Some(secret)) = (&settings.access_key, &settings.secret_key) {
            builder = builder.with_access_key_id(access).with_secret_access_key(secret);
        }
        if let Some(token) = &settings.session_token {
            builder = builder.with_token(token);
        }
        builder = match &settings.key_id {
            Some(key) => builder.with_sse_kms_encryption(key),
            None if settings.encrypt => {
                let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
                let key = key.map_err(failed("use the bucket", &settings.bucket))?;
                builder.with_config(key, "AES256")
            }
            None => builder,
        };
        let failed_for = failed("use the bucket", &settings.bucket);
        let bucket = Self {
            s3: Arc::new(builder.build().map_err(failed_for)?),
            root: settings.root.trim_matches('/').to_owned(),
            redirect: settings.redirect,
            runtime,
        };
        bucket.names("docker")?;
        Ok(bucket)
    }

    fn path(&self, key: &str) -> Result<Path> {
        let whole = match self.root.as_str() {
            "" => key.to_owned(),
            root => format!("{root}/{key}"),
        };
        Path::parse(whole).map_err(|error| failed("use the key", key)(error.into()))
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    async fn copy_by_parts(&self, from: &Path, to: &Path, size: u64) -> object_store::Result<()> {
        let id = self.s3.create_multipart(to).await?;
        let copy = async {
            let (mut parts, mut position) = (Vec::new(), 0);
            while position < size {
                let end = size.min(position + PART);
                let bytes = self.s3.get_range(from, position..end).await?;
                parts.push(self.s3.put_part(to, &id, parts.len(), bytes.into()).await?);
                position = end;
            }
            self.s3.complete_multipart(to, &id, parts).await
        };
        match copy.await {
            Ok(_) => Ok(()),
            Err(error) => {
                // What is left of it is the service's to sweep if this fails too.
                let _ = self.s3.abort_multipart(to, &id).await;
                Err(error)
            }
        }
    }
}

impl Storage for Bucket {
    fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key)?;
        let head = self.wait(self.s3.head(&path));
        Ok(there(head, "look at", key)?.map(|meta| meta.size))
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(key)?;
        let read = self.wait(async { self.s3.get(&path).await?.bytes().await });
        Ok(there(read, "read", key)?.map(Vec::from))
    }

    fn open(&self, key: &str, range: Range<u64>) -> Result<Contents> {
        if range.is_empty() {
            return Ok(Box::new(std::io::empty()));
        }
        let path = self.path(key)?;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = self.wait(self.s3.get_opts(&path, options));
        let stream = got.map_err(failed("read", key))?.into_stream();
        Ok(Box::new(Reader::new(stream, self.runtime.clone())))
    }

    fn write(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(key)?;
        let put = self.s3.put(&path, Bytes::copy_from_slice(bytes).into());
        self.wait(put).map(drop).map_err(failed("write", key))
    }

    fn remove(&self, prefix: &str) -> Result<()> {
        let path = self.path(prefix)?;
        let all = self.s3.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        let removed = self.wait(self.s3.delete_stream(all).try_for_each(|_| async { Ok(()) }));
        there(removed, "remove", prefix).map(drop)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let path = self.path(prefix)?;
        let listed = self.wait(self.s3.list_with_delimiter(Some(&path)));
        let listed = listed.map_err(failed("list", prefix))?;
        let objects = listed.objects.into_iter().map(|meta| meta.location);
        let all = listed.common_prefixes.into_iter().chain(objects);
        let mut names: Vec<String> = all
            .filter_map(|path| path.filename().map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    fn written(&self, key: &str) -> Result<Option<i64>> {
        let path = self.path(key)?;
        let head = there(self.wait(self.s3.head(&path)), "look at", key)?;
        Ok(head.map(|meta| meta.last_modified.timestamp_millis()))
    }

    fn url(&self, key: &str) -> Result<Option<String>> {
        if !self.redirect {
            return Ok(None);
        }
        let path = self.path(key)?;
        let signed = self.wait(self.s3.signed_url(http::Method::GET, &path, REDIRECTED));
        Ok(Some(signed.map_err(failed("sign an address for", key))?.into()))
    }
}

impl ObjectStorage for Bucket {
    fn begin(&self, key: &str) -> Result<String> {
        let path = self.path(key)?;
        self.wait(self.s3.create_multipart(&path))
            .map_err(failed("begin", key))
    }

    fn put_part(&self, key: &str, id: &str, number: usize, bytes: Vec<u8>) -> Result<String> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let put = self.s3.put_part(&path, &id, number, Bytes::from(bytes).into());
        let part = self.wait(put).map_err(failed("write", key))?;
        Ok(part.content_id)
    }

    fn complete(&self, key: &str, id: &str, parts: Vec<String>) -> Result<()> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let parts = parts
            .into_iter()
            .map(|content_id| PartId { content_id })
            .collect();
        let completed = self.wait(self.s3.complete_multipart(&path, &id, parts));
        completed.map(drop).map_err(failed("write", key))
    }

    fn abort(&self, key: &str, id: &str) -> Result<()> {
        let (path, id) = (self.path(key)?, id.to_owned());
        there(self.wait(self.s3.abort_multipart(&path, &id)), "give up", key).map(drop)
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        let size = self.size(from)?.ok_or_else(|| StoreError::Storage {
            action: "copy",
            key: from.to_owned(),
            reason: "it is not there".to_owned(),
        })?;
        let copied = self.wait(async {
            match size > COPIED_AT_ONCE {
                true => self.copy_by_parts(&source, &target, size).await,
                false => self.s3.copy(&source, &target).await,
            }
        });
        copied.map_err(failed("copy", from))
    }
}
