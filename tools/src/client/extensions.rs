//! What a server may give beyond the protocol of 2002: results, message ids, presence. Protocol section 6,
//! "Extensions".
//!
//! Owns what was asked for and granted on this connection, and which messages have come and are still to be
//! confirmed. What comes in their packets leads to the same events as in the base protocol.

use oicq::id::{Seq, ServiceNumber, UnixMillis};
use oicq::wire::server::{Extensions, Presence, Sign};
use oicq::wire::{Code, Notice, Request, RequestType, ServerPacket};

use super::events::Event;
use super::replies::OTHER_SIDE_GONE;
use super::seen::{Identity, Seen};
use super::session::{Effect, Outcome, Session};
use super::view::state_word;
use crate::show::Time;

/// So many messages are confirmed at the latest, even if more keep coming: the server keeps what is not.
const UNCONFIRMED_MAX: usize = 256;

/// The names of the extensions, as the command line takes them.
const NAMES: [(&str, Extensions); 3] = [
    ("results", Extensions::RESULTS),
    ("ids", Extensions::MESSAGE_IDS),
    ("presence", Extensions::PRESENCE),
];

/// The extensions of a list of names; or all, or none of them.
pub(crate) fn parse_list(text: &str) -> Result<Extensions, String> {
    let sum = match text {
        "all" => Extensions::ALL.sum(),
        "none" => 0,
        list => list.split(',').try_fold(0, |sum, name| {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            known.map(|(_, extension)| sum | extension.sum()).ok_or_else(|| {
                format!("{name:?} was given, expected all, none, or some of results,ids,presence")
            })
        })?,
    };
    Ok(Extensions::grant(sum))
}

/// A message's id, and when the server accepted it.
pub(super) type Stamp = (Seq, UnixMillis);

/// How this client and its server stand.
#[derive(Debug, Default)]
pub(super) struct Extended {
    wanted: Extensions,
    /// The server was asked on this connection, and has not answered.
    asked: bool,
    granted: Extensions,
    /// Whose messages come: who is in session, or was until just now.
    receiver: ServiceNumber,
    seen: Seen,
    /// The last message that came, and how many, since the server was told.
    unconfirmed: Option<(Seq, usize)>,
}

impl Extended {
    /// Nothing is granted yet, and this is wanted.
    pub(super) fn new(wanted: Extensions) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// A session begins.
    pub(super) fn handle_login(&mut self, number: ServiceNumber) {
        self.receiver = number;
        self.unconfirmed = None;
    }

    /// Nothing holds beyond a connection but what has been seen.
    pub(super) fn handle_lost(&mut self) {
        self.asked = false;
        self.granted = Extensions::default();
        self.unconfirmed = None;
    }

    /// The server has answered what it was asked; `None` where it does not know the question. Whether it
    /// was asked.
    pub(super) fn handle_granted(&mut self, granted: Option<u32>) -> bool {
        if self.asked {
            self.granted = Extensions::grant(granted.unwrap_or(0) & self.wanted.sum());
        }
        std::mem::take(&mut self.asked)
    }
}

impl Session {
    /// Whether this connection has these extensions.
    pub(super) fn has(&self, these: Extensions) -> bool {
        self.extended.granted.have(these)
    }

    /// A connection stands: what is wanted is asked for before anything else. The answer comes before
    /// that to a login, and nothing depends on it earlier.
    pub(crate) fn handle_connected(&mut self) {
        let wanted = self.extended.wanted.sum();
        if wanted != 0 {
            self.extended.asked = true;
            self.encode(ServiceNumber::NONE, &Request::WantExtensions { wanted });
        }
    }

    /// Tells the server of all messages that have come, if they have been shown.
    pub(crate) fn confirm(&mut self) {
        if self.own != ServiceNumber::NONE
            && self.events.is_empty()
            && let Some((through, _)) = self.extended.unconfirmed.take()
        {
            self.silent("", &Request::Arrived { through }, Effect::None);
        }
    }

