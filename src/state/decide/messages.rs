//! Messages and broadcasts, and the monitoring of them. Protocol section 4, `0x03`, `0x04` and `0x11`.

use super::groups::{check_group, user};
use super::{Forbidden, Refusal, check_text};
use crate::codec::charset::{Breaks, Charset};
use crate::codec::packed::Numbers;
use crate::id::{GroupNumber, ServiceNumber};
use crate::limits::MESSAGE_BYTES;
use crate::state::{Event, Mailbox, State};

/// How much one mailbox holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailboxLimits {
    /// Messages, the system's among them.
    pub messages: u32,
    /// Their text, in bytes.
    pub bytes: u64,
}

impl MailboxLimits {
    /// Whether one more message of `length` bytes finds room.
    #[must_use]
    pub fn has_room(self, mailbox: &Mailbox, length: usize) -> bool {
        mailbox.len() < usize::try_from(self.messages).unwrap_or(usize::MAX)
            && mailbox.text_bytes() + length as u64 <= self.bytes
    }
}

/// Checks a message's text.
pub fn check_content(content: &[u8], charset: Charset) -> Result<(), Refusal> {
    check_text("content", content, (1, MESSAGE_BYTES), charset, Breaks::Allowed)
}

/// A message to one user, whose text has been checked.
pub fn send<'a>(
    state: &State,
    from: ServiceNumber,
    to: ServiceNumber,
    content: &'a [u8],
    limits: MailboxLimits,
) -> Result<Event<'a>, Refusal> {
    if !limits.has_room(user(state, to)?.mailbox(), content.len()) {
        return Err(Refusal::MailboxFull { receivers: 1 });
    }
    Ok(Event::MessageSent { from, to, content })
}

/// A message to the friends of a group, whose text has been checked. Friends whose mailboxes are full are
/// written to `left_out`. `None` where the group has no friends.
pub fn broadcast<'a>(
    state: &State,
    from: ServiceNumber,
    group: GroupNumber,
    content: &'a [u8],
    limits: MailboxLimits,
    left_out: &'a mut Vec<u8>,
) -> Result<Option<Event<'a>>, Refusal> {
    let sender = user(state, from)?;
    if group != GroupNumber::ALL {
        check_group(sender, group)?;
    }
    left_out.clear();
    let mut friends = 0;
    for friend in sender.friends_in(group) {
        friends += 1;
        if !limits.has_room(user(state, friend)?.mailbox(), content.len()) {
            Numbers::push(friend, left_out);
        }
    }
    let left_out = Numbers::over(left_out).unwrap_or_default();
    if friends == 0 {
        return Ok(None);
    }
    if left_out.len() == friends {
        return Err(Refusal::MailboxFull { receivers: friends });
    }
    Ok(Some(Event::MessageBroadcast { from, group, content, left_out }))
}

/// The start of monitoring one user, or with [`ServiceNumber::NONE`] the end of all; `None` where that
/// changes nothing.
pub fn monitor<'a>(
    state: &State,
    operator: ServiceNumber,
    is_operator: bool,
    watched: ServiceNumber,
) -> Result<Option<Event<'a>>, Refusal> {
    if !is_operator {
        return Err(Refusal::NotAllowed(Forbidden::Monitor));
    }
    if watched == ServiceNumber::NONE {
        let monitors = state.watched_by(operator).next().is_some();
        return Ok(monitors.then_some(Event::MonitoringEnded { operator }));
    }
    user(state, watched)?;
    let already = state.monitors(operator, watched);
    Ok((!already).then_some(Event::MonitoringStarted { operator, watched }))
}
