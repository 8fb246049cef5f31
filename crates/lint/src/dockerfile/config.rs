//! What containers are made with: USER, CMD, ENTRYPOINT, EXPOSE, HEALTHCHECK, LABEL, WORKDIR.

use havre_dockerfile::instructions::{CommandLine, Kind};

use super::page::{Base, Item, Page};
use crate::finding::Finding;
use crate::rule;

pub(super) fn check(page: &Page<'_>, findings: &mut Vec<Finding>) {
    for index in 0..page.stages.len() {
        once(page, index, findings);
        for item in page.body(index) {
            match &item.kind {
                Ok(Kind::Cmd(CommandLine::Shell(text)) | Kind::Entrypoint(CommandLine::Shell(text))) => {
                    json_args(page, index, item, text, findings);
                }
                Ok(Kind::Expose(text)) => text
                    .split_whitespace()
                    .for_each(|word| expose(page, item, word, findings)),
                _ => {}
            }
        }
        workdir(page, index, findings);
    }
    if let Some(last) = page.stages.len().checked_sub(1) {
        user(page, findings);
        whole(page, last, findings);
    }
}

/// CMD, ENTRYPOINT and HEALTHCHECK: the last one counts.
fn once(page: &Page<'_>, index: usize, findings: &mut Vec<Finding>) {
    type Is = fn(&Kind) -> bool;
    let kinds: [(&str, Is); 3] = [
        ("CMD", |kind| matches!(kind, Kind::Cmd(_))),
        ("ENTRYPOINT", |kind| matches!(kind, Kind::Entrypoint(_))),
        ("HEALTHCHECK", |kind| matches!(kind, Kind::Healthcheck(_))),
    ];
    for (keyword, is) in kinds {
        let all: Vec<&Item> = page
            .body(index)
            .iter()
            .filter(|item| item.kind.as_ref().is_ok_and(is))
            .collect();
        let Some((last, others)) = all.split_last() else {
            continue;
        };
        for other in others {
            findings.push(
                Finding::new(
                    rule::MULTIPLE_INSTRUCTIONS,
                    page.head(&other.node),
                    format!(
                        "this {keyword} has no effect: the one of line {} counts",
                        last.node.lines.start()
                    ),
                )
                .fix("delete one of them"),
            );
        }
    }
}

fn json_args(page: &Page<'_>, index: usize, item: &Item, text: &str, findings: &mut Vec<Finding>) {
    let keyword = item.node.keyword.to_ascii_uppercase();
    // With a SHELL of one's own, the shell is meant.
    let shell = page
        .body(index)
        .iter()
        .any(|item| matches!(item.kind, Ok(Kind::Shell(_))));
    let begins = text.trim_start().starts_with('[') && text.trim_end().ends_with(']');
    if shell || begins || text.is_empty() {
        return;
    }
    let simple = !text.contains(|c: char| "$|&;<>(){}*?~`\\\"'".contains(c));
    let fix = match simple {
        true => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let json = serde_json::to_string(&words)
                .unwrap_or_default()
                .replace("\",\"", "\", \"");
            format!("{keyword} {json}")
        }
        false => format!(
            "{keyword} [\"sh\", \"-c\", \"exec …\"], where the program takes the shell's place, or a script that ends with exec"
        ),
    };
    findings.push(
        Finding::new(
            rule::JSON_ARGS,
            page.head(&item.node),
            format!(
                "{keyword} runs below a shell, which passes on no signals: docker stop waits and then kills"
            ),
        )
        .fix(fix),
    );
}

fn expose(page: &Page<'_>, item: &Item, word: &str, findings: &mut Vec<Finding>) {
    if word.contains('$') {
        return;
    }
    let place = || page.word(&item.node, word);
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let lower = protocol.to_ascii_lowercase();
    if ports.contains(':') {
        let own = ports.rsplit(':').next().unwrap_or(ports);
        findings.push(
            Finding::new(rule::EXPOSE_INVALID, place(), "EXPOSE names ports of the container; addresses and ports of the host belong to docker run --publish")
                .fix(format!("EXPOSE {own}")),
        );
        return;
    }
    let bounds: Vec<Option<u16>> = ports.splitn(2, '-').map(|port| port.parse().ok()).collect();
    let valid = match bounds.as_slice() {
        [Some(_)] => true,
        [Some(from), Some(to)] => from <= to,
        _ => false,
    };
    if !valid || !matches!(lower.as_str(), "tcp" | "udp" | "sctp") {
        findings.push(
            Finding::new(
                rule::EXPOSE_INVALID,
                place(),
                format!("{word} is no port: the builder refuses it"),
            )
            .severity(crate::Severity::Error)
            .fix("a number up to 65535 or a range, then /tcp, /udp or /sctp: EXPOSE 8080/tcp"),
        );
    } else if protocol != lower {
        findings.push(
            Finding::new(
                rule::EXPOSE_CASING,
                place(),
                format!("{protocol} is not in lower case"),
            )
            .fix(format!("EXPOSE {ports}/{lower}")),
        );
    }
}

