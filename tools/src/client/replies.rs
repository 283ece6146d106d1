//! The other half of the session: what comes from the server.
//!
//! Owns which packet answers which request, and what it changes. Nothing here is sent but what a packet
//! makes necessary: the pieces of a file, a look at a new friend's name.

use oicq::codec::profile::Profile;
use oicq::id::ServiceNumber;
use oicq::wire::server::{Sign, SystemKind, UserEntry};
use oicq::wire::{Code, Notice, Request, RequestType, ServerPacket};

use super::events::Event;
use super::fields::shown;
use super::files::Ended;
use super::session::{Answer, Effect, Pending, Session};

impl Session {
    /// A packet came.
    pub(crate) fn handle_packet(&mut self, packet_type: u8, content: &[u8]) {
        match ServerPacket::decode(packet_type, content) {
            Ok(packet) => self.handle(&packet),
            Err(error) => self.unexpected(packet_type, &error.to_string()),
        }
    }

    /// A piece went out.
    pub(crate) fn handle_piece_sent(&mut self, to: ServiceNumber, bytes: u32) {
        self.files.handle_sent(to, bytes);
    }

    /// All pieces of a file went out, or the file cannot be sent on.
    pub(crate) fn handle_file_done(&mut self, to: ServiceNumber, outcome: Result<(), String>) {
        match outcome {
            // The server's answer to a test shows that it took them all.
            Ok(()) if !self.is_changing() => {
                self.request("", &Request::Test, Answer::Reply, Effect::FileSent(to));
            }
            Ok(()) => self.file_sent(to),
            Err(reason) => {
                let ended = self.files.end_outgoing(to);
                self.file_failed(to, ended.map(|(ended, _)| ended), &reason);
                self.break_off(to);
            }
        }
    }

    /// The connection is lost, and the files that were on their way with it.
    pub(crate) fn handle_lost(&mut self) {
        for number in self.files.partners() {
            self.end_transfers(number, "the connection is lost");
        }
    }

