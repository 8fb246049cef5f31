//! Go's `Sprintf` for the verbs templates use.

use super::value::Value;

/// No width or precision is larger; a template cannot ask for gigabytes of blanks.
const MAX_WIDTH: usize = 4096;

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats `values`.
pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    let mut values_left = values.iter();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | '#' | ' ')) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                _ => {}
            }
        }
        let mut digits = || {
            let mut number = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                number = Some((number.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
            }
            number
        };
        spec.width = digits().unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            let mut number = 0;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                number = (number * 10 + digit.to_digit(10).unwrap_or(0) as usize).min(MAX_WIDTH);
            }
            spec.precision = Some(number);
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values_left.next() {
            None => out.push_str(&format!("%!{verb}(MISSING)")),
            Some(value) => out.push_str(&pad(&spec, one(&spec, verb, value), value)),
        }
    }
    let extra: Vec<String> = values_left
        .map(|value| format!("{}={value}", value.kind()))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn one(spec: &Spec, verb: char, value: &Value) -> String {
    match (verb, value) {
        ('v' | 's', Value::Text(text)) => match spec.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None if spec.sharp => format!("{text:?}"),
            None => text.clone(),
        },
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('v', value) => value.to_string(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Int(int)) if spec.plus => format!("{int:+}"),
        ('d', Value::Int(int)) => int.to_string(),
        ('d', Value::Uint(int)) => int.to_string(),
        ('x', Value::Int(int)) => format!("{int:x}"),
        ('X', Value::Int(int)) => format!("{int:X}"),
        ('o', Value::Int(int)) => format!("{int:o}"),
        ('c', Value::Int(int)) => u32::try_from(*int)
            .ok()
            .and_then(char::from_u32)
            .map(String::from)
            .unwrap_or_default(),
        ('f' | 'F', Value::Float(float)) => format!("{float:.*}", spec.precision.unwrap_or(6)),
        ('g', Value::Float(float)) => float.to_string(),
        ('s', Value::List(_) | Value::Map(_)) => value.to_string(),
        (verb, value) => format!("%!{verb}({}={value})", value.kind()),
    }
}

fn pad(spec: &Spec, text: String, value: &Value) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    let numeric = matches!(value, Value::Int(_) | Value::Uint(_) | Value::Float(_));
    if spec.left {
        text + &" ".repeat(missing)
    } else if spec.zero && numeric {
        match text.strip_prefix('-') {
            Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
            None => "0".repeat(missing) + &text,
        }
    } else {
        " ".repeat(missing) + &text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs() {
        let text = Value::from("ab");
        assert_eq!(
            printf("%s|%5s|%-5s|%.1s|%q|%x", &vec![text; 6]),
            "ab|   ab|ab   |a|\"ab\"|6162"
        );
        assert_eq!(
            printf("%05d|%+d|%x", &[Value::Int(-42), Value::Int(7), Value::Int(255)]),
            "-0042|+7|ff"
        );
        assert_eq!(printf("%.2f%%", &[Value::Float(1.005)]), "1.00%");
        assert_eq!(printf("%s %d", &[Value::Int(1)]), "%!s(int=1) %!d(MISSING)");
        assert_eq!(printf("x", &[Value::Int(1)]), "x%!(EXTRA int=1)");
        assert_eq!(printf("%999999999999s", &[Value::from("")]).len(), MAX_WIDTH);
    }
}
