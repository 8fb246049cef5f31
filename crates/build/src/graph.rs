//! Stages, what each needs, and what the target needs. Pure.

use std::collections::BTreeSet;

use crate::expand::{self, ExpandError, Variables};
use crate::instructions::{Instruction, Kind, MountKind};
use crate::parser::Span;

/// Where a stage begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Scratch,
    Stage(usize),
    Image(String),
}

/// One `FROM` with what follows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stage {
    pub(crate) index: usize,
    pub(crate) name: Option<String>,
    pub(crate) base: Base,
    /// Expanded.
    pub(crate) platform: Option<String>,
    pub(crate) from: Instruction,
    pub(crate) instructions: Vec<Instruction>,
    /// Stages that must be complete before a step of this one needs them.
    pub(crate) needs: BTreeSet<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Graph {
    /// `ARG`s before the first `FROM`.
    pub(crate) global: Vec<Instruction>,
    pub(crate) stages: Vec<Stage>,
    /// Index of the stage that becomes the image.
    pub(crate) target: usize,
    /// The target and everything it needs, ascending.
    pub(crate) needed: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    #[error("failed to reach build target {0} in Dockerfile")]
    NoTarget(String),
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    #[error("duplicate name {0}")]
    DuplicateName(String),
    #[error("invalid from flag value {0}: a stage can only refer to stages before it")]
    LaterStage(String),
    #[error("failed to process {text:?}: {source}")]
    Expand { text: String, source: ExpandError },
}

/// Arranges instructions as stages. `variables` are the global `ARG`s with their values.
pub(crate) fn build(
    instructions: Vec<Instruction>,
    variables: &dyn Variables,
    escape: char,
    target: Option<&str>,
) -> Result<Graph, (Span, GraphError)> {
    let mut global = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in instructions {
        let Kind::From(from) = &instruction.kind else {
            match stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None => global.push(instruction),
            }
            continue;
        };
        let lines = instruction.lines.clone();
        let expand = |text: &str| {
            expand::word(text, variables, escape).map_err(|source| {
                (
                    lines.clone(),
                    GraphError::Expand {
                        text: text.to_owned(),
                        source,
                    },
                )
            })
        };
        let base = expand(&from.base)?;
        let platform = from
            .platform
            .as_deref()
            .map(expand)
            .transpose()?
            .filter(|text| !text.is_empty());
        if base.is_empty() {
            return Err((lines, GraphError::BlankBase(from.base.clone())));
        }
        if let Some(name) = from.name.as_ref()
            && stages.iter().any(|stage| stage.name.as_ref() == Some(name))
        {
            return Err((lines, GraphError::DuplicateName(name.clone())));
        }
        let base = match find(&stages, &base, false) {
            Some(index) => Base::Stage(index),
            None if base == "scratch" => Base::Scratch,
            None => Base::Image(base),
        };
        stages.push(Stage {
            index: stages.len(),
            name: from.name.clone(),
            base,
            platform,
            from: instruction,
            instructions: Vec::new(),
            needs: BTreeSet::new(),
        });
    }
    for index in 0..stages.len() {
        let needs = needs(&stages, index)?;
        stages[index].needs = needs;
    }
    let target = match target {
        None | Some("") => stages.len().saturating_sub(1),
        Some(name) => {
            find(&stages, name, true).ok_or_else(|| (0..=0, GraphError::NoTarget(name.to_owned())))?
        }
    };
    let needed = closure(&stages, target);
    Ok(Graph {
        global,
        stages,
        target,
        needed,
    })
}

/// The stage a `FROM`, `--from` or `--target` names: by name, or by number where that is allowed.
pub(crate) fn find(stages: &[Stage], name: &str, by_number: bool) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let by_name = stages
        .iter()
        .position(|stage| stage.name.as_ref() == Some(&lower));
    by_name.or_else(|| {
        let number = name.parse::<usize>().ok().filter(|_| by_number)?;
        (number < stages.len()).then_some(number)
    })
}

fn needs(stages: &[Stage], index: usize) -> Result<BTreeSet<usize>, (Span, GraphError)> {
    let mut needs = BTreeSet::new();
    if let Base::Stage(base) = stages[index].base {
        needs.insert(base);
    }
    for instruction in &stages[index].instructions {
        for name in references(instruction) {
            // A number that is no earlier stage is never an image.
            if let Some(found) = find(&stages[..index], name, true) {
                needs.insert(found);
            } else if name.parse::<usize>().is_ok()
                || stages[index].name.as_deref() == Some(&name.to_ascii_lowercase())
            {
                return Err((instruction.lines.clone(), GraphError::LaterStage(name.to_owned())));
            }
        }
    }
    Ok(needs)
}

/// Stages or images an instruction takes files from.
pub(crate) fn references(instruction: &Instruction) -> Vec<&str> {
    match &instruction.kind {
        Kind::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Kind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Bind { from, .. } => from.as_deref(),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn closure(stages: &[Stage], target: usize) -> Vec<usize> {
    let mut needed = BTreeSet::from([target]);
    let mut open = vec![target];
    while let Some(index) = open.pop() {
        for next in stages.get(index).into_iter().flat_map(|stage| &stage.needs) {
            if needed.insert(*next) {
                open.push(*next);
            }
        }
    }
    needed.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{instructions, parser};

    fn graph(text: &str, target: Option<&str>) -> Result<Graph, GraphError> {
        let document = parser::parse(text.as_bytes()).expect("parses");
        let instructions = instructions::read(&document).expect("reads");
        let variables = |name: &str| (name == "BASE").then_some("debian");
        build(instructions, &variables, '\\', target).map_err(|(_, error)| error)
    }

    const TEXT: &str = "ARG BASE\nFROM $BASE AS a\nFROM a AS b\nRUN x\nFROM scratch AS unused\nRUN y\n\
                        FROM alpine\nCOPY --from=b / /\nCOPY --from=0 / /\nCOPY --from=busybox / /\n";

    #[test]
    fn unneeded_stages_are_left_out() {
        let found = graph(TEXT, None).expect("graph");
        assert_eq!(found.needed, [0, 1, 3]);
        assert_eq!(found.stages[0].base, Base::Image("debian".to_owned()));
        assert_eq!(found.stages[1].base, Base::Stage(0));
        assert_eq!(found.stages[2].base, Base::Scratch);
        assert_eq!(graph(TEXT, Some("B")).expect("graph").needed, [0, 1]);
        assert_eq!(graph(TEXT, Some("2")).expect("graph").needed, [2]);
    }

    #[test]
    fn wrong_names() {
        assert_eq!(
            graph(TEXT, Some("none")),
            Err(GraphError::NoTarget("none".to_owned()))
        );
        assert_eq!(
            graph("FROM a AS x\nFROM b AS x\n", None),
            Err(GraphError::DuplicateName("x".to_owned()))
        );
        assert_eq!(
            graph("FROM $NONE\n", None),
            Err(GraphError::BlankBase("$NONE".to_owned()))
        );
        assert_eq!(
            graph("FROM a\nCOPY --from=1 / /\n", None),
            Err(GraphError::LaterStage("1".to_owned()))
        );
        assert_eq!(
            graph("FROM a AS x\nCOPY --from=x / /\n", None),
            Err(GraphError::LaterStage("x".to_owned()))
        );
    }
}
