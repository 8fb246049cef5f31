//! `registry webhook`: who is told what happens, and what became of it.

use std::collections::BTreeMap;

use havre_registry_events::{Delivery, EventsError, NewWebhook, Outbox, State, Webhook as Kept};

use super::open_there;
use crate::args::registry::webhook::Webhook;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::time;
use crate::printer::Printer;
use crate::template::Value;

/// Lines of the log.
const MOST: usize = 100;

const WEBHOOKS: Layout = Layout {
    table: "{{.Name}}\t{{.URL}}\t{{.Actions}}\t{{.Repository}}",
    quiet: "Name",
    headers: &[
        ("Name", "NAME"),
        ("URL", "URL"),
        ("Actions", "ACTIONS"),
        ("Repository", "REPOSITORY"),
    ],
};

const LOG: Layout = Layout {
    table: "{{.ID}}\t{{.Created}}\t{{.Webhook}}\t{{.About}}\t{{.State}}\t{{.Answer}}",
    quiet: "ID",
    headers: &[
        ("ID", "DELIVERY"),
        ("Created", "CREATED"),
        ("Webhook", "WEBHOOK"),
        ("About", "ABOUT"),
        ("State", "STATE"),
        ("Answer", "ANSWER"),
    ],
};

pub(super) fn run(args: Webhook) -> Result<ExitStatus, CliError> {
    let (store, config, _runtime) = open_there(&args.place)?;
    let outbox = Outbox::open(store.database(), config.notifications).map_err(failed)?;
    let words: Vec<&str> = args.operands.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["add", name, url] => {
            let actions: Result<_, _> = args.action.iter().map(|word| word.parse()).collect();
            let webhook = NewWebhook {
                name: (*name).to_owned(),
                url: url.parse().map_err(failed)?,
                secret: None,
                actions: actions.map_err(failed)?,
                repository: args.repository,
                private: args.private,
            };
            Printer.line(&outbox.add_webhook(&webhook).map_err(failed)?);
        }
        ["rm", name] => {
            outbox.remove_webhook(name).map_err(failed)?;
            Printer.line(name);
        }
        ["ls"] => {
            let rows: Vec<Value> = outbox.webhooks().map_err(failed)?.iter().map(row).collect();
            Printer.out(&WEBHOOKS.render(None, false, &rows)?);
        }
        ["log"] | ["log", _] => {
            let log = outbox.deliveries(words.get(1).copied(), MOST).map_err(failed)?;
            let rows: Vec<Value> = log.iter().map(entry).collect();
            Printer.out(&LOG.render(None, false, &rows)?);
        }
        ["again", id] => {
            if !outbox.redeliver(id).map_err(failed)? {
                return Err(CliError::Invalid(format!(
                    "there is no delivery {id}: see 'registry webhook log'"
                )));
            }
            Printer.line(id);
        }
        _ => {
            return Err(CliError::Invalid(format!(
                "{:?} is not known: use add NAME URL, rm NAME, ls, log [NAME] or again DELIVERY",
                words.join(" ")
            )));
        }
    }
    Ok(ExitStatus::SUCCESS)
}

fn failed(error: EventsError) -> CliError {
    CliError::Invalid(error.to_string())
}

fn row(webhook: &Kept) -> Value {
    let actions: Vec<String> = webhook.actions.iter().map(ToString::to_string).collect();
    let cells = vec![
        ("Name", webhook.name.as_str().into()),
        ("URL", webhook.url.as_str().into()),
        (
            "Actions",
            if actions.is_empty() {
                "all".to_owned()
            } else {
                actions.join(", ")
            }
            .into(),
        ),
        (
            "Repository",
            webhook
                .repository
                .clone()
                .unwrap_or_else(|| "all".to_owned())
                .into(),
        ),
    ];
    Value::row(cells, BTreeMap::new())
}

fn entry(delivery: &Delivery) -> Value {
    let state = match delivery.state {
        State::Waiting { due } => format!("waits until {}", time::local(due / 1000)),
        State::Delivered => "delivered".to_owned(),
        State::GivenUp => "given up".to_owned(),
    };
    let cells = vec![
        ("ID", delivery.id.as_str().into()),
        ("Created", time::ago(delivery.created / 1000).into()),
        ("Webhook", delivery.target.as_str().into()),
        ("About", delivery.about.as_str().into()),
        ("State", state.into()),
        ("Answer", delivery.answer.as_str().into()),
    ];
    Value::row(cells, BTreeMap::new())
}
