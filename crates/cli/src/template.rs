//! Go templates, as `--format` takes them.
//!
//! Written for Docker's use of them: values keep the order of their JSON, maps print as Go prints them, rows have the
//! method `.Label "key"`, and Docker's functions (`json`, `join`, `table` headers…) are there. Templates that define
//! other templates are not supported and refused.

mod exec;
mod functions;
mod lexer;
mod parser;
mod printf;
mod row;
mod value;

pub(crate) use functions::escape_html;
pub(crate) use row::Cells;
pub(crate) use value::Value;

/// Why a template cannot be used; worded as Go's `text/template`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: :1{}: {message}", position.map(|at| format!(":{at}")).unwrap_or_default())]
pub(crate) struct TemplateError {
    /// Column of the action, for failures while executing.
    position: Option<usize>,
    message: String,
}

impl TemplateError {
    fn parse(message: impl Into<String>) -> Self {
        Self {
            position: None,
            message: message.into(),
        }
    }
}

/// A parsed template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    nodes: Vec<parser::Node>,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            nodes: parser::parse(lexer::split(text)?)?,
        })
    }

    /// Renders it for one value.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let mut text = String::new();
        self.render_to(data, &mut text)?;
        Ok(text)
    }

    /// As [`Template::render`], to the end of a text.
    pub(crate) fn render_to(&self, data: &Value, out: &mut String) -> Result<(), TemplateError> {
        exec::run(&self.nodes, data, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, json: &str) -> String {
        let data: Value = serde_json::from_str(json).unwrap();
        match Template::parse(template).and_then(|template| template.render(&data)) {
            Ok(text) => text,
            Err(error) => format!("ERROR {error}"),
        }
    }

    const BOX: &str = r#"{"Name":"/box","Id":"abc","State":{"Running":true,"ExitCode":3,"Pid":0},
        "Config":{"Env":["A=1","B=2"],"Labels":{"z":"last","a":"first"},"Cmd":null},
        "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}},
        "Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"90/tcp":null}},"Size":1.5}"#;

    /// Outputs taken from Go's text/template with Docker's functions.
    #[test]
    fn as_go_prints() {
        for (template, expected) in [
            ("{{.Name}} {{.State.ExitCode}}", "/box 3"),
            ("{{.Config.Env}}", "[A=1 B=2]"),
            ("{{.Config.Labels}}", "map[a:first z:last]"),
            ("{{json .Config.Labels}}", r#"{"z":"last","a":"first"}"#),
            ("{{.Size}}", "1.5"),
            ("{{index .Config.Env 1}}", "B=2"),
            ("{{index .Config.Labels \"z\"}}", "last"),
            (
                "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
                "8080",
            ),
            (
                "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
                "172.17.0.2",
            ),
            (
                "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
                "a=first;z=last;",
            ),
            (
                "{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}",
                "A=1,B=2",
            ),
            ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            (
                "{{if .State.Pid}}pid{{else if eq .State.ExitCode 3}}three{{else}}other{{end}}",
                "three",
            ),
            ("{{with .Config.Cmd}}{{.}}{{else}}no cmd{{end}}", "no cmd"),
            ("{{ .Id | upper | printf \"%s!\" }}", "ABC!"),
            (
                "{{printf \"%-6s|%5d|%q|%v\" .Id .State.ExitCode .Id .State.Running}}",
                "abc   |    3|\"abc\"|true",
            ),
            ("{{join .Config.Env \", \"}}", "A=1, B=2"),
            ("{{split .Name \"b\"}}", "[/ ox]"),
            (
                "{{len .Config.Env}} {{title .Id}} {{truncate .Id 2}} {{pad .Id 1 2}}|",
                "2 Abc ab  abc  |",
            ),
            (
                "{{and .State.Running .Id}} {{or .State.Pid .Id}} {{not .State.Running}}",
                "abc abc false",
            ),
            (
                "{{eq .Id \"x\" \"abc\"}} {{ne .Id \"x\"}} {{lt 1 2}} {{ge 1 2}}",
                "true true true false",
            ),
            ("a {{- /* comment */ -}} b", "ab"),
            ("a  {{- .Id -}}  b", "aabcb"),
            ("{{$x := .Id}}{{$x}}{{$.Name}}", "abc/box"),
            ("{{println .Id}}", "abc\n"),
            ("{{`raw`}} {{\"a\\tb\"}} {{true}} {{-3}}", "raw a\tb true -3"),
            ("{{.State.Health}}", "<no value>"),
            // As in Docker's client: of maps with free keys, what is missing has no value.
            ("{{.Config.Labels.nope}}|{{.Config.Labels.a}}", "<no value>|first"),
            ("{{.NetworkSettings.Networks.nope.IPAddress}}", "<no value>"),
            ("{{if .Config.Labels.nope}}yes{{else}}no{{end}}", "no"),
            ("{{json .Config.Labels.nope}}", "null"),
            ("{{slice .Id 1 3}} {{print .Id 1 2 \"x\"}}", "bc abc1 2x"),
            (
                "{{json .}}",
                "{\"Name\":\"/box\",\"Id\":\"abc\",\"State\":{\"Running\":true,\"ExitCode\":3,\"Pid\":0},\"Config\":{\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"z\":\"last\",\"a\":\"first\"},\"Cmd\":null},\"NetworkSettings\":{\"Networks\":{\"bridge\":{\"IPAddress\":\"172.17.0.2\"}},\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}],\"90/tcp\":null}},\"Size\":1.5}",
            ),
        ] {
            assert_eq!(render(template, BOX), expected, "{template}");
        }
    }

    #[test]
    fn errors_say_where() {
        for (template, expected) in [
            (
                "{{.Nope}}",
                "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"",
            ),
            (
                "ab{{.State.Nope}}",
                "template: :1:4: executing \"\" at <.State.Nope>: map has no entry for key \"Nope\"",
            ),
            ("{{.Id", "template: :1: unclosed action"),
            ("{{if .Id}}x", "template: :1: unexpected EOF"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            ("{{nofunc .Id}}", "template: :1: function \"nofunc\" not defined"),
            ("{{$nope}}", "template: :1: undefined variable \"$nope\""),
            (
                "{{.Id.Length}}",
                "template: :1:2: executing \"\" at <.Id.Length>: can't evaluate field Length in type string",
            ),
            (
                "{{index .Config.Env 9}}",
                "template: :1:2: executing \"\" at <index .Config.Env 9>: error calling index: index out of range: 9",
            ),
            (
                "{{template \"x\"}}",
                "template: :1: {{template}} is not supported",
            ),
        ] {
            assert_eq!(render(template, BOX), format!("ERROR {expected}"), "{template}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_an_error(text in "[{}a-z.$|() \"0-9,:=-]{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.render(&Value::Null);
            }
        }
    }
}
