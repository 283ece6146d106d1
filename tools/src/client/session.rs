//! The session: commands become packets, packets become events.
//!
//! Owns what is waited for, the own number, the friend list and the transfers. It does no IO but for
//! files; what is to go out is taken with `poll_send`, what happened with `poll_event`.
//!
//! Every command gets one outcome, `done` or `refused`, or `unanswered` where the connection is lost before.
//! A server that gives results says what came of each packet. Without them many are answered with silence;
//! behind each of those goes a connection test, whose answer shows that there was no refusal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use oicq::codec::charset::Charset;
use oicq::codec::packed::Moves;
use oicq::codec::secret::SecretBuf;
use oicq::id::{GroupNumber, Seq, ServiceNumber};
use oicq::limits::{CONTENT_BYTES_BEFORE_LOGIN, HEADER_BYTES};
use oicq::wire::server::{Extensions, GroupEntry};
use oicq::wire::{ClientPacket, Kind, Request, RequestType};
use zeroize::Zeroizing;

use super::commands::{Command, GroupName};
use super::connection::{OutgoingFile, ToServer};
use super::events::Event;
use super::extensions::Extended;
use super::fields::Changes;
use super::files::Files;
use super::view::View;

/// What is settled before there is a connection.
pub(crate) struct Setup {
    pub(crate) charset: Charset,
    pub(crate) kind: Kind,
    /// Where received files go.
    pub(crate) downloads: PathBuf,
    /// What the server is asked for.
    pub(crate) extensions: Extensions,
    /// Whether one comes back after a lost connection.
    pub(crate) returns: bool,
}

/// One end of a conversation with the server.
pub(crate) struct Session {
    pub(super) charset: Charset,
    kind: Kind,
    returns: bool,
    /// The own number, once the server has agreed to it.
    pub(super) own: ServiceNumber,
    pub(super) pending: VecDeque<Pending>,
    pub(super) view: View,
    pub(super) files: Files,
    pub(super) events: VecDeque<Event>,
    pub(super) extended: Extended,
    /// The pieces that went out and have no result yet, by receiver and transfer.
    pub(super) pieces: VecDeque<(ServiceNumber, u64)>,
    /// How the session was begun, if there is one that is worth coming back to.
    pub(super) credentials: Option<Credentials>,
    to_send: VecDeque<ToServer>,
}

/// What it takes to log in, and how one was seen.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) number: ServiceNumber,
    pub(super) password: SecretBuf,
    /// As in the packet that sets it.
    pub(super) mode: u8,
}

/// A packet that was sent and not yet answered. They are answered in order.
#[derive(Debug)]
pub(super) struct Pending {
    /// The command that it belongs to; empty where nobody asked for it.
    pub(super) command: &'static str,
    pub(super) packet_type: u8,
    pub(super) answer: Answer,
    pub(super) outcome: Outcome,
    pub(super) effect: Effect,
}

/// What shows that a packet was dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// What comes for the packet itself: its result, where there are results, else its reply.
    Own,
    /// The answer to the connection test behind it.
    Test,
}

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was done, with the change of this id, if there is one and it is told.
    Done(Seq),
    /// It was done but for an exception.
    Partly(Seq, Event),
    /// It was not done, which has been shown.
    Refused,
}

/// What becomes true when a packet was not refused.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    LogIn(Credentials),
    LogOut,
    Mode(u8),
    SentTo(ServiceNumber),
    SentToGroup(GroupNumber),
    Move(Vec<(ServiceNumber, GroupNumber)>),
    Remove(ServiceNumber),
    /// The profile that comes is the one to change.
    Change(Changes),
    /// A profile has changed, perhaps with this password.
    Changed(Option<SecretBuf>),
    /// An offer, which ends when it is refused.
    Offer(ServiceNumber),
    Accept(ServiceNumber),
    /// All pieces of this transfer are with the server.
    FileSent(ServiceNumber, u64),
}

