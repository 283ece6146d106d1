//! The viewer over the sample log, without a terminal: states, lines, filters and searches are those that a replay
//! gives, whatever way one has come; and what is drawn.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use oicq::codec::charset::Charset;
use oicq::codec::profile::Profile;
use oicq::compaction::{KeepSince, Plan};
use oicq::id::{MonoMillis, Seq, ServiceNumber, UnixMillis};
use oicq::log::{DiskStorage, Durability, Log, Options, Record};
use oicq::state::{Authentication, Digest, Event};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use tempfile::TempDir;

use super::draw::{draw, sizes};
use super::history::{History, Patience};
use super::keys::Action;
use super::model::{Next, View};
use super::pane::{Image, Mark, user_lines, whole_lines};
use super::search::{Found, Needle};
use super::snapshots::Room;
use crate::paint::Paint;
use crate::source::{Source, Until};

const LAST: u64 = 547;
/// So small that all that is done for long logs is done for this one.
const ROOM: Room = Room { bytes: 1 << 20, spacing_min: 16 };

/// Waits for as long as it takes.
struct Patient;

impl Patience for Patient {
    fn goes_on(&mut self, _: &str, _: u64, _: u64) -> bool {
        true
    }
}

/// Breaks everything off at once.
struct Impatient;

impl Patience for Impatient {
    fn goes_on(&mut self, _: &str, _: u64, _: u64) -> bool {
        false
    }
}

fn golden() -> Source {
    Source::open(Path::new("../data/golden/v1")).unwrap()
}

/// What a replay shows of each event: the line without number and time, whom it concerns, and the digest behind it.
struct Replayed {
    words: String,
    users: Vec<ServiceNumber>,
    time: UnixMillis,
    digest: Digest,
}

fn replayed(source: &Source) -> BTreeMap<Seq, Replayed> {
    let mut all = BTreeMap::new();
    let each = |happening: &crate::source::Happening<'_>| {
        let line = happening.line(Paint::NONE);
        let (_, words) = line.split_once(happening.event.kind().name()).unwrap();
        let users = happening.state.users().map(|(number, _)| number);
        let users = users.filter(|number| happening.concerns(*number)).collect();
        let (time, digest) = (happening.time, happening.state.digest());
        let words = words.trim_start().to_owned();
        all.insert(happening.seq, Replayed { words, users, time, digest });
        Ok(std::ops::ControlFlow::Continue(()))
    };
    source.run(each).unwrap();
    all
}

