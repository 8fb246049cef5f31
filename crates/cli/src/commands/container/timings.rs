//! `run --timings`: where the time went, client and engine.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use hyper::HeaderMap;

use crate::format::table::align_by;
use crate::printer::Printer;

/// Asks the engine to say what its part consisted of.
pub(super) const REQUEST: &str = "x-havre-timings";
const ANSWER: &str = "server-timing";

/// Takes the times of a command's stages, if it is to.
pub(super) struct Stopwatch {
    began: Option<Instant>,
    rows: RefCell<Vec<Row>>,
}

struct Row {
    /// Within another one.
    inner: bool,
    name: String,
    after: Duration,
    took: Duration,
}

impl Stopwatch {
    pub(super) fn new(running: bool) -> Self {
        Self {
            began: running.then(Instant::now),
            rows: RefCell::default(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.began.is_some()
    }

    /// Waits for `work` as a stage.
    pub(super) async fn stage<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        let Some(began) = self.began else {
            return work.await;
        };
        let after = began.elapsed();
        let result = work.await;
        self.rows.borrow_mut().push(Row {
            inner: false,
            name: name.to_owned(),
            after,
            took: began.elapsed() - after,
        });
        result
    }

    /// What the engine says of the stage that ended last.
    pub(super) fn within(&self, headers: &HeaderMap) {
        let mut rows = self.rows.borrow_mut();
        let Some(outer) = rows.last() else {
            return;
        };
        // The engine's clock begins somewhere within the stage: early, as the request is a few bytes.
        let begin = outer.after;
        let told = headers.get(ANSWER).and_then(|value| value.to_str().ok());
        rows.extend(told.unwrap_or_default().split(", ").filter_map(|metric| {
            let milliseconds = |name: &str| {
                let value = metric.split(';').find_map(|part| part.strip_prefix(name))?;
                Duration::try_from_secs_f64(value.parse::<f64>().ok()? / 1e3).ok()
            };
            Some(Row {
                inner: true,
                name: metric.split_once("desc=\"")?.1.strip_suffix('"')?.to_owned(),
                after: begin + milliseconds("after=")?,
                took: milliseconds("dur=")?,
            })
        }));
    }

    /// Shows the table on standard error, which is not the program's output.
    pub(super) fn report(&self, printer: &Printer) {
        let Some(began) = self.began else {
            return;
        };
        let mut text = String::from("STAGE\tAFTER\tTOOK\n");
        for row in &*self.rows.borrow() {
            let indent = if row.inner { "  " } else { "" };
            text += &format!("{indent}{}\t{}\t{}\n", row.name, show(row.after), show(row.took));
        }
        text += &format!("total\t\t{}", show(began.elapsed()));
        printer.warn(align_by(&text, 8, 3).trim_end());
    }
}

fn show(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_engine_s_stages_stand_within_the_request_that_told_them() {
        let watch = Stopwatch::new(true);
        watch.stage("create", async {}).await;
        watch.stage("start", async {}).await;
        let mut headers = HeaderMap::new();
        let told = "s0;dur=1.500;after=0.250;desc=\"root file system\", s1;dur=nonsense;desc=\"x\", s2";
        headers.insert(ANSWER, told.parse().unwrap());
        watch.within(&headers);
        let rows = watch.rows.borrow();
        let names: Vec<_> = rows.iter().map(|row| (row.inner, row.name.as_str())).collect();
        assert_eq!(
            names,
            [(false, "create"), (false, "start"), (true, "root file system")]
        );
        assert_eq!(rows[2].took, Duration::from_micros(1500));
        assert_eq!(rows[2].after - rows[1].after, Duration::from_micros(250));
    }

    #[tokio::test]
    async fn nothing_is_kept_when_not_asked() {
        let watch = Stopwatch::new(false);
        assert_eq!(watch.stage("create", async { 7 }).await, 7);
        assert!(!watch.is_running() && watch.rows.borrow().is_empty());
    }
}
