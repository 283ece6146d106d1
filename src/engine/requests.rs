//! What the engine does with each request of a session. Protocol section 4.
//!
//! Each of these asks `state::decide` what the request amounts to, records that, and replies. What
//! needs a password is in `login`.

use super::peer::Stage;
use super::transfers::Piece;
use super::{Answered, Engine, Foretold, Host};
use crate::codec::Reader;
use crate::codec::charset::Breaks;
use crate::codec::packed::Numbers;
use crate::id::{ConnectionId, GroupNumber, Seq, ServiceNumber};
use crate::limits::{FILE_NAME_BYTES, SEARCH_SLICE_STEPS, SEARCHES_AT_ONCE};
use crate::state::decide::search::{BadQuery, Query, Search};
use crate::state::decide::{List, Must, Refusal, check_text, friends, groups, messages};
use crate::state::{Event, State, User};
use crate::wire::server::{Presence, UserEntry};
use crate::wire::{Frame, Kind, Request, RequestType, ServerPacket};

impl Engine {
    /// Does what a request in a session asks for.
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        request: &Request<'_>,
        host: &mut impl Host,
    ) -> Result<Answered, Refusal> {
        let charset = self.settings.charset;
        let done = match *request {
            Request::Send { receiver, content } => self.send_message(own, receiver, content, host),
            Request::Broadcast { group, content } => {
                // The packet has four bytes for it, and no group a number above 255.
                let known = u8::try_from(group).map_err(|_| Refusal::UnknownGroup(group))?;
                let group = GroupNumber(known);
                return self.broadcast(connection, own, group, content, host);
            }
            Request::ViewProfile { friend } => self.view_profile(connection, own, friend),
            Request::AddGroup { name } => {
                let event = groups::add(&self.state, own, name, charset)?;
                let Event::GroupAdded { group, .. } = event else { return Ok(Answered::No) };
                self.record(&event, host)?;
                self.send(connection, &ServerPacket::GroupAdded { success: true, group, name });
                Ok(())
            }
            Request::RenameGroup { group, name } => {
                if let Some(event) = groups::rename(&self.state, own, group, name, charset)? {
                    self.record(&event, host)?;
                }
                self.send(connection, &ServerPacket::GroupRenamed { success: true, group, name });
                Ok(())
            }
            Request::DeleteGroup { group } => {
                let event = groups::delete(&self.state, own, group)?;
                self.record(&event, host)?;
                self.send(connection, &ServerPacket::GroupDeleted { success: true, group });
                Ok(())
            }
            Request::MoveFriends(moves) => {
                if let Some(event) = groups::move_friends(&self.state, own, moves)? {
                    self.record(&event, host)?;
                }
                self.send(connection, &ServerPacket::FriendsMoved { success: true });
                Ok(())
            }
            Request::ListOnline { start, count, direction } => {
                self.list_online(connection, start, count, direction)
            }
            Request::Search { statement } => self.start_search(connection, statement),
            Request::AddFriend { friend } => {
                let event = friends::request(&self.state, own, friend, b"", charset)?;
                self.record(&event, host)
            }
            Request::RequestFriend { friend, reason } => {
                let event = friends::request(&self.state, own, friend, reason, charset)?;
                self.record(&event, host)
            }
            Request::DeleteFriend { friend } => {
                let event = friends::delete(&self.state, own, friend)?;
                self.record(&event, host)
            }
            Request::SetMode { mode } => self.set_mode(connection, own, mode, host),
            Request::Monitor { watched } => self.monitor(connection, own, watched, host),
            Request::ChangeProfile(ref account) => {
                self.change_profile(connection, own, account, host)
            }
            Request::OfferFile { friend, name, length } => {
                self.offer_file(own, friend, name, length)
            }
            Request::AnswerFile { friend, allow } => self.answer_file(own, friend, allow),
            Request::FilePiece { friend, data } => self.pass_piece(own, friend, data, host),
            Request::AnswerRequest { friend, consent } => {
                let event = friends::answer(&self.state, own, friend, consent)?;
                self.record(&event, host)
            }
            Request::Test => {
                self.send(connection, &ServerPacket::Tested { number: own });
                Ok(())
            }
            Request::Register(ref account) => self.register(connection, account),
            Request::LogIn { password, mode } => self.log_in(connection, own, password, mode),
            Request::Arrived { through } => {
                self.confirm(connection, through);
                Ok(())
            }
            Request::WantExtensions { wanted } => {
                self.grant_extensions(connection, wanted)?;
                return Ok(Answered::Yes);
            }
        };
        done.map(|()| Answered::No)
    }

    fn send_message(
        &mut self,
        own: ServiceNumber,
        receiver: ServiceNumber,
        content: &[u8],
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        messages::check_content(content, self.settings.charset)?;
        let limits = self.settings.mailbox_limits();
        let event = match messages::send(&self.state, own, receiver, content, limits) {
            Err(Refusal::MailboxFull { .. }) => {
                self.settle_mail(receiver, host);
                messages::send(&self.state, own, receiver, content, limits)?
            }
            decided => decided?,
        };
        self.record(&event, host)
    }

    fn broadcast(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        group: GroupNumber,
        content: &[u8],
        host: &mut impl Host,
    ) -> Result<Answered, Refusal> {
        messages::check_content(content, self.settings.charset)?;
        let limits = self.settings.mailbox_limits();
        let mut full = std::mem::take(&mut self.left_out);
        let decided = messages::broadcast(&self.state, own, group, content, limits, &mut full);
        let any_full = match decided {
            Ok(Some(Event::MessageBroadcast { left_out, .. })) => !left_out.is_empty(),
            Err(Refusal::MailboxFull { .. }) => true,
            _ => false,
        };
        let decided = if any_full {
            for number in Numbers::over(&full).unwrap_or_default().iter() {
                self.settle_mail(number, host);
            }
            messages::broadcast(&self.state, own, group, content, limits, &mut full)
        } else {
            decided
        };
        let receivers_full = match decided {
            Ok(Some(event)) => {
                let Event::MessageBroadcast { left_out, .. } = event else {
                    return Ok(Answered::No);
                };
                let receivers = left_out.len();
                self.record(&event, host).map(|()| receivers)
            }
            Ok(None) => Ok(0),
            Err(refusal) => Err(refusal),
        };
        self.left_out = full;
        match receivers_full? {
            0 => Ok(Answered::No),
            receivers => {
                let exception = Refusal::MailboxFull { receivers };
                self.answer_partly(connection, RequestType::Broadcast as u8, &exception);
                Ok(Answered::Yes)
            }
        }
    }

    fn view_profile(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        friend: ServiceNumber,
    ) -> Result<(), Refusal> {
        let user = self.state.user(friend).ok_or(Refusal::UnknownNumber(friend))?;
        let is_friend = self.state.user(own).is_some_and(|user| user.friend(friend).is_some());
        let mut profile = user.profile();
        if own != friend && !is_friend {
            profile = profile.for_strangers();
        }
        let kind = self.kind(connection);
        let packet = ServerPacket::Profile { success: true, number: friend, profile };
        let range = self.outbox.encode(kind, &packet);
        self.push(connection, range);
        Ok(())
    }

    fn list_online(
        &mut self,
        connection: ConnectionId,
        start: ServiceNumber,
        count: u8,
        direction: u8,
    ) -> Result<(), Refusal> {
        let count = usize::from(count);
        let kind = self.kind(connection);
        let (state, sessions) = (&self.state, &self.sessions);
        let users = match direction {
            1 => user_entries(state, sessions.visible_down_from(start).take(count)),
            2 => user_entries(state, sessions.visible_up_from(start).take(count)),
            _ => return Err(Refusal::bad_value("direction", Must::BeOneOf("1 or 2"))),
        };
        let range = self.outbox.encode(kind, &ServerPacket::Online { success: true, users });
        self.push(connection, range);
        Ok(())
    }

    fn start_search(&mut self, connection: ConnectionId, statement: &[u8]) -> Result<(), Refusal> {
        let charset = self.settings.charset;
        if !charset.is_text(statement, Breaks::Refused) {
            return Err(Refusal::bad_value("statement", Must::BeText(charset)));
        }
        let stage = match self.foretold.take().map(|foretold| *foretold) {
            None => {
                let query = Query::parse(statement, charset).map_err(Refusal::BadQuery)?;
                Stage::Search(Box::new(Search::new(query)))
            }
            Some(Foretold::Found(foregone)) => Stage::Foregone(Box::new(foregone)),
            Some(Foretold::Refused(bytes)) => {
                return Err(Refusal::BadQuery(BadQuery::foretold(bytes)));
            }
        };
        if let Some(peer) = self.peer_mut(connection) {
            peer.stage = stage;
            self.searches.push_back(connection);
        }
        Ok(())
    }

    /// One slice of the search whose turn it is; the others wait for the next turns.
    pub(super) fn advance_search(&mut self) {
        let Some(connection) = self.searches.pop_front() else { return };
        let Some(peer) = self.peer_mut(connection) else { return };
        // The connection may have ended, and another may have its id.
        if !matches!(peer.stage, Stage::Search(_) | Stage::Foregone(_)) {
            return;
        }
        let mut stage = std::mem::replace(&mut peer.stage, Stage::Ready);
        let (state, sessions) = (&self.state, &self.sessions);
        let last = ServiceNumber(state.next_number().map_or(u32::MAX, |next| next.0 - 1));
        let found: Option<Vec<ServiceNumber>> = match &mut stage {
            Stage::Search(search) => search
                .advance(
                    last,
                    |number| state.user(number).map(User::profile),
                    |number| sessions.is_visible(number),
                    SEARCH_SLICE_STEPS,
                )
                .then(|| search.results().collect()),
            Stage::Foregone(foregone) => {
                foregone.advance().then(|| std::mem::take(&mut foregone.users))
            }
            _ => None,
        };
        if let Some(found) = found {
            if let Some(peer) = self.peers.get_mut(connection.0).and_then(Option::as_mut) {
                peer.go_on();
            }
            let kind = self.kind(connection);
            let users = user_entries(&self.state, found.into_iter());
            let range = self.outbox.encode(kind, &ServerPacket::Found { success: true, users });
            self.push(connection, range);
            self.last_change = Seq::ZERO;
            self.answer_done(connection, RequestType::Search as u8);
            self.resumed.push(connection);
        } else if let Some(peer) = self.peer_mut(connection) {
            peer.stage = stage;
            let behind = self.searches.len().min(SEARCHES_AT_ONCE - 1);
            self.searches.insert(behind, connection);
        }
    }

    fn set_mode(
        &mut self,
        connection: ConnectionId,
        own: ServiceNumber,
        mode: u8,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let mode = match mode {
            1 => Presence::Online,
            2 => Presence::Offline,
            3 => Presence::DoNotDisturb,
            4 => {
                self.end_session(connection, host);
                return Ok(());
            }
            _ => return Err(Refusal::bad_value("mode", Must::BeOneOf("1, 2, 3 or 4"))),
        };
        self.show_as(own, mode);
        Ok(())
    }

    fn offer_file(
        &mut self,
        own: ServiceNumber,
        friend: ServiceNumber,
        name: &[u8],
        length: u32,
    ) -> Result<(), Refusal> {
        let charset = self.settings.charset;
        check_text("file name", name, (1, FILE_NAME_BYTES), charset, Breaks::Refused)?;
        if !is_plain_file_name(&charset.decode(name)) {
            return Err(Refusal::bad_value("file name", Must::BeAFileName));
        }
        let to = self.offers_go_to(own, friend)?;
        if !self.transfers.offer(own, friend, length) {
            return Err(Refusal::Limit { list: List::Transfers(friend), holds: 1 });
        }
        self.send(to, &ServerPacket::FileOffered { sender: own, name, length });
        Ok(())
    }

    fn offers_go_to(
        &self,
        own: ServiceNumber,
        friend: ServiceNumber,
    ) -> Result<ConnectionId, Refusal> {
        let is_friend = self.state.user(own).is_some_and(|user| user.friend(friend).is_some());
        let is_service = self.settings.services.values().any(|service| *service == friend);
        if !is_friend && !is_service {
            return Err(Refusal::UnknownFriend(friend));
        }
        let visible = self.sessions.get(friend).filter(|_| self.sessions.is_visible(friend));
        visible.ok_or(Refusal::NotOnline(friend))
    }

    /// The connection that a packet is passed on to at once, past every mailbox: the packet waits for room there. One
    /// that is refused goes nowhere, lest the wait tells of somebody who hides.
    #[must_use]
    pub fn passes_on_to(
        &self,
        connection: ConnectionId,
        frame: &Frame<'_>,
    ) -> Option<ConnectionId> {
        let packet_type = RequestType::from_byte(frame.header.packet_type)?;
        let (offer, answer) = (RequestType::OfferFile, RequestType::AnswerFile);
        if ![offer, answer, RequestType::FilePiece].contains(&packet_type) {
            return None;
        }
        let own = self.session(connection)?.number;
        let mut fields = Reader::new(frame.content);
        let mut friend = || {
            let _own = fields.u32().ok()?;
            fields.u32().ok().map(ServiceNumber)
        };
        match packet_type {
            RequestType::OfferFile => self.offers_go_to(own, friend()?).ok(),
            RequestType::AnswerFile => {
                let friend = friend()?;
                let any = self.transfers.is_any(friend, own) || self.transfers.is_any(own, friend);
                self.sessions.get(friend).filter(|_| any)
            }
            RequestType::FilePiece => {
                let friend = friend()?;
                self.sessions.get(friend).filter(|_| self.transfers.flows(own, friend))
            }
            _ => None,
        }
    }

    fn answer_file(
        &mut self,
        own: ServiceNumber,
        friend: ServiceNumber,
        allow: u8,
    ) -> Result<(), Refusal> {
        let found = match allow {
            1 => self.transfers.allow(friend, own),
            // One who both sends and receives rejects what it receives first.
            0 => self.transfers.end(friend, own) || self.transfers.end(own, friend),
            _ => return Err(Refusal::bad_value("allow", Must::BeOneOf("0 or 1"))),
        };
        let to = self.sessions.get(friend).filter(|_| found).ok_or(Refusal::NoTransfer(friend))?;
        self.send(to, &ServerPacket::FileAnswered { receiver: own, allow: allow == 1 });
        Ok(())
    }

    fn pass_piece(
        &mut self,
        own: ServiceNumber,
        friend: ServiceNumber,
        data: &[u8],
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let piece = self.transfers.piece(own, friend, data.len());
        let to = self.sessions.get(friend);
        match (piece, to) {
            (Piece::Passed, Some(to)) => {
                self.send(to, &ServerPacket::FilePiece { sender: own, data });
                Ok(())
            }
            (Piece::TooLong, Some(to)) => {
                self.tell_transfer_ended(to, own, host);
                Err(Refusal::NoTransfer(friend))
            }
            _ => Err(Refusal::NoTransfer(friend)),
        }
    }

    pub(super) fn kind(&self, connection: ConnectionId) -> Kind {
        self.peer(connection).map_or(Kind::User, |peer| peer.kind())
    }
}

