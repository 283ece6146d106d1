//! One user's side of the protocol: what it says, what it was asked and answered, and what comes to it.
//!
//! It fills a buffer and reads bytes, and never touches a socket or a clock. What becomes of messages it tells the
//! books.

use std::collections::{BTreeMap, VecDeque};

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::wire::client::Account;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{Code, Kind, Notice, Request, RequestType, ServerPacket, cut_for_client};

use super::ledger::{Arrival, Ledger};
use super::letter::Letter;
use super::plan::{Act, friends};
use crate::bench::round::Latency;
use crate::bench::users::{CONTENT_BYTES_MAX, PASSWORD, put};

/// The mode that ends a session.
const OFFLINE: u8 = 4;
/// What a reply to a connection test is: base clients learn by it that what they asked before is done.
const TESTED: u8 = 0x16;
/// Bytes of a piece of a file.
const PIECE_BYTES: usize = 8_192;
/// Bytes of a file, at most.
const FILE_BYTES_MAX: u32 = 40_000;
const STATEMENTS: [&[u8]; 3] = [
    b"SELECT number FROM users WHERE nickname LIKE 'n1%' LIMIT 20",
    b"SELECT * FROM users WHERE online = 1 ORDER BY number DESC LIMIT 10",
    b"SELECT * FROM users WHERE age BETWEEN 20 AND 30 AND city <> 'Lugano'",
];

/// What all users write down together.
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    /// How long messages took since it was last looked at, but for those that were due while their sender or their
    /// receiver was away or deaf by its own will.
    pub(super) window: Latency,
    /// Until when each of the people is away or deaf, or was for the last time.
    excused_ns: Vec<u64>,
    /// Messages that have arrived since then.
    pub(super) arrivals: u64,
    /// Acts that were answered.
    pub(super) answered: u64,
    people: usize,
    /// The service number of the first user.
    first: u32,
    text: Vec<u8>,
}

/// What happened beside messages, counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    pub(super) logins: u64,
    pub(super) registered: u64,
    /// Files that arrived whole.
    pub(super) files: u64,
    /// Requests that were refused as they may be, by what was said.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    /// Connections that the server has closed, by what it said.
    pub(super) closed: BTreeMap<&'static str, u64>,
}

impl Books {
    /// Of so many people, whose service numbers are counted from the first one on.
    pub(super) fn new(people: usize, first: u32) -> Self {
        Self {
            ledger: Ledger::new(people, first),
            tally: Tally::default(),
            window: Latency::new(),
            excused_ns: vec![0; people],
            arrivals: 0,
            answered: 0,
            people,
            first,
            text: Vec::new(),
        }
    }

    /// Somebody is away or deaf until then.
    pub(super) fn excuse(&mut self, who: usize, until_ns: u64) {
        self.excused_ns[who] = until_ns;
    }

    /// Until when somebody is, or was for the last time.
    pub(super) fn excused_ns(&self, who: usize) -> u64 {
        self.excused_ns[who]
    }

    fn index(&self, number: ServiceNumber) -> Option<usize> {
        let index = usize::try_from(number.0.checked_sub(self.first)?).ok()?;
        (index < self.people).then_some(index)
    }

    fn number(&self, index: usize) -> ServiceNumber {
        ServiceNumber(self.first.saturating_add(u32::try_from(index).unwrap_or(u32::MAX)))
    }
}

/// Where a user stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// No connection.
    Away,
    /// A login was sent.
    LoggingIn,
    /// In session.
    In,
    /// It sends nothing more, and reads what still comes.
    Leaving,
}

/// A user.
pub(super) struct Person {
    index: usize,
    number: ServiceNumber,
    pub(super) is_extended: bool,
    pub(super) stage: Stage,
    /// What was said and not answered, in order.
    asked: VecDeque<Asked>,
    /// Acts among it.
    acts: usize,
    /// Why what is to be answered next was not done, where base clients are told so.
    refused: Option<Code>,
    /// The number of the last message.
    written: u32,
    /// The id of the last message that has arrived on any connection.
    last_id: Seq,
    /// The id of the last one on this connection.
    session_id: Seq,
    /// Whether something has come on it that it has not said to have.
    owes_receipt: bool,
    /// What is still to come of files, by sender.
    files: BTreeMap<usize, u32>,
}

