//! `top`: the host's `ps`, reduced to the container's processes.

use super::{Containers, Processes, Status};
use crate::error::blocking;
use crate::{EngineError, ErrorKind, Result};

impl Containers {
    /// `ps` arguments; empty: `-ef`. The output must have a PID column.
    pub async fn top(&self, name: &str, ps_args: &str) -> Result<Processes> {
        let container = self.find(name)?;
        match container.status() {
            Status::Running | Status::Paused => {}
            Status::Restarting => {
                return Err(EngineError::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id
                )));
            }
            _ => {
                return Err(EngineError::conflict(format!(
                    "container {} is not running",
                    container.id
                )));
            }
        }
        let args: Vec<String> = match ps_args.split_whitespace().map(str::to_owned).collect::<Vec<_>>() {
            args if args.is_empty() => vec!["-ef".to_owned()],
            args => args,
        };
        let shim = self.0.runtime.shim(&container.id);
        let pids = blocking(move || Ok(shim.pids()?)).await?;
        let output = tokio::process::Command::new("ps")
            .args(&args)
            .output()
            .await
            .map_err(|error| {
                let hint = if error.kind() == std::io::ErrorKind::NotFound {
                    " (install procps)"
                } else {
                    ""
                };
                EngineError::system(format!("error running ps{hint}: {error}")).with_source(error)
            })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(EngineError::new(
                ErrorKind::InvalidParameter,
                format!("ps: {message}"),
            ));
        }
        let processes = parse(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.0.publish(&container, "top", &[]);
        Ok(processes)
    }
}

fn parse(output: &str, pids: &[i32]) -> Result<Processes> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let pid_column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| EngineError::invalid("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    for line in lines {
        let row = split(line, titles.len());
        let pid = row.get(pid_column).and_then(|pid| pid.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            processes.push(row);
        }
    }
    Ok(Processes { titles, processes })
}

/// Words, the last of which takes the rest of the line.
fn split(line: &str, columns: usize) -> Vec<String> {
    let mut row = Vec::with_capacity(columns);
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if row.len() + 1 == columns {
            row.push(rest.trim_end().to_owned());
            break;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        row.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes() {
        let output = "UID  PID  PPID C STIME TTY TIME CMD\nroot 1 0 0 10:00 ? 00:00:01 /sbin/init splash\nroot 42 41 0 10:01 ? \
                      00:00:00 sh -c 'sleep  5'\n";
        let found = parse(output, &[42]).unwrap();
        assert_eq!(found.titles.len(), 8);
        assert_eq!(found.processes.len(), 1);
        assert_eq!(found.processes[0][7], "sh -c 'sleep  5'");
    }

    #[test]
    fn a_pid_column_is_needed() {
        assert!(parse("USER CMD\nroot x\n", &[1]).is_err());
    }
}
