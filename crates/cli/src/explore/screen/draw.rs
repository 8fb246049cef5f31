//! The explorer's picture.

use havre_explore::{Change, Kind, permissions, shown};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use super::reader::Tone;
use super::state::{Pane, Screen, View};
use crate::explore::report::human;

/// Keys, as `?` shows them.
pub(super) const HELP: &[(&str, &str)] = &[
    ("Tab", "go between layers and files"),
    ("up down PgUp PgDn Home End", "move (also k j g G)"),
    ("[ ]", "the layer below, the layer above"),
    ("right, Enter, Space", "unfold a directory (also l)"),
    ("left", "fold it, or go to what it is in (also h)"),
    ("Enter on a file", "show its contents"),
    ("e x", "unfold everything shown, fold everything"),
    ("/ n N", "search in names, next, the one before"),
    ("a c r u", "hide or show added, changed, removed, unchanged"),
    ("m", "compare with the layer below, or with the lowest"),
    ("s", "sort by name or by size"),
    ("w", "what is wasted; Enter there goes to the file"),
    ("Esc", "show everything again; back"),
    ("q", "back; end"),
    ("", ""),
    ("In a file", ""),
    ("d", "differences to the version in the layer below"),
    ("left right", "move sideways"),
    ("", ""),
    ("A C R", "added, changed, removed by the layers compared"),
    ("wasted", "bytes stored for paths that are stored more than once,"),
    ("", "or removed again, all their versions counted"),
    ("hidden", "bytes nobody sees: what one single layer would save"),
];

/// Least size of a screen that shows anything.
const LEAST: (u16, u16) = (40, 10);

pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("The terminal is too small: at least {} x {}", LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let [body, bottom] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    frame.render_widget(Clear, area);
    let paint = Paint(screen.colors);
    match screen.view {
        View::Panes => panes(frame, body, screen, paint),
        View::Waste { .. } => waste(frame, body, screen, paint),
        View::Reader(_) => reader(frame, body, screen, paint),
        View::Help { .. } => help(frame, body, screen, paint),
    }
    frame.render_widget(footer(screen, paint), bottom);
}

/// Styles, without colours if the user wants none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn color(self, color: Color) -> Style {
        if self.0 {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn change(self, change: Option<Change>) -> Style {
        match change {
            Some(Change::Added) => self.color(Color::Green),
            Some(Change::Changed) => self.color(Color::Yellow),
            Some(Change::Removed) => self.color(Color::Red),
            _ => Style::new(),
        }
    }

    fn cursor(self, style: Style, active: bool) -> Style {
        style.add_modifier(if active {
            Modifier::REVERSED
        } else {
            Modifier::UNDERLINED
        })
    }

    fn frame(self, title: String, active: bool) -> Block<'static> {
        let border = if active {
            self.color(Color::Cyan)
        } else {
            self.color(Color::DarkGray)
        };
        let name = if active {
            Style::new().add_modifier(Modifier::BOLD)
        } else {
            Style::new()
        };
        Block::bordered()
            .border_style(border)
            .title(Span::styled(title, name))
    }
}

/// Text of so many columns, what is too long cut.
fn cut(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthChar;
    let mut out = String::new();
    let mut used = 0;
    for letter in text.chars() {
        let wide = letter.width().unwrap_or(0);
        if used + wide > width {
            while used >= width {
                let Some(last) = out.pop() else { break };
                used -= last.width().unwrap_or(0);
            }
            out.push('…');
            return out;
        }
        out.push(letter);
        used += wide;
    }
    out
}

/// The first line that is shown, so that the cursor is among them.
fn scrolled(top: usize, at: usize, height: usize) -> usize {
    let least = (at + 1).saturating_sub(height.max(1));
    top.clamp(least, at)
}