/// Numbers that are by chance, and the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A copy of the sample log that may be changed.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in fs::read_dir("../data/golden/v1").unwrap().map(|entry| entry.unwrap().file_name()) {
        fs::copy(Path::new("../data/golden/v1").join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

/// The sample log without its history up to the end of its first file.
fn compacted() -> TempDir {
    let folder = copied();
    compact(folder.path(), Some(KeepSince::Seq(Seq(119))));
    folder
}

/// Takes the history of a log away, up to the end of a closed file.
fn compact(folder: &Path, keep: Option<KeepSince>) {
    let storage = DiskStorage::read_only(folder);
    let plan = Plan::new(&storage, keep, |_| ()).unwrap().unwrap();
    let draft = plan.write(&storage, |_| ()).unwrap();
    draft.check(&storage, |_| ()).unwrap().publish(&storage).unwrap();
}

#[test]
fn the_state_is_that_of_a_replay_whatever_way_one_has_come() {
    let source = golden();
    let all = replayed(&source);
    for seed in 0..4 {
        println!("seed {seed}");
        let mut chance = Chance(seed);
        let mut history = History::open(&source, ROOM).unwrap();
        let mut at = LAST;
        for _ in 0..400 {
            at = match chance.below(6) {
                0 => chance.below(LAST) + 1,
                1 => at.saturating_sub(chance.below(40)).max(1),
                2 | 3 => at.saturating_sub(1).max(1),
                _ => (at + 1).min(LAST),
            };
            assert!(history.bring(Seq(at), &mut Patient).unwrap());
            assert_eq!(history.state().last_seq(), Seq(at));
            assert_eq!(history.state().digest(), all[&Seq(at)].digest, "seq {at}");
        }
    }
}

#[test]
fn lines_and_times_are_those_of_a_replay() {
    let source = golden();
    let all = replayed(&source);
    let mut history = History::open(&source, ROOM).unwrap();
    assert_eq!((history.first_seq(), history.last_seq()), (Seq(1), Seq(LAST)));
    let seqs: Vec<_> = all.keys().copied().collect();
    let sparse: Vec<_> = seqs.iter().rev().step_by(7).rev().copied().collect();
    for seqs in [sparse, seqs] {
        let lines = history.lines(&seqs).unwrap();
        assert_eq!(lines.len(), seqs.len());
        for (line, seq) in lines.iter().zip(seqs) {
            let expected = &all[&seq];
            assert_eq!((line.seq, line.time, &line.words), (seq, expected.time, &expected.words));
        }
    }
    for (seq, replayed) in &all {
        let first = all.values().position(|other| other.time == replayed.time).unwrap() as u64 + 1;
        assert_eq!(history.at_time(replayed.time).unwrap(), Some(Seq(first)));
        let next = all.iter().find(|(_, other)| other.time > replayed.time).map(|(next, _)| *next);
        assert_eq!(history.at_time(UnixMillis(replayed.time.0 + 1)).unwrap(), next, "{seq}");
    }
    assert_eq!(history.at_time(UnixMillis(0)).unwrap(), Some(Seq(1)));
}

#[test]
fn the_events_of_a_user_are_those_that_a_replay_says_concern_it() {
    let folder = compacted();
    for source in [golden(), Source::open(folder.path()).unwrap()] {
        let all = replayed(&source);
        let mut history = History::open(&source, ROOM).unwrap();
        for number in (10_001..=10_011).map(ServiceNumber) {
            let expected: Vec<_> = all
                .iter()
                .filter(|(_, replayed)| replayed.users.contains(&number))
                .map(|(seq, _)| *seq)
                .collect();
            let found = history.events_of(number, &mut Patient).unwrap().unwrap();
            assert_eq!(found, expected, "{number}");
        }
        for (seq, replayed) in &all {
            history.bring(*seq, &mut Patient).unwrap();
            let mut users = history.users().to_vec();
            users.sort_unstable();
            users.dedup();
            assert_eq!(users, replayed.users, "seq {seq}");
        }
    }
}

#[test]
fn an_event_changes_nobody_but_its_users() {
    let source = golden();
    let mut history = History::open(&source, ROOM).unwrap();
    let mut before: BTreeMap<ServiceNumber, Vec<String>> = BTreeMap::new();
    for seq in (1..=LAST).map(Seq) {
        history.bring(seq, &mut Patient).unwrap();
        let numbers: Vec<_> = history.state().users().map(|(number, _)| number).collect();
        for number in numbers {
            let lines = user_lines(&history, number);
            let now = lines.iter().filter(|line| {
                line.mark != Mark::Removed && line.text.text != "a new hash of the password"
            });
            let now: Vec<_> = now.map(|line| line.text.text.clone()).collect();
            let was = before.get(&number).cloned().unwrap_or_default();
            // The names of others are those of now.
            let differs = now.len() != was.len();
            let is_marked =
                lines.iter().any(|line| matches!(line.mark, Mark::Added | Mark::Removed));
            assert!(!differs || is_marked, "{number} at {seq}: {was:?} {now:?}");
            if is_marked {
                assert!(history.users().contains(&number), "{number} at {seq}");
            }
            before.insert(number, now);
        }
    }
}

#[test]
fn what_an_event_changes_is_marked() {
    let source = golden();
    let mut history = History::open(&source, ROOM).unwrap();
    let mut marked = |seq: u64| -> Vec<String> {
        history.bring(Seq(seq), &mut Patient).unwrap();
        let sign = |mark| if mark == Mark::Added { '+' } else { '-' };
        let lines = whole_lines(&history).into_iter();
        let lines = lines.filter(|line| matches!(line.mark, Mark::Added | Mark::Removed));
        lines.map(|line| format!("{}{}", sign(line.mark), line.text.text)).collect()
    };
    assert_eq!(marked(4), ["+group 4 \"temp\""]);
    let renamed: Vec<_> = marked(5).iter().map(|line| line[..8].to_owned()).collect();
    assert_eq!(renamed, ["+group 3", "-group 3"]);
    let asked = marked(11);
    assert!(asked.contains(&"+wait for its answer".to_owned()), "{asked:?}");
    assert!(asked.iter().any(|line| line.contains("asks from 10002")), "{asked:?}");
    let delivered = marked(12);
    assert!(delivered.iter().all(|line| line.starts_with('-')), "{delivered:?}");
    let moved = marked(17);
    assert!(moved.iter().any(|line| line.starts_with('+')), "{moved:?}");
    assert!(moved.iter().any(|line| line.starts_with('-')), "{moved:?}");
}

#[test]
fn a_search_finds_each_hit_in_both_directions_and_goes_round() {
    let source = golden();
    let all = replayed(&source);
    let mut history = History::open(&source, ROOM).unwrap();
    let user = ServiceNumber(10_002);
    let own = history.events_of(user, &mut Patient).unwrap().unwrap();
    for (text, among) in
        [("打印", None), ("打印", Some(&own[..])), ("DELETES", None), ("10002", Some(&own))]
    {
        let needle = Needle::new(text).unwrap();
        let is_hit =
            |seq: &Seq| needle.is_in(&all[seq].words) && among.is_none_or(|own| own.contains(seq));
        let hits: Vec<_> = all.keys().copied().filter(is_hit).collect();
        assert!(!hits.is_empty(), "{text}");
        let mut at = Seq(LAST);
        for hit in hits.iter().chain(&hits[..1]) {
            let found = history.find(&needle, at, true, among, &mut Patient).unwrap();
            assert_eq!(found, Found::At { seq: *hit, is_round: *hit <= at }, "{text}");
            at = *hit;
        }
        at = Seq(1);
        for hit in hits.iter().rev().chain(&hits[hits.len() - 1..]) {
            let found = history.find(&needle, at, false, among, &mut Patient).unwrap();
            assert_eq!(found, Found::At { seq: *hit, is_round: *hit >= at }, "{text} backwards");
            at = *hit;
        }
    }
    let nothing = Needle::new("no such words").unwrap();
    for forward in [true, false] {
        let found = history.find(&nothing, Seq(5), forward, None, &mut Patient).unwrap();
        assert_eq!(found, Found::Nowhere);
        let found = history.find(&nothing, Seq(5), forward, None, &mut Impatient).unwrap();
        assert_eq!(found, Found::BrokenOff);
    }
}

#[test]
fn a_compacted_log_begins_with_its_base() {
    let folder = compacted();
    let source = Source::open(folder.path()).unwrap();
    let base = source.base_seq().unwrap();
    let mut history = History::open(&source, ROOM).unwrap();
    assert_eq!((history.base_seq(), history.first_seq()), (base, base.next()));
    let until = golden().watch(Until::seq(base), &mut crate::source::Nobody).unwrap();
    history.bring(base, &mut Patient).unwrap();
    assert_eq!(history.state().digest(), until.state.digest());
    assert!(history.users().is_empty());

    let mut screen = TestScreen::over(history, 100, 24);
    assert!(screen.footer().contains(&format!("compacting has dropped the events up to {base}")));
    screen.press(&[Action::First]);
    assert!(screen.row(0).contains(&format!("the state as of {base}")), "{}", screen.row(0));
    assert!(screen.row(1).contains("known as a state alone"));
    screen.ask(Action::Jump, "5");
    assert!(screen.footer().contains("compacting has dropped 5"), "{}", screen.footer());
    assert!(screen.row(0).contains(&format!("the state as of {base}")));
    screen.press(&[Action::Down]);
    assert!(screen.row(0).contains(&format!("event 1 of {}", LAST - base.0)), "{}", screen.row(0));
    screen.ask(Action::Jump, "2003-04-01");
    assert!(
        screen.footer().contains("compacting has dropped 2003-04-01T00:00:00.000Z, events begin")
    );
    screen.ask(Action::Jump, "2004-04-01");
    assert!(screen.footer().contains("nothing listed is as late as 2004-04-01"));
    assert!(screen.row(0).contains("seq 547"));
}

#[test]
fn a_log_without_events_shows_the_state_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_log(folder.path(), Charset::Utf8));
    let source = Source::open(folder.path()).unwrap();
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 24);
    assert!(screen.row(0).contains("no events yet"));
    screen.press(&[Action::Up, Action::Down, Action::Last, Action::User, Action::Escape]);
    screen.press(&[Action::NextUser]);
    assert!(screen.footer().contains("the event names no user"));
    screen.ask(Action::User, "10001");
    assert!(screen.footer().contains("nobody has registered"));
    screen.ask(Action::Search, "x");
    assert!(screen.footer().contains("\"x\" was not found"));
    screen.ask(Action::Jump, "2003-04-01");
    assert!(screen.row(1).contains("│ whole state"));

    write_long(folder.path(), 9);
    let mut log = open_log(folder.path(), Charset::Utf8);
    assert!(log.roll().unwrap());
    log.close().unwrap();
    compact(folder.path(), None);
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 24);
    assert!(screen.footer().contains("the state as of 9 alone, no events"));
    assert!(screen.row(0).contains("the state as of 9"));
    screen.ask(Action::User, "10001");
    assert!(screen.footer().contains("no event concerns 10001 \"ann\""));
    assert!(screen.row(1).contains("│ 10001 \"ann\""), "{}", screen.row(1));
    screen.ask(Action::Jump, "10");
    assert!(screen.footer().contains("there is no sequence number 10, the last is 9"));
    screen.press(&[Action::Up, Action::Down, Action::PageUp, Action::NextFound]);
    assert_eq!(screen.selected(), Some(1));
}

