//! `events`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::args::system::events::Events;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::time::point;
use crate::session::Session;
use crate::spec::filters::filters;
use crate::template::{Template, Value};

/// `docker events`.
pub(crate) async fn events(session: &Session, args: Events) -> Done {
    let time = |value: &Option<String>| {
        value
            .as_deref()
            .filter(|value| !value.is_empty())
            .map(point)
            .transpose()
            .map_err(CliError::Invalid)
    };
    let template = match args.format.as_deref().filter(|format| !format.is_empty()) {
        None => None,
        Some(format) => {
            let format = if format == "json" { "{{json .}}" } else { format };
            Some(Template::parse(format).map_err(|error| CliError::Usage {
                text: format!("Error parsing format: {error}"),
                status: ExitStatus(64),
            })?)
        }
    };
    let mut lines = session
        .client()?
        .get("/events")
        .query_some("since", time(&args.since)?)
        .query_some("until", time(&args.until)?)
        .query_some("filters", filters(&args.filter)?)
        .lines::<Value>()
        .await?;
    while let Some(event) = lines.next().await? {
        let line = match &template {
            Some(template) => template
                .render(&event)
                .map_err(|error| CliError::Invalid(format!("template parsing error: {error}")))?,
            None => plain(&event),
        };
        session.printer.line(&line);
    }
    Ok(ExitStatus::SUCCESS)
}

/// `2026-11-22T00:31:41.000000000Z container start 8b1a… (image=x, name=y)`.
fn plain(event: &Value) -> String {
    let text = |value: &Value, name: &str| field(value, name).map(ToString::to_string).unwrap_or_default();
    let number = |name: &str| match field(event, name) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let nanoseconds = number("timeNano");
    let time = if nanoseconds != 0 {
        Timestamp::from_nanosecond(i128::from(nanoseconds))
    } else {
        Timestamp::from_second(number("time"))
    };
    let zoned = time.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system());
    let offset = if zoned.offset().seconds() == 0 {
        "Z".to_owned()
    } else {
        zoned.strftime("%:z").to_string()
    };
    let mut line = format!(
        "{}{offset} {} {}",
        zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f"),
        text(event, "Type"),
        text(event, "Action")
    );
    if let Some(actor) = field(event, "Actor") {
        line.push_str(&format!(" {}", text(actor, "ID")));
        if let Some(Value::Map(attributes)) = field(actor, "Attributes")
            && !attributes.is_empty()
        {
            let sorted: BTreeMap<_, _> = attributes.iter().map(|(key, value)| (key, value)).collect();
            let pairs: Vec<String> = sorted
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            line.push_str(&format!(" ({})", pairs.join(", ")));
        }
    }
    line
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Map(entries) => entries
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_per_event() {
        let event: Value = serde_json::from_str(
            r#"{"Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"name":"web","image":"nginx"}},
                "time":1700000000,"timeNano":1700000000123456789}"#,
        )
        .unwrap();
        let line = plain(&event);
        assert!(
            line.ends_with(" container start abc (image=nginx, name=web)"),
            "{line}"
        );
        assert!(line.contains(":20.123456789"), "{line}");
    }
}
