//! The screen: what stands where, in which colours.
//!
//! Owns layout and colours. It draws what it is given, and knows neither the log nor the keys. What is selected is
//! in reverse video and what has changed has a sign, so that it can be read without colours.

use anstyle::{AnsiColor, Color as AnsiAny};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::columns::cut;
use super::keys::HELP;
use super::model::{Content, Footer, ListRow, MARK_COLUMNS, Screenful, Sizes};
use super::pane::{Mark, PaneLine};
use crate::paint::{self, Paint};
use crate::show::Time;

/// Narrower than this, the state stands under the list.
const BESIDE_COLUMNS_MIN: u16 = 72;
/// With fewer rows, there is the list alone.
const BOTH_ROWS_MIN: u16 = 9;
/// Columns from which on dates and the kinds' names have all the room that they want.
const WIDE_COLUMNS_MIN: u16 = 90;
/// As wide as the longest kind of event.
const KIND_COLUMNS: usize = 18;

const KEYS: &str = "↑↓ PgUp PgDn move  : jump  / search  u user  Tab state/user  ? help  q quit";

/// Where things stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Places {
    header: Rect,
    list: Rect,
    line: Rect,
    pane: Rect,
    footer: Rect,
}

impl Places {
    fn on(area: Rect) -> Self {
        let Rect { x, y, width, height } = area;
        let row = |row: u16, count: u16| Rect { x, y: y + row.min(height), width, height: count };
        let header = row(0, height.min(1));
        let footer = row(height.saturating_sub(1), u16::from(height > 1));
        let body = row(1, height.saturating_sub(2));
        let none = Rect { width: 0, height: 0, ..body };
        if body.height + 2 < BOTH_ROWS_MIN {
            return Self { header, list: body, line: none, pane: none, footer };
        }
        let (list, line, pane) = if width >= BESIDE_COLUMNS_MIN {
            let left = width * 11 / 20;
            let part = |from: u16, width| Rect { x: x + from, width, ..body };
            (part(0, left), part(left, 1), part(left + 1, width - left - 1))
        } else {
            let upper = body.height / 2;
            let part = |from: u16, height| Rect { y: body.y + from, height, ..body };
            (part(0, upper), part(upper, 1), part(upper + 1, body.height - upper - 1))
        };
        Self { header, list, line, pane, footer }
    }
}

/// What there is room for on a screen.
pub(super) fn sizes(area: Rect) -> Sizes {
    let Places { list, pane, .. } = Places::on(area);
    Sizes {
        list_rows: list.height.into(),
        pane_rows: pane.height.into(),
        pane_columns: pane.width.into(),
    }
}

/// Draws a screenful that was made for as much room.
pub(super) fn draw(frame: &mut Frame<'_>, screenful: &Screenful, paint: Paint) {
    let places = Places::on(frame.area());
    let buffer = frame.buffer_mut();
    let reverse = Style::new().add_modifier(Modifier::REVERSED);
    buffer.set_style(places.header, reverse);
    let header = format!(" {}   {}", screenful.folder, screenful.position);
    put(buffer, places.header, 0, &header, reverse);
    for (row, listed) in (0..).zip(&screenful.list) {
        draw_row(buffer, places.list, row, listed, screenful.seq_digits, paint);
    }
    draw_line(buffer, places.line, screenful.pane_goes_on, paint);
    for (row, line) in (0..).zip(&screenful.pane) {
        draw_pane_line(buffer, places.pane, row, line, paint);
    }
    if screenful.shows_help {
        draw_help(buffer, places.list.union(places.pane), paint);
    }
    let cursor = draw_footer(buffer, places.footer, &screenful.footer, paint);
    if let Some(column) = cursor {
        frame.set_cursor_position((places.footer.x + column, places.footer.y));
    }
}

/// A piece of a line, and its style.
type Piece = (String, Style);

fn draw_row(
    buffer: &mut Buffer,
    area: Rect,
    row: u16,
    listed: &ListRow,
    digits: usize,
    paint: Paint,
) {
    let seq = (format!(" {:>digits$}  ", listed.content.seq().0), Style::new());
    let pieces = match &listed.content {
        Content::Event(line) => {
            let is_wide = area.width >= WIDE_COLUMNS_MIN;
            let time = Time(line.time).to_string();
            // Of an RFC 3339 time, that of the day to the second; what is none stands as a whole.
            let time = if is_wide { &*time } else { time.get(11..19).unwrap_or(&time) };
            let kind = line.kind.name();
            let kind = if is_wide { format!("{kind:<KIND_COLUMNS$}") } else { kind.to_owned() };
            vec![
                seq,
                (format!("{time}  "), style(paint::FAINT, paint)),
                (format!("{kind}  "), style(paint::of_kind(line.kind), paint)),
                (line.words.clone(), Style::new()),
            ]
        }
        Content::Base(_) => vec![
            seq,
            (
                "what was up to here is known as a state alone".to_owned(),
                style(paint::FAINT, paint),
            ),
        ],
    };
    let selected = Style::new().add_modifier(Modifier::REVERSED);
    put_pieces(buffer, area, row, &pieces, listed.is_selected.then_some(selected));
}

/// The line between list and state, with signs where that goes on.
fn draw_line(buffer: &mut Buffer, area: Rect, goes_on: (bool, bool), paint: Paint) {
    let faint = style(paint::FAINT, paint);
    let is_upright = area.height > 1;
    for at in area.positions() {
        let symbol = match () {
            () if goes_on.0 && at == area.as_position() => "▲",
            () if goes_on.1 && at.x == area.right() - 1 && at.y == area.bottom() - 1 => "▼",
            () if is_upright => "│",
            () => "─",
        };
        buffer.set_string(at.x, at.y, symbol, faint);
    }
}

