//! The registry's pages in a browser: Chromium, driven by the scripts in `testing/data/pages`, each a job on a registry of its
//! own. The first run installs what drives the browser into the user's cache (see `havre_testing::installed`).
//!
//! Every page is looked at in light and dark, as wide as a desk and as narrow as a phone, with a checker for accessibility
//! (axe), with the keyboard alone, and without JavaScript; nothing may be said on the console. With `HAVRE_PAGES_SHOTS=DIR`
//! pictures of all of them are left there.

mod fixture;

use std::process::Command;

use havre_testing::{Compression, Entry, Layer, installed};
use serde_json::json;

use crate::fixture::{Fixture, config};

/// Runs one job of the scripts against a registry.
fn job(fixture: &Fixture, name: &str) {
    let Some(modules) = installed::browser() else {
        return;
    };
    let mut program = Command::new("node");
    program
        .arg(installed::data("pages/run.js"))
        .arg(name)
        .env("NODE_PATH", modules.join("node_modules"))
        .env("REGISTRY", fixture.registry.host())
        .env("PASSWORD", fixture::PASSWORD);
    if let Err(error) = installed::run(&mut program) {
        panic!("{name}: {error}");
    }
}

#[test]
fn an_empty_registry_says_how_something_comes_there() {
    job(&Fixture::empty(), "empty");
}

#[test]
fn explore_and_search() {
    let fixture = Fixture::with_images();
    for number in 0..40 {
        fixture.push_small(&format!("many/repository-{number:02}"), "1", "the same");
    }
    job(&fixture, "explore");
}

#[test]
fn a_repository_and_its_tags() {
    let fixture = Fixture::with_images();
    for number in 0..120 {
        fixture.push_small("many/tags", &format!("v{number}"), "the same");
    }
    job(&fixture, "repository");
}

#[test]
fn an_image_its_layers_and_what_refers_to_it() {
    job(&Fixture::with_images(), "image");
}

#[test]
fn files_of_an_image_are_browsed_and_read() {
    job(&Fixture::with_images(), "files");
}

#[test]
fn two_images_side_by_side() {
    job(&Fixture::with_images(), "compare");
}

#[test]
fn tags_are_deleted_and_brought_back() {
    let fixture = Fixture::with_images();
    for tag in ["a", "b", "c", "d"] {
        fixture.push_small("team/tool", tag, tag);
    }
    job(&fixture, "delete");
}

#[test]
fn nothing_is_deleted_where_that_is_off() {
    let fixture = Fixture::configured(&[("REGISTRY_STORAGE_DELETE_ENABLED", "false")]);
    fixture.push_small("team/tool", "1", "a tool");
    job(&fixture, "nodelete");
}

#[test]
fn what_takes_the_space() {
    let fixture = Fixture::with_images();
    fixture.push_blob("team/tool", &[7; 50_000]);
    job(&fixture, "storage");
}

/// What a collection takes as soon as nobody needs it.
#[test]
fn what_would_go() {
    let fixture = Fixture::configured(&[("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "0h")]);
    // What is purged at the start is not what is pushed here.
    std::thread::sleep(std::time::Duration::from_secs(1));
    fixture.push_small("team/tool", "1", "a tool");
    job(&fixture, "goes");
}

#[test]
fn hostile_layers_get_a_page_that_says_so() {
    let fixture = Fixture::empty();
    let amd64 = config("amd64", &["COPY x /"]);
    let zeros = Layer::new().file("zeros", vec![0; 300 << 20]).tar();
    fixture.push("hostile", Some("bomb"), &amd64, &[(zeros, Compression::Zstd)]);
    fixture.push(
        "hostile",
        Some("cut"),
        &amd64,
        &[(vec![b'x'; 1000], Compression::Gzip)],
    );
    let outside = Layer::new()
        .raw(&Entry::new("../../etc/passwd", b'0'), b"x")
        .tar();
    fixture.push(
        "hostile",
        Some("outside"),
        &amd64,
        &[(outside, Compression::Gzip)],
    );
    let mut config = fixture.push_blob("hostile", b"{}");
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    fixture.push_manifest(
        "hostile",
        Some("bare"),
        &json!({"schemaVersion": 2, "mediaType": fixture::MANIFEST, "config": config, "layers": []}),
    );
    job(&fixture, "hostile");
}

#[test]
fn signing_in_and_out_and_what_nobody_may_know_of() {
    job(&Fixture::with_people("invitation"), "sign_in");
}

#[test]
fn what_is_said_of_a_repository_and_who_sees_it() {
    job(&Fixture::with_people("closed"), "people");
}

#[test]
fn an_account_its_tokens_and_sessions() {
    job(&Fixture::with_people("open"), "account");
}

#[test]
fn an_organisation_its_members_teams_and_invitations() {
    job(&Fixture::with_people("invitation"), "organisation");
}

#[test]
fn policies_the_audit_log_and_administration() {
    job(&Fixture::with_people("invitation"), "admin");
}

#[test]
fn errors_colours_and_forms_of_others() {
    job(&Fixture::with_images(), "around");
}
