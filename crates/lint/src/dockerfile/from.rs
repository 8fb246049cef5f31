//! FROM: which images, which stages; and what takes files from them.

use havre_dockerfile::instructions::{Kind, MountKind};
use havre_oci::Reference;

use super::page::{Base, Page};
use crate::finding::{Finding, Place};
use crate::rule;

pub(super) fn check(page: &Page<'_>, findings: &mut Vec<Finding>) {
    for (index, stage) in page.stages.iter().enumerate() {
        let node = &page.items[stage.from].node;
        let Ok(Kind::From(from)) = &page.items[stage.from].kind else {
            continue;
        };
        if let Some(name) = &stage.name {
            let lower = name.to_ascii_lowercase();
            if matches!(lower.as_str(), "scratch" | "context") {
                findings.push(
                    Finding::new(
                        rule::RESERVED_STAGE,
                        page.word(node, name),
                        format!("{name} has a meaning of its own and cannot be the name of a stage"),
                    )
                    .fix("another name"),
                );
            }
            let twin = page.stages[..index].iter().find(|other| {
                other
                    .name
                    .as_deref()
                    .is_some_and(|other| other.eq_ignore_ascii_case(name))
            });
            if twin.is_some() {
                findings.push(
                    Finding::new(
                        rule::DUPLICATE_STAGE,
                        page.word(node, name),
                        format!("there is a stage {name} before this one"),
                    )
                    .fix("another name"),
                );
            }
        }
        platform(page, node, from.platform.as_deref(), findings);
        if let Base::Image(image) = &stage.base {
            let place = page.word(node, &from.base);
            if image.is_empty() || Reference::parse(image).is_err() {
                if from.base.contains('$') {
                    findings.push(
                        Finding::new(
                            rule::INVALID_DEFAULT_ARG,
                            place,
                            format!(
                                "without --build-arg, {} is {image:?}, which is no image",
                                from.base
                            ),
                        )
                        .fix("give the ARG before FROM a default: ARG NAME=VALUE"),
                    );
                } else {
                    findings.push(Finding::new(
                        rule::SYNTAX,
                        place,
                        format!("{image:?} is no name of an image"),
                    ));
                }
            } else {
                findings.extend(pinned(image, place));
            }
        }
        for item in page.body(index) {
            sources(page, index, item, findings);
        }
    }
}

/// What is wrong with naming an image this way.
fn pinned(image: &str, place: Place) -> Option<Finding> {
    let reference = Reference::parse(image).ok()?;
    if reference.digest().is_some() {
        return None;
    }
    let name = reference.familiar_name();
    let lock = "havre lock writes the digest beside the tag, and havre lock --update follows it";
    Some(match reference.tag() {
        None => Finding::new(
            rule::BASE_UNTAGGED,
            place,
            format!("{image} has no tag, which means latest: another image with every release"),
        )
        .fix(format!(
            "name a version: {name}:VERSION, or better {name}:VERSION@sha256:…; {lock}"
        )),
        Some("latest") => Finding::new(
            rule::BASE_UNTAGGED,
            place,
            format!("{image} is another image with every release"),
        )
        .fix(format!(
            "name a version: {name}:VERSION, or better {name}:VERSION@sha256:…; {lock}"
        )),
        Some(tag) => Finding::new(
            rule::BASE_UNPINNED,
            place,
            format!("{image} may be another image tomorrow: tags move"),
        )
        .fix(format!("{name}:{tag}@sha256:…; {lock}")),
    })
}

fn platform(
    page: &Page<'_>,
    node: &havre_dockerfile::parser::Node,
    platform: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    let Some(platform) = platform else { return };
    match platform {
        "$TARGETPLATFORM" | "${TARGETPLATFORM}" => findings.push(
            Finding::new(
                rule::REDUNDANT_PLATFORM,
                page.word(node, platform),
                "the target's platform is the default",
            )
            .fix("leave --platform out"),
        ),
        _ if !platform.contains('$') => findings.push(
            Finding::new(
                rule::FROM_PLATFORM_CONST,
                page.word(node, platform),
                format!("the stage is always built for {platform}, whatever is asked for"),
            )
            .fix(
                "leave --platform out, or write --platform=$BUILDPLATFORM for tools that run while building",
            ),
        ),
        _ => {}
    }
}

/// `COPY --from`, and `RUN --mount=from=`.
fn sources(page: &Page<'_>, index: usize, item: &super::page::Item, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = match &item.kind {
        Ok(Kind::Copy(copy)) => copy.from.as_deref().into_iter().collect(),
        Ok(Kind::Run(run)) => run
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind { from, .. } => from.as_deref(),
                _ => None,
            })
            .collect(),
        _ => return,
    };
    for name in names {
        let place = page.word(&item.node, name);
        if let Ok(number) = name.parse::<usize>() {
            if number >= index {
                findings.push(
                    Finding::new(
                        rule::STAGE_NOT_FOUND,
                        place,
                        format!("stage {number} is not before this one, which is stage {index}"),
                    )
                    .fix("the name of an earlier stage"),
                );
            }
            continue;
        }
        match page.stage_named(name) {
            Some(found) if found < index => continue,
            Some(found) => {
                let own = found == index;
                // An earlier one of the same name counts.
                let earlier = page.stages[..index].iter().any(|stage| {
                    stage
                        .name
                        .as_deref()
                        .is_some_and(|stage| stage.eq_ignore_ascii_case(name))
                });
                if !earlier {
                    let message = match own {
                        true => format!("{name} is this stage itself"),
                        false => format!("stage {name} comes later: only earlier ones can be taken from"),
                    };
                    findings.push(
                        Finding::new(rule::STAGE_NOT_FOUND, place, message)
                            .fix("the name of an earlier stage"),
                    );
                }
                continue;
            }
            None => {}
        }
        if name == "scratch" || name.is_empty() {
            continue;
        }
        let near = page.stages[..index]
            .iter()
            .filter_map(|stage| stage.name.as_deref())
            .find(|stage| super::variables::near(stage, name));
        match near {
            Some(near) => findings.push(
                Finding::new(
                    rule::STAGE_NOT_FOUND,
                    place,
                    format!("no stage is called {name}, so an image of that name is pulled"),
                )
                .fix(format!("--from={near}")),
            ),
            None => match Reference::parse(name) {
                Ok(_) => findings.extend(pinned(name, place)),
                Err(_) => findings.push(
                    Finding::new(
                        rule::STAGE_NOT_FOUND,
                        place,
                        format!("{name} is neither an earlier stage nor the name of an image"),
                    )
                    .fix("the name of an earlier stage"),
                ),
            },
        }
    }
}
