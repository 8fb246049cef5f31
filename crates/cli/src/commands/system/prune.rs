//! `system prune`.

use serde::Deserialize;

use crate::args::system::prune::Prune;
use crate::commands::{Done, builder, container, image, plan, prompt, volume};
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::spec::filters::filters;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    #[serde(default)]
    networks_deleted: Option<Vec<String>>,
}

/// `docker system prune`.
pub(crate) async fn prune(session: &Session, args: Prune) -> Done {
    if args.volumes && args.filter.iter().any(|filter| filter.starts_with("until=")) {
        return Err(CliError::Invalid(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"".to_owned(),
        ));
    }
    let request = plan::Request {
        command: "system prune",
        all: args.all,
        volumes: args.volumes,
        filters: filters(&args.filter)?,
        keep: args.keep.keep,
        ..plan::Request::default()
    };
    if plan::shown(session, &args.removal.plan, &request).await? {
        return Ok(ExitStatus::SUCCESS);
    }
    let agreed = match args.removal.force {
        true => None,
        false => plan::confirm(session, &warning(&args), &request).await?,
    };
    let mut freed = 0;
    let mut report = |(text, bytes): (String, i64)| {
        session.printer.out(&text);
        freed += bytes;
    };
    if let Some(plan) = agreed {
        let applied = plan::apply(session, &request, &plan).await?;
        for (kind, title) in [
            ("container", "Deleted Containers:"),
            ("network", "Deleted Networks:"),
            ("volume", "Deleted Volumes:"),
            ("image", "Deleted Images:"),
            ("build cache", "Deleted build cache objects:"),
        ] {
            report((applied.deleted(kind, title, &plan), 0));
        }
        report((String::new(), applied.space_reclaimed));
    } else {
        report(container::prune::remove(session, &args.filter).await?);
        report((networks(session, &args.filter).await?, 0));
        if args.volumes {
            report(volume::prune::remove(session, &args.filter, false).await?);
        }
        report(image::prune::remove(session, &args.filter, args.all, args.keep.keep).await?);
        report(cache(session, &args).await?);
    }
    Ok(prompt::reclaimed(session, freed))
}

fn warning(args: &Prune) -> String {
    let mut what = vec![
        "all stopped containers",
        "all networks not used by at least one container",
    ];
    if args.volumes {
        what.push("all anonymous volumes not used by at least one container");
    }
    what.push(if args.all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    });
    what.push(if args.all {
        "all build cache"
    } else {
        "unused build cache"
    });
    let mut text = String::from("WARNING! This will remove:\n");
    for line in what {
        text.push_str(&format!("  - {line}\n"));
    }
    if !args.filter.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for filter in &args.filter {
            text.push_str(&format!("  - {filter}\n"));
        }
    }
    text + "\n"
}

pub(crate) async fn networks(session: &Session, filter: &[String]) -> Result<String, CliError> {
    let call = session
        .client()?
        .post("/networks/prune")
        .part_of(session.operation())
        .query_some("filters", filters(filter)?);
    let deleted = call
        .answer::<Networks>()
        .await?
        .networks_deleted
        .unwrap_or_default();
    Ok(if deleted.is_empty() {
        String::new()
    } else {
        format!("Deleted Networks:\n{}\n\n", deleted.join("\n"))
    })
}

async fn cache(session: &Session, args: &Prune) -> Result<(String, i64), CliError> {
    let until: Vec<String> = args
        .filter
        .iter()
        .filter(|filter| filter.starts_with("until="))
        .cloned()
        .collect();
    builder::prune::remove(session, &until, args.all, 0).await
}
