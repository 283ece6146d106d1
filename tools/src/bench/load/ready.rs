//! What happens between the logins and the first round: a message from each writer to itself and to its
//! receivers, which shows that the way is clear.
//!
//! Whatever arrives before it is older than this run, and is dropped: users of an earlier run may have mail.

use oicq::id::Seq;
use oicq::wire::server::{Extensions, Sign, SystemKind};
use oicq::wire::{Request, ServerPacket};

use crate::bench::users::{Door, Member, put, unexpected};
use crate::failure::Failure;

/// Sends the message, to receivers by what `request` makes of its text, and waits until everybody has it.
pub(super) fn make_ready(
    door: &Door<'_>,
    groups: &mut [(Member, Vec<Member>)],
    request: impl for<'a> Fn(&[Member], &'a [u8]) -> Request<'a>,
) -> Result<(), Failure> {
    // Another run has another process or another time.
    let text = format!("bench begins {} {}", std::process::id(), door.run.ns());
    let content = text.as_bytes();
    let results = if door.extensions.have(Extensions::RESULTS) { 2 } else { 0 };
    for (writer, receivers) in groups {
        let Member { number, stream, .. } = writer;
        put(&mut stream.out, *number, Request::Send { receiver: *number, content });
        put(&mut stream.out, *number, request(receivers, content));
        door.send(stream)?;
        wait(door, writer, content, results)?;
        receivers.iter_mut().try_for_each(|receiver| wait(door, receiver, content, 0))?;
    }
    Ok(())
}

/// Waits until the message has come, and so many results; says that it has come where the server wants to know.
fn wait(
    door: &Door<'_>,
    member: &mut Member,
    content: &[u8],
    mut results: u32,
) -> Result<(), Failure> {
    let doing = format!("the first message to {}", member.number);
    let (mut has_come, mut last_id) = (false, Seq::ZERO);
    while !has_come || results > 0 {
        let (packet_type, came) = door.receive(&mut member.stream, &doing)?;
        match ServerPacket::decode(packet_type, &came) {
            Ok(ServerPacket::Message { sign, text, .. })
                if sign != Sign::System(SystemKind::Notice) =>
            {
                has_come |= text == content;
            }
            Ok(ServerPacket::Numbered { id, text, .. }) => {
                (has_come, last_id) = (has_come || text == content, id);
            }
            Ok(ServerPacket::Result { success: true, .. }) if results > 0 => results -= 1,
            _ => return Err(unexpected(&doing, packet_type, &came)),
        }
    }
    if last_id == Seq::ZERO {
        return Ok(());
    }
    put(&mut member.stream.out, member.number, Request::Arrived { through: last_id });
    door.send(&mut member.stream)?;
    door.result(&mut member.stream, &doing)
}
