//! What is left out, and whether warnings fail: flags, and `# check=` at the top of the Dockerfile.

use crate::finding::Finding;
use crate::rule::{self, Rule, Severity, UnknownRule};

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    pub skip: Vec<&'static Rule>,
    /// `skip=all`.
    pub skip_all: bool,
    /// `error=true`: warnings fail.
    pub error: bool,
}

/// What the directive says and nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownSetting {
    Rule(UnknownRule),
    Key(String),
}

impl std::fmt::Display for UnknownSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(UnknownRule(name)) => write!(f, "unknown rule {name:?}"),
            Self::Key(text) => write!(
                f,
                "unknown setting {text:?}: there are skip=RULE,… and error=true"
            ),
        }
    }
}

impl Settings {
    /// Reads the value of `# check=`: `skip=RULE,RULE;error=true`.
    pub fn directive(text: &str) -> (Self, Vec<UnknownSetting>) {
        let mut settings = Self::default();
        let mut unknown = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
            {
                Some(("skip", "all")) => settings.skip_all = true,
                Some(("skip", names)) => {
                    for name in names.split(',').filter(|name| !name.trim().is_empty()) {
                        match rule::find(name) {
                            Ok(rule) => settings.skip.push(rule),
                            Err(error) => unknown.push(UnknownSetting::Rule(error)),
                        }
                    }
                }
                Some(("error", "true")) => settings.error = true,
                Some(("error", "false")) => settings.error = false,
                // Rules of BuildKit that are still tried out: here every rule is on.
                Some(("experimental", _)) => {}
                _ => unknown.push(UnknownSetting::Key(part.to_owned())),
            }
        }
        (settings, unknown)
    }

    pub fn skips(&self, finding: &Finding) -> bool {
        // What doesn't build cannot be wished away.
        (self.skip_all && finding.rule != rule::SYNTAX) || self.skip.contains(&finding.rule)
    }

    /// The least severity that fails, of what is asked for otherwise.
    pub fn threshold(&self, asked: Option<Severity>) -> Option<Severity> {
        match self.error {
            true => Some(asked.map_or(Severity::Warning, |asked| asked.min(Severity::Warning))),
            false => asked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive_of_buildkit() {
        let (read, unknown) = Settings::directive("skip=JSONArgsRecommended, sudo;error=true;x;skip=none");
        assert_eq!(read.skip, [rule::JSON_ARGS, rule::SUDO]);
        assert!(read.error && !read.skip_all);
        assert_eq!(
            unknown,
            [
                UnknownSetting::Key("x".to_owned()),
                UnknownSetting::Rule(UnknownRule("none".to_owned()))
            ]
        );
        assert_eq!(read.threshold(None), Some(Severity::Warning));
        assert_eq!(read.threshold(Some(Severity::Info)), Some(Severity::Info));
        assert!(Settings::directive("skip=all").0.skip_all);
    }
}