/// A relative directory is below the base's, which the file doesn't tell.
fn workdir(page: &Page<'_>, index: usize, findings: &mut Vec<Finding>) {
    let mut known = matches!(page.stages[index].base, Base::Stage(_) | Base::Scratch);
    for item in page.body(index) {
        if let Ok(Kind::Workdir(path)) = &item.kind {
            let absolute = path.starts_with(['/', '$'])
                || path.trim_matches('"').starts_with('/')
                || path.get(1..3) == Some(":\\");
            if !absolute && !known {
                findings.push(
                    Finding::new(
                        rule::WORKDIR_RELATIVE,
                        page.word(&item.node, path),
                        format!("{path} is below the base image's directory, whatever that is"),
                    )
                    .fix(format!("WORKDIR /{}", path.trim_start_matches("./"))),
                );
            }
            known |= absolute;
        }
    }
}

/// Whom the program runs as.
fn user(page: &Page<'_>, findings: &mut Vec<Finding>) {
    let shipped = page.shipped();
    for index in &shipped {
        let last = page.body(*index).iter().rev().find_map(|item| match &item.kind {
            Ok(Kind::User(user)) => Some((item, user)),
            _ => None,
        });
        let Some((item, user)) = last else { continue };
        let name = user.split(':').next().unwrap_or(user).trim_matches('"');
        if matches!(name, "root" | "0") {
            findings.push(
                Finding::new(
                    rule::ROOT_USER,
                    page.word(&item.node, user),
                    "the last USER is root: so is the program in the container",
                )
                .fix("USER NAME, or USER 10001:10001, as the last USER"),
            );
        }
        return;
    }
    let Some(first) = shipped.last() else { return };
    let base = match &page.stages[*first].base {
        Base::Image(image) => image.as_str(),
        _ => "scratch",
    };
    // Made to run as somebody else.
    if ["nonroot", "rootless", "unprivileged"]
        .iter()
        .any(|word| base.contains(word))
    {
        return;
    }
    // A scratch image has no accounts, and yet everybody may be a number.
    let fix = match base {
        "scratch" => "USER 10001:10001 at the end",
        _ => "RUN useradd --system --uid 10001 app, and at the end USER app",
    };
    let node = &page.items[page.stages[page.stages.len() - 1].from].node;
    findings.push(
        Finding::new(
            rule::ROOT_USER,
            page.head(node),
            format!("no USER: the program runs as whom {base} says, usually root"),
        )
        .fix(fix),
    );
}

/// What an image has once.
fn whole(page: &Page<'_>, last: usize, findings: &mut Vec<Finding>) {
    let shipped = page.shipped();
    let any = |is: fn(&Kind) -> bool| {
        shipped
            .iter()
            .flat_map(|stage| page.body(*stage))
            .find(|item| item.kind.as_ref().is_ok_and(is))
    };
    let exposes = any(|kind| matches!(kind, Kind::Expose(_)));
    if let Some(exposes) = exposes
        && any(|kind| matches!(kind, Kind::Healthcheck(_))).is_none()
    {
        findings.push(
            Finding::new(
                rule::HEALTHCHECK_MISSING,
                page.head(&exposes.node),
                "nobody notices when the service stops answering",
            )
            .fix("HEALTHCHECK CMD COMMAND, which fails when the service doesn't answer; or HEALTHCHECK NONE"),
        );
    }
    let labelled = any(
        |kind| matches!(kind, Kind::Label(pairs) if pairs.iter().any(|(name, _)| name.trim_matches('"').starts_with("org.opencontainers.image."))),
    );
    if labelled.is_none() {
        let node = &page.items[page.stages[last].from].node;
        findings.push(
            Finding::new(
                rule::LABELS_MISSING,
                page.head(node),
                "nothing in the image tells where it comes from and which version it is",
            )
            .fix("LABEL org.opencontainers.image.source=URL org.opencontainers.image.version=VERSION"),
        );
    }
}