/// Something that was said.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: RequestType,
    about: About,
    is_act: bool,
}

#[derive(Clone, Copy, Debug)]
enum About {
    /// No message.
    Nothing,
    One {
        to: usize,
        number: u32,
    },
    AllFriends {
        number: u32,
    },
}

/// What became of a request.
enum Outcome {
    Done,
    Partly,
    Refused(Code),
}

impl Person {
    /// Every other user has an extended client.
    pub(super) fn new(index: usize, books: &Books) -> Self {
        Self {
            index,
            number: books.number(index),
            is_extended: index % 2 == 1,
            stage: Stage::Away,
            asked: VecDeque::new(),
            acts: 0,
            refused: None,
            written: 0,
            last_id: Seq::ZERO,
            session_id: Seq::ZERO,
            owes_receipt: false,
            files: BTreeMap::new(),
        }
    }

    /// Acts that were not answered.
    pub(super) const fn under_way(&self) -> usize {
        self.acts
    }

    /// Begins a session on a new connection.
    pub(super) fn log_in(&mut self, out: &mut Vec<u8>) {
        if self.is_extended {
            put(out, self.number, Request::WantExtensions { wanted: Extensions::ALL.sum() });
        }
        put(out, self.number, Request::LogIn { password: PASSWORD, mode: 0 });
        self.push(RequestType::LogIn, About::Nothing, false);
        self.stage = Stage::LoggingIn;
    }

    /// Does something that was due then. It is in session.
    pub(super) fn act(&mut self, act: Act, due_ns: u64, books: &mut Books, out: &mut Vec<u8>) {
        match act {
            Act::Send { to } => {
                let number = self.write(due_ns, books, [to].into_iter());
                let request = Request::Send { receiver: books.number(to), content: &books.text };
                self.ask(out, request, About::One { to, number });
            }
            Act::Broadcast => {
                let number = self.write(due_ns, books, friends(books.people, self.index));
                let request =
                    Request::Broadcast { group: GroupNumber::ALL.0.into(), content: &books.text };
                self.ask(out, request, About::AllFriends { number });
            }
            Act::SetMode { mode } => self.ask(out, Request::SetMode { mode }, About::Nothing),
            Act::ChangeProfile => {
                let nickname = format!("n{}", due_ns % 1_000);
                let age = u8::try_from(due_ns % 100).unwrap_or(0);
                let profile = Profile {
                    nickname: nickname.as_bytes(),
                    age,
                    city: b"Bern",
                    ..Profile::default()
                };
                let account = Account { profile, password: Secret::new(b""), authentication: 255 };
                self.ask(out, Request::ChangeProfile(account), About::Nothing);
            }
            Act::ViewProfile { of } => {
                self.ask(out, Request::ViewProfile { friend: books.number(of) }, About::Nothing);
            }
            Act::ListOnline => {
                let request = Request::ListOnline { start: self.number, count: 20, direction: 2 };
                self.ask(out, request, About::Nothing);
            }
            Act::Search => {
                let statement = STATEMENTS[usize::try_from(due_ns % 3).unwrap_or(0)];
                self.ask(out, Request::Search { statement }, About::Nothing);
            }
            Act::Offer { to } => {
                let length = file_bytes(self.index, to);
                let request =
                    Request::OfferFile { friend: books.number(to), name: b"file", length };
                self.ask(out, request, About::Nothing);
            }
            Act::LogInAgain => {
                // Without a session there is no test that carries one's number: the login is the answer to both.
                put(out, self.number, Request::SetMode { mode: OFFLINE });
                if self.is_extended {
                    self.push(RequestType::SetMode, About::Nothing, false);
                }
                put(out, self.number, Request::LogIn { password: PASSWORD, mode: 0 });
                self.push(RequestType::LogIn, About::Nothing, true);
                self.stage = Stage::LoggingIn;
            }
            Act::Befriend { friend } => {
                self.ask(out, Request::AddFriend { friend: books.number(friend) }, About::Nothing);
            }
        }
    }