fn panes(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let left = (area.width * 2 / 5).clamp(20, 60);
    let [left, right] = Layout::horizontal([Constraint::Length(left), Constraint::Min(0)]).areas(area);
    let image = if area.height >= 18 { 7 } else { 0 };
    let about = if area.height >= 14 { 7 } else { 0 };
    let [layers, about, image] = Layout::vertical([
        Constraint::Min(4),
        Constraint::Length(about),
        Constraint::Length(image),
    ])
    .areas(left);
    layer_list(frame, layers, screen, paint);
    layer_about(frame, about, screen, paint);
    image_about(frame, image, screen, paint);
    files(frame, right, screen, paint);
    let active = if screen.pane == Pane::Layers {
        layers
    } else {
        right
    };
    screen.height = usize::from(active.height.saturating_sub(2));
}

fn layer_list(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let active = screen.pane == Pane::Layers;
    let block = paint.frame(" Layers ".to_owned(), active);
    let inner = block.inner(area);
    let height = usize::from(inner.height);
    screen.layers_top = scrolled(screen.layers_top, screen.layer, height);
    let (from, upto) = screen.range();
    let lines = screen
        .summary
        .layers()
        .skip(screen.layers_top)
        .take(height)
        .map(|(at, layer, sum)| {
            // What is compared is marked at the edge.
            let edge = if (from..upto).contains(&at) { '*' } else { ' ' };
            let text = format!(
                "{edge}{at:>3} {:>7}  {}",
                human(sum.bytes),
                shown(layer.command.as_bytes())
            );
            let text = format!(
                "{:<width$}",
                cut(&text, inner.width.into()),
                width = usize::from(inner.width)
            );
            let style = if at == screen.layer {
                paint.cursor(Style::new(), active)
            } else {
                Style::new()
            };
            Line::styled(text, style)
        });
    let lines: Vec<Line<'_>> = lines.collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn layer_about(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, paint: Paint) {
    if area.height == 0 {
        return;
    }
    let block = paint.frame(format!(" Layer {} ", screen.layer), false);
    let Some((_, layer, sum)) = screen.summary.layers().nth(screen.layer) else {
        return frame.render_widget(block, area);
    };
    let width = usize::from(area.width.saturating_sub(2));
    let mut lines = vec![
        Line::from(vec![
            Span::styled(format!("+{} ", sum.added), paint.change(Some(Change::Added))),
            Span::styled(format!("~{} ", sum.changed), paint.change(Some(Change::Changed))),
            Span::styled(format!("-{} ", sum.removed), paint.change(Some(Change::Removed))),
            Span::raw(human(sum.bytes)),
        ]),
        Line::raw(cut(&layer.digest, width)),
    ];
    lines.push(Line::raw(shown(layer.command.as_bytes())));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }).block(block), area);
}