/// The failure reply that a request has, if it has one: the layout of success with what is known, which for
/// extensions is what the connection has.
pub(super) fn failure_reply<'a>(request: &Request<'a>, granted: u32) -> Option<ServerPacket<'a>> {
    let success = false;
    Some(match *request {
        Request::Register(_) => ServerPacket::Registered { success, number: ServiceNumber::NONE },
        Request::LogIn { .. } => ServerPacket::LoggedIn { success, groups: Vec::new() },
        Request::ViewProfile { friend } => {
            ServerPacket::Profile { success, number: friend, profile: Default::default() }
        }
        Request::AddGroup { name } => {
            ServerPacket::GroupAdded { success, group: GroupNumber::default(), name }
        }
        Request::RenameGroup { group, name } => ServerPacket::GroupRenamed { success, group, name },
        Request::DeleteGroup { group } => ServerPacket::GroupDeleted { success, group },
        Request::MoveFriends(_) => ServerPacket::FriendsMoved { success },
        Request::ListOnline { .. } => ServerPacket::Online { success, users: Vec::new() },
        Request::Search { .. } => ServerPacket::Found { success, users: Vec::new() },
        Request::WantExtensions { .. } => ServerPacket::Extensions { granted },
        _ => return None,
    })
}

fn user_entries(state: &State, numbers: impl Iterator<Item = ServiceNumber>) -> Vec<UserEntry<'_>> {
    let entry = |number| {
        let profile = state.user(number)?.profile();
        Some(UserEntry {
            number,
            nickname: profile.nickname,
            portrait: profile.portrait,
            province: profile.province,
            city: profile.city,
        })
    };
    numbers.filter_map(entry).collect()
}

fn is_plain_file_name(name: &str) -> bool {
    !name.contains(['/', '\\']) && name != "." && name != ".."
}