    /// Writes the next text, and into the ledger to whom it goes.
    fn write(&mut self, due_ns: u64, books: &mut Books, to: impl Iterator<Item = usize>) -> u32 {
        self.written += 1;
        let letter = Letter { number: self.written, due_ns };
        letter.write(&mut books.text);
        to.for_each(|to| books.ledger.sent(self.index, to, letter));
        self.written
    }

    fn ask(&mut self, out: &mut Vec<u8>, request: Request<'_>, about: About) {
        self.say(out, request, about, true);
    }

    /// Says something, and asks for an answer where there would be none.
    fn say(&mut self, out: &mut Vec<u8>, request: Request<'_>, about: About, is_act: bool) {
        put(out, self.number, request);
        let request = request.packet_type();
        if !self.is_extended && reply(request) == TESTED {
            put(out, self.number, Request::Test);
        }
        self.push(request, about, is_act);
    }

    fn push(&mut self, request: RequestType, about: About, is_act: bool) {
        self.acts += usize::from(is_act);
        self.asked.push_back(Asked { request, about, is_act });
    }

    /// The connection is gone: what was not answered never will be.
    pub(super) fn disconnected(&mut self, books: &mut Books) {
        for Asked { about, .. } in std::mem::take(&mut self.asked) {
            match about {
                About::Nothing => {}
                About::One { to, number } => books.ledger.unsure(self.index, to, number),
                About::AllFriends { number } => {
                    let to = friends(books.people, self.index);
                    to.for_each(|to| books.ledger.unsure(self.index, to, number));
                }
            }
        }
        (self.acts, self.refused, self.stage) = (0, None, Stage::Away);
        self.files.clear();
    }

    /// Takes what came, and appends what is to be said to it; how many bytes were whole packets.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        books: &mut Books,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut at = 0;
        loop {
            match cut_for_client(&bytes[at..], Kind::User, CONTENT_BYTES_MAX) {
                Ok(Some(frame)) => {
                    at += frame.length();
                    match ServerPacket::decode(frame.header.packet_type, frame.content) {
                        Ok(packet) => self.take(packet, now_ns, books, out),
                        Err(_) => self.fault("a packet that the protocol does not know", books),
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.fault("bytes that are no packet", books);
                    at = bytes.len();
                    break;
                }
            }
        }
        if self.owes_receipt && self.stage == Stage::In {
            self.owes_receipt = false;
            self.say(out, Request::Arrived { through: self.session_id }, About::Nothing, false);
        }
        at
    }

    fn take(
        &mut self,
        packet: ServerPacket<'_>,
        now_ns: u64,
        books: &mut Books,
        out: &mut Vec<u8>,
    ) {
        match packet {
            ServerPacket::Message { sign: Sign::User, number, text } => {
                self.arrived(number, text, None, now_ns, books);
            }
            ServerPacket::Numbered { id, sign, number, text, .. } => {
                if id <= self.session_id {
                    self.fault(
                        "a message with an id that is not higher than the one before",
                        books,
                    );
                }
                let is_known = id <= self.last_id;
                (self.session_id, self.last_id) = (id, id.max(self.last_id));
                self.owes_receipt = true;
                if sign == Sign::User {
                    self.arrived(number, text, Some(is_known), now_ns, books);
                }
            }
            ServerPacket::Message { sign: Sign::System(SystemKind::Notice), text, .. } => {
                self.told(text, books);
            }
            ServerPacket::LoggedIn { success: true, .. } => {
                (self.stage, self.session_id, self.owes_receipt) = (Stage::In, Seq::ZERO, false);
                self.files.clear();
                books.ledger.logged_in(self.index);
                books.tally.logins += 1;
                self.replied(0x02, books);
            }
            ServerPacket::LoggedIn { success: false, .. } => {
                self.fault("a login is refused", books)
            }
            ServerPacket::Result { packet_type, success, text, .. } => {
                let outcome = match (success, text) {
                    (true, b"") => Some(Outcome::Done),
                    (true, _) => Some(Outcome::Partly),
                    (false, _) => Notice::parse_reason(packet_type, text)
                        .map(|notice| Outcome::Refused(notice.code)),
                };
                self.answered(packet_type, outcome, books);
            }
            ServerPacket::FileOffered { sender, length, .. } => {
                if let Some(from) = books.index(sender) {
                    self.files.insert(from, length);
                    self.say(
                        out,
                        Request::AnswerFile { friend: sender, allow: 1 },
                        About::Nothing,
                        false,
                    );
                }
            }
            ServerPacket::FileAnswered { receiver, allow: true } => {
                self.send_file(receiver, books, out)
            }
            ServerPacket::FilePiece { sender, data } => self.take_piece(sender, data, books),
            ServerPacket::Extensions { granted } if granted != Extensions::ALL.sum() => {
                self.fault("the extensions are not granted", books);
            }
            other => self.replied(other.packet_type(), books),
        }
    }

