//! `history`.

use serde::Deserialize;

use crate::args::image::history::History;
use crate::commands::Done;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{ellipsis, short_id, size, time};
use crate::image_files::{self, Image};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    id: String,
    created: i64,
    created_by: String,
    size: i64,
    comment: String,
}

const LAYOUT: Layout = Layout {
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "ID",
    headers: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

/// Without `--human`: points in time instead of durations.
const EXACT: Layout = Layout {
    table: "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    ..LAYOUT
};

/// `docker history`.
pub(crate) async fn history(session: &Session, args: History) -> Done {
    let image = Image::docker(&args.operands[0], args.platform.as_deref(), &args.registry)?;
    let call = image.docker_call(session, "history")?;
    let entries: Vec<Entry> = call.answer().await.map_err(image_files::explained)?;
    let rows: Vec<Value> = entries
        .iter()
        .map(|entry| entry.row(!args.no_trunc, args.human))
        .collect();
    let layout = if args.human { &LAYOUT } else { &EXACT };
    session
        .printer
        .out(&layout.render(args.format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

impl Entry {
    fn row(&self, trunc: bool, human: bool) -> Value {
        let id = if self.id == "<missing>" || !trunc {
            self.id.clone()
        } else {
            short_id(&self.id)
        };
        let by = self.created_by.replace('\t', " ");
        let created = if self.created <= 0 {
            String::new()
        } else {
            time::rfc3339(self.created)
        };
        let since = if human {
            time::ago(self.created)
        } else {
            created.clone()
        };
        let bytes = if human {
            size::short(self.size)
        } else {
            self.size.to_string()
        };
        Value::row(
            vec![
                ("ID", id.into()),
                ("CreatedSince", since.into()),
                ("CreatedAt", created.into()),
                ("CreatedBy", if trunc { ellipsis(&by, 45) } else { by }.into()),
                ("Size", bytes.into()),
                ("Comment", self.comment.as_str().into()),
            ],
            Default::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        let entry: Entry = serde_json::from_str(
            r#"{"Id":"<missing>","Created":1700000000,"Size":1234567,"Comment":"c",
                "CreatedBy":"/bin/sh -c apt-get update\t&& apt-get install -y python3"}"#,
        )
        .unwrap();
        let render = |trunc, human| {
            let format = "{{.ID}}|{{.CreatedBy}}|{{.Size}}|{{.CreatedAt}}|{{.Comment}}";
            LAYOUT
                .render(Some(format), false, &[entry.row(trunc, human)])
                .unwrap()
        };
        assert!(
            render(true, true)
                .starts_with("<missing>|/bin/sh -c apt-get update && apt-get install…|1.23MB|2023-11-1")
        );
        assert!(render(false, false).contains("install -y python3|1234567|"));
    }
}