fn image_about(frame: &mut Frame<'_>, area: Rect, screen: &Screen<'_>, paint: Paint) {
    if area.height == 0 {
        return;
    }
    let width = usize::from(area.width.saturating_sub(2));
    let waste = &screen.summary.waste;
    let efficiency = match waste.efficiency {
        good if good >= 0.9 => paint.color(Color::Green),
        fair if fair >= 0.8 => paint.color(Color::Yellow),
        _ => paint.color(Color::Red),
    };
    let lines = vec![
        Line::raw(cut(&shown(screen.subject.name.as_bytes()), width)),
        Line::raw(format!("size        {}", human(waste.total_bytes))),
        Line::from(vec![
            Span::raw("efficiency  "),
            Span::styled(format!("{:.1} %", waste.efficiency * 100.0), efficiency),
        ]),
        Line::raw(format!("wasted      {}", human(waste.wasted_bytes))),
        Line::raw(format!("hidden      {}", human(waste.hidden_bytes))),
    ];
    let block = paint.frame(" Image ".to_owned(), false);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn files(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let active = screen.pane == Pane::Files;
    let (from, upto) = screen.range();
    let what = match (from, upto) {
        (from, upto) if from + 1 == upto => format!("layer {from}"),
        (from, upto) => format!("layers {from} to {}", upto - 1),
    };
    let shown_kinds = screen.rows.shown;
    let hidden: String = [
        (shown_kinds.added, " added"),
        (shown_kinds.changed, " changed"),
        (shown_kinds.removed, " removed"),
        (shown_kinds.unchanged, " unchanged"),
    ]
    .iter()
    .filter(|(shown, _)| !shown)
    .map(|(_, word)| *word)
    .collect();
    let hidden = if hidden.is_empty() {
        String::new()
    } else {
        format!(", without{hidden}")
    };
    let order = if screen.rows.by_size { ", by size" } else { "" };
    let block = paint.frame(format!(" Files: {what}{order}{hidden} "), active);
    let inner = block.inner(area);
    let (height, width) = (usize::from(inner.height), usize::from(inner.width));
    screen.rows.top = scrolled(screen.rows.top, screen.rows.at, height);
    let tree = &screen.subject.tree;
    let wide = width >= 64;
    let mut lines = Vec::with_capacity(height);
    for (at, row) in screen
        .rows
        .list
        .iter()
        .enumerate()
        .skip(screen.rows.top)
        .take(height)
    {
        let Some(version) = screen.comparison.version(tree, row.node) else {
            continue;
        };
        let change = screen.comparison.change(row.node);
        // A directory that is as it was shows that something in it isn't.
        let touched = change == Some(Change::None) && screen.comparison.is_touched(row.node);
        let mark = if touched { '·' } else { Screen::mark(change) };
        let size = match (&version.kind, change) {
            (Kind::File | Kind::Directory { .. }, Some(Change::Removed)) => human(version.size),
            (Kind::File, _) => human(version.size),
            (Kind::Directory { .. }, _) => human(screen.comparison.size(row.node)),
            _ => String::new(),
        };
        let details = if wide {
            let owner = format!("{}:{}", version.uid, version.gid);
            format!("{} {owner:<9} ", permissions(&version.kind, version.mode))
        } else {
            String::new()
        };
        let inside = tree.children(row.node).any(|child| screen.rows.is_kept(child));
        let sign = match (inside, screen.rows.is_open(row.node)) {
            (true, true) => "- ",
            (true, false) => "+ ",
            (false, _) => "  ",
        };
        let mut name = shown(tree.name(row.node));
        match &version.kind {
            Kind::Directory { .. } => name.push('/'),
            Kind::Link { target } => name = format!("{name} -> {}", shown(target)),
            _ => {}
        }
        let indent = "  ".repeat(row.depth.min(width / 4));
        let text = format!("{mark} {details}{size:>7} {indent}{sign}{name}");
        let text = format!("{:<width$}", cut(&text, width));
        let mut style = paint.change(change);
        if touched {
            style = paint.color(Color::Yellow).add_modifier(Modifier::DIM);
        }
        if at == screen.rows.at {
            style = paint.cursor(style, active);
        }
        lines.push(Line::styled(text, style));
    }
    if lines.is_empty() {
        lines.push(Line::raw("nothing is shown: Esc shows everything"));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn waste(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let View::Waste { at, top } = &mut screen.view else {
        return;
    };
    let waste = &screen.summary.waste;
    let title = format!(
        " Wasted: {} in {} paths ",
        human(waste.wasted_bytes),
        waste.paths.len()
    );
    let block = paint.frame(title, true);
    let inner = block.inner(area);
    let (height, width) = (
        usize::from(inner.height).saturating_sub(1),
        usize::from(inner.width),
    );
    screen.height = height;
    *top = scrolled(*top, *at, height);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = vec![Line::styled(
        format!("{:>6} {:>9} {:>9}  path", "count", "wasted", "hidden"),
        bold,
    )];
    for (number, row) in waste.paths.iter().enumerate().skip(*top).take(height) {
        let path = shown(&screen.subject.tree.path(row.node));
        let text = format!(
            "{:>6} {:>9} {:>9}  /{path}",
            row.count,
            human(row.bytes),
            human(row.hidden)
        );
        let text = format!("{:<width$}", cut(&text, width));
        let style = if number == *at {
            paint.cursor(Style::new(), true)
        } else {
            Style::new()
        };
        lines.push(Line::styled(text, style));
    }
    if waste.paths.is_empty() {
        lines.push(Line::raw("nothing: no path is stored twice or removed again"));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn reader(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let View::Reader(reader) = &screen.view else {
        return;
    };
    let how = if reader.compares {
        ", compared with the layer below"
    } else {
        ""
    };
    let block = paint.frame(format!(" {}{how} ", reader.title), true);
    let inner = block.inner(area);
    screen.height = usize::from(inner.height);
    let lines = reader
        .lines()
        .iter()
        .skip(reader.top)
        .take(screen.height)
        .map(|(tone, text)| {
            let style = match tone {
                Tone::Plain => Style::new(),
                Tone::Added => paint.change(Some(Change::Added)),
                Tone::Removed => paint.change(Some(Change::Removed)),
                Tone::Note => paint.color(Color::Cyan),
            };
            let text: String = text.chars().skip(reader.left).collect();
            Line::styled(cut(&text, inner.width.into()), style)
        });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn help(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen<'_>, paint: Paint) {
    let View::Help { top } = screen.view else { return };
    let block = paint.frame(" Keys ".to_owned(), true);
    screen.height = usize::from(block.inner(area).height);
    let lines = HELP.iter().skip(top).map(|(keys, what)| {
        let keys = Span::styled(format!("{keys:<28}"), paint.color(Color::Cyan));
        Line::from(vec![keys, Span::raw(*what)])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn footer(screen: &Screen<'_>, paint: Paint) -> Line<'static> {
    if let Some(text) = &screen.typing {
        return Line::raw(format!("/{text}_"));
    }
    if let Some(message) = &screen.message {
        return Line::styled(message.clone(), paint.color(Color::Yellow));
    }
    let keys = match &screen.view {
        View::Panes => "q end  ? keys  Tab pane  [ ] layer  Enter open  / search  u filter  w waste",
        View::Waste { .. } => "q back  Enter go to it",
        View::Reader(reader) if reader.can_compare() => "q back  d differences to the layer below",
        View::Reader(_) => "q back",
        View::Help { .. } => "q back",
    };
    Line::styled(keys, paint.color(Color::DarkGray))
}

#[cfg(test)]
mod tests {
    use havre_explore::{Entry, Tree};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::*;
    use crate::explore::screen::reader::{Contents, Reader, Wanted};
    use crate::explore::screen::state::Wish;
    use crate::explore::{Contents as Source, LayerOf, Subject};

    fn entry(path: &str, kind: Kind, size: u64) -> Entry {
        Entry {
            path: path.into(),
            kind,
            size,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            inode: 0,
        }
    }

    fn subject() -> Subject {
        let mut tree = Tree::new();
        tree.begin_layer();
        tree.add(entry("etc/conf", Kind::File, 1000));
        tree.add(entry("etc/gone\u{1b}[31m", Kind::File, 500));
        tree.add(entry("bin/tool", Kind::File, 90_000));
        tree.begin_layer();
        tree.add(entry("etc/conf", Kind::File, 2000));
        tree.add(entry("etc/gone\u{1b}[31m", Kind::Removed, 0));
        tree.add(entry(
            "new",
            Kind::Link {
                target: b"bin/tool".to_vec(),
            },
            0,
        ));
        let layer = |command: &str| LayerOf {
            digest: "sha256:0123".to_owned(),
            command: command.to_owned(),
        };
        Subject {
            name: "app:v1".to_owned(),
            id: "sha256:0123".to_owned(),
            layers: vec![layer("ADD rootfs.tar /"), layer("RUN make \u{1b}[2J")],
            tree,
            contents: Source::Engine(
                crate::image_files::Image::new("sha256:0123", &Default::default()).unwrap(),
            ),
        }
    }

    fn picture(screen: &mut Screen<'_>, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        terminal.backend().to_string()
    }

    fn press(screen: &mut Screen<'_>, keys: &str) -> Wish {
        let mut wish = Wish::Nothing;
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\t' => KeyCode::Tab,
                '\u{8}' => KeyCode::Esc,
                key => KeyCode::Char(key),
            };
            wish = screen.press(KeyEvent::from(code));
        }
        wish
    }

    #[test]
    fn layers_files_and_what_became_of_them() {
        let subject = subject();
        let mut screen = Screen::new(&subject, true);
        press(&mut screen, "j");
        press(&mut screen, "\te");
        let text = picture(&mut screen, 80, 24);
        for part in [
            "*  1     2kB  RUN make",
            "C     2kB   conf",
            "R    500B   gone\\x1b[31m",
            "A           new -> bin/tool",
            "·     2kB - etc/",
            "  90kB - bin/",
            "efficiency  97.3 %",
            "wasted      3.5kB",
            "hidden      1.5kB",
            "+1 ~1 -1 2kB",
            "q end  ? keys",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeezed(&text).contains(&squeezed(part)), "{part:?} in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        // Only what was changed or removed.
        press(&mut screen, "ua");
        let text = picture(&mut screen, 80, 24);
        assert!(
            text.contains("without added unchanged") && !text.contains("bin/") && !text.contains("new"),
            "{text}"
        );
        assert!(text.contains("conf") && text.contains("gone"), "{text}");
        press(&mut screen, "\u{8}");
        assert!(picture(&mut screen, 80, 24).contains("bin/"));
    }

    #[test]
    fn searched_found_and_read() {
        let subject = subject();
        let mut screen = Screen::new(&subject, false);
        press(&mut screen, "j/CONF\n");
        let wanted = Wanted {
            path: b"etc/conf".to_vec(),
            layer: 1,
            below: Some(0),
            size: 2000,
        };
        assert_eq!(press(&mut screen, "\n"), Wish::Read(wanted.clone()));
        let contents = Contents {
            bytes: b"new\n".to_vec(),
            below: Some(b"old\n".to_vec()),
            size: 4,
        };
        screen.open(Reader::new(&wanted, &contents));
        assert!(picture(&mut screen, 80, 24).contains("/etc/conf in layer 1"));
        press(&mut screen, "d");
        let text = picture(&mut screen, 80, 24);
        assert!(text.contains("-old") && text.contains("+new"), "{text}");
        press(&mut screen, "q/nosuch\n");
        assert!(picture(&mut screen, 80, 24).contains("no name with \"nosuch\" is shown"));
        assert_eq!(press(&mut screen, "q"), Wish::End);
    }

    #[test]
    fn waste_leads_to_the_file() {
        let subject = subject();
        let mut screen = Screen::new(&subject, true);
        press(&mut screen, "w");
        let text = picture(&mut screen, 80, 24);
        assert!(text.contains("2       3kB       1kB  /etc/conf"), "{text}");
        press(&mut screen, "\n");
        assert_eq!((screen.layer, screen.pane), (1, Pane::Files));
        assert_eq!(screen.rows.current(), subject.tree.find(b"etc/conf"));
    }

    #[test]
    fn every_size_and_every_key_is_survived() {
        let subject = subject();
        let mut screen = Screen::new(&subject, true);
        let keys = "jkgG[]\telh \nscurarum/x\nnN?jq wjG\n x\u{8}m]wq";
        for size in [(1, 1), (20, 5), (40, 10), (41, 13), (80, 24), (200, 60)] {
            for key in keys.chars() {
                let _ = press(&mut screen, &key.to_string());
                let _ = picture(&mut screen, size.0, size.1);
            }
        }
        assert!(picture(&mut screen, 30, 5).contains("too small"));
        // An image without layers.
        let empty = Subject {
            layers: Vec::new(),
            tree: Tree::new(),
            ..self::subject()
        };
        let mut screen = Screen::new(&empty, true);
        for key in keys.chars() {
            let _ = press(&mut screen, &key.to_string());
            let _ = picture(&mut screen, 80, 24);
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }
}
