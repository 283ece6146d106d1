//! Adding and deleting friends. A friend list has one direction: who adds is not thereby added.
//! Protocol section 4, `0x0C` to `0x0E` and `0x17`.

use super::groups::{check_room, user};
use super::{List, Must, Refusal, check_text};
use crate::codec::charset::{Breaks, Charset};
use crate::id::{GroupNumber, ServiceNumber};
use crate::limits::{REQUESTS_WAITING, SHORT_TEXT_BYTES};
use crate::state::{Authentication, Event, State};

/// Somebody wants to add a friend; `0x0C` is the same with an empty reason.
pub fn request<'a>(
    state: &State,
    asker: ServiceNumber,
    friend: ServiceNumber,
    reason: &'a [u8],
    charset: Charset,
) -> Result<Event<'a>, Refusal> {
    check_text("reason", reason, (0, SHORT_TEXT_BYTES), charset, Breaks::Allowed)?;
    if friend == asker {
        return Err(Refusal::bad_value("friend", Must::BeSomeoneElse));
    }
    let asked = user(state, friend)?;
    let own = user(state, asker)?;
    if own.friend(friend).is_some() {
        return Err(Refusal::AlreadyFriend(friend));
    }
    match asked.authentication() {
        Authentication::Open => {
            check_room(own, GroupNumber::FIRST, 1)?;
            Ok(Event::FriendAdded {
                owner: asker,
                friend,
                group: GroupNumber::FIRST,
                agreed: false,
            })
        }
        Authentication::Ask => {
            let waiting = asked.requests();
            if waiting.len() >= REQUESTS_WAITING && !waiting.contains(&asker) {
                let list = List::Requests(friend);
                return Err(Refusal::Limit { list, holds: REQUESTS_WAITING });
            }
            Ok(Event::FriendRequested { asker, friend, reason })
        }
        Authentication::Closed => Ok(Event::FriendRefused { asker, friend }),
    }
}

/// The answer to a waiting request.
pub fn answer<'a>(
    state: &State,
    answerer: ServiceNumber,
    asker: ServiceNumber,
    consent: u8,
) -> Result<Event<'a>, Refusal> {
    let agreed = match consent {
        0 => false,
        1 => true,
        _ => return Err(Refusal::bad_value("consent", Must::BeOneOf("0 or 1"))),
    };
    if !user(state, answerer)?.requests().contains(&asker) {
        return Err(Refusal::NoRequest(asker));
    }
    if !agreed {
        return Ok(Event::RequestRejected { asker, friend: answerer });
    }
    check_room(user(state, asker)?, GroupNumber::FIRST, 1)?;
    Ok(Event::FriendAdded { owner: asker, friend: answerer, group: GroupNumber::FIRST, agreed })
}

/// A friend out of one's own list.
pub fn delete<'a>(
    state: &State,
    owner: ServiceNumber,
    friend: ServiceNumber,
) -> Result<Event<'a>, Refusal> {
    user(state, owner)?.friend(friend).ok_or(Refusal::UnknownFriend(friend))?;
    Ok(Event::FriendDeleted { owner, friend })
}