    /// The same, if they are too many to wait for a better moment.
    pub(crate) fn confirm_many(&mut self) {
        if self.extended.unconfirmed.is_some_and(|(_, count)| count >= UNCONFIRMED_MAX) {
            self.confirm();
        }
    }

    /// Whether there are messages of this session of which the server has not been told.
    pub(super) fn owes_confirmation(&self) -> bool {
        self.own != ServiceNumber::NONE && self.extended.unconfirmed.is_some()
    }

    /// A packet that only a connection with an extension gets.
    pub(super) fn handle_extended(&mut self, packet: &ServerPacket<'_>) {
        let is_granted = self.has(match packet {
            ServerPacket::Result { .. } => Extensions::RESULTS,
            ServerPacket::Numbered { .. } => Extensions::MESSAGE_IDS,
            _ => Extensions::PRESENCE,
        });
        match *packet {
            _ if !is_granted => {
                self.unexpected(packet.packet_type(), "nobody asked for extensions")
            }
            ServerPacket::Result { packet_type, success, id, text } => {
                self.handle_result(packet_type, success, id, text);
            }
            ServerPacket::Numbered { id, time, sign, number, text } => {
                self.handle_numbered((id, time), sign, number, text);
            }
            ServerPacket::FriendPresence { number, state } => self.handle_presence(number, state),
            _ => {}
        }
    }

    /// There is exactly one result for each packet, in order. Those of pieces have a type to themselves.
    fn handle_result(&mut self, packet_type: u8, success: bool, id: Seq, text: &[u8]) {
        let why = Notice::parse_reason(packet_type, text);
        if why.is_none() && !(success && text.is_empty()) {
            self.unexpected(0x41, &self.charset.decode(text));
        }
        if packet_type == RequestType::FilePiece as u8 {
            return self.handle_piece_result(why);
        }
        let Some(front) = self.pending.front_mut().filter(|front| front.packet_type == packet_type)
        else {
            return match why {
                Some(why) => self.push_reason(&why),
                None => self.unexpected(0x41, "a result that nothing waits for"),
            };
        };
        front.outcome = match (success, &why) {
            (true, None) => Outcome::Done(id),
            (true, Some(why)) => Outcome::Partly(id, reason_event(why)),
            (false, _) => Outcome::Refused,
        };
        if let (false, Some(why)) = (success, why) {
            self.push_reason(&why);
        }
        self.pop();
    }

    fn handle_piece_result(&mut self, why: Option<Notice<'_>>) {
        let Some((to, transfer)) = self.pieces.pop_front() else {
            return self.unexpected(0x41, "the result of a piece that was not sent");
        };
        // Pieces that were under way when the transfer ended are no news.
        if let Some(why) = why
            && self.files.is_current(to, transfer)
        {
            self.push_reason(&why);
            let is_over = why.code == Code::NoTransfer;
            self.end_sending(to, if is_over { OTHER_SIDE_GONE } else { why.sentence });
        }
    }

    fn handle_numbered(&mut self, stamp: Stamp, sign: Sign, number: ServiceNumber, text: &[u8]) {
        let (id, time) = stamp;
        let count = self.extended.unconfirmed.map_or(0, |(_, count)| count);
        self.extended.unconfirmed = Some((id, count + 1));
        let receiver = self.extended.receiver;
        if self.extended.seen.insert(Identity { receiver, id, time }) {
            self.handle_message(Some(stamp), sign, number, text);
        }
    }

    fn handle_presence(&mut self, number: ServiceNumber, state: Presence) {
        self.view.handle_presence(number, state);
        let event = Event::new("presence").with("number", number);
        let event = event.with_some("nickname", self.view.name(number));
        self.push(event.with("state", state_word(Some(state))));
    }

    /// Why something was not done; or, where no packet caused it, what the server has to say.
    pub(super) fn push_reason(&mut self, notice: &Notice<'_>) {
        self.push(reason_event(notice));
    }
}

