//! Measurements, their medians, and the table that goes into the README.

use std::{collections::BTreeMap, fmt::Write, path::Path, time::Duration};

use fs_err as fs;

use super::plot::{self, Bars};
use crate::Outcome;

/// Samples by row and engine. Times are seconds, memory is bytes.
#[derive(Default)]
pub(super) struct Results {
    rows: Vec<String>,
    samples: BTreeMap<(String, String), Vec<f64>>,
}

impl Results {
    pub(super) fn time(&mut self, row: &str, engine: &str, duration: Duration) {
        self.add(row, engine, duration.as_secs_f64());
    }

    pub(super) fn bytes(&mut self, row: &str, engine: &str, bytes: u64) {
        self.add(&format!("{row} (bytes)"), engine, bytes as f64);
    }

    fn add(&mut self, row: &str, engine: &str, value: f64) {
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        self.samples
            .entry((row.to_owned(), engine.to_owned()))
            .or_default()
            .push(value);
    }

    fn median(&self, row: &str, engine: &str) -> Option<f64> {
        let mut values = self.samples.get(&(row.to_owned(), engine.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Some(if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        })
    }

    /// Medians, and how many times havre's median fits into each of the others'.
    pub(super) fn markdown(&self, engines: &[String]) -> String {
        let others: Vec<&String> = engines.iter().filter(|name| *name != "havre").collect();
        let mut text = String::from("| work |");
        for name in engines {
            let _ = write!(text, " {name} |");
        }
        for name in &others {
            let _ = write!(text, " vs {name} |");
        }
        text.push_str("\n|---|");
        text.push_str(&"---:|".repeat(engines.len() + others.len()));
        for row in &self.rows {
            let _ = write!(text, "\n| {} |", row.trim_end_matches(" (bytes)"));
            for name in engines {
                let _ = write!(
                    text,
                    " {} |",
                    self.median(row, name)
                        .map_or("–".into(), |value| show(row, value))
                );
            }
            for name in &others {
                let ratio = self
                    .median(row, name)
                    .zip(self.median(row, "havre"))
                    .map(|(other, own)| other / own);
                let _ = write!(
                    text,
                    " {} |",
                    ratio.map_or("–".into(), |ratio| format!("{ratio:.1}x"))
                );
            }
        }
        text
    }

    /// The ratios as a picture: times only, rows that every engine was measured in at least once.
    pub(super) fn plot(&self, path: &Path, engines: &[String]) -> Outcome {
        let others: Vec<&str> = engines
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "havre")
            .collect();
        let rows: Vec<Bars> = self
            .rows
            .iter()
            .filter(|row| !row.ends_with("(bytes)"))
            .filter_map(|row| {
                let own = self.median(row, "havre")?;
                let ratios = others
                    .iter()
                    .map(|other| Some(self.median(row, other)? / own))
                    .collect();
                Some(Bars {
                    work: row.clone(),
                    ratios,
                })
            })
            .collect();
        if rows.is_empty() || others.is_empty() {
            return Ok(());
        }
        plot::draw(path, &others, &rows)
    }

    /// Every sample as JSON, for comparing runs.
    pub(super) fn save(&self, folder: &Path) -> Outcome {
        fs::create_dir_all(folder)?;
        let mut rows: BTreeMap<&str, BTreeMap<&str, &[f64]>> = BTreeMap::new();
        for ((row, engine), values) in &self.samples {
            rows.entry(row).or_default().insert(engine, values);
        }
        Ok(fs::write(
            folder.join("latest.json"),
            serde_json::to_vec_pretty(&rows)?,
        )?)
    }
}

fn show(row: &str, value: f64) -> String {
    match value {
        _ if row.ends_with("(bytes)") => format!("{:.1} MB", value / 1e6),
        _ if value < 1.0 => format!("{:.0} ms", value * 1e3),
        _ => format!("{value:.2} s"),
    }
}
