//! READMEs: Markdown that strangers wrote, as HTML that we wrote.
//!
//! Only the elements of Markdown become HTML. What is HTML in it is shown as text, images are links to what they show, and links
//! lead to the web or a mail only. Headings begin below those of the page.

use havre_explore::shown;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// What is shown of a README, in bytes.
const MOST: usize = 256 << 10;

/// A README as HTML, which needs no escaping.
pub(crate) fn render(markdown: &str) -> String {
    let cut = match markdown.len() > MOST {
        true => (0..=MOST)
            .rev()
            .find(|at| markdown.is_char_boundary(*at))
            .unwrap_or(0),
        false => markdown.len(),
    };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let events = Parser::new_ext(&markdown[..cut], options).map(plain);
    let mut text = String::new();
    html::push_html(&mut text, events);
    text
}

/// An event without what only its author should see to.
fn plain(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) | Event::Text(text) => Event::Text(clean(&text)),
        Event::Code(text) => Event::Code(clean(&text)),
        Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
            level: below(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Event::Start(link(&dest_url))
        }
        Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::CodeBlock(_)) => {
            Event::Start(Tag::CodeBlock(pulldown_cmark::CodeBlockKind::Indented))
        }
        other => other,
    }
}

fn link<'a>(address: &str) -> Tag<'a> {
    let lower = address.trim().to_ascii_lowercase();
    let leads = ["https://", "http://", "mailto:"];
    let fits = leads.iter().any(|lead| lower.starts_with(lead));
    Tag::Link {
        link_type: pulldown_cmark::LinkType::Inline,
        dest_url: match fits {
            true => CowStr::from(address.trim().to_owned()),
            // To the page it is on.
            false => CowStr::Borrowed("#readme"),
        },
        title: CowStr::Borrowed(""),
        id: CowStr::Borrowed(""),
    }
}

/// Two levels below: the page has the first two.
fn below(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

/// Lines as they are, without marks that turn the direction of writing and the like.
fn clean<'a>(text: &str) -> CowStr<'a> {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let parts: Vec<String> = line.split('\t').map(|part| shown(part.as_bytes())).collect();
            parts.join("\t")
        })
        .collect();
    CowStr::from(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_of_markdown() {
        let html = render(
            "# App\n\nSome *text*, `code`.\n\n- one\n\n| a |\n|---|\n| b |\n\n[there](https://example.com/?a=1&b)",
        );
        for part in [
            "<h3>App</h3>",
            "<em>text</em>",
            "<code>code</code>",
            "<li>one</li>",
            "<td>b</td>",
            "<a href=\"https://example.com/?a=1&amp;b\">there</a>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn nothing_else() {
        for markdown in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div onclick=x>\n\ntext\n\n</div>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](data:text/html,<script>)",
            "[x](//evil.example)",
            "![x](https://example.com/x.png \"\\\" onload=x\")",
            "<javascript:alert(1)>",
            "```\"><script>\ncode\n```",
            "# x {#id .class onclick=x}",
        ] {
            let html = render(markdown);
            let lower = html.to_lowercase();
            for part in [
                "<script",
                "<img",
                "<div",
                "href=\"javascript",
                "href=\"data",
                "href=\"//",
                "class=",
                "id=\"",
            ] {
                assert!(!lower.contains(part), "{markdown}: {html}");
            }
        }
        assert!(render("a\u{202e}b").contains("a\\u{202e}b"));
    }

    proptest! {
        #[test]
        fn only_known_elements(markdown in "[a-z<>\\[\\]()!\"'`#*_|\\-\n &;:/=]{0,200}") {
            let html = render(&markdown);
            for element in html.split('<').skip(1) {
                let name: String = element.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
                let known = ["p", "h3", "h4", "h5", "h6", "em", "strong", "code", "pre", "a", "ul", "ol", "li", "hr", "br",
                    "blockquote", "table", "thead", "tbody", "tr", "th", "td", "del"];
                prop_assert!(known.contains(&name.as_str()), "{}", html);
            }
        }
    }
}
