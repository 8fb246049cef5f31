use super::*;
use crate::dockerfile::{Source, check};
use crate::finding::Finding;
use crate::rule;

fn reports() -> Vec<Report> {
    let checked = check(&Source::new(
        "FROM a:1\nENV Ä=ö\tKEY=hunter2\nCMD\trun it\n".as_bytes(),
    ));
    let file = Finding::new(
        rule::SECRET_FILE,
        Place::File {
            layer: 1,
            path: b"root/a b:\x1b".to_vec(),
        },
        "a key",
    )
    .fix("take it out")
    .bytes(7);
    vec![
        Report {
            subject: Subject::Dockerfile {
                path: "dir/Dockerfile".to_owned(),
                text: checked.text,
            },
            findings: checked.findings,
        },
        Report {
            subject: Subject::Image {
                name: "app:1".to_owned(),
                layers: ["one", "RUN two"]
                    .map(|command| Layer {
                        digest: format!("sha256:{command}"),
                        command: command.to_owned(),
                    })
                    .into(),
            },
            findings: vec![file],
        },
    ]
}

#[test]
fn for_people() {
    insta::assert_snapshot!(text(&reports(), false));
    let coloured = text(&reports(), true);
    assert!(
        coloured.contains("\x1b[1;33mwarning[json-args-recommended]\x1b[0m"),
        "{coloured}"
    );
    assert!(!text(&reports(), false).contains('\x1b'));
}

#[test]
fn for_programs() {
    insta::assert_snapshot!(format!("{:#}", json(&reports())));
    insta::assert_snapshot!(format!("{:#}", sarif(&reports(), "0.1.0")));
}

#[test]
fn as_buildkit() {
    let (text, count) = buildkit(&reports()[0]);
    insta::assert_snapshot!(text);
    assert_eq!(count, 2);
}

#[test]
fn the_rules_are_in_the_documentation() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lint.md");
    let text = fs_err::read_to_string(path).expect("docs/lint.md");
    assert!(
        text.contains(&rule::table()),
        "docs/lint.md wants this table:\n{}",
        rule::table()
    );
}
