//! The other half of the session: what comes from the server.
//!
//! Owns which packet answers which request, and what it changes. Nothing here is sent but what a packet
//! makes necessary: the pieces of a file, a look at a new friend's name.

use oicq::codec::profile::Profile;
use oicq::id::{Seq, ServiceNumber};
use oicq::wire::server::{Extensions, Sign, SystemKind, UserEntry};
use oicq::wire::{Code, Notice, Request, RequestType, ServerPacket};

use super::events::Event;
use super::extensions::{Stamp, stamped};
use super::fields::{Changes, shown};
use super::files::Ended;
use super::input::Packet;
use super::session::{Answer, Effect, Outcome, Session};

/// Why a file broke off, as far as that is known.
pub(super) const OTHER_SIDE_GONE: &str = "the other side is gone";

impl Session {
    /// A packet came.
    pub(crate) fn handle_packet(&mut self, packet: &Packet) {
        match ServerPacket::decode(packet.packet_type, &packet.content) {
            Ok(known) => self.handle(&known),
            Err(error) => self.unexpected(packet.packet_type, &error.to_string()),
        }
    }

    /// A piece goes out.
    pub(crate) fn handle_piece_sent(&mut self, to: ServiceNumber, transfer: u64, bytes: u32) {
        if self.has(Extensions::RESULTS) {
            self.pieces.push_back((to, transfer));
        }
        self.files.handle_sent(to, transfer, bytes);
    }

    /// All pieces of a file went out, or the file cannot be sent on.
    pub(crate) fn handle_file_done(
        &mut self,
        to: ServiceNumber,
        transfer: u64,
        outcome: Result<(), String>,
    ) {
        if !self.files.is_current(to, transfer) {
            return;
        }
        match outcome {
            // The server's answer to a test shows that it took them all.
            Ok(()) if !self.is_changing() => {
                self.request("", &Request::Test, Answer::Own, Effect::FileSent(to, transfer));
            }
            Ok(()) => self.file_sent(to),
            Err(reason) => {
                self.end_sending(to, &reason);
                self.break_off(to);
            }
        }
    }

    fn handle(&mut self, packet: &ServerPacket<'_>) {
        match packet {
            ServerPacket::Registered { success, number } => {
                let event = Event::new("registered").with("number", number);
                self.replied_with(RequestType::Register, *success, event);
            }
            ServerPacket::LoggedIn { success, groups } => {
                if let Some((_, effect)) = self.answered(RequestType::LogIn, *success) {
                    if let Effect::LogIn(credentials) = effect {
                        self.handle_login(credentials, groups);
                    }
                    self.end_of_reply();
                }
            }
            ServerPacket::Message { sign, number, text } => {
                self.handle_message(None, *sign, *number, text);
            }
            ServerPacket::Profile { success, number, profile } => {
                self.handle_profile(*success, *number, profile);
            }
            ServerPacket::Monitored { from, to, text } => {
                let event = Event::new("monitored").with("from", from).with("to", to);
                self.push(event.with("text", self.charset.decode(text)));
            }
            ServerPacket::Online { success, users } => {
                self.handle_users(RequestType::ListOnline, "online", *success, users);
            }
            ServerPacket::Found { success, users } => {
                self.handle_users(RequestType::Search, "found", *success, users);
            }
            ServerPacket::Tested { .. } => self.handle_tested(),
            ServerPacket::Extensions { granted } => {
                if !self.extended.handle_granted(Some(*granted)) {
                    self.unexpected(0x40, "nobody asked for extensions");
                }
            }
            ServerPacket::Result { .. }
            | ServerPacket::Numbered { .. }
            | ServerPacket::FriendPresence { .. } => self.handle_extended(packet),
            ServerPacket::FileOffered { .. }
            | ServerPacket::FileAnswered { .. }
            | ServerPacket::FilePiece { .. } => self.handle_file(packet),
            ServerPacket::GroupAdded { .. }
            | ServerPacket::GroupRenamed { .. }
            | ServerPacket::GroupDeleted { .. }
            | ServerPacket::FriendsMoved { .. } => self.handle_group(packet),
        }
    }