#[test]
fn of_a_damaged_log_what_stands_before_the_damage_is_shown() {
    let folder = copied();
    let file = folder.path().join("00000000000000000221.log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let source = Source::open(folder.path()).unwrap();
    let mut history = History::open(&source, ROOM).unwrap();
    let (last, words) = (history.last_seq(), history.damage().unwrap().to_owned());
    assert!(last > Seq(220) && last < Seq(340), "{last}");
    assert!(words.contains(&format!("sequence number {}", last.next())), "{words}");
    history.bring(last, &mut Patient).unwrap();
    assert_eq!(history.state().digest(), replayed(&golden())[&last].digest);
    let screen = TestScreen::over(history, 200, 24);
    assert!(screen.footer().contains("oicq-tools verify"), "{}", screen.footer());
}

#[test]
fn work_that_is_broken_off_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_long(folder.path(), 9_000);
    let source = Source::open(folder.path()).unwrap();
    let mut history =
        History::open(&source, Room { bytes: 1 << 20, spacing_min: 100_000 }).unwrap();
    let first = ServiceNumber::FIRST;
    assert!(!history.bring(Seq(8_000), &mut Impatient).unwrap());
    assert_eq!(history.events_of(first, &mut Impatient).unwrap(), None);
    assert!(history.bring(Seq(8_000), &mut Patient).unwrap());
    assert_eq!(history.state().user(first).unwrap().mailbox().len(), 7_999);
    assert!(Image::of(history.state(), ServiceNumber(10_002)).is_none());
    assert_eq!(history.events_of(first, &mut Patient).unwrap().map(|all| all.len()), Some(9_000));

    let mut view = View::new("long".to_owned(), history);
    let area = Rect::new(0, 0, 100, 24);
    view.show(sizes(area), &mut Patient);
    view.act(Action::First, &mut Patient);
    for at in [1, 5_500] {
        view.act(Action::Jump, &mut Patient);
        format!("{at}").chars().for_each(|digit| {
            view.act(Action::Type(digit), &mut Patient);
        });
        view.act(Action::Submit, &mut Patient);
        let screenful = view.show(sizes(area), &mut Impatient);
        assert!(screenful.position.contains(&format!("seq {at} ")), "{}", screenful.position);
        assert_eq!(
            screenful.pane.is_empty(),
            at > 4_096,
            "the list is there, the state may not be"
        );
    }
    assert!(!view.show(sizes(area), &mut Patient).pane.is_empty());
}