    /// A message of another user's has arrived.
    fn arrived(
        &mut self,
        from: ServiceNumber,
        text: &[u8],
        is_known: Option<bool>,
        now_ns: u64,
        books: &mut Books,
    ) {
        let Some((from, letter)) = books.index(from).zip(Letter::read(text)) else {
            return self.fault("a message that nobody has sent", books);
        };
        if books.ledger.arrived(from, self.index, letter, is_known) == Arrival::First {
            books.arrivals += 1;
            if letter.due_ns >= books.excused_ns(from).max(books.excused_ns(self.index)) {
                books.window.record(now_ns.saturating_sub(letter.due_ns).max(1), 1);
            }
        }
    }

    /// A reply has come: to a base client it is the answer.
    fn replied(&mut self, packet_type: u8, books: &mut Books) {
        let is_answer = |asked: &Asked| reply(asked.request) == packet_type;
        if self.is_extended || !self.asked.front().is_some_and(is_answer) {
            return;
        }
        let outcome = self.refused.take().map_or(Outcome::Done, Outcome::Refused);
        let request = self.asked.front().map_or(0, |asked| asked.request as u8);
        self.answered(request, Some(outcome), books);
    }

    /// A notice has come: why something is not done, why the connection is closed, or that a file has ended.
    fn told(&mut self, text: &[u8], books: &mut Books) {
        let Some(Notice { packet_type, code, .. }) = Notice::parse(text) else {
            return self.fault("a notice that says nothing", books);
        };
        match self.asked.front() {
            Some(asked) if asked.request as u8 == packet_type => self.refused = Some(code),
            _ if packet_type != 0 && packet_type != RequestType::FilePiece as u8 => {
                self.fault(&format!("a notice {code} of what was not asked"), books);
            }
            _ if code == Code::NoTransfer => count(&mut books.tally.refusals, code),
            _ => {
                count(&mut books.tally.closed, code);
                if !matches!(code, Code::Shutdown | Code::Slow | Code::Elsewhere) {
                    self.fault(&format!("the connection is closed: {code}"), books);
                }
            }
        }
    }

    /// What was asked first is answered.
    fn answered(&mut self, packet_type: u8, outcome: Option<Outcome>, books: &mut Books) {
        let is_first = |asked: &Asked| asked.request as u8 == packet_type;
        let (Some(asked), Some(outcome)) = (self.asked.front().copied().filter(is_first), outcome)
        else {
            return self
                .fault(&format!("an answer to a 0x{packet_type:02X} that was not asked"), books);
        };
        self.asked.pop_front();
        self.acts -= usize::from(asked.is_act);
        books.answered += u64::from(asked.is_act);
        if let Outcome::Refused(code) = outcome {
            count(&mut books.tally.refusals, code);
            if !may_be_refused(asked.request, code) {
                self.fault(&format!("a 0x{packet_type:02X} is refused: {code}"), books);
            }
        }
        match asked.about {
            About::Nothing => {}
            About::One { to, number } => match outcome {
                Outcome::Refused(_) => books.ledger.refused(self.index, to, number),
                _ => books.ledger.confirmed(self.index, to, number),
            },
            About::AllFriends { number } => {
                for to in friends(books.people, self.index) {
                    match outcome {
                        Outcome::Done => books.ledger.confirmed(self.index, to, number),
                        // Who was left out is not said; nor whether it was everybody, to base clients.
                        _ => books.ledger.unsure(self.index, to, number),
                    }
                }
            }
        }
    }