    fn handle_group(&mut self, packet: &ServerPacket<'_>) {
        match packet {
            ServerPacket::GroupAdded { success, group, name } => {
                let name = self.charset.decode(name).into_owned();
                let event = Event::new("group-added").with("group", group).with("name", &name);
                if self.replied_with(RequestType::AddGroup, *success, event) {
                    self.view.handle_group(*group, name);
                }
            }
            ServerPacket::GroupRenamed { success, group, name } => {
                let name = self.charset.decode(name).into_owned();
                let event = Event::new("group-renamed").with("group", group).with("name", &name);
                if self.replied_with(RequestType::RenameGroup, *success, event) {
                    self.view.handle_group(*group, name);
                }
            }
            ServerPacket::GroupDeleted { success, group } => {
                let event = Event::new("group-deleted").with("group", group);
                if self.replied_with(RequestType::DeleteGroup, *success, event) {
                    self.view.handle_group_deleted(*group);
                }
            }
            ServerPacket::FriendsMoved { success } => {
                if let Some((_, effect)) = self.answered(RequestType::MoveFriends, *success) {
                    if let Effect::Move(moves) = effect {
                        self.view.handle_moved(&moves);
                    }
                    self.push(Event::new("friends-moved"));
                    self.end_of_reply();
                }
            }
            _ => {}
        }
    }