impl Session {
    /// Nobody is logged in, nothing is waited for.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            charset: setup.charset,
            kind: setup.kind,
            returns: setup.returns,
            own: ServiceNumber::NONE,
            pending: VecDeque::new(),
            view: View::default(),
            files: Files::new(setup.downloads),
            events: VecDeque::new(),
            extended: Extended::new(setup.extensions),
            pieces: VecDeque::new(),
            credentials: None,
            to_send: VecDeque::new(),
        }
    }

    /// The kind in the packets of this end.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What is to be handed to the connection next.
    pub(crate) fn poll_send(&mut self) -> Option<ToServer> {
        self.to_send.pop_front()
    }

    /// What happened next.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Something happened that the session only passes on.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// How many packets wait for an answer that the next command may depend on.
    pub(crate) fn under_way(&self) -> usize {
        let counts = |pending: &&Pending| pending.packet_type != RequestType::Arrived as u8;
        self.pending.iter().filter(counts).count()
    }

    /// Whether nothing is waited for, and the server knows of every message that it has arrived.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.progress().is_none() && !self.owes_confirmation()
    }

    /// Whether something is waited for on which it depends what else may be sent: the beginning and the
    /// end of a session.
    pub(crate) fn is_changing(&self) -> bool {
        let changes = |pending: &Pending| {
            matches!(pending.effect, Effect::LogIn(_) | Effect::LogOut)
                || pending.packet_type == RequestType::Register as u8
        };
        self.pending.iter().any(changes)
    }

    /// Bytes done and to be done of the files that flow, and how many these are.
    pub(crate) fn progress(&self) -> Option<(u64, u64, usize)> {
        self.files.progress()
    }

    /// The own number, for the prompt.
    pub(crate) fn own(&self) -> Option<ServiceNumber> {
        (self.own != ServiceNumber::NONE).then_some(self.own)
    }

    /// Sends something, so that the server does not close the connection for its silence.
    pub(crate) fn keep_alive(&mut self) {
        if !self.is_changing() {
            self.request("", &Request::Test, Answer::Own, Effect::None);
        }
    }

    /// The connection is lost: nothing that was under way on it will be answered.
    pub(crate) fn handle_lost(&mut self) {
        for number in self.files.partners() {
            self.end_transfers(number, "the connection is lost");
        }
        for pending in std::mem::take(&mut self.pending) {
            if !pending.command.is_empty() {
                self.events.push_back(Event::new("unanswered").with("command", pending.command));
            } else if let Effect::LogIn(credentials) = pending.effect {
                // It is tried once more.
                self.credentials = Some(credentials);
            }
        }
        self.own = ServiceNumber::NONE;
        self.extended.handle_lost();
        self.pieces.clear();
        self.to_send.clear();
    }

    /// Whether there was a session, and what it takes to begin it again.
    pub(crate) const fn can_return(&self) -> bool {
        self.credentials.is_some()
    }

    /// Begins the session again that was lost. Who does not want to be seen is not seen for a moment either.
    pub(crate) fn log_in_again(&mut self) {
        let Some(credentials) = self.credentials.take() else { return };
        let (number, password) = (credentials.number, credentials.password.clone());
        let hidden = u8::from(credentials.mode != 1);
        let request = Request::LogIn { password: password.as_secret(), mode: hidden };
        self.request_as(number, "", &request, Answer::Own, Effect::LogIn(credentials));
    }

    /// Does a command. The error is for people: nothing was sent.
    pub(crate) fn start(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Register(changes) => {
                let request = Request::Register(changes.for_new());
                self.request("register", &request, Answer::Own, Effect::None);
            }
            Command::LogIn { number, hidden, password } => self.log_in(number, hidden, password)?,
            Command::Test => self.request("test", &Request::Test, Answer::Own, Effect::None),
            // These are done without the server, wherever the command comes from.
            Command::Help(_) | Command::Wait { .. } | Command::Quit => {}
            _ if self.own == ServiceNumber::NONE => return Err("log in first".to_owned()),
            command => self.start_in_session(command)?,
        }
        Ok(())
    }

    fn log_in(
        &mut self,
        number: ServiceNumber,
        hidden: bool,
        password: Option<SecretBuf>,
    ) -> Result<(), String> {
        if number == ServiceNumber::NONE {
            return Err("0 is nobody's number".to_owned());
        }
        let password = password.ok_or("a password is missing")?;
        let request = Request::LogIn { password: password.as_secret(), mode: u8::from(hidden) };
        let mode = if hidden { 2 } else { 1 };
        let effect = Effect::LogIn(Credentials { number, password: password.clone(), mode });
        self.request_as(number, "login", &request, Answer::Own, effect);
        Ok(())
    }

    fn start_in_session(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::LogOut => self.log_out(),
            Command::Friends => {
                self.events.extend(self.view.events());
                self.events.push_back(Event::new("done").with("command", "friends"));
            }
            Command::AddGroup(name) => self.replied("group", &Request::AddGroup { name: &name }),
            Command::RenameGroup(group, name) => {
                let group = self.find(&group)?;
                self.replied("group", &Request::RenameGroup { group, name: &name });
            }
            Command::DeleteGroup(group) => {
                let group = self.find(&group)?;
                self.replied("group", &Request::DeleteGroup { group });
            }
            Command::Move(moves) => self.start_move(moves)?,
            Command::Profile(number) => {
                let friend = number.unwrap_or(self.own);
                self.replied("profile", &Request::ViewProfile { friend });
            }
            Command::Change(changes) => {
                let request = Request::ViewProfile { friend: self.own };
                self.request("change", &request, Answer::Own, Effect::Change(changes));
            }
            Command::Online { start, count, direction } => {
                self.replied("online", &Request::ListOnline { start, count, direction });
            }
            Command::Search(statement) => {
                self.replied("search", &Request::Search { statement: &statement });
            }
            Command::FileSend { .. } | Command::FileAccept { .. } | Command::FileReject(_) => {
                self.start_file(command)?;
            }
            command => self.start_silent(&command)?,
        }
        Ok(())
    }

    /// Commands whose success the protocol passes over in silence.
    fn start_silent(&mut self, command: &Command) -> Result<(), String> {
        match command {
            Command::Mode(mode) => {
                self.silent("mode", &Request::SetMode { mode: *mode }, Effect::Mode(*mode));
            }
            Command::Send { to, text } => {
                let request = Request::Send { receiver: *to, content: text };
                self.silent("send", &request, Effect::SentTo(*to));
            }
            Command::Broadcast { group, text } => {
                let group = self.find(group)?;
                let request = Request::Broadcast { group: group.0.into(), content: text };
                self.silent("broadcast", &request, Effect::SentToGroup(group));
            }
            Command::Add { number, reason } if reason.is_empty() => {
                self.silent("add", &Request::AddFriend { friend: *number }, Effect::None);
            }
            Command::Add { number, reason } => {
                let request = Request::RequestFriend { friend: *number, reason };
                self.silent("add", &request, Effect::None);
            }
            Command::Answer { number, yes } => {
                let request = Request::AnswerRequest { friend: *number, consent: u8::from(*yes) };
                self.silent("answer", &request, Effect::None);
            }
            Command::Remove(number) => {
                let request = Request::DeleteFriend { friend: *number };
                self.silent("remove", &request, Effect::Remove(*number));
            }
            Command::Monitor(number) => {
                self.silent("monitor", &Request::Monitor { watched: *number }, Effect::None);
            }
            _ => {}
        }
        Ok(())
    }

    fn log_out(&mut self) {
        // It can be said of no message afterwards that it has arrived.
        self.confirm();
        self.credentials = None;
        self.to_send.push_back(ToServer::StopFiles);
        let (own, request) = (self.own, Request::SetMode { mode: 4 });
        let answer = self.answer_to_silence();
        self.encode(own, &request);
        // What follows has no session to belong to, and carries no number.
        self.own = ServiceNumber::NONE;
        if answer == Answer::Test {
            self.encode(ServiceNumber::NONE, &Request::Test);
        }
        self.expect("logout", &request, answer, Effect::LogOut);
    }

    fn start_move(&mut self, moves: Vec<(ServiceNumber, GroupName)>) -> Result<(), String> {
        let find = |(number, group): (_, GroupName)| Ok((number, self.find(&group)?));
        let moves = moves.into_iter().map(find).collect::<Result<Vec<_>, String>>()?;
        if u8::try_from(moves.len()).is_err() {
            return Err("up to 255 friends are moved at once".to_owned());
        }
        let bytes = Moves::pack(moves.iter().copied());
        let packed = Moves::over(&bytes).unwrap_or_default();
        let request = Request::MoveFriends(packed);
        self.request("move", &request, Answer::Own, Effect::Move(moves));
        Ok(())
    }

    fn start_file(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::FileSend { to, path } => self.offer_file(to, &path),
            Command::FileAccept { from, path } => {
                self.files.accept(from, path.as_deref())?;
                let request = Request::AnswerFile { friend: from, allow: 1 };
                self.silent("file", &request, Effect::Accept(from));
                Ok(())
            }
            Command::FileReject(number) => {
                let incoming = self.files.end_incoming(number).is_some();
                if !incoming && self.files.end_outgoing(number).is_none() {
                    return Err(format!("there is no file with {number}"));
                }
                if !incoming {
                    self.to_send.push_back(ToServer::StopFile(number));
                }
                let request = Request::AnswerFile { friend: number, allow: 0 };
                self.silent("file", &request, Effect::None);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn offer_file(&mut self, to: ServiceNumber, path: &Path) -> Result<(), String> {
        let (name, length) = self.files.offer(to, path)?;
        let name = self.charset.encode(&name).into_owned();
        let request = Request::OfferFile { friend: to, name: &name, length };
        self.silent("file", &request, Effect::Offer(to));
        Ok(())
    }

    /// Breaks off what is on its way from this number, and tells the other side.
    pub(super) fn break_off(&mut self, number: ServiceNumber) {
        if !self.is_changing() {
            let request = Request::AnswerFile { friend: number, allow: 0 };
            self.silent("", &request, Effect::None);
        }
    }

    /// A file was accepted by the other side: its pieces go out.
    pub(super) fn send_file(&mut self, file: OutgoingFile) {
        self.to_send.push_back(ToServer::File(file));
    }

    /// No more pieces to this number.
    pub(super) fn stop_file(&mut self, to: ServiceNumber) {
        self.to_send.push_back(ToServer::StopFile(to));
    }

    /// Changes one's profile, now that it is known how it was.
    pub(super) fn change(&mut self, request: &Request<'_>, password: Option<SecretBuf>) {
        self.silent("change", request, Effect::Changed(password));
    }

    /// Looks up somebody's name, without a word.
    pub(super) fn look_up(&mut self, number: ServiceNumber) {
        if self.view.name(number).is_none() && !self.is_changing() {
            let request = Request::ViewProfile { friend: number };
            self.request("", &request, Answer::Own, Effect::None);
        }
    }

    /// What a login tells.
    pub(super) fn handle_login(&mut self, with: Credentials, groups: &[GroupEntry<'_>]) {
        self.own = with.number;
        self.extended.handle_login(with.number);
        self.view.handle_login(groups, self.charset);
        let (groups, friends) = self.view.counts();
        let event = Event::new("logged-in").with("number", with.number);
        self.events.push_back(event.with("groups", groups).with("friends", friends));
        if with.mode == 3 {
            self.silent("", &Request::SetMode { mode: 3 }, Effect::None);
        }
        self.credentials = self.returns.then_some(with);
    }

    fn find(&self, group: &GroupName) -> Result<GroupNumber, String> {
        self.view.find(group).ok_or_else(|| format!("there is no group {group:?}"))
    }

    fn replied(&mut self, command: &'static str, request: &Request<'_>) {
        self.request(command, request, Answer::Own, Effect::None);
    }

    /// A packet that has no reply.
    pub(super) fn silent(&mut self, command: &'static str, request: &Request<'_>, effect: Effect) {
        self.request(command, request, self.answer_to_silence(), effect);
    }

    fn answer_to_silence(&self) -> Answer {
        if self.has(Extensions::RESULTS) { Answer::Own } else { Answer::Test }
    }

    pub(super) fn request(
        &mut self,
        command: &'static str,
        request: &Request<'_>,
        answer: Answer,
        effect: Effect,
    ) {
        self.request_as(self.own, command, request, answer, effect);
    }

    fn request_as(
        &mut self,
        own: ServiceNumber,
        command: &'static str,
        request: &Request<'_>,
        answer: Answer,
        effect: Effect,
    ) {
        self.encode(own, request);
        if answer == Answer::Test {
            self.encode(own, &Request::Test);
        }
        self.expect(command, request, answer, effect);
    }

    fn expect(
        &mut self,
        command: &'static str,
        request: &Request<'_>,
        answer: Answer,
        effect: Effect,
    ) {
        let packet_type = request.packet_type() as u8;
        let outcome = Outcome::Done(Seq::ZERO);
        self.pending.push_back(Pending { command, packet_type, answer, outcome, effect });
    }

    pub(super) fn encode(&mut self, own: ServiceNumber, request: &Request<'_>) {
        let own = if request.packet_type().has_own_number() { own } else { ServiceNumber::NONE };
        // As much as a server takes from one who logs in or registers, so that no password is moved.
        let capacity = match request.packet_type().has_password() {
            true => HEADER_BYTES + CONTENT_BYTES_BEFORE_LOGIN as usize,
            false => 0,
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
        ClientPacket { own, request: *request }.encode(self.kind, &mut bytes);
        self.to_send.push_back(ToServer::Packet(bytes));
    }
}
