//! Advice on a Dockerfile.

mod config;
mod copy;
mod from;
mod leak;
mod page;
mod run;
mod shell;
mod variables;
mod writing;

use havre_dockerfile::parser::{self, MAX_BYTES};

use crate::finding::{Finding, Place};
use crate::rule;
use crate::secrets;
use crate::settings::{Settings, UnknownSetting};

use page::{Page, line_region};

/// A Dockerfile, and what is known of the directory it is built from.
pub struct Source<'a> {
    text: &'a [u8],
    context: Option<Context<'a>>,
}

/// The directory a Dockerfile is built from.
pub struct Context<'a> {
    /// Whether there is a `.dockerignore`.
    pub ignore_file: bool,
    /// Whether it leaves a path out.
    pub ignores: &'a dyn Fn(&str) -> bool,
    /// Names in the directory.
    pub names: &'a [String],
}

impl<'a> Source<'a> {
    /// A text alone: what concerns its context is not looked at.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, context: None }
    }

    pub fn in_context(mut self, context: Context<'a>) -> Self {
        self.context = Some(context);
        self
    }
}

/// What there is to say of a Dockerfile.
#[derive(Debug)]
pub struct Checked {
    /// The text with stars where secrets were, as many characters: what may be shown.
    pub text: String,
    /// By place. What `# check=skip=` names is left out.
    pub findings: Vec<Finding>,
    /// Those of the text.
    pub settings: Settings,
    pub unknown: Vec<UnknownSetting>,
}

/// Looks at a Dockerfile. Never fails: what doesn't parse is a finding.
pub fn check(source: &Source<'_>) -> Checked {
    let mut checked = Checked {
        text: String::new(),
        findings: Vec::new(),
        settings: Settings::default(),
        unknown: Vec::new(),
    };
    let bytes = &source.text[..source.text.len().min(MAX_BYTES + 1)];
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut hidden: Vec<_> = secrets::find(&text);
    let document = match parser::parse(source.text) {
        Ok(document) => document,
        Err(error) => {
            let known: Vec<_> = hidden.iter().map(|secret| secret.at.clone()).collect();
            checked.text = secrets::masked(&text, &known);
            let region = line_region(&checked.text, *error.lines.start());
            let message = secrets::without(&error.source.to_string());
            checked
                .findings
                .push(Finding::new(rule::SYNTAX, Place::Text(region), message));
            return checked;
        }
    };
    if let Some(directive) = &document.directives.check {
        (checked.settings, checked.unknown) = Settings::directive(directive);
    }
    let mut findings = leak::tokens(&text, &hidden);
    let original = Page::new(&text, document);
    leak::variables(&original, &text, &mut hidden, &mut findings);
    let known: Vec<_> = hidden.into_iter().map(|secret| secret.at).collect();
    checked.text = secrets::masked(&text, &known);
    // From here on nobody sees a secret. Where stars make another text of it (one without its end, say), this is all.
    if let Ok(document) = parser::parse(checked.text.as_bytes()) {
        let page = Page::new(&checked.text, document);
        let context = source.context.as_ref();
        writing::check(&page, &mut findings);
        from::check(&page, &mut findings);
        variables::check(&page, &mut findings);
        copy::check(&page, context, &mut findings);
        run::check(&page, &mut findings);
        config::check(&page, &mut findings);
    }
    findings.retain(|finding| !checked.settings.skips(finding));
    findings.sort_by(|a, b| (&a.place, a.rule.name).cmp(&(&b.place, b.rule.name)));
    findings.dedup();
    checked.findings = findings;
    checked
}

#[cfg(test)]
mod tests;
