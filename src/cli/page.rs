//! Help pages that fit the terminal.
//!
//! Owns how a page is laid out for a width; what stands on it belongs to each command. It never
//! prints: it answers a string. A character counts as one column, which all help text keeps to.

use std::env;
use std::io;

/// Wider lines than this are hard to read, however wide the terminal is.
const WIDTH_MAX: usize = 100;
/// What is taken where nothing says how wide the terminal is.
const WIDTH_UNKNOWN: usize = 80;
/// Below this a second column would have room for a word or two: the text goes under the option.
const WIDTH_TWO_COLUMNS_MIN: usize = 50;
/// A left side longer than this gets a line of its own, so that one long option does not squeeze all texts.
const LEFT_MAX: usize = 26;
const INDENT: usize = 2;
const GAP: usize = 2;
const INDENT_UNDER: usize = 6;

/// A help page: how it is called, what it does, options or commands in sections, and notes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    usage: String,
    about: String,
    sections: Vec<Section>,
    notes: Vec<String>,
}

/// Rows under one title.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Section {
    title: String,
    rows: Vec<Row>,
}

/// One option, command or the like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    left: String,
    text: String,
    default: Option<String>,
}

impl Row {
    /// A row without a default. Spaces at the start of `left` are kept, so that `    --long` can stand
    /// under `-s, --short`.
    #[must_use]
    pub fn new(left: impl Into<String>, text: impl Into<String>) -> Self {
        Self { left: left.into(), text: text.into(), default: None }
    }

    /// The same row with a default, which is shown in brackets behind the text.
    #[must_use]
    pub fn or(mut self, default: impl Into<String>) -> Self {
        self.default = Some(default.into());
        self
    }

    fn full_text(&self) -> String {
        match &self.default {
            None => self.text.clone(),
            Some(default) if self.text.is_empty() => format!("[{default}]"),
            Some(default) => format!("{} [{default}]", self.text),
        }
    }
}

impl Page {
    /// A page that has only its first line: `Usage: ` and what is given.
    #[must_use]
    pub fn new(usage: impl Into<String>) -> Self {
        Self { usage: usage.into(), ..Self::default() }
    }

    /// Adds what the command does.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds rows under a title, behind those that there are.
    #[must_use]
    pub fn section(mut self, title: impl Into<String>, rows: Vec<Row>) -> Self {
        self.sections.push(Section { title: title.into(), rows });
        self
    }

    /// Adds a paragraph at the end. Each of its lines is wrapped for itself, and what is wrapped keeps
    /// the line's indentation.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The page for a terminal of this many columns.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        let width = width.min(WIDTH_MAX);
        let mut out = String::new();
        wrap_into(&mut out, &format!("Usage: {}", self.usage), 0, 7, width);
        if !self.about.is_empty() {
            out.push('\n');
            paragraph(&mut out, &self.about, width);
        }
        let left_width = self.left_width();
        for section in &self.sections {
            out.push('\n');
            if !section.title.is_empty() {
                wrap_into(&mut out, &format!("{}:", section.title), 0, 0, width);
            }
            for row in &section.rows {
                if width < WIDTH_TWO_COLUMNS_MIN {
                    under(&mut out, row, width);
                } else {
                    beside(&mut out, row, left_width, width);
                }
            }
        }
        for note in &self.notes {
            out.push('\n');
            paragraph(&mut out, note, width);
        }
        out
    }

    /// The left column is as wide as the longest left side that is not too long, in all sections alike.
    fn left_width(&self) -> usize {
        let rows = self.sections.iter().flat_map(|section| &section.rows);
        rows.map(|row| row.left.chars().count()).filter(|&left| left <= LEFT_MAX).max().unwrap_or(0)
    }
}

/// How many columns the terminal at standard output has; without one, what `COLUMNS` says, or 80.
#[must_use]
pub fn terminal_width() -> usize {
    let terminal = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    let said = || env::var("COLUMNS").ok()?.parse().ok();
    terminal.filter(|&width| width > 0).or_else(said).unwrap_or(WIDTH_UNKNOWN)
}

