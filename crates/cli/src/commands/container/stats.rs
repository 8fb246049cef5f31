//! `stats`: a table of what containers use, drawn anew twice a second.

mod usage;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;

use self::usage::{Answer, LAYOUT, Row, Usage};
use crate::args::container::stats::Stats;
use crate::client::Client;
use crate::commands::Done;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::session::Session;
use crate::template::Value;

/// Between two drawings.
const TICK: Duration = Duration::from_millis(500);
/// A container whose numbers are older has none.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the first numbers of all containers are waited for.
const FIRST: Duration = Duration::from_secs(30);

/// A container of the table.
struct Line {
    /// As asked for.
    container: String,
    latest: RefCell<Latest>,
    stop: AbortHandle,
}

/// What is known of it.
enum Latest {
    /// Nothing has come yet.
    Waiting,
    Known(Usage),
    /// Nothing has come for some time, or nothing will come any more.
    Lost,
    Failed(String),
}

type Collector<'a> = LocalBoxFuture<'a, ()>;

/// The lines in their order, and what fills them.
struct Board<'a> {
    client: &'a Client,
    once: bool,
    lines: Vec<Rc<Line>>,
    collectors: FuturesUnordered<Collector<'a>>,
}

impl<'a> Board<'a> {
    fn add(&mut self, container: &str) {
        if self.lines.iter().any(|line| line.container == container) {
            return;
        }
        let (stop, registration) = AbortHandle::new_pair();
        let line = Rc::new(Line {
            container: container.to_owned(),
            latest: RefCell::new(Latest::Waiting),
            stop,
        });
        self.lines.push(line.clone());
        let work = Abortable::new(collect(self.client, line, self.once), registration);
        self.collectors.push(Box::pin(async move {
            // Stopped ones are gone from the table.
            let _ = work.await;
        }));
    }

    fn remove(&mut self, container: &str) {
        self.lines.retain(|line| {
            let gone = line.container == container;
            if gone {
                line.stop.abort();
            }
            !gone
        });
    }

    fn waits(&self) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(*line.latest.borrow(), Latest::Waiting))
    }

    /// Messages of the containers that could not be asked.
    fn failures(&self) -> Vec<String> {
        let failures = self.lines.iter().filter_map(|line| match &*line.latest.borrow() {
            Latest::Failed(message) => Some(message.clone()),
            _ => None,
        });
        failures.collect()
    }

    fn rows(&self, trunc: bool) -> Vec<Value> {
        let rows = self.lines.iter().map(|line| {
            let usage = match &*line.latest.borrow() {
                Latest::Known(usage) => Some(usage.clone()),
                _ => None,
            };
            Value::cells(Row {
                container: line.container.clone(),
                usage,
                trunc,
            })
        });
        rows.collect()
    }
}

/// Fills a line until the stream ends.
async fn collect(client: &Client, line: Rc<Line>, once: bool) {
    let set = |latest| *line.latest.borrow_mut() = latest;
    let call = client
        .get(format!(
            "/containers/{}/stats",
            line.container.trim_start_matches('/')
        ))
        .query("stream", if once { "0" } else { "1" });
    let mut answers = match call.lines::<Answer>().await {
        Ok(answers) => answers,
        Err(error) => return set(Latest::Failed(error.to_string())),
    };
    loop {
        let next = if once {
            answers.next().await
        } else {
            match tokio::time::timeout(PATIENCE, answers.next()).await {
                Ok(next) => next,
                Err(_) => {
                    set(Latest::Lost);
                    continue;
                }
            }
        };
        match next {
            Ok(Some(answer)) => set(Latest::Known(answer.into())),
            Ok(None) if once => return,
            Ok(None) => return set(Latest::Lost),
            Err(error) => return set(Latest::Failed(error.to_string())),
        }
        if once {
            return;
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

/// `docker stats`.
pub(crate) async fn stats(session: &Session, args: Stats) -> Done {
    let configured = session.settings.config()?.rest.get("statsFormat").cloned();
    let configured = configured.and_then(|format| format.as_str().map(str::to_owned));
    let format = args.format.clone().or(configured);
    // A bad template is told before anything is asked.
    LAYOUT.list(format.as_deref(), false)?;
    let client = session.client()?;
    let mut board = Board {
        client,
        once: args.no_stream,
        lines: Vec::new(),
        collectors: FuturesUnordered::new(),
    };
    let everything = args.operands.is_empty();
    // Before the list, so that none is missed that starts meanwhile.
    let mut events = match everything && !args.no_stream {
        true => Some(
            client
                .get("/events")
                .query("filters", r#"{"type":{"container":true}}"#)
                .lines::<Event>()
                .await?,
        ),
        false => None,
    };
    if everything {
        let listed: Vec<Listed> = client
            .get("/containers/json")
            .query_if("all", args.all)
            .answer()
            .await?;
        listed.iter().for_each(|container| board.add(&container.id));
    } else {
        args.operands.iter().for_each(|container| board.add(container));
    }
    first_numbers(&mut board).await;
    let failures = board.failures();
    if !everything && !failures.is_empty() {
        return Err(CliError::Invalid(failures.join("\n")));
    }

    let mut screen = Screen::new(session, &args);
    let mut ticker = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticker.tick() => {
                screen.draw(&board, format.as_deref())?;
                if args.no_stream || (board.lines.is_empty() && !everything) {
                    return Ok(ExitStatus::SUCCESS);
                }
            }
            Some(()) = board.collectors.next(), if !board.collectors.is_empty() => {}
            event = next(&mut events) => match event? {
                Some(event) => follow(&mut board, &event, args.all),
                None => return Err(CliError::Broken("the stream of events ended".to_owned())),
            },
        }
    }
}

/// Waits until every container has told something, or cannot.
async fn first_numbers(board: &mut Board<'_>) {
    let deadline = tokio::time::sleep(FIRST);
    tokio::pin!(deadline);
    while board.waits() && !board.collectors.is_empty() {
        tokio::select! {
            () = &mut deadline => return,
            _ = board.collectors.next() => {}
            // Streams do not end with their first numbers.
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
}

async fn next(events: &mut Option<crate::client::JsonLines<Event>>) -> Result<Option<Event>, CliError> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn follow(board: &mut Board<'_>, event: &Event, all: bool) {
    let id = &event.actor.id;
    match event.action.as_str() {
        "start" => board.add(id),
        "create" if all => board.add(id),
        "die" if !all => board.remove(id),
        "destroy" => board.remove(id),
        _ => {}
    }
}

/// Where the table is drawn.
struct Screen<'a> {
    session: &'a Session,
    /// Over the last drawing.
    live: bool,
    trunc: bool,
}

impl<'a> Screen<'a> {
    fn new(session: &'a Session, args: &Stats) -> Self {
        let live = !args.no_stream && session.printer.out_is_terminal();
        if live {
            // The shell's lines go out of the way.
            session.printer.out("\x1b[2J");
        }
        Self {
            session,
            live,
            trunc: !args.no_trunc,
        }
    }

    fn draw(&mut self, board: &Board<'_>, format: Option<&str>) -> Result<(), CliError> {
        let text = LAYOUT.render(format, false, &board.rows(self.trunc))?;
        if !self.live {
            self.session.printer.out(&text);
            return Ok(());
        }
        // From the upper left corner; what an earlier drawing left behind a line, and below, is wiped out.
        let mut drawing = String::from("\x1b[H");
        for line in text.lines() {
            drawing.push_str(line);
            drawing.push_str("\x1b[K\n");
        }
        drawing.push_str("\x1b[J");
        self.session.printer.out(&drawing);
        Ok(())
    }
}
