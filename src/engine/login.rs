//! Passwords on their way to the worker and back, and what follows: registrations, changes, logins.
//! Protocol section 4, `0x01`, `0x02` and `0x12`.
//!
//! One password is worked on at a time; the others wait in their connections, which take no further
//! packet meanwhile. Addresses take turns: whoever sends very many delays the others by one password each, and itself
//! by all of them. Once very many wait, an address may have no more than a few among them: a client that has hung up
//! is not missed before its password has been looked at.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::kept::{self, KeptError};
use super::listing::Listing;
use super::mail::Encoded;
use super::peer::{Peer, Session, Stage};
use super::renewal::Renewals;

use super::throttle::{Bucket, Key};
use super::words::Ending;
use super::{Engine, Host};
use crate::codec::charset::Breaks;
use crate::codec::profile::Profile;
use crate::codec::secret::{Secret, SecretBuf};
use crate::codec::{Reader, Write};
use crate::id::{ConnectionId, Seq, ServiceNumber};
use crate::limits::{PASSWORDS_WAIT_MS, PASSWORDS_WAITING, PASSWORDS_WAITING_EACH};
use crate::state::decide::{Forbidden, Must, Refusal, accounts};
use crate::state::{Authentication, Event};
use crate::wire::client::Account;
use crate::wire::server::{Extensions, Presence};
use crate::wire::{RequestType, ServerPacket};

/// A password to be worked on beside the loop.
#[derive(Debug)]
pub struct PasswordJob {
    /// To be given back with the verdict.
    pub ticket: u64,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done with a password.
#[derive(Debug)]
pub enum Task {
    /// Hash it, with a new salt.
    Hash {
        /// The password.
        password: SecretBuf,
    },
    /// Compare it with a hash.
    Verify {
        /// The password.
        password: SecretBuf,
        /// `None` for an unknown number: the comparison then fails, and takes as long.
        hash: Option<Box<str>>,
    },
}

/// What came of a password.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The job's.
    pub ticket: u64,
    /// The result.
    pub outcome: Outcome,
}

/// What came of a password.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its hash, a PHC string.
    Hashed(Box<str>),
    /// Whether it belongs to the hash.
    Matches(bool),
    /// It belongs to the hash, which has another cost than those that are made now.
    MatchesOlder,
}

/// What a password is wanted for.
enum Purpose {
    LogIn { number: ServiceNumber, mode: Presence },
    Register { profile: Vec<u8>, authentication: Authentication },
    Change { number: ServiceNumber, profile: Vec<u8>, authentication: Option<Authentication> },
}

struct Wanted {
    ticket: u64,
    connection: ConnectionId,
    password: SecretBuf,
    purpose: Purpose,
}

/// The passwords that wait, by their addresses, which take turns.
#[derive(Default)]
struct Waiting {
    /// Of each address by their tickets. None is empty.
    of_addresses: BTreeMap<Key, BTreeMap<u64, Wanted>>,
    /// The addresses, from the one whose turn is next on.
    turns: VecDeque<Key>,
    /// How many there are.
    count: usize,
}

impl Waiting {
    /// Whether an address may have one more among them.
    fn has_room(&self, address: Key) -> bool {
        let of_address = self.of_addresses.get(&address).map_or(0, BTreeMap::len);
        self.count < PASSWORDS_WAITING || of_address < PASSWORDS_WAITING_EACH
    }

    fn add(&mut self, address: Key, wanted: Wanted) {
        let of_address = self.of_addresses.entry(address).or_default();
        if of_address.is_empty() {
            self.turns.push_back(address);
        }
        of_address.insert(wanted.ticket, wanted);
        self.count += 1;
    }

