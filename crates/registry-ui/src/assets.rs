//! Stylesheet, script and icon. Their addresses have their contents' digest in them, so a browser asks once.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use havre_oci::Digest;
use http::header;

use crate::error::PageError;

struct Asset {
    name: &'static str,
    kind: &'static str,
    contents: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset {
        name: "style.css",
        kind: "text/css; charset=utf-8",
        contents: include_str!("../assets/style.css"),
    },
    Asset {
        name: "pages.js",
        kind: "text/javascript; charset=utf-8",
        contents: include_str!("../assets/pages.js"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        contents: include_str!("../assets/icon.svg"),
    },
];

/// Where they are.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) style: String,
    pub(crate) script: String,
    pub(crate) icon: String,
}

fn link(asset: &Asset) -> String {
    let digest = Digest::sha256_of(asset.contents.as_bytes());
    format!("/assets/{}/{}", digest.short(), asset.name)
}

pub(crate) static LINKS: LazyLock<Links> = LazyLock::new(|| {
    let [style, script, icon] = ASSETS.each_ref().map(link);
    Links { style, script, icon }
});

/// What is at the address of an asset.
pub(crate) fn answer(path: &str) -> Result<Response, PageError> {
    let asset = ASSETS.iter().find(|asset| link(asset) == path);
    let asset = asset.ok_or(PageError::NotFound)?;
    let headers = [
        (header::CONTENT_TYPE, asset.kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Ok((headers, Body::from(asset.contents)).into_response())
}