fn open_log(folder: &Path, charset: Charset) -> Log<DiskStorage> {
    let (segment_size, durability) = (64 << 10, Durability::Never);
    let options = Options { segment_size, durability, charset: charset.tag() };
    let nothing = |_: &Record<'_>| Ok::<(), std::convert::Infallible>(());
    let storage = DiskStorage::create(folder).unwrap();
    Log::open(storage, options, 1, UnixMillis(1), nothing).unwrap().0
}

/// A log of one user and messages to it.
fn write_long(folder: &Path, events: u64) {
    write_log(folder, events, Charset::Utf8, b"ann", b"hi");
}

fn write_log(folder: &Path, events: u64, charset: Charset, nickname: &[u8], content: &[u8]) {
    let mut log = open_log(folder, charset);
    let number = ServiceNumber::FIRST;
    let profile = Profile { nickname, ..Profile::default() };
    let authentication = Authentication::Open;
    for seq in 1..=events {
        let event = if seq == 1 {
            Event::Registered { number, authentication, password_hash: "$", profile }
        } else {
            Event::MessageSent { from: number, to: number, content }
        };
        let mut payload = Vec::new();
        event.encode(&mut payload);
        log.append(UnixMillis(seq), event.kind() as u8, &payload).unwrap();
        if seq % 10 == 0 {
            log.commit(MonoMillis(1)).unwrap();
        }
    }
    log.close().unwrap();
}

