//! The session: commands become packets, packets become events.
//!
//! Owns what is waited for, the own number, the friend list and the transfers. It does no IO but for
//! files; what is to go out is taken with `poll_send`, what happened with `poll_event`.
//!
//! Every command gets one outcome, `done` or `refused`. The base protocol answers many packets with
//! silence; behind each of those goes a connection test, whose answer shows that there was no refusal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use oicq::codec::charset::Charset;
use oicq::codec::packed::Moves;
use oicq::codec::secret::SecretBuf;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::wire::server::GroupEntry;
use oicq::wire::{ClientPacket, Kind, Request, RequestType};

use super::commands::{Command, GroupName};
use super::connection::{OutgoingFile, ToServer};
use super::events::Event;
use super::fields::Changes;
use super::files::Files;
use super::view::View;

/// One end of a conversation with the server.
pub(crate) struct Session {
    pub(super) charset: Charset,
    kind: Kind,
    /// The own number, once the server has agreed to it.
    pub(super) own: ServiceNumber,
    pub(super) pending: VecDeque<Pending>,
    pub(super) view: View,
    pub(super) files: Files,
    pub(super) events: VecDeque<Event>,
    to_send: VecDeque<ToServer>,
}

/// A packet that was sent and not yet answered. They are answered in order.
#[derive(Debug)]
pub(super) struct Pending {
    /// The command that it belongs to; empty where nobody asked for it.
    pub(super) command: &'static str,
    pub(super) packet_type: u8,
    pub(super) answer: Answer,
    pub(super) refused: bool,
    pub(super) effect: Effect,
}

/// What shows that a packet was dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The reply that it has.
    Reply,
    /// The answer to the connection test behind it.
    Test,
}

/// What becomes true when a packet was not refused.
#[derive(Debug)]
pub(super) enum Effect {
    None,
    LogIn(ServiceNumber),
    LogOut,
    Move(Vec<(ServiceNumber, GroupNumber)>),
    Remove(ServiceNumber),
    /// The profile that comes is the one to change.
    Change(Changes),
    /// An offer, which ends when it is refused.
    Offer(ServiceNumber),
    Accept(ServiceNumber),
    /// All pieces are with the server.
    FileSent(ServiceNumber),
}

impl Session {
    /// Nobody is logged in, nothing is waited for.
    pub(crate) fn new(charset: Charset, kind: Kind, downloads: PathBuf) -> Self {
        Self {
            charset,
            kind,
            own: ServiceNumber::NONE,
            pending: VecDeque::new(),
            view: View::default(),
            files: Files::new(downloads),
            events: VecDeque::new(),
            to_send: VecDeque::new(),
        }
    }

    /// What is to be handed to the connection next.
    pub(crate) fn poll_send(&mut self) -> Option<ToServer> {
        self.to_send.pop_front()
    }

