//! Everything that can come into the engine, as one type: whoever records inputs and hands them in again
//! needs no other way in.
//!
//! Owns the list of inputs. What each of them does stands with its `handle_*`.

use std::net::IpAddr;

use super::{Engine, Host, Overdue, Verdict};
use crate::id::{ConnectionId, Now};
use crate::wire::{Frame, FrameError};

/// Something that comes into the engine. See the methods of [`Engine`] that bear these names.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is the call that it stands for, with its arguments")]
pub enum Input<'a> {
    /// [`Engine::begin_turn`].
    Turn(Now),
    /// [`Engine::handle_connect`].
    Connect { connection: ConnectionId, address: IpAddr },
    /// [`Engine::handle_packet`].
    Packet { connection: ConnectionId, frame: Frame<'a> },
    /// [`Engine::handle_frame_error`].
    FrameError { connection: ConnectionId, error: FrameError },
    /// [`Engine::handle_end`].
    End { connection: ConnectionId },
    /// [`Engine::handle_overdue`].
    Overdue { connection: ConnectionId, overdue: Overdue },
    /// [`Engine::handle_room`].
    Room { connection: ConnectionId },
    /// [`Engine::handle_acknowledged`].
    Acknowledged { connection: ConnectionId, bytes: u64 },
    /// [`Engine::handle_verdict`].
    Verdict(Verdict),
    /// [`Engine::handle_step`]. Jobs are polled for after it, and never else.
    Step,
    /// [`Engine::handle_shutdown`].
    Shutdown,
    /// [`Engine::flush_deliveries`].
    Flush,
    /// [`Engine::handle_checkpoint`].
    Checkpoint,
}

impl Input<'_> {
    /// The connection that it comes from, if it comes from one.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Connect { connection, .. }
            | Self::Packet { connection, .. }
            | Self::FrameError { connection, .. }
            | Self::End { connection }
            | Self::Overdue { connection, .. }
            | Self::Room { connection }
            | Self::Acknowledged { connection, .. } => Some(*connection),
            Self::Turn(_)
            | Self::Verdict(_)
            | Self::Step
            | Self::Shutdown
            | Self::Flush
            | Self::Checkpoint => None,
        }
    }
}

/// An input that owns its bytes, for whoever keeps one for a while. It is filled again and again.
#[derive(Debug)]
pub struct HeldInput {
    input: Input<'static>,
    content: Vec<u8>,
}

impl Default for HeldInput {
    fn default() -> Self {
        Self { input: Input::Step, content: Vec::new() }
    }
}

impl HeldInput {
    /// Keeps this one in place of the one before.
    pub fn hold(&mut self, input: &Input<'_>) {
        self.content.clear();
        self.input = match input {
            Input::Packet { connection, frame } => {
                self.content.extend_from_slice(frame.content);
                let frame = Frame { header: frame.header, content: b"" };
                Input::Packet { connection: *connection, frame }
            }
            Input::Turn(now) => Input::Turn(*now),
            Input::Connect { connection, address } => {
                Input::Connect { connection: *connection, address: *address }
            }
            Input::FrameError { connection, error } => {
                Input::FrameError { connection: *connection, error: *error }
            }
            Input::End { connection } => Input::End { connection: *connection },
            Input::Overdue { connection, overdue } => {
                Input::Overdue { connection: *connection, overdue: *overdue }
            }
            Input::Room { connection } => Input::Room { connection: *connection },
            Input::Acknowledged { connection, bytes } => {
                Input::Acknowledged { connection: *connection, bytes: *bytes }
            }
            Input::Verdict(verdict) => Input::Verdict(verdict.clone()),
            Input::Step => Input::Step,
            Input::Shutdown => Input::Shutdown,
            Input::Flush => Input::Flush,
            Input::Checkpoint => Input::Checkpoint,
        };
    }

    /// The input that is kept.
    #[must_use]
    pub fn get(&self) -> Input<'_> {
        let mut input: Input<'_> = self.input.clone();
        if let Input::Packet { frame, .. } = &mut input {
            frame.content = &self.content;
        }
        input
    }
}

impl Engine {
    /// Takes any input.
    pub fn handle(&mut self, input: Input<'_>, host: &mut impl Host) {
        match input {
            Input::Turn(now) => self.begin_turn(now),
            Input::Connect { connection, address } => {
                self.handle_connect(connection, address, host);
            }
            Input::Packet { connection, frame } => self.handle_packet(connection, frame, host),
            Input::FrameError { connection, error } => {
                self.handle_frame_error(connection, error, host);
            }
            Input::End { connection } => self.handle_end(connection, host),
            Input::Overdue { connection, overdue } => {
                self.handle_overdue(connection, overdue, host);
            }
            Input::Room { connection } => self.handle_room(connection, host),
            Input::Acknowledged { connection, bytes } => {
                self.handle_acknowledged(connection, bytes);
            }
            Input::Verdict(verdict) => self.handle_verdict(verdict, host),
            Input::Step => self.handle_step(host),
            Input::Shutdown => self.handle_shutdown(host),
            Input::Flush => self.flush_deliveries(host),
            Input::Checkpoint => self.handle_checkpoint(host),
        }
    }

    /// Whether this input fits what the engine knows of connections and the time. A server hands in no
    /// other; a recording that was tampered with may hold some.
    #[must_use]
    pub fn takes(&self, input: &Input<'_>) -> bool {
        match input {
            Input::Turn(now) => now.mono >= self.now.mono && now.wall >= self.now.wall,
            Input::Connect { connection, .. } => {
                self.peer(*connection).is_none() && connection.0 < super::kept::CONNECTIONS_MAX
            }
            Input::Packet { connection, .. } | Input::FrameError { connection, .. } => {
                self.is_ready(*connection)
            }
            Input::End { connection }
            | Input::Overdue { connection, .. }
            | Input::Room { connection }
            | Input::Acknowledged { connection, .. } => self.peer(*connection).is_some(),
            Input::Verdict(_)
            | Input::Step
            | Input::Shutdown
            | Input::Flush
            | Input::Checkpoint => true,
        }
    }
}