#[test]
fn a_log_that_has_grown_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    write_long(folder.path(), 40);
    let source = Source::open(folder.path()).unwrap();
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 24);
    let mut middle = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 24);
    middle.press(&[Action::Up, Action::Up]);
    let longer = tempfile::tempdir().unwrap();
    write_long(longer.path(), 60);
    let longer = Source::open(longer.path()).unwrap();
    for (screen, at) in [(&mut screen, 60), (&mut middle, 38)] {
        assert_eq!(screen.view.act(Action::ReadAgain, &mut Patient), Next::ReadAgain);
        screen.view.renew(History::open(&longer, ROOM).unwrap(), &mut Patient);
        screen.draw();
        assert!(screen.row(0).contains(&format!("event {at} of 60")), "{}", screen.row(0));
        assert!(screen.footer().contains("read again, 20 more"));
    }
}

/// A view and what a terminal would show of it.
struct TestScreen<'s> {
    view: View<'s>,
    terminal: Terminal<TestBackend>,
}

impl<'s> TestScreen<'s> {
    fn over(history: History<'s>, width: u16, height: u16) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut screen = Self { view: View::new("the/log".to_owned(), history), terminal };
        screen.draw();
        screen
    }

    fn draw(&mut self) {
        self.terminal.autoresize().unwrap();
        let area = self.terminal.get_frame().area();
        let screenful = self.view.show(sizes(area), &mut Patient);
        self.terminal.draw(|frame| draw(frame, &screenful, Paint::NONE)).unwrap();
    }

