//! `image log`.

use jiff::Timestamp;
use serde::Deserialize;

use crate::args::image::log::Log;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size, time};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    index: usize,
    at: Timestamp,
    #[serde(default)]
    id: Option<String>,
    command: String,
    #[serde(default)]
    digest: Option<String>,
    state: String,
    #[serde(default)]
    size: Option<i64>,
}

const LAYOUT: Layout = Layout {
    table: "{{.Entry}}\t{{.ChangedSince}}\t{{.ID}}\t{{.Command}}\t{{.Size}}",
    quiet: "ID",
    headers: &[
        ("Entry", "ENTRY"),
        ("ChangedSince", "CHANGED"),
        ("ChangedAt", "CHANGED AT"),
        ("ID", "IMAGE ID"),
        ("Digest", "DIGEST"),
        ("Command", "BY"),
        ("Size", "SIZE"),
        ("State", "STATE"),
    ],
};

/// `havre image log`.
pub(crate) async fn log(session: &Session, args: Log) -> Done {
    let call = session.client()?.get("/havre/images/log");
    let call = call.query("name", &args.operands[0]);
    let entries: Vec<Entry> = call.answer().await.map_err(here_only)?;
    let shown = entries.iter().filter(|entry| !args.quiet || entry.id.is_some());
    let rows: Vec<Value> = shown.map(|entry| entry.row(!args.no_trunc)).collect();
    session
        .printer
        .out(&LAYOUT.render(args.format.as_deref(), args.quiet, &rows)?);
    Ok(ExitStatus::SUCCESS)
}

/// Other engines know nothing of this.
pub(super) fn here_only(error: CliError) -> CliError {
    match error {
        CliError::Daemon { status: 404, message } if message == "page not found" => {
            CliError::Invalid("this engine keeps no history of tags: a Havre engine does".to_owned())
        }
        error => error,
    }
}

impl Entry {
    fn row(&self, trunc: bool) -> Value {
        let id = match &self.id {
            Some(id) if trunc => short_id(id),
            Some(id) => id.clone(),
            None => "<none>".to_owned(),
        };
        let bytes = self.size.map(size::short).unwrap_or_default();
        let size = match self.state.as_str() {
            "kept" => format!("{bytes} (removed, kept for undo)"),
            "gone" => "gone".to_owned(),
            "untagged" => "-".to_owned(),
            _ => bytes,
        };
        Value::row(
            vec![
                ("Entry", format!("@{{{}}}", self.index).into()),
                ("ChangedSince", time::ago(self.at.as_second()).into()),
                ("ChangedAt", self.at.to_string().into()),
                ("ID", id.into()),
                ("Digest", self.digest.as_deref().unwrap_or("<none>").into()),
                ("Command", self.command.as_str().into()),
                ("Size", size.into()),
                ("State", self.state.as_str().into()),
            ],
            Default::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_an_image_is_told_where_its_size_stands() {
        let entries: Vec<Entry> = serde_json::from_str(
            r#"[{"Index":0,"At":"2024-01-02T03:04:05Z","Command":"rmi","State":"untagged"},
                {"Index":1,"At":"2024-01-02T03:04:05Z","Command":"pull","State":"here","Id":"sha256:0123456789abcdef","Size":1234567,
                 "Digest":"sha256:11"},
                {"Index":2,"At":"2024-01-02T03:04:05Z","Command":"tag","State":"kept","Id":"sha256:1123456789abcdef","Size":1},
                {"Index":3,"At":"2024-01-02T03:04:05Z","Command":"build","State":"gone","Id":"sha256:2123456789abcdef"}]"#,
        )
        .unwrap();
        let rows: Vec<Value> = entries.iter().map(|entry| entry.row(true)).collect();
        let format = "{{.Entry}}|{{.ID}}|{{.Command}}|{{.Size}}|{{.Digest}}|{{.ChangedAt}}";
        let text = LAYOUT.render(Some(format), false, &rows).unwrap();
        let expected = [
            "@{0}|<none>|rmi|-|<none>|2024-01-02T03:04:05Z",
            "@{1}|0123456789ab|pull|1.23MB|sha256:11|2024-01-02T03:04:05Z",
            "@{2}|1123456789ab|tag|1B (removed, kept for undo)|<none>|2024-01-02T03:04:05Z",
            "@{3}|2123456789ab|build|gone|<none>|2024-01-02T03:04:05Z",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
