//! Golden Dockerfiles and properties of the pure parts.

use havre_build::context::{IgnoreRules, read_patterns};
use havre_build::{instructions, parser};
use proptest::prelude::*;

fn golden(text: &str) -> String {
    let document = parser::parse(text.as_bytes()).expect("parses");
    let instructions = instructions::read(&document).expect("reads");
    instructions
        .iter()
        .map(|one| format!("{}-{} {:?}\n", one.lines.start(), one.lines.end(), one.kind))
        .collect()
}

#[test]
fn every_instruction() {
    insta::assert_snapshot!(golden(include_str!("golden/everything.Dockerfile")));
}

#[test]
fn errors_name_line_and_remedy() {
    let rows = [
        ("RUN x\n", "line 1: no build stage in current context"),
        ("FROM\n", "line 1: FROM requires either one or three arguments"),
        (
            "FROM a b c\n",
            "line 1: FROM requires either one or three arguments",
        ),
        (
            "FROM a AS 1x\n",
            "line 1: invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
        ),
        (
            "FROM a\nFRMO b\n",
            "line 2: unknown instruction: FRMO (did you mean FROM?)",
        ),
        ("FROM a\nBANANA b\n", "line 2: unknown instruction: BANANA"),
        (
            "FROM a\nCOPY x\n",
            "line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("FROM a\nCOPY --form=x a b\n", "line 2: unknown flag: --form"),
        (
            "FROM a\nCOPY --from a b\n",
            "line 2: missing a value on flag: --from",
        ),
        (
            "FROM a\nCOPY --from=$X a b\n",
            "line 2: '$X': variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        ),
        ("FROM a\nENV x\n", "line 2: ENV must have two arguments"),
        (
            "FROM a\nENV a=b c\n",
            "line 2: Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("FROM a\nLABEL\n", "line 2: LABEL requires at least one argument"),
        (
            "FROM a\nCMD [1]\n",
            "line 2: when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "FROM a\nSHELL sh\n",
            "line 2: SHELL requires the arguments to be in JSON form",
        ),
        (
            "FROM a\nHEALTHCHECK\n",
            "line 2: HEALTHCHECK requires at least one argument",
        ),
        (
            "FROM a\nHEALTHCHECK NONE x\n",
            "line 2: HEALTHCHECK NONE takes no arguments",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=1us CMD x\n",
            "line 2: interval \"--interval\" cannot be less than 1ms",
        ),
        (
            "FROM a\nONBUILD ONBUILD RUN x\n",
            "line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        (
            "FROM a\nONBUILD FROM x\n",
            "line 2: FROM isn't allowed as an ONBUILD trigger",
        ),
        (
            "FROM a\nRUN --security=insecure x\n",
            "line 2: RUN --security is not supported: build steps always run confined",
        ),
        (
            "FROM a\nRUN --network=host x\n",
            "line 2: RUN --network=host is not supported; use `none`, or the build's own --network option",
        ),
        (
            "FROM a\nRUN --mount=type=ssh x\n",
            "line 2: RUN --mount=type=ssh is not supported; pass what the step needs with COPY in a stage that isn't kept",
        ),
        (
            "FROM a\nVOLUME [\"\"]\n",
            "line 2: VOLUME specified can not be an empty string",
        ),
        ("FROM a\nRUN \\\n\n", "line 2: RUN requires at least one argument"),
    ];
    for (text, expected) in rows {
        let document = parser::parse(text.as_bytes()).expect(text);
        let error = instructions::read(&document).expect_err(text);
        assert_eq!(
            error.to_string(),
            format!("dockerfile parse error on {expected}"),
            "{text}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_parser_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(document) = parser::parse(&bytes) {
            let _ = instructions::read(&document);
        }
    }

    #[test]
    fn nor_on_what_looks_like_a_dockerfile(
        words in proptest::collection::vec(
            prop_oneof![
                Just("FROM"), Just("RUN"), Just("COPY"), Just("ENV"), Just("ONBUILD"), Just("HEALTHCHECK"),
                Just("<<EOF"), Just("EOF"), Just("\n"), Just("\\\n"), Just("\""), Just("'"), Just("["), Just("]"),
                Just("="), Just("--"), Just("--from="), Just("--mount="), Just("$"), Just("${"), Just("}"), Just("é"),
                Just("#"), Just("`"), Just(","), Just("\t"), Just("type=cache"), Just("a"),
            ],
            0..60,
        )
    ) {
        let text = words.join(" ");
        if let Ok(document) = parser::parse(text.as_bytes()) {
            let lines = text.lines().count();
            for node in &document.nodes {
                prop_assert!(*node.lines.start() >= 1 && *node.lines.end() <= lines.max(1));
            }
            let _ = instructions::read(&document);
        }
    }

    #[test]
    fn ignore_files_never_panic(text in "[a-c*?!/\\[\\]\\\\. \n-]{0,60}", path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}") {
        if let Ok(rules) = IgnoreRules::parse(text.as_bytes()) {
            // What is excluded with a parent that can't be walked into would be missed by no walk.
            if !rules.excludes(&path) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(!rules.excludes(&path[..at]) || rules.may_include_below(&path[..at]));
                }
            }
        }
        let _ = read_patterns(text.as_bytes());
    }
}
