//! Events and kept states with fillers in place of what is not to be shown: what users have written, and hashes of
//! passwords.
//!
//! Owns which fields those are. A record keeps its kind and its layout, and leads to the same decisions.

use super::users::FIRST_GROUP;
use super::{Event, KeptError, KeptKind};
use crate::codec::blank::{Fillers, blank};
use crate::codec::charset::{Breaks, Charset};
use crate::codec::profile::Profile;
use crate::codec::{Reader, Short, Write};

/// Stands for the hash of every password.
const HASH: &str = "-";

/// Fillers for the texts of one log, none of them given yet.
#[must_use]
pub const fn fillers(charset: Charset) -> Fillers {
    Fillers::new(charset, &[FIRST_GROUP])
}

/// Appends an event's payload without texts.
pub fn event_without_texts(event: &Event<'_>, fillers: &mut Fillers, out: &mut Vec<u8>) {
    match *event {
        Event::Registered { number, authentication, ref profile, .. } => {
            let packed = fillers.profile(profile);
            let profile = Profile::unpacked(&packed);
            let password_hash = HASH;
            Event::Registered { number, authentication, password_hash, profile }.encode(out);
        }
        Event::ProfileChanged { number, authentication, password_hash, ref profile } => {
            let packed = fillers.profile(profile);
            let profile = Profile::unpacked(&packed);
            let password_hash = password_hash.map(|_| HASH);
            Event::ProfileChanged { number, authentication, password_hash, profile }.encode(out);
        }
        Event::PasswordRehashed { number, .. } => {
            Event::PasswordRehashed { number, password_hash: HASH }.encode(out);
        }
        Event::GroupAdded { owner, group, name } => {
            let name = &fillers.text(name, Breaks::Refused);
            Event::GroupAdded { owner, group, name }.encode(out);
        }
        Event::GroupRenamed { owner, group, name } => {
            let name = &fillers.text(name, Breaks::Refused);
            Event::GroupRenamed { owner, group, name }.encode(out);
        }
        Event::FriendRequested { asker, friend, reason } => {
            Event::FriendRequested { asker, friend, reason: blank(reason) }.encode(out);
        }
        Event::MessageSent { from, to, content } => {
            Event::MessageSent { from, to, content: blank(content) }.encode(out);
        }
        Event::MessageBroadcast { from, group, content, left_out } => {
            let content = blank(content);
            Event::MessageBroadcast { from, group, content, left_out }.encode(out);
        }
        other => other.encode(out),
    }
}

/// Appends a record of a kept state without names, profiles and hashes. The texts of messages are given to
/// [`State::keep`](super::State::keep) by its caller.
///
/// # Errors
/// If it is no such record.
pub fn kept_without_texts(
    kind: u8,
    payload: &[u8],
    fillers: &mut Fillers,
    out: &mut Vec<u8>,
) -> Result<(), KeptError> {
    if kind == KeptKind::User as u8 {
        let malformed = |Short| KeptError::Malformed(KeptKind::User);
        return user_without_texts(&mut Reader::new(payload), fillers, out).map_err(malformed);
    }
    out.extend_from_slice(payload);
    Ok(())
}

fn user_without_texts(
    reader: &mut Reader<'_>,
    fillers: &mut Fillers,
    out: &mut Vec<u8>,
) -> Result<(), Short> {
    // Number, time and authentication.
    out.extend_from_slice(reader.take(4 + 8 + 1)?);
    let _hash = reader.string()?;
    out.put_string(HASH.as_bytes());
    let profile = Profile::read(reader)?;
    out.extend_from_slice(&fillers.profile(&profile));
    let groups = reader.u8()?;
    out.put_u8(groups);
    for _ in 0..groups {
        out.put_u8(reader.u8()?);
        out.put_string(&fillers.text(reader.string()?, Breaks::Refused));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupNumber, Seq, ServiceNumber, UnixMillis};
    use crate::state::{Authentication, EventKind, Stamp, State};

    const PLANTED: &str = "Planted-text";

    fn events() -> Vec<Event<'static>> {
        let (owner, friend) = (ServiceNumber(10_001), ServiceNumber(10_002));
        let authentication = Authentication::Open;
        let text = PLANTED.as_bytes();
        let profile = Profile { nickname: text, school: text, hobbies: text, ..Profile::default() };
        let user =
            |number| Event::Registered { number, authentication, password_hash: PLANTED, profile };
        let password_hash = Some(PLANTED);
        vec![
            user(owner),
            user(friend),
            Event::ProfileChanged { number: owner, authentication: None, password_hash, profile },
            Event::PasswordRehashed { number: owner, password_hash: PLANTED },
            Event::GroupAdded { owner, group: GroupNumber(2), name: text },
            Event::GroupRenamed { owner, group: GroupNumber(2), name: b"Planted-Name" },
            Event::FriendRequested { asker: owner, friend, reason: text },
            Event::MessageSent { from: owner, to: friend, content: text },
            Event::MessageBroadcast {
                from: owner,
                group: GroupNumber::ALL,
                content: text,
                left_out: Default::default(),
            },
        ]
    }

    fn contains(bytes: &[u8]) -> bool {
        bytes.windows(7).any(|window| window == b"Planted")
    }

    #[test]
    fn no_text_is_left_in_an_event_and_none_in_a_kept_state() {
        let mut fillers = fillers(Charset::Utf8);
        let (mut real, mut state) = (State::default(), State::default());
        for (index, event) in events().iter().enumerate() {
            let mut payload = Vec::new();
            event_without_texts(event, &mut fillers, &mut payload);
            assert!(!contains(&payload), "{}", event.kind().name());
            let blanked = Event::decode(event.kind() as u8, &payload).unwrap();
            let seq = Seq(index as u64 + 1);
            let stamp = Stamp { seq, time: UnixMillis(5), place: Default::default() };
            real.apply(stamp, event, &mut |_| ()).unwrap();
            state.apply(stamp, &blanked, &mut |_| ()).unwrap();
        }
        assert_eq!(events().last().unwrap().kind(), EventKind::MessageBroadcast);
        let group = |state: &State| {
            let owner = state.user(ServiceNumber(10_001)).unwrap();
            owner.groups().iter().map(|group| group.name.len()).collect::<Vec<_>>()
        };
        assert_eq!(group(&real), group(&state));
        let text = |waiting: &crate::state::Waiting, out: &mut Vec<u8>| {
            out.resize(out.len() + usize::try_from(waiting.length).unwrap(), b'x');
            Ok::<_, KeptError>(())
        };
        let mut kept = Vec::new();
        real.keep(real.digest(), text, |kind, payload| {
            let mut blanked = Vec::new();
            kept_without_texts(kind, payload, &mut fillers, &mut blanked)?;
            assert!(!contains(&blanked), "kind {kind}");
            kept.push((kind, blanked));
            Ok(())
        })
        .unwrap();
        // Both ways lead to the same state.
        let mut restored = State::default();
        for (kind, payload) in kept {
            let stamp =
                Stamp { seq: state.last_seq(), time: state.last_time(), place: Default::default() };
            restored.restore(stamp, kind, &payload).unwrap();
        }
        assert_eq!(restored.digest(), state.digest());
    }
}
