//! What takes the space, and what the next collection would give back.

use std::time::Duration;

use askama::Template;
use axum::response::Response;
use havre_registry_store::{Collected, Usage};

use crate::error::PageError;
use crate::frame::Frame;
use crate::link;
use crate::respond;
use crate::show::{self, Count, Moment, Size};
use crate::visit::Visit;

/// Repositories with a bar.
const LARGEST: usize = 12;
/// Days with a bar.
const DAYS: i64 = 30;
/// Lines of what would go.
const ROWS: usize = 50;
/// The bars of days, in their own units.
const HEIGHT: f64 = 90.0;
const STEP: f64 = 24.0;

#[derive(Template)]
#[template(path = "storage.html")]
struct Page<'a> {
    frame: Frame<'a>,
    bytes: Size,
    apart: Size,
    saved: Size,
    saved_share: String,
    /// The bar of what there is, out of a hundred.
    kept_share: String,
    /// How much of what there is.
    holds: [String; 4],
    largest: Vec<Share>,
    days: Vec<Day>,
    days_width: String,
    most_pushes: Count,
    pushes: Count,
    goes: Goes,
    patience: String,
    /// Without, uploads stay.
    upload_patience: Option<String>,
}

struct Share {
    name: String,
    link: String,
    bytes: Size,
    own: Size,
    /// Out of a hundred of the largest.
    width: String,
    own_width: String,
}

struct Day {
    x: String,
    y: String,
    height: String,
    text: String,
}

struct Goes {
    bytes: Size,
    /// How much of what that is.
    what: [String; 4],
    is_nothing: bool,
    rows: Vec<Going>,
    others: Option<Count>,
}

struct Going {
    what: &'static str,
    name: String,
    size: Size,
}

pub(crate) async fn page(visit: &Visit) -> Result<Response, PageError> {
    if !visit.is_admin() {
        visit.must_be_somebody()?;
        return Err(PageError::Forbidden("This is for administrators.".to_owned()));
    }
    let patience = visit.pages.settings().patience;
    let (usage, collectable) = visit
        .ask(move |store| Ok((store.usage(LARGEST, DAYS)?, store.collectable(patience)?)))
        .await?;
    let saved = usage.bytes_apart.saturating_sub(usage.bytes);
    let part = |part: u64, of: u64| part as f64 / of.max(1) as f64 * 100.0;
    respond::html(&Page {
        frame: Frame::new(visit, "Storage"),
        bytes: Size(usage.bytes),
        apart: Size(usage.bytes_apart),
        saved: Size(saved),
        saved_share: format!("{:.0} %", part(saved, usage.bytes_apart)),
        kept_share: format!(
            "{:.1}",
            part(usage.bytes.min(usage.bytes_apart), usage.bytes_apart)
        ),
        holds: [
            show::counted(usage.repositories, "repository", "repositories"),
            show::counted(usage.tags, "tag", "tags"),
            show::counted(usage.manifests, "manifest", "manifests"),
            show::counted(usage.blobs, "blob", "blobs"),
        ],
        largest: shares(&usage),
        days_width: format!("{:.0}", STEP * DAYS as f64),
        most_pushes: Count(usage.pushes.iter().map(|(_, count)| *count).max().unwrap_or(0)),
        pushes: Count(usage.pushes.iter().map(|(_, count)| count).sum()),
        days: days(&usage),
        goes: goes(&collectable),
        patience: show::span(patience.blobs.as_secs()),
        upload_patience: match patience.uploads {
            Duration::MAX => None,
            patience => Some(show::span(patience.as_secs())),
        },
    })
}

fn shares(usage: &Usage) -> Vec<Share> {
    let most = usage.largest.first().map_or(1, |share| share.bytes.max(1));
    let width = |bytes: u64| format!("{:.1}", bytes as f64 / most as f64 * 100.0);
    let shares = usage.largest.iter().map(|share| Share {
        name: share.name.to_string(),
        link: link::repository(&share.name),
        bytes: Size(share.bytes),
        own: Size(share.own),
        width: width(share.bytes),
        own_width: width(share.own),
    });
    shares.collect()
}

fn days(usage: &Usage) -> Vec<Day> {
    let most = usage
        .pushes
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    let days = usage.pushes.iter().enumerate().map(|(at, (day, count))| {
        let height = match count {
            0 => 1.0,
            count => (*count as f64 / most as f64 * HEIGHT).max(3.0),
        };
        let date = Moment::of_seconds(day * 24 * 3600).exact();
        let date = date.split('T').next().unwrap_or_default();
        Day {
            x: format!("{:.1}", at as f64 * STEP + 3.0),
            y: format!("{:.1}", HEIGHT - height),
            height: format!("{height:.1}"),
            text: format!("{date}: {}", show::counted(*count, "manifest", "manifests")),
        }
    });
    days.collect()
}

fn goes(collected: &Collected) -> Goes {
    let blobs = collected.blobs.iter().map(|(digest, size)| Going {
        what: "blob",
        name: digest.to_string(),
        size: Size(*size),
    });
    let uploads = collected.uploads.iter().map(|(name, id, size)| Going {
        what: "upload",
        name: format!("{name} {}", show::line(id)),
        size: Size(*size),
    });
    let counted = |count: usize, one, many| show::counted(count as u64, one, many);
    let all = collected.blobs.len() + collected.uploads.len();
    Goes {
        bytes: Size(collected.bytes()),
        what: [
            counted(
                collected.manifests.len(),
                "image whose tags were deleted",
                "images whose tags were deleted",
            ),
            counted(collected.blobs.len(), "blob", "blobs"),
            counted(collected.uploads.len(), "upload", "uploads"),
            counted(
                collected.unused.len(),
                "blob that a repository does not need any more",
                "blobs that a repository does not need any more",
            ),
        ],
        is_nothing: *collected == Collected::default(),
        rows: blobs.chain(uploads).take(ROWS).collect(),
        others: (all > ROWS).then(|| Count((all - ROWS) as u64)),
    }
}
