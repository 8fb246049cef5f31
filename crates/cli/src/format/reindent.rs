//! JSON indented anew, with its fields in their order and its numbers as they are written.

/// `json`, which must be valid, with `indent` for each depth.
pub(crate) fn reindent(json: &str, indent: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    // The last character written, strings apart: empty lists and objects stay on one line.
    let mut last = ' ';
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth -= 1;
        }
        let after_open = matches!(last, '{' | '[');
        if closes != after_open || last == ',' {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
        out.push(c);
        match c {
            '{' | '[' => depth += 1,
            ':' => out.push(' '),
            '"' => in_string = true,
            _ => {}
        }
        last = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_has_it() {
        let json = r#"{"b":1.0,"a":[],"c":[{},{"x":"a\"{,\\"},[1,2]],"d":null}"#;
        let expected = "{\n\t\"b\": 1.0,\n\t\"a\": [],\n\t\"c\": [\n\t\t{},\n\t\t{\n\t\t\t\"x\": \"a\\\"{,\\\\\"\n\t\t},\n\t\t[\n\t\t\t1,\n\t\t\t2\n\t\t]\n\t],\n\t\"d\": null\n}";
        assert_eq!(reindent(json, "\t"), expected);
        assert_eq!(reindent(expected, "\t"), expected, "again the same");
        assert_eq!(reindent("[]", " "), "[]");
        assert_eq!(reindent("7", " "), "7");
    }
}