    fn handle_file(&mut self, packet: &ServerPacket<'_>) {
        match *packet {
            ServerPacket::FileOffered { sender, name, length } => {
                let name = self.charset.decode(name).into_owned();
                let event = self.about_someone("file-offered", sender).with("name", &name);
                self.push(event.with("length", length));
                self.files.handle_offered(sender, name, length);
            }
            ServerPacket::FileAnswered { receiver, allow: true } => {
                let Some((file, name)) = self.files.start(self.own, receiver) else {
                    return self.unexpected(0x14, "no file was offered");
                };
                self.push(Event::new("file-allowed").with("to", receiver).with("name", name));
                self.send_file(file);
            }
            ServerPacket::FileAnswered { receiver, allow: false } => self.handle_rejected(receiver),
            ServerPacket::FilePiece { sender, data } => {
                match self.files.handle_piece(sender, data) {
                    Ok(Some(ended)) => self.file_received(sender, &ended),
                    Ok(None) => {}
                    Err(reason) => {
                        let ended = self.files.end_incoming(sender);
                        // Pieces that were under way when it was broken off here are no news.
                        if ended.is_some() {
                            self.file_failed(sender, ended, &reason);
                            self.break_off(sender);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// A rejection ends what goes out to that number; the packet also says that a sender gave up.
    fn handle_rejected(&mut self, number: ServiceNumber) {
        const BY_OTHER: &str = "the other side broke it off";
        if let Some((ended, started)) = self.files.end_outgoing(number) {
            if started {
                self.stop_file(number);
                self.file_failed(number, Some(ended), BY_OTHER);
            } else {
                let event = Event::new("file-rejected").with("to", number);
                self.push(event.with("name", ended.name));
            }
        } else if let Some(ended) = self.files.end_incoming(number) {
            self.file_failed(number, Some(ended), BY_OTHER);
        }
    }

    fn handle_profile(&mut self, success: bool, number: ServiceNumber, profile: &Profile<'_>) {
        let Some((command, effect)) = self.answered(RequestType::ViewProfile, success) else {
            return;
        };
        self.view.learn(number, self.charset.decode(profile.nickname).into_owned());
        if let Effect::Change(changes) = effect {
            self.change_on(&changes, profile);
        } else if !command.is_empty() {
            let fields = shown(profile, self.charset);
            let event = Event::new("profile").with("number", number);
            self.push(fields.into_iter().fold(event, |event, (key, value)| event.with(key, value)));
        }
        self.end_of_reply();
    }

    /// The profile is known that is to be changed: the command goes on with the change.
    fn change_on(&mut self, changes: &Changes, profile: &Profile<'_>) {
        if let Some(front) = self.pending.front_mut() {
            front.command = "";
        }
        let request = Request::ChangeProfile(changes.over(*profile));
        self.change(&request, changes.password().cloned());
    }

    fn handle_users(
        &mut self,
        request: RequestType,
        end: &'static str,
        success: bool,
        users: &[UserEntry<'_>],
    ) {
        if self.answered(request, success).is_none() {
            return;
        }
        for user in users {
            let nickname = self.charset.decode(user.nickname).into_owned();
            let event = Event::new("user").with("number", user.number).with("nickname", &nickname);
            let event = event.with("portrait", user.portrait).with("province", user.province);
            self.push(event.with("city", self.charset.decode(user.city)));
            self.view.learn(user.number, nickname);
        }
        self.push(Event::new(end).with("count", users.len()));
        self.end_of_reply();
    }

    /// A message, with its id and time where the server tells them.
    pub(super) fn handle_message(
        &mut self,
        stamp: Option<Stamp>,
        sign: Sign,
        number: ServiceNumber,
        text: &[u8],
    ) {
        let (word, has_text) = match sign {
            Sign::System(SystemKind::Notice) => {
                return match Notice::parse(text) {
                    Some(notice) => self.handle_notice(&notice),
                    None => self.unexpected(0x03, &self.charset.decode(text)),
                };
            }
            Sign::User => ("message", true),
            Sign::System(SystemKind::Added) => ("added", false),
            Sign::System(SystemKind::Asks) => ("asks", true),
            Sign::System(SystemKind::Agreed) => ("agreed", false),
            Sign::System(SystemKind::Refused) => ("rejected", false),
        };
        if sign == Sign::System(SystemKind::Agreed) {
            self.view.handle_added(number);
            self.look_up(number);
        }
        let event = stamped(self.about_someone(word, number), stamp);
        let text = has_text.then(|| self.charset.decode(text));
        self.push(event.with_some("text", text));
    }

    fn handle_notice(&mut self, notice: &Notice<'_>) {
        let Notice { packet_type, code, sentence } = *notice;
        let of_extensions = packet_type == RequestType::WantExtensions as u8;
        if of_extensions && self.extended.handle_granted(None) {
            // A server that knows of no extensions has none.
            return;
        }
        let of_a_piece = packet_type == RequestType::FilePiece as u8;
        let over = (code == Code::NoTransfer && (of_a_piece || packet_type == 0))
            .then(|| self.partner_in(sentence));
        let over = over.flatten().filter(|number| !of_a_piece || self.files.is_sending(*number));
        if of_a_piece && code == Code::NoTransfer && over.is_none() {
            // Pieces that were under way when the transfer ended are no news.
            return;
        }
        self.push_reason(notice);
        if let Some(number) = over {
            self.end_transfers(number, OTHER_SIDE_GONE);
        }
        if self.has(Extensions::RESULTS) {
            // What comes of packets is in their results.
            return;
        }
        let Some(front) = self.pending.front_mut() else { return };
        if front.packet_type == packet_type {
            front.outcome = Outcome::Refused;
            if front.answer == Answer::Own {
                self.pop();
            }
        } else if packet_type == RequestType::Test as u8 && front.answer == Answer::Test {
            // The test was refused, as one packet too many; what it stood behind was dealt with before it.
            self.pop();
        }
    }

    /// With whom a transfer ended that this side could not know of. The sentence names the number; where
    /// it does not, it is clear only if there is a single partner.
    fn partner_in(&self, sentence: &str) -> Option<ServiceNumber> {
        let partners = self.files.partners();
        let named = |number: &&ServiceNumber| {
            let mut words = sentence.split(|c: char| !c.is_ascii_digit());
            words.any(|word| word == number.to_string())
        };
        match (partners.iter().find(named), &partners[..]) {
            (Some(number), _) | (None, [number]) => Some(*number),
            _ => None,
        }
    }

    /// Ends what goes out to this number.
    pub(super) fn end_sending(&mut self, number: ServiceNumber, reason: &str) {
        if let Some((ended, _)) = self.files.end_outgoing(number) {
            self.stop_file(number);
            self.file_failed(number, Some(ended), reason);
        }
    }

    /// Ends what there is with this number, in both directions.
    pub(super) fn end_transfers(&mut self, number: ServiceNumber, reason: &str) {
        self.end_sending(number, reason);
        if let Some(ended) = self.files.end_incoming(number) {
            self.file_failed(number, Some(ended), reason);
        }
    }

    fn handle_tested(&mut self) {
        match self.pending.front() {
            Some(front) if front.answer == Answer::Test => self.pop(),
            Some(front) if front.packet_type == RequestType::Test as u8 => {
                if !front.command.is_empty() {
                    self.push(Event::new("tested"));
                }
                self.end_of_reply();
            }
            _ => self.unexpected(0x16, "nobody asked for a test"),
        }
    }

    /// Takes the first of those that wait off, and does what it leads to.
    pub(super) fn pop(&mut self) {
        let Some(pending) = self.pending.pop_front() else { return };
        match &pending.outcome {
            Outcome::Done(id) | Outcome::Partly(id, _) => self.take_effect(pending.effect, *id),
            Outcome::Refused => self.take_refusal(&pending.effect),
        }
        match pending.outcome {
            Outcome::Done(_) if !pending.command.is_empty() => {
                self.push(Event::new("done").with("command", pending.command));
            }
            Outcome::Partly(_, exception) => self.push(exception),
            Outcome::Done(_) | Outcome::Refused => {}
        }
    }

    fn take_effect(&mut self, effect: Effect, id: Seq) {
        match effect {
            Effect::LogOut => self.logged_out(),
            Effect::Mode(mode) => {
                if let Some(credentials) = &mut self.credentials {
                    credentials.mode = mode;
                }
            }
            Effect::Changed(Some(password)) => {
                if let Some(credentials) = &mut self.credentials {
                    credentials.password = password;
                }
            }
            Effect::SentTo(to) if id != Seq::ZERO => {
                let event = Event::new("sent").with("id", id).with("to", to);
                self.push(event.with_some("nickname", self.view.name(to)));
            }
            Effect::SentToGroup(group) if id != Seq::ZERO => {
                self.push(Event::new("sent").with("id", id).with("group", group));
            }
            Effect::Remove(number) => {
                self.view.handle_removed(number);
            }
            Effect::Accept(number) => {
                if let Some(ended) = self.files.handle_allowed(number) {
                    self.file_received(number, &ended);
                }
            }
            Effect::FileSent(to, transfer) if self.files.is_current(to, transfer) => {
                self.file_sent(to);
            }
            _ => {}
        }
    }

    fn take_refusal(&mut self, effect: &Effect) {
        match *effect {
            Effect::LogOut => self.logged_out(),
            Effect::Offer(number) => {
                self.files.end_outgoing(number);
            }
            Effect::Accept(number) => {
                self.files.end_incoming(number);
            }
            Effect::FileSent(to, transfer) if self.files.is_current(to, transfer) => {
                self.file_sent(to);
            }
            _ => {}
        }
    }

    fn logged_out(&mut self) {
        self.view.handle_logout();
        for number in self.files.partners() {
            self.end_transfers(number, "logged out");
        }
    }

    /// The command and the effect of the request that a reply answers, if it succeeded. Otherwise it is
    /// still to come why, and it is that which ends the request.
    fn answered(&mut self, request: RequestType, success: bool) -> Option<(&'static str, Effect)> {
        let front = self
            .pending
            .front_mut()
            .filter(|front| front.packet_type == request as u8 && front.answer == Answer::Own);
        let Some(front) = front else {
            self.unexpected(request as u8, "a reply that nothing waits for");
            return None;
        };
        success.then(|| (front.command, std::mem::replace(&mut front.effect, Effect::None)))
    }

    /// A request has had its reply, which is the end of it unless there is a result to come.
    fn end_of_reply(&mut self) {
        if !self.has(Extensions::RESULTS) {
            self.pop();
        }
    }

    /// Takes a reply that tells no more than this. Whether the request succeeded.
    fn replied_with(&mut self, request: RequestType, success: bool, event: Event) -> bool {
        let has_succeeded = self.answered(request, success).is_some();
        if has_succeeded {
            self.push(event);
            self.end_of_reply();
        }
        has_succeeded
    }

    fn file_sent(&mut self, to: ServiceNumber) {
        if let Some((Ended { name, length, .. }, _)) = self.files.end_outgoing(to) {
            let event = Event::new("file-sent").with("to", to).with("name", name);
            self.push(event.with("length", length));
        }
    }

    fn file_received(&mut self, from: ServiceNumber, ended: &Ended) {
        let event = self.about_someone("file-received", from).with("name", &ended.name);
        self.push(event.with("path", ended.path.display()).with("length", ended.length));
    }

    fn file_failed(&mut self, with: ServiceNumber, ended: Option<Ended>, reason: &str) {
        let name = ended.map_or_else(String::new, |ended| ended.name);
        let event = Event::new("file-failed").with("with", with).with("name", name);
        self.push(event.with("reason", reason));
    }

    fn about_someone(&self, word: &'static str, number: ServiceNumber) -> Event {
        Event::new(word).with("from", number).with_some("nickname", self.view.name(number))
    }

    pub(super) fn unexpected(&mut self, packet_type: u8, text: &str) {
        let event = Event::new("unexpected").with("type", format_args!("0x{packet_type:02X}"));
        self.push(event.with("text", text));
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::commands::Command;
    use crate::client::testing::{
        ANN, BOB, lines, notice, receive, receive_bytes, sent, session, start, tested,
    };

    #[test]
    fn a_silent_command_is_done_when_the_test_behind_it_comes_back() {
        let mut session = session();
        start(&mut session, "send 10002 hi");
        assert_eq!(sent(&mut session), [(0x03, ANN.0), (0x16, ANN.0)]);
        assert!(lines(&mut session).is_empty());
        tested(&mut session);
        assert_eq!(lines(&mut session), ["done command=send"]);
        start(&mut session, "send 77 hi");
        notice(&mut session, b"0x03 unknown-number: no");
        tested(&mut session);
        assert_eq!(lines(&mut session), ["refused type=0x03 code=unknown-number text=no"]);
        assert_eq!(session.under_way(), 0);
    }

    #[test]
    fn a_refused_test_ends_what_it_stood_behind() {
        let mut session = session();
        start(&mut session, "remove 10002");
        session.view.handle_added(BOB);
        notice(&mut session, b"0x16 throttled: wait");
        assert_eq!(lines(&mut session).last().unwrap(), "done command=remove");
        assert_eq!((session.under_way(), session.view.counts().1), (0, 0));
    }

    #[test]
    fn nothing_that_needs_a_session_follows_the_end_of_one() {
        let mut session = session();
        start(&mut session, "logout");
        assert_eq!(sent(&mut session), [(0x10, ANN.0), (0x16, 0)]);
        session.keep_alive();
        let sign = Sign::System(SystemKind::Agreed);
        receive(&mut session, &ServerPacket::Message { sign, number: BOB, text: b"" });
        assert!(sent(&mut session).is_empty());
        tested(&mut session);
        assert_eq!(lines(&mut session), ["agreed from=10002", "done command=logout"]);
        assert!(session.start(Command::Friends).is_err());
    }

    #[test]
    fn a_new_friends_name_is_looked_up_without_a_word() {
        let mut session = session();
        let sign = Sign::System(SystemKind::Agreed);
        receive(&mut session, &ServerPacket::Message { sign, number: BOB, text: b"" });
        assert_eq!(sent(&mut session), [(0x05, ANN.0)]);
        let profile = Profile { nickname: b"bob", ..Profile::default() };
        receive(&mut session, &ServerPacket::Profile { success: true, number: BOB, profile });
        receive(&mut session, &ServerPacket::Message { sign: Sign::User, number: BOB, text: b"x" });
        let expected = ["agreed from=10002", "message from=10002 nickname=bob text=x"];
        assert_eq!(lines(&mut session), expected);
    }

    #[test]
    fn late_pieces_of_a_file_that_was_broken_off_are_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let mut session = session();
        start(&mut session, &format!("file send 10002 {}", path.display()));
        tested(&mut session);
        receive(&mut session, &ServerPacket::FileAnswered { receiver: BOB, allow: true });
        notice(&mut session, b"0x00 no-transfer: no transfer with 10002");
        notice(&mut session, b"0x15 no-transfer: no transfer with 10002");
        let expected = [
            "done command=file",
            "file-allowed to=10002 name=x",
            "notice code=no-transfer text=\"no transfer with 10002\"",
            "file-failed with=10002 name=x reason=\"the other side is gone\"",
        ];
        assert_eq!(lines(&mut session), expected);
        sent(&mut session);
        session.handle_file_done(BOB, 1, Ok(()));
        assert!(sent(&mut session).is_empty() && lines(&mut session).is_empty());
    }

    #[test]
    fn what_cannot_be_understood_is_shown_and_changes_nothing() {
        let mut session = session();
        receive_bytes(&mut session, 0x77, b"");
        receive_bytes(&mut session, 0x02, b"\x01");
        receive(&mut session, &ServerPacket::FriendsMoved { success: true });
        tested(&mut session);
        let lines = lines(&mut session);
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.starts_with("unexpected ")), "{lines:?}");
    }
}