    fn take_next(&mut self) -> Option<Wanted> {
        let address = self.turns.pop_front()?;
        let of_address = self.of_addresses.get_mut(&address)?;
        let (_, wanted) = of_address.pop_first()?;
        self.count -= 1;
        if of_address.is_empty() {
            self.of_addresses.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        Some(wanted)
    }

    /// Nobody waits for it any more.
    fn remove(&mut self, address: Key, ticket: u64) {
        let Some(of_address) = self.of_addresses.get_mut(&address) else { return };
        self.count -= usize::from(of_address.remove(&ticket).is_some());
        if of_address.is_empty() {
            self.of_addresses.remove(&address);
            self.turns.retain(|other| *other != address);
        }
    }

    /// In the order in which they will be taken: added in it again, they will be taken in it again.
    fn in_order(&self) -> Vec<&Wanted> {
        let of_address = |address| self.of_addresses.get(address).map(BTreeMap::values);
        let mut left: Vec<_> = self.turns.iter().filter_map(of_address).collect();
        let mut all = Vec::new();
        while !left.is_empty() {
            left.retain_mut(|of_address| {
                let next = of_address.next();
                all.extend(next);
                next.is_some()
            });
        }
        all
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Wanted> {
        self.of_addresses.values_mut().flat_map(BTreeMap::values_mut)
    }
}

/// The passwords that wait, and the one that is being worked on.
#[derive(Default)]
pub(super) struct Passwords {
    waiting: Waiting,
    at_work: Option<Wanted>,
    renewals: Renewals,
    tickets: u64,
}

impl Passwords {
    /// Whether each waits under its ticket, which was given to it alone, and each address has its turn.
    pub(super) fn are_in_order(&self) -> bool {
        let Waiting { of_addresses, turns, count } = &self.waiting;
        let has_turn = |address: &Key| turns.iter().filter(|turn| *turn == address).count() == 1;
        let is_in_order = |(address, all): (&Key, &BTreeMap<u64, Wanted>)| {
            has_turn(address)
                && !all.is_empty()
                && all.iter().all(|(ticket, wanted)| *ticket == wanted.ticket)
        };
        let mut tickets: Vec<_> = self.all().map(|wanted| wanted.ticket).collect();
        tickets.extend(self.renewals.tickets());
        tickets.sort_unstable();
        let at_work = [self.at_work.is_some(), self.renewals.is_at_work()];
        turns.len() == of_addresses.len()
            && *count == of_addresses.values().map(BTreeMap::len).sum::<usize>()
            && of_addresses.iter().all(is_in_order)
            && tickets.is_sorted_by(|one, next| one < next)
            && tickets.last().is_none_or(|last| *last <= self.tickets)
            && at_work != [true; 2]
            && self.renewals.are_in_order()
    }

    /// Whether all hashes that are to be made anew are of users that are there.
    pub(super) fn renews_for(&self, is_there: impl Fn(ServiceNumber) -> bool) -> bool {
        self.renewals.are_of(is_there)
    }

    fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn all(&self) -> impl Iterator<Item = &Wanted> {
        let waiting = self.waiting.of_addresses.values().flat_map(BTreeMap::values);
        self.at_work.iter().chain(waiting)
    }

    /// Whether the password for which a connection waits is among them, for something that the connection's session
    /// may want, or a connection without one.
    pub(super) fn will_come(
        &self,
        ticket: u64,
        connection: ConnectionId,
        session: Option<ServiceNumber>,
    ) -> bool {
        let wanted = self.all().find(|wanted| wanted.ticket == ticket);
        wanted.is_some_and(|wanted| {
            let fits = match wanted.purpose {
                Purpose::Change { number, .. } => session == Some(number),
                Purpose::LogIn { .. } | Purpose::Register { .. } => session.is_none(),
            };
            fits && wanted.connection == connection
        })
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        out.put_u64(self.tickets);
        out.put_u8(u8::from(self.at_work.is_some()));
        let waiting = self.waiting.in_order();
        kept::put_count(out, waiting.len());
        self.at_work.iter().chain(waiting).for_each(|wanted| wanted.save(out));
        self.renewals.save(out);
    }

    /// `address` tells where a connection comes from.
    pub(super) fn restore(
        &mut self,
        reader: &mut Reader<'_>,
        address: impl Fn(ConnectionId) -> Option<IpAddr>,
    ) -> Result<(), KeptError> {
        self.tickets = kept::count(reader)?;
        let is_at_work = kept::flag(reader)?;
        let waiting = reader.u32()?;
        if is_at_work {
            self.at_work = Some(Wanted::restore(reader)?);
        }
        for _ in 0..waiting {
            let wanted = Wanted::restore(reader)?;
            let address = address(wanted.connection).ok_or(KeptError::Layout)?;
            self.waiting.add(Key::of(address), wanted);
        }
        self.renewals.restore(reader)
    }
}

impl Wanted {
    fn save(&self, out: &mut Vec<u8>) {
        out.put_u64(self.ticket);
        kept::put_connection(out, self.connection);
        match &self.purpose {
            Purpose::LogIn { number, mode } => {
                out.put_u8(0);
                out.put_u32(number.0);
                out.put_u8(*mode as u8);
            }
            Purpose::Register { profile, authentication } => {
                out.put_u8(1);
                out.put_string(profile);
                out.put_u8(*authentication as u8);
            }
            Purpose::Change { number, profile, authentication } => {
                out.put_u8(2);
                out.put_u32(number.0);
                out.put_string(profile);
                out.put_u8(authentication.map_or(255, |authentication| authentication as u8));
            }
        }
    }

    fn restore(reader: &mut Reader<'_>) -> Result<Self, KeptError> {
        let authentication = |byte| Authentication::from_byte(byte).ok_or(KeptError::Layout);
        let (ticket, connection) = (reader.u64()?, kept::connection(reader)?);
        let purpose = match reader.u8()? {
            0 => Purpose::LogIn {
                number: kept::number(reader)?,
                mode: Presence::from_byte(reader.u8()?).ok_or(KeptError::Layout)?,
            },
            1 => Purpose::Register {
                profile: reader.string()?.to_vec(),
                authentication: authentication(reader.u8()?)?,
            },
            2 => Purpose::Change {
                number: kept::number(reader)?,
                profile: reader.string()?.to_vec(),
                authentication: match reader.u8()? {
                    255 => None,
                    byte => Some(authentication(byte)?),
                },
            },
            _ => return Err(KeptError::Layout),
        };
        Ok(Self { ticket, connection, password: Secret::new(b"").to_owned(), purpose })
    }
}

impl Engine {
    /// Puts other profiles in the place of those that wait for a password with their registration or change, and other
    /// nicknames into friend lists that are being made.
    pub fn exchange_profiles(&mut self, mut other: impl FnMut(&Profile<'_>) -> Vec<u8>) {
        for wanted in self.passwords.at_work.iter_mut().chain(self.passwords.waiting.iter_mut()) {
            if let Purpose::Register { profile, .. } | Purpose::Change { profile, .. } =
                &mut wanted.purpose
            {
                *profile = other(&Profile::unpacked(profile));
            }
        }
        for peer in self.peers.iter_mut().flatten() {
            if let Stage::Listing(listing) = &mut peer.stage {
                listing.exchange_nicknames(&mut other);
            }
        }
    }

    pub(super) fn register(
        &mut self,
        connection: ConnectionId,
        account: &Account<'_>,
    ) -> Result<(), Refusal> {
        if self.session(connection).is_some() {
            return Err(Refusal::AlreadyLoggedIn);
        }
        let charset = self.settings.charset;
        accounts::check_profile(&account.profile, charset)?;
        accounts::check_password(account.password, charset)?;
        let authentication = accounts::check_authentication(account.authentication)?;
        if !self.settings.registration_open {
            return Err(Refusal::RegistrationClosed);
        }
        let profile = packed(&account.profile);
        self.want(connection, account.password, Purpose::Register { profile, authentication })
    }

    pub(super) fn change_profile(
        &mut self,
        connection: ConnectionId,
        number: ServiceNumber,
        account: &Account<'_>,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let charset = self.settings.charset;
        accounts::check_profile(&account.profile, charset)?;
        let keeps_password = account.password.expose().is_empty();
        if !keeps_password {
            accounts::check_password(account.password, charset)?;
        }
        let authentication = match account.authentication {
            255 => None,
            byte => Some(accounts::check_authentication(byte).map_err(|_| {
                Refusal::bad_value("authentication", Must::BeOneOf("0, 1, 2 or 255"))
            })?),
        };
        if keeps_password {
            return self.finish_change(number, account.profile, authentication, None, host);
        }
        let profile = packed(&account.profile);
        self.want(connection, account.password, Purpose::Change { number, profile, authentication })
    }

    pub(super) fn log_in(
        &mut self,
        connection: ConnectionId,
        number: ServiceNumber,
        password: Secret<'_>,
        mode: u8,
    ) -> Result<(), Refusal> {
        if self.session(connection).is_some() {
            return Err(Refusal::AlreadyLoggedIn);
        }
        let mode = match mode {
            0 => Presence::Online,
            1 => Presence::Offline,
            _ => return Err(Refusal::bad_value("mode", Must::BeOneOf("0 or 1"))),
        };
        let charset = self.settings.charset;
        if !charset.is_text(password.expose(), Breaks::Refused) {
            return Err(Refusal::bad_value("password", Must::BeText(charset)));
        }
        self.want(connection, password, Purpose::LogIn { number, mode })
    }

    fn want(
        &mut self,
        connection: ConnectionId,
        password: Secret<'_>,
        purpose: Purpose,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peer(connection) else { return Ok(()) };
        let address = Key::of(peer.address);
        if !self.passwords.waiting.has_room(address) {
            return Err(Refusal::Throttled { wait_ms: PASSWORDS_WAIT_MS });
        }
        let ticket = self.passwords.next_ticket();
        let password = password.to_owned();
        self.passwords.waiting.add(address, Wanted { ticket, connection, password, purpose });
        self.set_stage(connection, |peer| peer.stage = Stage::Password(ticket));
        Ok(())
    }

    /// Begins or ends a wait for a password: a connection without a session makes room later while it lasts.
    pub(super) fn set_stage(&mut self, connection: ConnectionId, change: impl FnOnce(&mut Peer)) {
        let Some(peer) = self.peer_mut(connection) else { return };
        let before = peer.makes_room();
        change(peer);
        let after = peer.makes_room();
        if let Some(listed) = self.without_session.remove(&before) {
            self.without_session.insert(after, listed);
        }
    }

    /// A connection that may have waited for a password waits no more.
    pub(super) fn forget_password(&mut self, connection: ConnectionId) {
        if let Some(peer) = self.peer(connection)
            && let Stage::Password(ticket) = peer.stage
        {
            let address = Key::of(peer.address);
            self.passwords.waiting.remove(address, ticket);
        }
    }

    /// The next password to be worked on; `None` while one is. Who has tried too often is refused here,
    /// without a look at the password.
    pub fn poll_password_job(&mut self) -> Option<PasswordJob> {
        if self.passwords.at_work.is_some() || self.passwords.renewals.is_at_work() {
            return None;
        }
        loop {
            let Some(wanted) = self.passwords.waiting.take_next() else {
                return self.passwords.renewals.take_next();
            };
            if let Err(refusal) = self.check_throttle(&wanted) {
                self.end_wait(wanted.connection);
                self.refuse_wanted(&wanted, &refusal);
                continue;
            }
            let password = wanted.password.clone();
            let task = match &wanted.purpose {
                Purpose::LogIn { number, .. } => {
                    let hash = self.state.user(*number).map(|user| user.password_hash().into());
                    Task::Verify { password, hash }
                }
                Purpose::Register { .. } | Purpose::Change { .. } => Task::Hash { password },
            };
            let ticket = wanted.ticket;
            self.passwords.at_work = Some(wanted);
            return Some(PasswordJob { ticket, task });
        }
    }

    /// Whether the connection still waits for this password: it may have ended meanwhile.
    fn is_wanted(&self, wanted: &Wanted) -> bool {
        let stage = self.peer(wanted.connection).map(|peer| &peer.stage);
        matches!(stage, Some(Stage::Password(ticket)) if *ticket == wanted.ticket)
    }

    fn check_throttle(&mut self, wanted: &Wanted) -> Result<(), Refusal> {
        let Some(peer) = self.peer(wanted.connection) else { return Ok(()) };
        let (address, now) = (Key::of(peer.address), self.now.mono);
        let result = match wanted.purpose {
            Purpose::LogIn { number, .. } => {
                let for_number = self.login_failures.check(Key::Number(number), now);
                let for_address = self.login_failures.check(address, now);
                match (for_number, for_address) {
                    (Err(one), Err(other)) => Err(one.max(other)),
                    (one, other) => one.and(other),
                }
            }
            Purpose::Register { .. } => self.registrations.check(address, now),
            Purpose::Change { .. } => Ok(()),
        };
        result.map_err(|wait_ms| Refusal::Throttled { wait_ms })
    }

    /// A password has been worked on.
    pub fn handle_verdict(&mut self, verdict: Verdict, host: &mut impl Host) {
        if let Some(number) = self.passwords.renewals.finish(verdict.ticket) {
            return self.finish_renewal(number, &verdict.outcome, host);
        }
        if self.passwords.at_work.as_ref().is_none_or(|wanted| wanted.ticket != verdict.ticket) {
            return;
        }
        let Some(wanted) = self.passwords.at_work.take() else { return };
        if !self.is_wanted(&wanted) {
            return;
        }
        let connection = wanted.connection;
        self.last_change = Seq::ZERO;
        self.end_wait(connection);
        let is_older = matches!(verdict.outcome, Outcome::MatchesOlder);
        let result = match (&wanted.purpose, verdict.outcome) {
            (Purpose::LogIn { number, mode }, Outcome::Matches(matches)) => {
                self.finish_login(connection, *number, *mode, matches, host)
            }
            (Purpose::LogIn { number, mode }, Outcome::MatchesOlder) => {
                self.finish_login(connection, *number, *mode, true, host)
            }
            (Purpose::Register { profile, authentication }, Outcome::Hashed(hash)) => {
                self.finish_registration(connection, profile, *authentication, &hash, host)
            }
            (Purpose::Change { number, profile, authentication }, Outcome::Hashed(hash)) => {
                let profile = Profile::unpacked(profile);
                self.finish_change(*number, profile, *authentication, Some(&hash), host)
            }
            // The worker answers each task with its own kind of outcome.
            _ => Err(Refusal::BadLogin),
        };
        match (result, &wanted.purpose) {
            (Err(refusal), _) => self.refuse_wanted(&wanted, &refusal),
            // A login has its result before the mail.
            (Ok(()), Purpose::LogIn { number, .. }) => {
                if is_older {
                    self.renew_hash(*number, wanted.password);
                }
            }
            (Ok(()), Purpose::Register { .. }) => {
                self.answer_done(connection, RequestType::Register as u8);
            }
            (Ok(()), Purpose::Change { .. }) => {
                self.answer_done(connection, RequestType::ChangeProfile as u8);
            }
        }
        self.emit_presence(host);
    }

    fn end_wait(&mut self, connection: ConnectionId) {
        self.set_stage(connection, Peer::go_on);
        self.resumed.push(connection);
    }

    fn refuse_wanted(&mut self, wanted: &Wanted, refusal: &Refusal) {
        let (packet_type, reply) = match wanted.purpose {
            Purpose::LogIn { .. } => {
                let reply = ServerPacket::LoggedIn { success: false, groups: Vec::new() };
                (RequestType::LogIn, Some(reply))
            }
            Purpose::Register { .. } => {
                let number = ServiceNumber::NONE;
                let reply = ServerPacket::Registered { success: false, number };
                (RequestType::Register, Some(reply))
            }
            Purpose::Change { .. } => (RequestType::ChangeProfile, None),
        };
        self.refuse(wanted.connection, packet_type as u8, reply.as_ref(), refusal);
    }

    fn finish_registration(
        &mut self,
        connection: ConnectionId,
        profile: &[u8],
        authentication: Authentication,
        hash: &str,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let profile = Profile::unpacked(profile);
        let event = accounts::register(&self.state, profile, authentication, hash)?;
        let Event::Registered { number, .. } = event else { return Ok(()) };
        self.record(&event, host)?;
        let now = self.now.mono;
        if let Some(peer) = self.peer_mut(connection) {
            peer.sessionless_since = now;
            let address = Key::of(peer.address);
            self.registrations.count(address, now);
        }
        self.send(connection, &ServerPacket::Registered { success: true, number });
        Ok(())
    }

    fn finish_change(
        &mut self,
        number: ServiceNumber,
        profile: Profile<'_>,
        authentication: Option<Authentication>,
        hash: Option<&str>,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        match accounts::change_profile(&self.state, number, profile, authentication, hash)? {
            Some(event) => self.record(&event, host)?,
            None => return Ok(()),
        }
        if hash.is_some() {
            self.passwords.renewals.forget(number);
        }
        Ok(())
    }

    /// The password has let its user in, and is to have a hash of the cost that hashes have now.
    fn renew_hash(&mut self, number: ServiceNumber, password: SecretBuf) {
        let passwords = &mut self.passwords;
        if passwords.renewals.has_room_for(number) {
            let ticket = passwords.next_ticket();
            passwords.renewals.add(ticket, number, password);
        }
    }

    /// The password is still the user's: another one would have been worked on before or after, and not meanwhile.
    fn finish_renewal(&mut self, number: ServiceNumber, outcome: &Outcome, host: &mut impl Host) {
        let Outcome::Hashed(hash) = outcome else { return };
        if let Ok(event) = accounts::rehash(&self.state, number, hash) {
            // Where there is no room for it, the hash stays as it is until the next login.
            let _ = self.record(&event, host);
        }
    }

    fn finish_login(
        &mut self,
        connection: ConnectionId,
        number: ServiceNumber,
        mode: Presence,
        matches: bool,
        host: &mut impl Host,
    ) -> Result<(), Refusal> {
        let Some(peer) = self.peer(connection) else { return Ok(()) };
        let (kind, address) = (peer.kind(), Key::of(peer.address));
        if !matches || self.state.user(number).is_none() {
            self.login_failures.count(Key::Number(number), self.now.mono);
            self.login_failures.count(address, self.now.mono);
            return Err(Refusal::BadLogin);
        }
        let service = self.settings.services.iter().find(|(_, service)| **service == number);
        let fits = match service {
            Some((service_kind, _)) => *service_kind == kind,
            None => !kind.is_service(),
        };
        if !fits {
            return Err(Refusal::NotAllowed(Forbidden::LogInAsThisKind));
        }
        self.login_failures.clear(Key::Number(number));
        self.list_friends(connection, Listing::new(number, mode), host);
        Ok(())
    }

    /// A login is done: its reply, and the session begins.
    pub(super) fn enter(
        &mut self,
        connection: ConnectionId,
        listing: &Listing,
        host: &mut impl Host,
    ) {
        let (number, kind) = (listing.number, self.kind(connection));
        if let Some(elsewhere) = self.sessions.get(number) {
            self.end_connection(elsewhere, 0, Ending::Elsewhere, host);
        }
        self.settle_mail(number, host);
        self.start_session(connection, number, listing.mode);
        let state = &self.state;
        let range = self.outbox.encode_with(|out| listing.encode(state, kind, out));
        self.push(connection, range);
        self.answer_done(connection, RequestType::LogIn as u8);
        self.send_mail(connection, &mut Encoded::default(), host);
    }

    fn start_session(&mut self, connection: ConnectionId, number: ServiceNumber, mode: Presence) {
        let requests = Bucket::full(self.request_rate, self.now.mono);
        // What has arrived on an earlier connection is not sent again, even if the log has no room to say so.
        let sent_through = self.receipts.get(&number).copied().unwrap_or_default();
        let Some(peer) = self.peer_mut(connection) else { return };
        let place = peer.makes_room();
        // The stage goes back to ready once the mailbox has been looked through.
        peer.stage = Stage::Mail;
        peer.session = Some(Box::new(Session {
            number,
            requests,
            sent_through,
            confirmed: sent_through,
            mail_left: false,
            monitoring: None,
            untold: None,
        }));
        let wants_presence = peer.extensions.have(Extensions::PRESENCE);
        self.without_session.remove(&place);
        if wants_presence {
            self.presence_sessions.insert(number);
        }
        self.sessions.start(number, connection);
        self.show_as(number, mode);
    }
}

fn packed(profile: &Profile<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    profile.write(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ServiceNumber = ServiceNumber(10_001);

    fn wanted(ticket: u64, purpose: Purpose) -> Wanted {
        let (connection, password) = (ConnectionId(7), Secret::new(b"").to_owned());
        Wanted { ticket, connection, password, purpose }
    }

    fn change() -> Purpose {
        Purpose::Change { number: ANN, profile: Vec::new(), authentication: None }
    }

    fn log_in() -> Purpose {
        Purpose::LogIn { number: ANN, mode: Presence::Online }
    }

    fn waiting(all: impl IntoIterator<Item = Wanted>) -> Waiting {
        let mut waiting = Waiting::default();
        all.into_iter().for_each(|wanted| waiting.add(Key::Number(ANN), wanted));
        waiting
    }

    #[test]
    fn passwords_wait_under_their_own_tickets_in_turns() {
        let passwords = |at_work: Option<u64>, others: &[u64]| {
            let at_work = at_work.map(|ticket| wanted(ticket, log_in()));
            let others = others.iter().map(|ticket| wanted(*ticket, log_in()));
            let (waiting, renewals) = (waiting(others), Renewals::default());
            Passwords { waiting, at_work, renewals, tickets: 3 }
        };
        let in_order = |at_work, others: &[u64]| passwords(at_work, others).are_in_order();
        assert!(in_order(None, &[]) && in_order(Some(1), &[]) && in_order(Some(1), &[2, 3]));
        assert!(!in_order(None, &[1, 4]) && !in_order(Some(1), &[1]) && !in_order(Some(4), &[]));
        let broken = |change: fn(&mut Waiting)| {
            let mut passwords = passwords(Some(1), &[2, 3]);
            change(&mut passwords.waiting);
            !passwords.are_in_order()
        };
        assert!(broken(|it| it.turns.clear()));
        assert!(broken(|it| it.count += 1));
        assert!(broken(|it| it.turns.push_back(Key::Number(ANN))));
        assert!(broken(|it| it.of_addresses.clear()));
        assert!(broken(|it| it.of_addresses.values_mut().for_each(BTreeMap::clear)));
        assert!(broken(|it| it.iter_mut().for_each(|wanted| wanted.ticket -= 1)));
    }

    #[test]
    fn the_password_of_a_connection_fits_its_session() {
        let waiting = waiting([wanted(2, change()), wanted(3, log_in())]);
        let (at_work, renewals) = (Some(wanted(1, log_in())), Renewals::default());
        let passwords = Passwords { waiting, at_work, renewals, tickets: 3 };
        let (connection, other) = (ConnectionId(7), ConnectionId(8));
        assert!(passwords.will_come(1, connection, None));
        assert!(passwords.will_come(2, connection, Some(ANN)));
        assert!(!passwords.will_come(1, other, None) && !passwords.will_come(4, connection, None));
        assert!(!passwords.will_come(3, connection, Some(ANN)));
        assert!(!passwords.will_come(2, connection, None));
        assert!(!passwords.will_come(2, connection, Some(ServiceNumber(10_002))));
    }
}