    fn press(&mut self, actions: &[Action]) {
        for action in actions {
            assert_eq!(self.view.act(*action, &mut Patient), Next::Show);
        }
        self.draw();
    }

    /// Types an answer to what an action asks.
    fn ask(&mut self, action: Action, answer: &str) {
        let typed = answer.chars().map(Action::Type);
        let all: Vec<_> = [action].into_iter().chain(typed).chain([Action::Submit]).collect();
        self.press(&all);
    }

    fn type_in(&mut self, character: char) -> Next {
        self.view.act(Action::Type(character), &mut Patient)
    }

    fn buffer(&self) -> &Buffer {
        self.terminal.backend().buffer()
    }

    /// A row as it reads: behind a wide character stands no blank.
    fn row(&self, row: u16) -> String {
        let buffer = self.buffer();
        let (mut text, mut column) = (String::new(), 0);
        while column < buffer.area.width {
            let symbol = buffer[(column, row)].symbol();
            text.push_str(symbol);
            column += u16::try_from(super::columns::cut(symbol, 9).1).unwrap().max(1);
        }
        text
    }

    fn rows(&self) -> Vec<String> {
        (0..self.buffer().area.height).map(|row| self.row(row)).collect()
    }

    fn footer(&self) -> String {
        self.row(self.buffer().area.height - 1)
    }

    fn selected(&self) -> Option<u16> {
        let is_reverse = |row: &u16| self.buffer()[(1, *row)].modifier.contains(Modifier::REVERSED);
        (1..self.buffer().area.height).find(is_reverse)
    }
}

#[test]
fn the_screen_shows_list_state_and_keys_and_follows_them() {
    let source = golden();
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 24);
    assert!(
        screen.row(0).starts_with(" the/log   event 547 of 547   seq 547   2003-04-13T12:30:13")
    );
    assert!(screen.footer().contains("? help  q quit"));
    assert_eq!(screen.selected(), Some(22));
    screen.press(&[Action::First]);
    assert_eq!(screen.selected(), Some(1));
    assert!(screen.row(1).starts_with("   1  00:30:07  registered  10001 \"周馆员\", asks"));
    assert!(screen.row(2).contains("│  2003-04-12T00:30:07.382Z"), "{}", screen.row(2));
    assert!(screen.rows().iter().any(|row| row.contains("│+ 10001 \"周馆员\"")));
    screen.press(&[Action::PageDown]);
    assert!(screen.row(0).contains("event 22 of"), "{}", screen.row(0));
    screen.press(&[Action::SwitchPane]);
    assert!(screen.rows().iter().any(|row| row.contains("may be added: ")));

    screen.ask(Action::User, "10007");
    assert!(screen.row(0).contains("of 10007 \"青蛙Frog\""), "{}", screen.row(0));
    let listed = screen.row(5);
    screen.press(&[Action::Down, Action::Down, Action::Up, Action::Escape]);
    assert!(screen.row(0).contains("of 547   seq "), "{listed}");
    screen.ask(Action::User, "10012");
    assert!(screen.footer().contains("there is no user 10012, there are 10001 to 10011"));
    screen.ask(Action::Jump, "548");
    assert!(screen.footer().contains("there is no sequence number 548, the last is 547"));
    screen.ask(Action::Jump, "2003-04-13");
    assert!(screen.row(0).contains("2003-04-13T0"), "{}", screen.row(0));
    screen.ask(Action::Search, "no such words");
    assert!(screen.footer().contains("\"no such words\" was not found"));
    screen.press(&[Action::Digest]);
    let (digest, seq) = (screen.view_digest(), screen.row(0));
    assert!(screen.footer().contains(&digest), "{seq}");
    screen.press(&[Action::Help]);
    assert!(screen.rows().iter().any(|row| row.contains("the next user of this event")));
    screen.press(&[Action::Other]);
    assert!(!screen.rows().iter().any(|row| row.contains("the next user of this event")));
}