fn reason_event(notice: &Notice<'_>) -> Event {
    let Notice { packet_type, code, sentence } = *notice;
    let event = match packet_type {
        0 => Event::new("notice"),
        _ => Event::new("refused").with("type", format_args!("0x{packet_type:02X}")),
    };
    event.with("code", code).with("text", sentence)
}

/// The same event with the message's id and time, if it has them.
pub(super) fn stamped(event: Event, stamp: Option<Stamp>) -> Event {
    match stamp {
        Some((id, time)) => event.with("id", id).with("time", Time(time)),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{
        ANN, BOB, confirmed, credentials, lines, login_modes, notice, receive, sent, session,
        session_with, start, tested,
    };
    use oicq::codec::profile::Profile;
    use oicq::wire::server::SystemKind;

    fn result(session: &mut Session, packet_type: u8, success: bool, id: u64, text: &str) {
        let (id, text) = (Seq(id), text.as_bytes());
        receive(session, &ServerPacket::Result { packet_type, success, id, text });
    }

    fn message(session: &mut Session, id: u64, text: &str) {
        let (time, sign) = (UnixMillis(1_050_076_800_000 + id), Sign::User);
        let (id, number, text) = (Seq(id), BOB, text.as_bytes());
        receive(session, &ServerPacket::Numbered { id, time, sign, number, text });
    }

    fn seen(session: &mut Session) -> Vec<String> {
        let lines = lines(session).into_iter();
        lines.filter_map(|line| Some(line.split_once(" text=")?.1.to_owned())).collect()
    }

    #[test]
    fn what_is_wanted_is_asked_for_on_each_connection_and_holds_where_it_is_granted() {
        let mut session = session();
        session.handle_connected();
        assert!(sent(&mut session).is_empty(), "nothing is wanted");
        let mut session = session_with(Extensions::ALL);
        session.handle_lost();
        assert!(!session.has(Extensions::RESULTS));
        session.handle_connected();
        assert_eq!(sent(&mut session), [(0x40, 0)]);
        receive(&mut session, &ServerPacket::Extensions { granted: 2 });
        assert!(session.has(Extensions::MESSAGE_IDS) && !session.has(Extensions::RESULTS));
        receive(&mut session, &ServerPacket::Extensions { granted: 7 });
        let unexpected = "unexpected type=0x40 text=\"nobody asked for extensions\"";
        assert_eq!(lines(&mut session), [unexpected]);
        assert!(!session.has(Extensions::RESULTS));
    }

    #[test]
    fn a_server_that_knows_of_no_extensions_has_none() {
        let mut session = session_with(Extensions::ALL);
        session.handle_lost();
        session.handle_connected();
        notice(&mut session, b"0x40 unknown-type: no such packet");
        assert!(lines(&mut session).is_empty(), "nobody need know");
        session.handle_login(credentials(), &[]);
        start(&mut session, "send 10002 hi");
        assert_eq!(sent(&mut session), [(0x40, 0), (0x03, ANN.0), (0x16, ANN.0)]);
    }

    #[test]
    fn a_result_ends_a_silent_command_and_carries_the_id_of_a_message() {
        let mut session = session_with(Extensions::RESULTS);
        start(&mut session, "send 10002 hi");
        start(&mut session, "broadcast all hi");
        start(&mut session, "broadcast all nobody");
        start(&mut session, "remove 10002");
        let types = [(0x03, ANN.0), (0x04, ANN.0), (0x04, ANN.0), (0x0E, ANN.0)];
        assert_eq!(sent(&mut session), types, "no test behind them");
        result(&mut session, 0x03, true, 7, "");
        result(&mut session, 0x04, true, 8, "");
        result(&mut session, 0x04, true, 0, "");
        result(&mut session, 0x0E, true, 9, "");
        let expected = [
            "sent id=7 to=10002",
            "done command=send",
            "sent id=8 group=0",
            "done command=broadcast",
            "done command=broadcast",
            "done command=remove",
        ];
        assert_eq!(lines(&mut session), expected);
        assert!(session.is_idle());
    }

    #[test]
    fn refusals_have_the_same_words_in_a_result_as_in_a_notice() {
        let mut base = session();
        start(&mut base, "send 77 hi");
        notice(&mut base, b"0x03 unknown-number: there is no user 77");
        tested(&mut base);
        let mut session = session_with(Extensions::RESULTS);
        start(&mut session, "send 77 hi");
        result(&mut session, 0x03, false, 0, "unknown-number: there is no user 77");
        assert_eq!(lines(&mut session), lines(&mut base));
        assert_eq!((session.under_way(), base.under_way()), (0, 0));
    }

    #[test]
    fn a_broadcast_that_some_did_not_get_was_sent_and_says_so() {
        let mut session = session_with(Extensions::RESULTS);
        start(&mut session, "broadcast all hi");
        result(&mut session, 0x04, true, 8, "mailbox-full: of 2 receivers");
        let refused = "refused type=0x04 code=mailbox-full text=\"of 2 receivers\"";
        assert_eq!(lines(&mut session), ["sent id=8 group=0", refused]);
    }

    #[test]
    fn a_request_with_a_reply_ends_with_its_result() {
        let mut session = session_with(Extensions::RESULTS);
        start(&mut session, "profile 10002");
        start(&mut session, "test");
        let (number, profile) = (BOB, Profile { nickname: b"bob", ..Profile::default() });
        receive(&mut session, &ServerPacket::Profile { success: true, number, profile });
        assert_eq!(lines(&mut session), ["profile number=10002 nickname=bob"]);
        result(&mut session, 0x05, true, 0, "");
        tested(&mut session);
        assert_eq!(lines(&mut session), ["done command=profile", "tested"]);
        result(&mut session, 0x16, true, 0, "");
        assert_eq!(lines(&mut session), ["done command=test"]);
    }

    #[test]
    fn a_change_is_done_when_both_of_its_packets_are() {
        let mut session = session_with(Extensions::RESULTS);
        start(&mut session, "change password=sesame");
        let (number, profile) = (ANN, Profile::default());
        receive(&mut session, &ServerPacket::Profile { success: true, number, profile });
        result(&mut session, 0x05, true, 0, "");
        assert_eq!(sent(&mut session), [(0x05, ANN.0), (0x12, ANN.0)]);
        assert!(lines(&mut session).is_empty());
        result(&mut session, 0x12, true, 9, "");
        assert_eq!(lines(&mut session), ["done command=change"]);
        let password = &session.credentials.as_ref().unwrap().password;
        assert_eq!(password.as_secret().expose(), b"sesame", "it is the one to come back with");
    }

    #[test]
    fn a_result_that_nothing_waits_for_changes_nothing() {
        let mut session = session_with(Extensions::RESULTS);
        result(&mut session, 0x03, true, 7, "");
        result(&mut session, 0x03, false, 0, "wrong-number: not yours");
        result(&mut session, 0x00, false, 0, "malformed: bytes");
        start(&mut session, "send 10002 hi");
        result(&mut session, 0x04, true, 7, "");
        let expected = [
            "unexpected type=0x41 text=\"a result that nothing waits for\"",
            "refused type=0x03 code=wrong-number text=\"not yours\"",
            "notice code=malformed text=bytes",
            "unexpected type=0x41 text=\"a result that nothing waits for\"",
        ];
        assert_eq!(lines(&mut session), expected);
        assert_eq!(session.under_way(), 1);
    }

    #[test]
    fn messages_are_confirmed_once_they_have_been_shown_and_together() {
        let mut session = session_with(Extensions::MESSAGE_IDS);
        message(&mut session, 5, "one");
        session.confirm();
        assert!(confirmed(&mut session).is_empty() && !session.is_idle());
        let line = "message from=10002 id=5 time=2003-04-11T16:00:00.005Z text=one";
        assert_eq!(lines(&mut session), [line]);
        message(&mut session, 7, "two");
        message(&mut session, 8, "three");
        assert_eq!(seen(&mut session), ["two", "three"]);
        session.confirm();
        session.confirm();
        assert_eq!(confirmed(&mut session), [8]);
        // Without results a test shows that the confirmation was read.
        assert!(!session.is_idle());
        tested(&mut session);
        assert!(session.is_idle() && lines(&mut session).is_empty());
    }

    #[test]
    fn a_flood_of_messages_is_confirmed_before_its_end() {
        let mut session = session_with(Extensions::ALL);
        for id in 1..=UNCONFIRMED_MAX as u64 {
            session.confirm_many();
            assert!(confirmed(&mut session).is_empty());
            message(&mut session, id, "x");
            seen(&mut session);
        }
        session.confirm_many();
        assert_eq!(confirmed(&mut session), [UNCONFIRMED_MAX as u64]);
        assert_eq!(session.under_way(), 0, "no command waits for that");
        result(&mut session, 0x42, true, 0, "");
        assert!(session.is_idle() && lines(&mut session).is_empty());
    }

    #[test]
    fn a_message_that_comes_again_is_confirmed_and_not_shown() {
        let mut session = session_with(Extensions::ALL);
        message(&mut session, 5, "one");
        message(&mut session, 6, "two");
        assert_eq!(seen(&mut session), ["one", "two"]);
        session.handle_lost();
        session.handle_connected();
        receive(&mut session, &ServerPacket::Extensions { granted: 7 });
        assert!(session.is_idle(), "nothing can be confirmed without a session");
        session.log_in_again();
        let login = ServerPacket::LoggedIn { success: true, groups: Vec::new() };
        receive(&mut session, &login);
        result(&mut session, 0x02, true, 0, "");
        lines(&mut session);
        message(&mut session, 5, "one");
        message(&mut session, 6, "two");
        message(&mut session, 9, "three");
        assert_eq!(seen(&mut session), ["three"]);
        session.confirm();
        assert_eq!(confirmed(&mut session), [9]);
    }

    #[test]
    fn nothing_is_confirmed_behind_a_logout() {
        let mut session = session_with(Extensions::ALL);
        message(&mut session, 5, "one");
        assert_eq!(seen(&mut session), ["one"]);
        start(&mut session, "logout");
        message(&mut session, 6, "two");
        assert_eq!(seen(&mut session), ["two"]);
        session.confirm();
        assert_eq!(sent(&mut session), [(0x42, ANN.0), (0x10, ANN.0)]);
        result(&mut session, 0x42, true, 0, "");
        result(&mut session, 0x10, true, 0, "");
        assert!(session.is_idle() && !session.can_return());
        session.handle_login(credentials(), &[]);
        message(&mut session, 6, "two");
        assert!(seen(&mut session).is_empty(), "it was shown, though it could not be confirmed");
    }

    #[test]
    fn system_messages_and_notices_are_what_they_are_in_the_base_protocol() {
        let mut session = session_with(Extensions::MESSAGE_IDS);
        let (id, time, text) = (Seq(5), UnixMillis(0), &b"please"[..]);
        let sign = Sign::System(SystemKind::Asks);
        receive(&mut session, &ServerPacket::Numbered { id, time, sign, number: BOB, text });
        notice(&mut session, b"0x00 shutdown: the server is stopping");
        let expected = [
            "asks from=10002 id=5 time=1970-01-01T00:00:00.000Z text=please",
            "notice code=shutdown text=\"the server is stopping\"",
        ];
        assert_eq!(lines(&mut session), expected);
    }

    #[test]
    fn friends_states_are_shown_and_kept() {
        let mut session = session_with(Extensions::PRESENCE);
        session.view.handle_added(BOB);
        session.view.learn(BOB, "bob".to_owned());
        let state = Presence::DoNotDisturb;
        receive(&mut session, &ServerPacket::FriendPresence { number: BOB, state });
        assert_eq!(lines(&mut session), ["presence number=10002 nickname=bob state=busy"]);
        start(&mut session, "friends");
        let friend = "friend number=10002 group=1 state=busy portrait=0 nickname=bob";
        assert_eq!(lines(&mut session)[1], friend);
    }

    #[test]
    fn a_new_friends_state_may_come_before_the_message_that_waits_for_room() {
        let mut session = session_with(Extensions::ALL);
        let (state, sign) = (Presence::DoNotDisturb, Sign::System(SystemKind::Agreed));
        receive(&mut session, &ServerPacket::FriendPresence { number: BOB, state });
        let (id, time, text) = (Seq(5), UnixMillis(0), &b""[..]);
        receive(&mut session, &ServerPacket::Numbered { id, time, sign, number: BOB, text });
        lines(&mut session);
        start(&mut session, "friends");
        let friend = "friend number=10002 group=1 state=busy portrait=0 nickname=\"\"";
        assert_eq!(lines(&mut session)[1], friend);
    }

    #[test]
    fn what_was_not_granted_is_not_expected() {
        let mut session = session();
        result(&mut session, 0x03, true, 7, "");
        message(&mut session, 5, "one");
        let (number, state) = (BOB, Presence::Online);
        receive(&mut session, &ServerPacket::FriendPresence { number, state });
        let lines = lines(&mut session);
        assert!(lines.iter().all(|line| line.starts_with("unexpected type=0x4")), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn the_result_of_a_piece_belongs_to_the_transfer_that_it_was_sent_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let mut session = session_with(Extensions::RESULTS);
        let begin = |session: &mut Session, id| {
            start(session, &format!("file send 10002 {}", path.display()));
            result(session, 0x13, true, 0, "");
            receive(session, &ServerPacket::FileAnswered { receiver: BOB, allow: true });
            session.handle_piece_sent(BOB, id, 2);
            lines(session);
        };
        begin(&mut session, 1);
        receive(&mut session, &ServerPacket::FileAnswered { receiver: BOB, allow: false });
        begin(&mut session, 2);
        result(&mut session, 0x15, false, 0, "no-transfer: no transfer with 10002");
        assert!(lines(&mut session).is_empty(), "a late piece of the first one is no news");
        result(&mut session, 0x15, true, 0, "");
        session.handle_piece_sent(BOB, 2, 1);
        result(&mut session, 0x15, false, 0, "no-transfer: no transfer with 10002");
        let expected = [
            "refused type=0x15 code=no-transfer text=\"no transfer with 10002\"",
            "file-failed with=10002 name=x reason=\"the other side is gone\"",
        ];
        assert_eq!(lines(&mut session), expected);
    }

    #[test]
    fn a_lost_connection_leaves_commands_unanswered() {
        let mut session = session_with(Extensions::ALL);
        start(&mut session, "send 10002 hi");
        session.keep_alive();
        start(&mut session, "profile");
        session.handle_lost();
        let expected = ["unanswered command=send", "unanswered command=profile"];
        assert_eq!(lines(&mut session), expected);
        assert!(session.is_idle() && session.own().is_none() && sent(&mut session).is_empty());
    }

    #[test]
    fn who_comes_back_is_seen_as_before() {
        for (line, mode, packets) in [
            ("mode online", 0, &[][..]),
            ("mode hidden", 1, &[]),
            ("mode busy", 1, &[(0x10, ANN.0)]),
        ] {
            let mut session = session_with(Extensions::RESULTS);
            start(&mut session, line);
            result(&mut session, 0x10, true, 0, "");
            session.handle_lost();
            session.handle_connected();
            receive(&mut session, &ServerPacket::Extensions { granted: 1 });
            assert_eq!(sent(&mut session), [(0x40, 0)]);
            session.log_in_again();
            assert_eq!(login_modes(&mut session), [mode], "{line}");
            let login = ServerPacket::LoggedIn { success: true, groups: Vec::new() };
            receive(&mut session, &login);
            assert_eq!(sent(&mut session), packets, "{line}");
        }
    }
}