    /// A file may be sent.
    fn send_file(&mut self, to: ServiceNumber, books: &Books, out: &mut Vec<u8>) {
        let Some(index) = books.index(to) else { return };
        let mut left = file_bytes(self.index, index) as usize;
        let piece = [b'f'; PIECE_BYTES];
        while left > 0 {
            let data = &piece[..left.min(PIECE_BYTES)];
            left -= data.len();
            self.say(out, Request::FilePiece { friend: to, data }, About::Nothing, false);
        }
    }

    fn take_piece(&mut self, from: ServiceNumber, data: &[u8], books: &mut Books) {
        let left = books.index(from).and_then(|from| self.files.get_mut(&from));
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        match left {
            Some(left) if *left >= length && data.iter().all(|byte| *byte == b'f') => {
                *left -= length;
                books.tally.files += u64::from(*left == 0);
            }
            _ => self.fault("a piece of a file that was not sent", books),
        }
    }

    fn fault(&self, words: &str, books: &mut Books) {
        books.ledger.told(format!("{}: {words}", self.number));
    }
}

/// The reply that tells a base client that a request is done.
const fn reply(request: RequestType) -> u8 {
    match request {
        RequestType::LogIn => 0x02,
        RequestType::ViewProfile => 0x04,
        RequestType::ListOnline => 0x09,
        RequestType::Search => 0x0A,
        _ => TESTED,
    }
}

/// What a correct server may refuse: boxes are full, and the other side of a file may be gone.
const fn may_be_refused(request: RequestType, code: Code) -> bool {
    match request {
        RequestType::Send | RequestType::Broadcast => matches!(code, Code::MailboxFull),
        RequestType::OfferFile | RequestType::AnswerFile | RequestType::FilePiece => {
            matches!(code, Code::NotOnline | Code::NoTransfer | Code::Limit)
        }
        _ => false,
    }
}

fn count(counts: &mut BTreeMap<&'static str, u64>, code: Code) {
    *counts.entry(code.as_str()).or_default() += 1;
}

/// How long the file is that one user sends to another: always the same, so that it needs no keeping.
fn file_bytes(from: usize, to: usize) -> u32 {
    let mixed = u32::try_from((from * 31 + to) % 97).unwrap_or(0);
    1 + mixed * (FILE_BYTES_MAX / 97)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_due_while_its_sender_or_its_receiver_was_away_is_not_timed() {
        let mut books = Books::new(2, ServiceNumber::FIRST.0);
        let (mut ann, mut ben) = (Person::new(0, &books), Person::new(1, &books));
        let mut goes = |books: &mut Books, due_ns, now_ns| {
            ann.write(due_ns, books, [1].into_iter());
            let (text, from) = (books.text.clone(), ann.number);
            ben.arrived(from, &text, Some(false), now_ns, books);
            books.window.count()
        };
        assert_eq!(goes(&mut books, 10, 15), 1);
        books.excuse(0, 30);
        assert_eq!(goes(&mut books, 20, 40), 1, "ann was away");
        assert_eq!(goes(&mut books, 30, 40), 2);
        books.excuse(1, 60);
        assert_eq!(goes(&mut books, 50, 70), 2, "ben was");
        assert_eq!(goes(&mut books, 60, 70), 3);
        assert_eq!(books.arrivals, 5);
    }
}