    /// What happened next.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many packets wait for their answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
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
            self.request("", &Request::Test, Answer::Reply, Effect::None);
        }
    }

    /// Does a command. The error is for people: nothing was sent.
    pub(crate) fn start(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Register(changes) => {
                let request = Request::Register(changes.for_new());
                self.request("register", &request, Answer::Reply, Effect::None);
            }
            Command::LogIn { number, hidden, password } => self.log_in(number, hidden, password)?,
            Command::Test => self.request("test", &Request::Test, Answer::Reply, Effect::None),
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
        self.request_as(number, "login", &request, Answer::Reply, Effect::LogIn(number));
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
                self.request("change", &request, Answer::Reply, Effect::Change(changes));
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
            Command::Mode(mode) => self.silent("mode", &Request::SetMode { mode: *mode }),
            Command::Send { to, text } => {
                self.silent("send", &Request::Send { receiver: *to, content: text });
            }
            Command::Broadcast { group, text } => {
                let group = self.find(group)?;
                self.silent("broadcast", &Request::Broadcast { group, content: text });
            }
            Command::Add { number, reason } if reason.is_empty() => {
                self.silent("add", &Request::AddFriend { friend: *number });
            }
            Command::Add { number, reason } => {
                self.silent("add", &Request::RequestFriend { friend: *number, reason });
            }
            Command::Answer { number, yes } => {
                let request = Request::AnswerRequest { friend: *number, consent: u8::from(*yes) };
                self.silent("answer", &request);
            }
            Command::Remove(number) => {
                let request = Request::DeleteFriend { friend: *number };
                self.request("remove", &request, Answer::Test, Effect::Remove(*number));
            }
            Command::Monitor(number) => {
                self.silent("monitor", &Request::Monitor { watched: *number });
            }
            _ => {}
        }
        Ok(())
    }

    fn log_out(&mut self) {
        self.to_send.push_back(ToServer::StopFiles);
        // The test behind it already has no session to belong to: it carries no number.
        let own = std::mem::take(&mut self.own);
        let request = Request::SetMode { mode: 4 };
        self.encode(own, &request);
        self.encode(ServiceNumber::NONE, &Request::Test);
        self.expect("logout", &request, Answer::Test, Effect::LogOut);
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
        self.request("move", &request, Answer::Reply, Effect::Move(moves));
        Ok(())
    }

    fn start_file(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::FileSend { to, path } => self.offer_file(to, &path),
            Command::FileAccept { from, path } => {
                self.files.accept(from, path.as_deref())?;
                let request = Request::AnswerFile { friend: from, allow: 1 };
                self.request("file", &request, Answer::Test, Effect::Accept(from));
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
                self.silent("file", &Request::AnswerFile { friend: number, allow: 0 });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn offer_file(&mut self, to: ServiceNumber, path: &Path) -> Result<(), String> {
        let (name, length) = self.files.offer(to, path)?;
        let name = self.charset.encode(&name).into_owned();
        let request = Request::OfferFile { friend: to, name: &name, length };
        self.request("file", &request, Answer::Test, Effect::Offer(to));
        Ok(())
    }

    /// Breaks off what is on its way from this number, and tells the other side.
    pub(super) fn break_off(&mut self, number: ServiceNumber) {
        if !self.is_changing() {
            let request = Request::AnswerFile { friend: number, allow: 0 };
            self.request("", &request, Answer::Test, Effect::None);
        }
    }

    /// A file was accepted by the other side: its pieces go out.
    pub(super) fn send_file(&mut self, file: std::fs::File, to: ServiceNumber, remaining: u32) {
        let file = OutgoingFile { own: self.own, to, file, remaining };
        self.to_send.push_back(ToServer::File(file));
    }

    /// No more pieces to this number.
    pub(super) fn stop_file(&mut self, to: ServiceNumber) {
        self.to_send.push_back(ToServer::StopFile(to));
    }

    /// Changes one's profile, now that it is known how it was.
    pub(super) fn change(&mut self, request: &Request<'_>) {
        self.silent("change", request);
    }

    /// Looks up somebody's name, without a word.
    pub(super) fn look_up(&mut self, number: ServiceNumber) {
        if self.view.name(number).is_none() && !self.is_changing() {
            let request = Request::ViewProfile { friend: number };
            self.request("", &request, Answer::Reply, Effect::None);
        }
    }

    /// What a login tells.
    pub(super) fn handle_login(&mut self, number: ServiceNumber, groups: &[GroupEntry<'_>]) {
        self.own = number;
        self.view.handle_login(groups, self.charset);
        let (groups, friends) = self.view.counts();
        let event = Event::new("logged-in").with("number", number);
        self.events.push_back(event.with("groups", groups).with("friends", friends));
    }

    fn find(&self, group: &GroupName) -> Result<GroupNumber, String> {
        self.view.find(group).ok_or_else(|| format!("there is no group {group:?}"))
    }

    fn replied(&mut self, command: &'static str, request: &Request<'_>) {
        self.request(command, request, Answer::Reply, Effect::None);
    }

    fn silent(&mut self, command: &'static str, request: &Request<'_>) {
        self.request(command, request, Answer::Test, Effect::None);
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
        self.pending.push_back(Pending { command, packet_type, answer, refused: false, effect });
    }

    fn encode(&mut self, own: ServiceNumber, request: &Request<'_>) {
        let own = if request.packet_type().has_own_number() { own } else { ServiceNumber::NONE };
        let mut bytes = Vec::new();
        ClientPacket { own, request: *request }.encode(self.kind, &mut bytes);
        self.to_send.push_back(ToServer::Packet(bytes));
    }
}