    fn handle(&mut self, packet: &ServerPacket<'_>) {
        match packet {
            ServerPacket::Registered { success, number } => {
                let event = Event::new("registered").with("number", number);
                self.replied_with(RequestType::Register, *success, event);
            }
            ServerPacket::LoggedIn { success, groups } => {
                if let Some(pending) = self.answered(RequestType::LogIn, *success) {
                    if let Effect::LogIn(number) = pending.effect {
                        self.handle_login(number, groups);
                    }
                    self.done(&pending);
                }
            }
            ServerPacket::Message { sign: Sign::User, number, text } => {
                let event = self.about_someone("message", *number);
                self.push(event.with("text", self.charset.decode(text)));
            }
            ServerPacket::Message { sign: Sign::System(kind), number, text } => {
                self.handle_system(*kind, *number, text);
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
            ServerPacket::Extensions { .. } => self.unexpected(0x40, "nobody asked for extensions"),
            ServerPacket::Result { .. }
            | ServerPacket::Numbered { .. }
            | ServerPacket::FriendPresence { .. } => {
                self.unexpected(packet.packet_type(), "nobody asked for extensions");
            }
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
                if let Some(pending) = self.answered(RequestType::AddGroup, *success) {
                    let event = Event::new("group-added").with("group", group);
                    self.push(event.with("name", &name));
                    self.view.handle_group(*group, name);
                    self.done(&pending);
                }
            }
            ServerPacket::GroupRenamed { success, group, name } => {
                let name = self.charset.decode(name).into_owned();
                if let Some(pending) = self.answered(RequestType::RenameGroup, *success) {
                    let event = Event::new("group-renamed").with("group", group);
                    self.push(event.with("name", &name));
                    self.view.handle_group(*group, name);
                    self.done(&pending);
                }
            }
            ServerPacket::GroupDeleted { success, group } => {
                if let Some(pending) = self.answered(RequestType::DeleteGroup, *success) {
                    self.push(Event::new("group-deleted").with("group", group));
                    self.view.handle_group_deleted(*group);
                    self.done(&pending);
                }
            }
            ServerPacket::FriendsMoved { success } => {
                if let Some(pending) = self.answered(RequestType::MoveFriends, *success) {
                    if let Effect::Move(moves) = &pending.effect {
                        self.view.handle_moved(moves);
                    }
                    self.push(Event::new("friends-moved"));
                    self.done(&pending);
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
                let Some((file, name, length)) = self.files.start(receiver) else {
                    return self.unexpected(0x14, "no file was offered");
                };
                self.push(Event::new("file-allowed").with("to", receiver).with("name", name));
                self.send_file(file, receiver, length);
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
        let Some(pending) = self.answered(RequestType::ViewProfile, success) else { return };
        self.view.learn(number, self.charset.decode(profile.nickname).into_owned());
        if let Effect::Change(changes) = &pending.effect {
            self.change(&Request::ChangeProfile(changes.over(*profile)));
        } else if !pending.command.is_empty() {
            let fields = shown(profile, self.charset);
            let event = Event::new("profile").with("number", number);
            self.push(fields.into_iter().fold(event, |event, (key, value)| event.with(key, value)));
            self.done(&pending);
        }
    }

    fn handle_users(
        &mut self,
        request: RequestType,
        end: &'static str,
        success: bool,
        users: &[UserEntry<'_>],
    ) {
        let Some(pending) = self.answered(request, success) else { return };
        for user in users {
            let nickname = self.charset.decode(user.nickname).into_owned();
            let event = Event::new("user").with("number", user.number).with("nickname", &nickname);
            let event = event.with("portrait", user.portrait).with("province", user.province);
            self.push(event.with("city", self.charset.decode(user.city)));
            self.view.learn(user.number, nickname);
        }
        self.push(Event::new(end).with("count", users.len()));
        self.done(&pending);
    }

    fn handle_system(&mut self, kind: SystemKind, number: ServiceNumber, text: &[u8]) {
        let event = match kind {
            SystemKind::Notice => {
                match Notice::parse(text) {
                    Some(notice) => self.handle_notice(&notice),
                    None => self.unexpected(0x03, &self.charset.decode(text)),
                }
                return;
            }
            SystemKind::Added => self.about_someone("added", number),
            SystemKind::Asks => {
                self.about_someone("asks", number).with("text", self.charset.decode(text))
            }
            SystemKind::Agreed => {
                self.view.handle_added(number);
                self.look_up(number);
                self.about_someone("agreed", number)
            }
            SystemKind::Refused => self.about_someone("rejected", number),
        };
        self.push(event);
    }

    fn handle_notice(&mut self, notice: &Notice<'_>) {
        let Notice { packet_type, code, sentence } = *notice;
        let of_a_piece = packet_type == RequestType::FilePiece as u8;
        let over = (code == Code::NoTransfer && (of_a_piece || packet_type == 0))
            .then(|| self.partner_in(sentence));
        let over = over.flatten().filter(|number| !of_a_piece || self.files.is_sending(*number));
        if of_a_piece && code == Code::NoTransfer && over.is_none() {
            // Pieces that were under way when the transfer ended are no news.
            return;
        }
        if packet_type == 0 {
            self.push(Event::new("notice").with("code", code).with("text", sentence));
        } else {
            let event = Event::new("refused").with("type", format_args!("0x{packet_type:02X}"));
            self.push(event.with("code", code).with("text", sentence));
        }
        if let Some(number) = over {
            self.end_transfers(number, "the other side is gone");
        }
        let Some(front) = self.pending.front_mut() else { return };
        if front.packet_type == packet_type {
            front.refused = true;
            if front.answer == Answer::Reply {
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

    /// Ends what there is with this number, in both directions.
    fn end_transfers(&mut self, number: ServiceNumber, reason: &str) {
        if let Some((ended, _)) = self.files.end_outgoing(number) {
            self.stop_file(number);
            self.file_failed(number, Some(ended), reason);
        }
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
                self.pop();
            }
            _ => self.unexpected(0x16, "nobody asked for a test"),
        }
    }

    /// Takes the first of those that wait off, and does what it leads to.
    fn pop(&mut self) {
        let Some(pending) = self.pending.pop_front() else { return };
        match (&pending.effect, pending.refused) {
            (Effect::LogOut, _) => {
                self.view.handle_logout();
                for number in self.files.partners() {
                    self.end_transfers(number, "logged out");
                }
            }
            (Effect::Remove(number), false) => {
                self.view.handle_removed(*number);
            }
            (Effect::Offer(number), true) => {
                self.files.end_outgoing(*number);
            }
            (Effect::Accept(number), true) => {
                self.files.end_incoming(*number);
            }
            (Effect::Accept(number), false) => {
                if let Some(ended) = self.files.handle_allowed(*number) {
                    self.file_received(*number, &ended);
                }
            }
            (Effect::FileSent(number), _) => self.file_sent(*number),
            _ => {}
        }
        if !pending.refused {
            self.done(&pending);
        }
    }

    /// The request that a reply answers, if it succeeded. A failure's notice is still to come, and it is
    /// the notice that ends the request.
    fn answered(&mut self, request: RequestType, success: bool) -> Option<Pending> {
        let fits =
            |front: &&Pending| front.packet_type == request as u8 && front.answer == Answer::Reply;
        if self.pending.front().filter(fits).is_none() {
            self.unexpected(request as u8, "a reply that nothing waits for");
            return None;
        }
        if success { self.pending.pop_front() } else { None }
    }

    fn replied_with(&mut self, request: RequestType, success: bool, event: Event) {
        if let Some(pending) = self.answered(request, success) {
            self.push(event);
            self.done(&pending);
        }
    }

    fn done(&mut self, pending: &Pending) {
        if !pending.command.is_empty() {
            self.push(Event::new("done").with("command", pending.command));
        }
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

    fn unexpected(&mut self, packet_type: u8, text: &str) {
        let event = Event::new("unexpected").with("type", format_args!("0x{packet_type:02X}"));
        self.push(event.with("text", text));
    }

    fn push(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::commands::Command;
    use crate::client::connection::ToServer;
    use oicq::codec::charset::Charset;
    use oicq::wire::{ClientPacket, Expected, Kind, cut};
    use std::path::PathBuf;

    const ANN: ServiceNumber = ServiceNumber(10_001);
    const BOB: ServiceNumber = ServiceNumber(10_002);

    fn session() -> Session {
        let mut session = Session::new(Charset::Utf8, Kind::User, PathBuf::new());
        session.handle_login(ANN, &[]);
        session.events.clear();
        session
    }

    fn start(session: &mut Session, line: &str) {
        session.start(Command::parse(line, Charset::Utf8).unwrap().unwrap()).unwrap();
    }

    fn receive(session: &mut Session, packet: &ServerPacket<'_>) {
        let mut bytes = Vec::new();
        packet.encode(Kind::User, &mut bytes);
        session.handle_packet(bytes[3], &bytes[8..]);
    }

    fn notice(session: &mut Session, line: &[u8]) {
        let sign = Sign::System(SystemKind::Notice);
        receive(session, &ServerPacket::Message { sign, number: ServiceNumber::NONE, text: line });
    }

    fn tested(session: &mut Session) {
        receive(session, &ServerPacket::Tested { number: ANN });
    }

    fn lines(session: &mut Session) -> Vec<String> {
        std::iter::from_fn(|| session.poll_event()).map(|event| event.line()).collect()
    }

    /// Type and own number of each packet that is to be sent.
    fn sent(session: &mut Session) -> Vec<(u8, u32)> {
        let read = |to_server| match to_server {
            ToServer::Packet(bytes) => {
                let any = Expected { kind: None, content_bytes_max: 65_536 };
                let frame = cut(&bytes, any).unwrap().unwrap();
                let packet_type = RequestType::from_byte(frame.header.packet_type).unwrap();
                let packet = ClientPacket::decode(packet_type, frame.content).unwrap();
                Some((packet_type as u8, packet.own.0))
            }
            _ => None,
        };
        std::iter::from_fn(|| session.poll_send()).filter_map(read).collect()
    }

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
        assert_eq!(session.pending(), 0);
    }

    #[test]
    fn a_refused_test_ends_what_it_stood_behind() {
        let mut session = session();
        start(&mut session, "remove 10002");
        session.view.handle_added(BOB);
        notice(&mut session, b"0x16 throttled: wait");
        assert_eq!(lines(&mut session).last().unwrap(), "done command=remove");
        assert_eq!((session.pending(), session.view.counts().1), (0, 0));
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
        session.handle_file_done(BOB, Ok(()));
        tested(&mut session);
        assert!(lines(&mut session).is_empty());
    }

    #[test]
    fn what_cannot_be_understood_is_shown_and_changes_nothing() {
        let mut session = session();
        session.handle_packet(0x77, b"");
        session.handle_packet(0x02, b"\x01");
        receive(&mut session, &ServerPacket::FriendsMoved { success: true });
        tested(&mut session);
        let lines = lines(&mut session);
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.starts_with("unexpected ")), "{lines:?}");
    }
}
