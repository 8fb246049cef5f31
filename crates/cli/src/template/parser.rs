//! Pieces into a tree.

use super::TemplateError;
use super::functions;
use super::lexer::{Piece, Token, tokens};
use super::value::Value;

/// Nested blocks and parentheses beyond this are refused.
const MAX_DEPTH: usize = 64;

/// A node of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Literal(String),
    Action {
        column: usize,
        pipeline: Pipeline,
    },
    If {
        column: usize,
        pipeline: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        column: usize,
        pipeline: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        column: usize,
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// `$a, $b := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
    /// The text of the action, for messages.
    pub(super) text: String,
}

/// An operand or function with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// An operand.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Constant(Value),
    Dot,
    Function(String),
    Variable(String),
    Group(Box<Pipeline>),
    /// Fields of what stands before; `None` is the dot.
    Fields(Option<Box<Operand>>, Vec<String>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    variables: Vec<String>,
    depth: usize,
}

/// How a block ended.
enum Close {
    Eof,
    End,
    Else(Option<(usize, String)>),
}

pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        pieces: pieces.into_iter(),
        variables: vec![String::new()],
        depth: 0,
    };
    let (nodes, end) = parser.block()?;
    match end {
        Close::Eof => Ok(nodes),
        Close::End => Err(TemplateError::parse("unexpected {{end}}")),
        Close::Else(_) => Err(TemplateError::parse("unexpected {{else}}")),
    }
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Close), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TemplateError::parse("blocks are nested too deeply"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (column, text) = match piece {
                Piece::Literal(text) => {
                    nodes.push(Node::Literal(text));
                    continue;
                }
                Piece::Action { column, text } => (column, text),
            };
            let keyword = text
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default()
                .to_owned();
            let rest = text[keyword.len()..].trim().to_owned();
            match keyword.as_str() {
                "end" if rest.is_empty() => {
                    self.depth -= 1;
                    return Ok((nodes, Close::End));
                }
                "else" => {
                    self.depth -= 1;
                    let chained = (!rest.is_empty()).then_some((column, rest));
                    return Ok((nodes, Close::Else(chained)));
                }
                "if" | "with" | "range" => nodes.push(self.control(&keyword, column, &rest)?),
                "template" | "define" | "block" | "break" | "continue" => {
                    return Err(TemplateError::parse(format!(
                        "{{{{{keyword}}}}} is not supported"
                    )));
                }
                _ => {
                    let pipeline = self.pipeline(&text)?;
                    nodes.push(Node::Action { column, pipeline });
                }
            }
        }
        self.depth -= 1;
        Ok((nodes, Close::Eof))
    }

    fn control(&mut self, keyword: &str, column: usize, text: &str) -> Result<Node, TemplateError> {
        let mark = self.variables.len();
        if text.is_empty() {
            return Err(TemplateError::parse(format!("missing value for {keyword}")));
        }
        let pipeline = self.pipeline(text)?;
        let (body, end) = self.block()?;
        let otherwise = match end {
            Close::Eof => return Err(TemplateError::parse("unexpected EOF")),
            Close::End => Vec::new(),
            Close::Else(None) => match self.block()? {
                (nodes, Close::End) => nodes,
                (_, Close::Eof) => return Err(TemplateError::parse("unexpected EOF")),
                (_, Close::Else(_)) => return Err(TemplateError::parse("expected end; found {{else}}")),
            },
            Close::Else(Some((column, text))) => {
                let chained = text.split(' ').next().unwrap_or_default();
                if !matches!((keyword, chained), ("if", "if") | ("with", "with")) {
                    return Err(TemplateError::parse(format!(
                        "unexpected <{text}> in {{{{else}}}}"
                    )));
                }
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(TemplateError::parse("blocks are nested too deeply"));
                }
                let node = self.control(keyword, column, text[chained.len()..].trim())?;
                self.depth -= 1;
                vec![node]
            }
        };
        self.variables.truncate(mark);
        Ok(match keyword {
            "if" => Node::If {
                column,
                pipeline,
                then: body,
                otherwise,
            },
            "with" => Node::With {
                column,
                pipeline,
                then: body,
                otherwise,
            },
            _ => Node::Range {
                column,
                pipeline,
                body,
                otherwise,
            },
        })
    }

    fn pipeline(&mut self, text: &str) -> Result<Pipeline, TemplateError> {
        let tokens = tokens(text)?;
        let mut cursor = Cursor {
            tokens: &tokens,
            at: 0,
            depth: 0,
        };
        let pipeline = self.read_pipeline(&mut cursor, text)?;
        if cursor.at < tokens.len() {
            return Err(TemplateError::parse(format!(
                "unexpected {} in command",
                describe(&tokens[cursor.at])
            )));
        }
        Ok(pipeline)
    }

    fn read_pipeline(&mut self, cursor: &mut Cursor<'_>, text: &str) -> Result<Pipeline, TemplateError> {
        let (variables, declares) = read_variables(cursor);
        let mut commands = Vec::new();
        loop {
            let mut operands = Vec::new();
            while let Some(operand) = self.operand(cursor, text)? {
                operands.push(operand);
            }
            if operands.is_empty() {
                return Err(TemplateError::parse("missing value for command"));
            }
            commands.push(Command { operands });
            if cursor.peek() != Some(&Token::Pipe) {
                break;
            }
            cursor.at += 1;
        }
        for name in &variables {
            if declares {
                self.variables.push(name.clone());
            } else {
                self.known(name)?;
            }
        }
        Ok(Pipeline {
            variables,
            declares,
            commands,
            text: text.to_owned(),
        })
    }

    fn known(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(TemplateError::parse(format!("undefined variable \"${name}\"")))
    }

    fn operand(&mut self, cursor: &mut Cursor<'_>, text: &str) -> Result<Option<Operand>, TemplateError> {
        let Some(token) = cursor.peek().cloned() else {
            return Ok(None);
        };
        let operand = match token {
            Token::Pipe | Token::Close => return Ok(None),
            Token::Comma | Token::Declare | Token::Assign => {
                return Err(TemplateError::parse(format!(
                    "unexpected {} in operand",
                    describe(&token)
                )));
            }
            Token::Dot => Operand::Dot,
            Token::Field { name, .. } => {
                cursor.at += 1;
                let mut names = vec![name];
                names.extend(cursor.joined_fields());
                return Ok(Some(Operand::Fields(None, names)));
            }
            Token::Text(text) => Operand::Constant(Value::Text(text)),
            Token::Int(int) => Operand::Constant(Value::Int(int)),
            Token::Float(float) => Operand::Constant(Value::Float(float)),
            Token::Variable(name) => {
                self.known(&name)?;
                Operand::Variable(name)
            }
            Token::Word(word) => match word.as_str() {
                "true" => Operand::Constant(Value::Bool(true)),
                "false" => Operand::Constant(Value::Bool(false)),
                "nil" => Operand::Constant(Value::Null),
                name if functions::exists(name) => Operand::Function(word),
                name => return Err(TemplateError::parse(format!("function \"{name}\" not defined"))),
            },
            Token::Open => {
                cursor.at += 1;
                cursor.depth += 1;
                if cursor.depth > MAX_DEPTH {
                    return Err(TemplateError::parse("parentheses are nested too deeply"));
                }
                let inner = self.read_pipeline(cursor, text)?;
                cursor.depth -= 1;
                if cursor.peek() != Some(&Token::Close) {
                    return Err(TemplateError::parse("unclosed left paren"));
                }
                Operand::Group(Box::new(inner))
            }
        };
        cursor.at += 1;
        let names: Vec<String> = cursor.joined_fields().collect();
        Ok(Some(if names.is_empty() {
            operand
        } else {
            Operand::Fields(Some(Box::new(operand)), names)
        }))
    }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn joined_fields(&mut self) -> impl Iterator<Item = String> {
        let mut names = Vec::new();
        while let Some(Token::Field { name, joined: true }) = self.peek() {
            names.push(name.clone());
            self.at += 1;
        }
        names.into_iter()
    }
}

fn read_variables(cursor: &mut Cursor<'_>) -> (Vec<String>, bool) {
    match cursor.tokens.get(cursor.at..).unwrap_or_default() {
        [Token::Variable(name), sign @ (Token::Declare | Token::Assign), ..] => {
            cursor.at += 2;
            (vec![name.clone()], *sign == Token::Declare)
        }
        [
            Token::Variable(key),
            Token::Comma,
            Token::Variable(value),
            Token::Declare,
            ..,
        ] => {
            cursor.at += 4;
            (vec![key.clone(), value.clone()], true)
        }
        _ => (Vec::new(), false),
    }
}

fn describe(token: &Token) -> &'static str {
    match token {
        Token::Comma => "\",\"",
        Token::Declare => "\":=\"",
        Token::Assign => "\"=\"",
        Token::Close => "right paren",
        _ => "token",
    }
}
