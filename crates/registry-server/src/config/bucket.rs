//! `storage.s3` of the reference registry.

use havre_bucket::BucketSettings;
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, refuse};

/// As it is written. What is `Value` tunes what is done another way here.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct S3 {
    bucket: Option<String>,
    region: Option<String>,
    regionendpoint: Option<String>,
    forcepathstyle: Option<bool>,
    accesskey: Option<String>,
    secretkey: Option<String>,
    sessiontoken: Option<String>,
    rootdirectory: String,
    encrypt: bool,
    keyid: Option<String>,
    secure: Option<bool>,
    skipverify: bool,
    v4auth: Option<bool>,
    usedualstack: bool,
    accelerate: bool,
    objectacl: Option<String>,
    storageclass: Option<String>,
    useragent: Value,
    chunksize: Value,
    multipartcopychunksize: Value,
    multipartcopymaxconcurrency: Value,
    multipartcopythresholdsize: Value,
    multipartcombinesmallpart: Value,
    loglevel: Value,
}

impl S3 {
    pub(super) fn checked(self, redirect: bool) -> Result<BucketSettings, ConfigError> {
        let Some(bucket) = self.bucket else {
            return refuse("storage.s3.bucket", "", "name the bucket");
        };
        if self.skipverify {
            return refuse(
                "storage.s3.skipverify",
                "true",
                "certificates are always checked: add the authority's to the system's",
            );
        }
        if self.v4auth == Some(false) {
            return refuse("storage.s3.v4auth", "false", "requests are signed by version 4");
        }
        for (key, wanted) in [
            ("storage.s3.usedualstack", self.usedualstack),
            ("storage.s3.accelerate", self.accelerate),
        ] {
            if wanted {
                return refuse(key, "true", "give such an address as regionendpoint");
            }
        }
        if let Some(acl) = self.objectacl.as_deref().filter(|acl| *acl != "private") {
            return refuse("storage.s3.objectacl", acl, "objects are private");
        }
        if let Some(class) = self.storageclass.as_deref()
            && !matches!(class, "STANDARD" | "NONE")
        {
            return refuse(
                "storage.s3.storageclass",
                class,
                "let a rule of the bucket move objects",
            );
        }
        if self.accesskey.is_some() != self.secretkey.is_some() {
            return refuse("storage.s3.accesskey", "", "accesskey and secretkey go together");
        }
        let endpoint = self.regionendpoint.filter(|endpoint| !endpoint.is_empty());
        let endpoint = endpoint.map(|endpoint| match (endpoint.contains("://"), self.secure) {
            (true, _) => endpoint,
            (false, Some(false)) => format!("http://{endpoint}"),
            (false, _) => format!("https://{endpoint}"),
        });
        Ok(BucketSettings {
            bucket,
            region: self.region,
            // As the reference registry does: services that are not AWS mostly have no names of buckets.
            path_style: self.forcepathstyle.unwrap_or(endpoint.is_some()),
            endpoint,
            access_key: self.accesskey,
            secret_key: self.secretkey,
            session_token: self.sessiontoken,
            root: self.rootdirectory,
            encrypt: self.encrypt,
            key_id: self.keyid.filter(|key| !key.is_empty()),
            redirect,
        })
    }
}
