//! The image's configuration beneath what the user asked for.

use havre_oci::RunConfig;

use super::{Config, Healthcheck};
use crate::{EngineError, Result};

/// Fills what the user left open from the image, as Docker merges them.
pub(crate) fn merge(user: &mut Config, image: &RunConfig) -> Result<()> {
    if user.user.is_empty() {
        user.user.clone_from(&image.user);
    }
    for port in image.exposed_ports.keys() {
        user.exposed_ports.insert(port.parse()?);
    }
    for entry in &image.env {
        let name = entry.split('=').next().unwrap_or(entry);
        if !user.env.iter().any(|own| own.split('=').next() == Some(name)) {
            user.env.push(entry.clone());
        }
    }
    for (key, value) in &image.labels {
        user.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    user.volumes.extend(image.volumes.keys().cloned());
    if user.working_dir.is_empty() {
        user.working_dir.clone_from(&image.working_dir);
    }
    match &mut user.entrypoint {
        // `--entrypoint ""` drops the image's, and its command with it.
        Some(words) if words.first().is_some_and(String::is_empty) && words.len() == 1 => {
            user.entrypoint = None
        }
        Some(words) if !words.is_empty() => {}
        _ => {
            if user.cmd.as_ref().is_none_or(Vec::is_empty) {
                user.cmd.clone_from(&image.cmd);
            }
            user.entrypoint = image.entrypoint.clone();
        }
    }
    if user.stop_signal.as_ref().is_none_or(String::is_empty) {
        user.stop_signal = Some(image.stop_signal.clone()).filter(|signal| !signal.is_empty());
    }
    if user.stop_timeout.is_none() {
        user.stop_timeout = image.stop_timeout;
    }
    if user.shell.is_none() {
        user.shell.clone_from(&image.shell);
    }
    if user.on_build.is_empty() {
        user.on_build.clone_from(&image.on_build);
    }
    merge_healthcheck(user, image);
    Ok(())
}

fn merge_healthcheck(user: &mut Config, image: &RunConfig) {
    let Some(image) = &image.healthcheck else { return };
    let image = Healthcheck {
        test: image.test.clone(),
        interval: image.interval,
        timeout: image.timeout,
        start_period: image.start_period,
        start_interval: image.start_interval,
        retries: image.retries,
    };
    match &mut user.healthcheck {
        None => user.healthcheck = Some(image),
        Some(own) => {
            if own.test.is_empty() {
                own.test = image.test;
            }
            let fill = |own: &mut i64, image: i64| {
                if *own == 0 {
                    *own = image;
                }
            };
            fill(&mut own.interval, image.interval);
            fill(&mut own.timeout, image.timeout);
            fill(&mut own.start_period, image.start_period);
            fill(&mut own.start_interval, image.start_interval);
            fill(&mut own.retries, image.retries);
        }
    }
}

/// Entry point and command as one command line.
pub(crate) fn command_line(config: &Config) -> Result<Vec<String>> {
    let args: Vec<String> = config
        .entrypoint
        .iter()
        .flatten()
        .chain(config.cmd.iter().flatten())
        .cloned()
        .collect();
    match args.first() {
        None => Err(EngineError::invalid("no command specified")),
        Some(_) => Ok(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split(' ').map(str::to_owned).collect())
    }

    fn image() -> RunConfig {
        RunConfig {
            entrypoint: words("/entry -x"),
            cmd: words("serve all"),
            env: vec!["PATH=/bin".into(), "LANG=C".into()],
            working_dir: "/srv".into(),
            ..RunConfig::default()
        }
    }

    fn line(mut user: Config) -> String {
        merge(&mut user, &image()).unwrap();
        command_line(&user).map_or_else(|error| error.to_string(), |args| args.join(" "))
    }

    #[test]
    fn entry_point_and_command() {
        assert_eq!(line(Config::default()), "/entry -x serve all");
        assert_eq!(
            line(Config {
                cmd: words("stop"),
                ..Config::default()
            }),
            "/entry -x stop"
        );
        assert_eq!(
            line(Config {
                entrypoint: words("/sh"),
                ..Config::default()
            }),
            "/sh"
        );
        assert_eq!(
            line(Config {
                entrypoint: words("/sh"),
                cmd: words("-c x"),
                ..Config::default()
            }),
            "/sh -c x"
        );
        let cleared = Config {
            entrypoint: Some(vec![String::new()]),
            ..Config::default()
        };
        assert_eq!(line(cleared.clone()), "no command specified");
        assert_eq!(
            line(Config {
                cmd: words("ls /"),
                ..cleared
            }),
            "ls /"
        );
    }

    #[test]
    fn the_users_word_wins() {
        let mut user = Config {
            env: vec!["LANG=de".into(), "A=1".into()],
            ..Config::default()
        };
        merge(&mut user, &image()).unwrap();
        assert_eq!(user.env, ["LANG=de", "A=1", "PATH=/bin"]);
        assert_eq!(user.working_dir, "/srv");
        let mut user = Config {
            working_dir: "/home".into(),
            env: vec!["LANG".into()],
            ..Config::default()
        };
        merge(&mut user, &image()).unwrap();
        assert_eq!(user.working_dir, "/home");
        assert_eq!(
            user.env,
            ["LANG", "PATH=/bin"],
            "a name without value takes the image's away"
        );
    }
}
