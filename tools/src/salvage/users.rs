//! Which users an event names.
//!
//! Owns nothing; it looks at the event alone and never at what it leads to: whom a broadcast reaches, only
//! the friend lists tell.

use oicq::id::ServiceNumber;
use oicq::state::Event;

/// Calls `each` with every user that an event names, some perhaps more than once.
pub(super) fn each_user(event: &Event<'_>, each: &mut dyn FnMut(ServiceNumber)) {
    // Nobody has a lower number: where one stands, it stands for nobody.
    let mut each = |user| {
        if user >= ServiceNumber::FIRST {
            each(user);
        }
    };
    match *event {
        Event::Registered { number: one, .. }
        | Event::ProfileChanged { number: one, .. }
        | Event::PasswordRehashed { number: one, .. }
        | Event::GroupAdded { owner: one, .. }
        | Event::GroupRenamed { owner: one, .. }
        | Event::GroupDeleted { owner: one, .. }
        | Event::MonitoringEnded { operator: one } => each(one),
        Event::FriendsMoved { owner, moves } => {
            each(owner);
            moves.iter().for_each(|(friend, _)| each(friend));
        }
        Event::FriendRequested { asker: one, friend: other, .. }
        | Event::RequestRejected { asker: one, friend: other }
        | Event::FriendRefused { asker: one, friend: other }
        | Event::FriendAdded { owner: one, friend: other, .. }
        | Event::FriendDeleted { owner: one, friend: other }
        | Event::MessageSent { from: one, to: other, .. }
        | Event::MonitoringStarted { operator: one, watched: other } => {
            each(one);
            each(other);
        }
        Event::MessageBroadcast { from, left_out, .. } => {
            each(from);
            left_out.iter().for_each(each);
        }
        Event::Delivered { receipts } => receipts.iter().for_each(|(user, _)| each(user)),
        Event::Lost | Event::StateDigest { .. } => {}
    }
}