impl TestScreen<'_> {
    /// What a replay says the digest is at the event under the cursor.
    fn view_digest(&self) -> String {
        let header = self.row(0);
        let seq = header.split("seq ").nth(1).unwrap().split_whitespace().next().unwrap();
        let seq = Seq(seq.parse().unwrap());
        format!("digest {} seq {seq}", replayed(&golden())[&seq].digest)
    }
}

#[test]
fn the_users_of_an_event_are_offered_and_shown_one_after_the_other() {
    let source = golden();
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 100, 30);
    screen.ask(Action::Jump, "11");
    screen.press(&[Action::User]);
    assert!(screen.footer().contains("user 10001   Tab offers the 2 of this event"));
    screen.press(&[Action::Complete]);
    assert!(screen.footer().contains("user 10002"));
    screen.press(&[Action::Escape, Action::NextUser]);
    assert!(screen.rows().iter().any(|row| row.contains("│ 10001 \"周馆员\"")));
    screen.press(&[Action::NextUser]);
    assert!(screen.rows().iter().any(|row| row.contains("│ 10002 \"老谢\"")));
    let rows = screen.rows();
    screen.press(&[Action::PanePageDown, Action::PaneDown, Action::PaneUp, Action::PanePageUp]);
    assert_eq!(screen.rows(), rows);
}

#[test]
fn wide_characters_break_no_column_on_any_screen() {
    let source = golden();
    let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 0, 0);
    for width in (0..=120).step_by(4).chain([1, 71, 73, 89, 91]) {
        for height in [0, 1, 2, 3, 8, 9, 10, 40] {
            screen.terminal.backend_mut().resize(width, height);
            screen.press(&[Action::PageUp, Action::Help]);
            screen.press(&[Action::Other, Action::SwitchPane, Action::Search]);
            (0..width + 5).for_each(|_| assert_eq!(screen.type_in('好'), Next::Show));
            screen.draw();
            screen.press(&[Action::Escape, Action::Up]);
            let line = width * 11 / 20;
            if width < 72 || height < 9 {
                continue;
            }
            for row in 1..height - 1 {
                let symbol = screen.buffer()[(line, row)].symbol();
                assert!(
                    ["│", "▲", "▼"].contains(&symbol),
                    "{width} x {height}: {}",
                    screen.row(row)
                );
            }
        }
    }
}

#[test]
fn nothing_that_a_terminal_would_act_on_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a\u{1b}[2J\u{202e}b\r\n\tc\u{0}\u{9b}1m".as_bytes();
    write_log(folder.path(), 9, Charset::Utf8, "\u{202e}\u{1b}x".as_bytes(), text);
    for source in [golden(), Source::open(folder.path()).unwrap()] {
        let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 300, 60);
        for _ in 0..LAST / 50 {
            screen.press(&[Action::PageUp, Action::SwitchPane]);
            for cell in &screen.buffer().content {
                assert!(!cell.symbol().chars().any(crate::show::is_unsafe), "{:?}", cell.symbol());
            }
        }
    }
}

#[test]
fn texts_of_every_charset_are_shown_and_found() {
    for charset in Charset::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (nickname, text) = (charset.encode("老谢"), charset.encode("大家好"));
        write_log(folder.path(), 9, charset, &nickname, &text);
        let source = Source::open(folder.path()).unwrap();
        let mut screen = TestScreen::over(History::open(&source, ROOM).unwrap(), 200, 30);
        screen.press(&[Action::First, Action::SwitchPane]);
        screen.ask(Action::Search, "家");
        assert!(screen.row(0).contains("event 2 of 9"), "{charset}: {}", screen.row(0));
        assert!(screen.row(2).contains("10001 \"老谢\" to 10001 \"老谢\""), "{}", screen.row(2));
        assert!(screen.rows().iter().any(|row| row.contains("+   2  1970-01-01T00:00:00.002Z")));
        assert!(screen.rows().iter().filter(|row| row.contains("大家好")).count() > 8);
    }
}