/// The option on the left and the text beside it, or from the next line on where the option is too long.
fn beside(out: &mut String, row: &Row, left_width: usize, width: usize) {
    let column = INDENT + left_width + GAP;
    let mut text = String::new();
    wrap_into(&mut text, &row.full_text(), column, column, width);
    if text.is_empty() || row.left.chars().count() > left_width {
        let blanks = row.left.len() - row.left.trim_start().len();
        wrap_into(out, &row.left, INDENT + blanks, INDENT_UNDER, width);
        out.push_str(&text);
    } else {
        // The wrapped text starts with the blanks that the option takes the place of.
        let (left, text) = (&row.left, text.trim_start());
        out.push_str(&format!("{:INDENT$}{left:left_width$}{:GAP$}{text}", "", ""));
    }
}

fn under(out: &mut String, row: &Row, width: usize) {
    wrap_into(out, &row.left, INDENT, INDENT_UNDER + INDENT, width);
    wrap_into(out, &row.full_text(), INDENT_UNDER, INDENT_UNDER, width);
}

fn paragraph(out: &mut String, text: &str, width: usize) {
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().is_empty() {
            out.push('\n');
        }
        wrap_into(out, line, indent, indent, width);
    }
}

/// Appends the words of `text` in lines of up to `width`, the first indented by `first` and the others by
/// `rest`. A word that is longer than a line stands on one of its own, whole. No words, no line.
fn wrap_into(out: &mut String, text: &str, first: usize, rest: usize, width: usize) {
    let (mut column, mut empty) = (first, true);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if empty {
            out.push_str(&" ".repeat(column));
        } else if column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(rest));
            column = rest;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        empty = false;
    }
    if !empty {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new("oicqd [OPTIONS]")
            .about("A server.")
            .section(
                "Options",
                vec![
                    Row::new("-l, --listen ADDR", "where to listen; may be repeated")
                        .or("127.0.0.1:8000"),
                    Row::new("    --registration-mode-of-the-server MODE", "open or closed")
                        .or("open"),
                    Row::new("-h, --help", "this page"),
                ],
            )
            .note("Sizes take KiB.\n  example --a 1")
    }

    #[test]
    fn texts_stand_beside_their_options_and_defaults_in_brackets() {
        let expected = "\
Usage: oicqd [OPTIONS]

A server.

Options:
  -l, --listen ADDR  where to listen; may be
                     repeated [127.0.0.1:8000]
      --registration-mode-of-the-server MODE
                     open or closed [open]
  -h, --help         this page

Sizes take KiB.
  example --a 1
";
        assert_eq!(page().render(50), expected);
    }

    #[test]
    fn narrow_terminals_get_the_text_under_the_option() {
        let page = page().render(30);
        let expected = "  -l, --listen ADDR\n      where to listen; may be\n      repeated\n      [127.0.0.1:8000]\n";
        assert!(page.contains(expected), "{page}");
        assert!(
            page.contains(
                "  --registration-mode-of-the-server\n        MODE\n      open or closed"
            ),
            "{page}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_or_than_can_be_read() {
        let long = "word ".repeat(100);
        let page =
            Page::new("x").about(&long).section("S", vec![Row::new("-x", &long)]).note(&long);
        for width in [20, 40, 60, 80, 100, 300] {
            let longest = page.render(width).lines().map(str::len).max().unwrap();
            assert!(longest <= width.min(100), "{width}: {longest}");
            assert!(page.render(width).lines().all(|line| line == line.trim_end()));
        }
    }

    #[test]
    fn an_option_longer_than_a_line_is_wrapped_as_well() {
        let left = "file send NUMBER PATH | accept NUMBER [PATH] | reject NUMBER";
        let page = Page::new("x").section("", vec![Row::new(left, "offer or accept a file")]);
        let narrow =
            "  file send NUMBER PATH |\n        accept NUMBER [PATH] |\n        reject NUMBER\n";
        assert!(page.render(31).contains(narrow), "{}", page.render(31));
        assert!(page.render(100).contains(left));
        for width in 22..100 {
            assert!(page.render(width).lines().all(|line| line.len() <= width), "{width}");
        }
    }

    #[test]
    fn a_row_without_text_is_its_option_alone() {
        let page = Page::new("x").section("S", vec![Row::new("-x", ""), Row::new("--long", "b")]);
        assert_eq!(page.render(80), "Usage: x\n\nS:\n  -x\n  --long  b\n");
        let page = Page::new("x").section("S", vec![Row::new("-x", "").or("1")]);
        assert_eq!(page.render(80), "Usage: x\n\nS:\n  -x  [1]\n");
    }
}
