//! Rendering a tree for a value.

use std::fmt::Write as _;

use super::TemplateError;
use super::functions;
use super::parser::{Command, Node, Operand, Pipeline};
use super::value::Value;

/// Maps whose keys are anybody's: what is missing there has no value, which is no error in Docker's client.
const FREE: [&str; 16] = [
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "LogOpts",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Volumes",
];

/// Keys that engines leave out when they have nothing to say; asking for them gives nothing, not an error.
const OPTIONAL: [&str; 16] = [
    "Author",
    "Comment",
    "Container",
    "DockerVersion",
    "GraphDriver",
    "Health",
    "Healthcheck",
    "LogPath",
    "Metadata",
    "NetworkMode",
    "OnBuild",
    "OsVersion",
    "Parent",
    "SizeRootFs",
    "SizeRw",
    "Variant",
];

struct Scope<'a> {
    root: &'a Value,
    variables: Vec<(String, Value)>,
    out: &'a mut String,
}

/// Renders `nodes` with `data` as the dot to the end of `out`.
pub(super) fn run(nodes: &[Node], data: &Value, out: &mut String) -> Result<(), TemplateError> {
    let mut scope = Scope {
        root: data,
        variables: Vec::new(),
        out,
    };
    scope.nodes(nodes, data)
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), TemplateError> {
        for node in nodes {
            self.node(node, dot)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), TemplateError> {
        match node {
            Node::Literal(text) => self.out.push_str(text),
            Node::Action { column, pipeline } => {
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|message| failure(*column, pipeline, message))?;
                if pipeline.variables.is_empty() {
                    let _ = write!(self.out, "{value}");
                }
            }
            Node::If {
                column,
                pipeline,
                then,
                otherwise,
            }
            | Node::With {
                column,
                pipeline,
                then,
                otherwise,
            } => {
                let mark = self.variables.len();
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|message| failure(*column, pipeline, message))?;
                let inner = if matches!(node, Node::With { .. }) {
                    &value
                } else {
                    dot
                };
                if value.truth() {
                    self.nodes(then, inner)?;
                } else {
                    self.nodes(otherwise, dot)?;
                }
                self.variables.truncate(mark);
            }
            Node::Range {
                column,
                pipeline,
                body,
                otherwise,
            } => {
                let mark = self.variables.len();
                self.range(*column, pipeline, body, otherwise, dot)?;
                self.variables.truncate(mark);
            }
        }
        Ok(())
    }

    fn range(
        &mut self,
        column: usize,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), TemplateError> {
        let value = self
            .value(pipeline, dot)
            .map_err(|message| failure(column, pipeline, message))?;
        let items: Vec<(Value, Value)> = match value {
            Value::Null => Vec::new(),
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (Value::Int(at as i64), item))
                .collect(),
            Value::Map(entries) => Value::sorted(&entries)
                .into_iter()
                .map(|(key, value)| (Value::Text(key.clone()), value.clone()))
                .collect(),
            other => {
                return Err(failure(
                    column,
                    pipeline,
                    format!("range can't iterate over {other}"),
                ));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            let mark = self.variables.len();
            match pipeline.variables.as_slice() {
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            self.nodes(body, &item)?;
            self.variables.truncate(mark);
        }
        Ok(())
    }

    /// Evaluates and, where the pipeline says so, declares or assigns.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let value = self.value(pipeline, dot)?;
        for name in &pipeline.variables {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match known {
                Some((_, slot)) if !pipeline.declares => *slot = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn value(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &Command, piped: Option<Value>, dot: &Value) -> Result<Value, String> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Null);
        };
        if rest.is_empty() && piped.is_none() {
            return self.operand(first, dot);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match first {
            Operand::Function(name) => functions::call(name, &arguments),
            Operand::Fields(base, names) if !arguments.is_empty() => {
                let base = self.base(base.as_deref(), dot)?;
                match (&base, names.as_slice(), arguments.as_slice()) {
                    (Value::Row(row), [method], [Value::Text(key)]) if method == "Label" => {
                        Ok(Value::from(row.label(key)))
                    }
                    _ => Err(format!(
                        "{} has arguments but cannot be invoked as function",
                        names.join(".")
                    )),
                }
            }
            _ if !arguments.is_empty() => Err("can't give argument to non-function".to_owned()),
            operand => self.operand(operand, dot),
        }
    }

    fn base(&mut self, base: Option<&Operand>, dot: &Value) -> Result<Value, String> {
        match base {
            Some(base) => self.operand(base, dot),
            None => Ok(dot.clone()),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Dot => Ok(dot.clone()),
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Variable(name) if name.is_empty() => Ok(self.root.clone()),
            Operand::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("undefined variable: ${name}")),
            Operand::Group(pipeline) => self.pipeline(pipeline, dot),
            Operand::Fields(base, names) => {
                let Some(base) = base else {
                    return fields(dot, names);
                };
                let base = self.operand(base, dot)?;
                fields(&base, names)
            }
        }
    }
}

fn fields(value: &Value, names: &[String]) -> Result<Value, String> {
    let mut value = value;
    for (at, name) in names.iter().enumerate() {
        let free = at
            .checked_sub(1)
            .is_some_and(|before| FREE.contains(&names[before].as_str()));
        value = match value {
            Value::Map(entries) => match entries.iter().find(|(key, _)| key == name) {
                Some((_, found)) => found,
                // And nothing is what anything of it is.
                None if free => return Ok(Value::Null),
                None if OPTIONAL.contains(&name.as_str()) => &Value::Null,
                None => return Err(format!("map has no entry for key \"{name}\"")),
            },
            Value::Row(row) => {
                let cell = row
                    .cell(name)
                    .ok_or_else(|| format!("can't evaluate field {name} in type row"))?;
                return match &names[at + 1..] {
                    [] => Ok(cell),
                    rest => fields(&cell, rest),
                };
            }
            Value::Null if free => return Ok(Value::Null),
            Value::Null => return Err(format!("nil data; no entry for key \"{name}\"")),
            other => return Err(format!("can't evaluate field {name} in type {}", other.kind())),
        };
    }
    Ok(value.clone())
}

fn failure(column: usize, pipeline: &Pipeline, message: String) -> TemplateError {
    TemplateError {
        position: Some(column),
        message: format!("executing \"\" at <{}>: {message}", pipeline.text),
    }
}