fn draw_pane_line(buffer: &mut Buffer, area: Rect, row: u16, line: &PaneLine, paint: Paint) {
    let colored = |color| if paint.is_on() { Style::new().fg(color) } else { Style::new() };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (sign, style) = match line.mark {
        Mark::Plain => (" ", Style::new()),
        Mark::Title => (" ", bold),
        Mark::Added => ("+", colored(Color::Green).patch(bold)),
        Mark::Removed => ("-", colored(Color::Red)),
    };
    let sign = if line.is_continued { " " } else { sign };
    // A title stands a little to the left of what is under it.
    let own = if line.mark == Mark::Title { 0 } else { MARK_COLUMNS - 1 };
    let indent = usize::from(line.text.indent) + own;
    let text = format!("{sign}{:indent$}{}", "", line.text.text);
    put(buffer, area, row, &text, style);
}

/// Draws the last line, and answers the column where one types.
fn draw_footer(buffer: &mut Buffer, area: Rect, footer: &Footer, paint: Paint) -> Option<u16> {
    let faint = style(paint::FAINT, paint);
    match footer {
        Footer::Keys => put(buffer, area, 0, &format!(" {KEYS}"), faint),
        Footer::Note(note) => put(buffer, area, 0, &format!(" {note}"), Style::new()),
        Footer::Prompt { label, text, hint } => {
            // The end of what is typed is what one looks at.
            let room = usize::from(area.width).saturating_sub(label.len() + 2);
            let mut shown = text.as_str();
            while cut(shown, room).0.len() < shown.len() {
                shown = shown.char_indices().nth(1).map_or("", |(next, _)| &shown[next..]);
            }
            let typed = format!(" {label}{shown}");
            let column = u16::try_from(cut(&typed, usize::MAX).1).unwrap_or(0);
            let pieces = [(typed, Style::new()), (format!("   {hint}"), faint)];
            put_pieces(buffer, area, 0, &pieces, None);
            return (column < area.width && area.height > 0).then_some(column);
        }
    }
    None
}

fn draw_help(buffer: &mut Buffer, area: Rect, paint: Paint) {
    let rows = u16::try_from(HELP.len()).unwrap_or(u16::MAX);
    let keys = HELP.iter().map(|(keys, _)| cut(keys, usize::MAX).1).max().unwrap_or(0);
    let about = HELP.iter().map(|(_, about)| cut(about, usize::MAX).1).max().unwrap_or(0);
    let width = u16::try_from(keys + about + 6).unwrap_or(u16::MAX).min(area.width);
    let height = rows.saturating_add(2).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let window = Rect { x, y, width, height };
    for row in 0..height {
        put(buffer, window, row, &" ".repeat(width.into()), Style::reset());
    }
    let top = if height > rows { 1 } else { 0 };
    for (row, (key, about)) in (top..).zip(HELP) {
        let padding = keys.saturating_sub(cut(key, usize::MAX).1);
        let pieces = [
            (format!("  {key}{:padding$}  ", ""), style(paint::STRONG, paint)),
            ((*about).to_owned(), Style::new()),
        ];
        put_pieces(buffer, window, row, &pieces, None);
    }
}

fn put(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    put_pieces(buffer, area, row, &[(text.to_owned(), style)], None);
}

/// Writes pieces one behind the other into a row, the rest of which is blank. What does not fit ends with a sign.
fn put_pieces(buffer: &mut Buffer, area: Rect, row: u16, pieces: &[Piece], over: Option<Style>) {
    let (width, y) = (usize::from(area.width), area.y.saturating_add(row));
    if row >= area.height || width == 0 {
        return;
    }
    let mut column = 0;
    let mut is_cut = false;
    for (text, style) in pieces {
        let (fitting, columns) = cut(text, width - column);
        buffer.set_stringn(position(area.x, column), y, fitting, columns, *style);
        column += columns;
        if fitting.len() < text.len() {
            is_cut = true;
            break;
        }
    }
    if is_cut {
        // A wide character that would stand half under the sign goes.
        let last = position(area.x, width - 1);
        if width > 1 && column == width && cut_symbol_is_wide(buffer, last - 1, y) {
            buffer.set_string(last - 1, y, " ", Style::new());
        }
        buffer.set_string(last, y, "…", Style::new());
    }
    if let Some(style) = over {
        buffer.set_style(Rect { y, height: 1, ..area }, style);
    }
}

fn cut_symbol_is_wide(buffer: &Buffer, x: u16, y: u16) -> bool {
    buffer.cell((x, y)).is_some_and(|cell| cut(cell.symbol(), usize::MAX).1 > 1)
}

fn position(x: u16, column: usize) -> u16 {
    x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX))
}

/// A style of [`paint`](crate::paint) as this terminal has it.
fn style(style: anstyle::Style, paint: Paint) -> Style {
    let mut drawn = Style::new();
    if !paint.is_on() {
        return drawn;
    }
    if let Some(AnsiAny::Ansi(color)) = style.get_fg_color() {
        drawn = drawn.fg(match color {
            AnsiColor::Green => Color::Green,
            AnsiColor::Magenta => Color::Magenta,
            AnsiColor::Cyan => Color::Cyan,
            AnsiColor::Red => Color::Red,
            _ => Color::Reset,
        });
    }
    let effects = style.get_effects();
    for (effect, modifier) in
        [(anstyle::Effects::BOLD, Modifier::BOLD), (anstyle::Effects::DIMMED, Modifier::DIM)]
    {
        if effects.contains(effect) {
            drawn = drawn.add_modifier(modifier);
        }
    }
    drawn
}
