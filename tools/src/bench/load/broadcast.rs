//! Users who write to all of their friends at once.
//!
//! Each has receivers of its own, so that what one receiver gets comes from one writer, in order.

use std::collections::BTreeSet;

use oicq::codec::packed::Moves;
use oicq::id::{GroupNumber, ServiceNumber};
use oicq::limits::FRIENDS_PER_GROUP;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{Request, ServerPacket};

use super::ready::make_ready;
use super::{Messages, Shape};
use crate::bench::users::{Door, Member, put, unexpected};
use crate::failure::Failure;

/// The most receivers that one writer can have: all groups full.
pub(crate) const RECEIVERS_MAX: usize = FRIENDS_PER_GROUP * 255;
/// Friends that are added before their answers are read.
const AT_ONCE: usize = 64;

/// Lets writers in, each with so many receivers behind it who are its friends, ready to write.
pub(crate) fn prepare(
    door: &Door<'_>,
    numbers: &[ServiceNumber],
    receivers: usize,
    shape: &Shape,
) -> Result<Messages, Failure> {
    let mut members = door.log_in(numbers)?.into_iter();
    let group = || Some((members.next()?, members.by_ref().take(receivers).collect()));
    let mut groups: Vec<(Member, Vec<Member>)> = std::iter::from_fn(group).collect();
    door.run.doing("making friends".to_owned(), groups.len() as u64);
    for (index, (writer, receivers)) in groups.iter_mut().enumerate() {
        befriend(door, writer, receivers)?;
        door.run.done(index as u64 + 1);
    }
    make_ready(door, &mut groups, request)?;
    Messages::new(shape, groups, request)
}

fn request<'a>(_: &[Member], content: &'a [u8]) -> Request<'a> {
    Request::Broadcast { group: GroupNumber::ALL.0.into(), content }
}

/// Makes the receivers, and nobody else, the writer's friends.
fn befriend(door: &Door<'_>, writer: &mut Member, receivers: &[Member]) -> Result<(), Failure> {
    let wanted: BTreeSet<_> = receivers.iter().map(|receiver| receiver.number).collect();
    let there: BTreeSet<_> = writer.friends.iter().copied().collect();
    if there == wanted {
        return Ok(());
    }
    if !there.is_empty() {
        return Err(Failure::Failed(format!(
            "{} has other friends than the {} users behind it, from an earlier run with other numbers; take the \
             numbers of that, or new users",
            writer.number,
            receivers.len()
        )));
    }
    for (index, full_group) in receivers.chunks(FRIENDS_PER_GROUP).enumerate() {
        if index > 0 {
            make_room(
                door,
                writer,
                &receivers[(index - 1) * FRIENDS_PER_GROUP..][..FRIENDS_PER_GROUP],
            )?;
        }
        for some in full_group.chunks(AT_ONCE) {
            add(door, writer, some)?;
        }
    }
    Ok(())
}

/// Adds friends, who all let anyone.
fn add(door: &Door<'_>, writer: &mut Member, friends: &[Member]) -> Result<(), Failure> {
    let doing = format!("adding friends of {}", writer.number);
    let Member { number, stream, .. } = writer;
    for friend in friends {
        put(&mut stream.out, *number, Request::AddFriend { friend: friend.number });
    }
    door.send(stream)?;
    let has_results = door.extensions.have(Extensions::RESULTS);
    let (mut agreed, mut results) = (0, if has_results { 0 } else { friends.len() });
    while agreed < friends.len() || results < friends.len() {
        let (packet_type, content) = door.receive(stream, &doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Result { success: true, .. }) => results += 1,
            Ok(
                ServerPacket::Message { sign: Sign::System(SystemKind::Agreed), .. }
                | ServerPacket::Numbered { sign: Sign::System(SystemKind::Agreed), .. },
            ) => agreed += 1,
            _ => return Err(unexpected(&doing, packet_type, &content)),
        }
    }
    Ok(())
}

/// Moves friends out of the group in which new ones come.
fn make_room(door: &Door<'_>, writer: &mut Member, friends: &[Member]) -> Result<(), Failure> {
    let doing = format!("sorting friends of {}", writer.number);
    let Member { number, stream, .. } = writer;
    put(&mut stream.out, *number, Request::AddGroup { name: b"receivers" });
    door.send(stream)?;
    let (packet_type, content) = door.receive(stream, &doing)?;
    let Ok(ServerPacket::GroupAdded { success: true, group, .. }) =
        ServerPacket::decode(packet_type, &content)
    else {
        return Err(unexpected(&doing, packet_type, &content));
    };
    door.result(stream, &doing)?;
    let moves = Moves::pack(friends.iter().map(|friend| (friend.number, group)));
    let Ok(moves) = Moves::over(&moves) else { return Ok(()) };
    put(&mut stream.out, *number, Request::MoveFriends(moves));
    door.send(stream)?;
    let (packet_type, content) = door.receive(stream, &doing)?;
    match ServerPacket::decode(packet_type, &content) {
        Ok(ServerPacket::FriendsMoved { success: true }) => door.result(stream, &doing),
        _ => Err(unexpected(&doing, packet_type, &content)),
    }
}
