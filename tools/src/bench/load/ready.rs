//! What happens between the logins and the first round: a message from each writer to its receivers, which shows that
//! the way is clear.
//!
//! Whatever arrives before it is older than this run, and is dropped: users of an earlier run may have mail.

use oicq::id::Seq;
use oicq::wire::server::{Extensions, Sign};
use oicq::wire::{Request, ServerPacket};

use crate::bench::users::{Door, Member, put, unexpected};
use crate::failure::Failure;

/// Sends `request` for each group's first message, and waits until all receivers have it.
pub(super) fn make_ready(
    door: &Door<'_>,
    groups: &mut [(Member, Vec<Member>)],
    request: impl for<'a> Fn(&[Member], &'a [u8]) -> Request<'a>,
) -> Result<(), Failure> {
    // Another run has another process or another time.
    let text = format!("bench begins {} {}", std::process::id(), door.run.ns());
    let text = text.as_bytes();
    for (writer, receivers) in groups.iter_mut() {
        put(&mut writer.stream.out, writer.number, request(receivers, text));
        door.send(&mut writer.stream)?;
        drain_until_result(door, writer)?;
        for receiver in receivers {
            receive_until(door, receiver, text)?;
        }
    }
    Ok(())
}

fn receive_until(door: &Door<'_>, receiver: &mut Member, text: &[u8]) -> Result<(), Failure> {
    let doing = format!("the first message to {}", receiver.number);
    loop {
        let (packet_type, content) = door.receive(&mut receiver.stream, &doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Message { sign: Sign::User, text: came, .. }) if came == text => {
                return Ok(());
            }
            Ok(ServerPacket::Numbered { id, sign: Sign::User, text: came, .. }) if came == text => {
                return confirm(door, receiver, id, &doing);
            }
            Ok(packet) if is_mail(&packet) => {}
            _ => return Err(unexpected(&doing, packet_type, &content)),
        }
    }
}

/// Mail of the user's own that has waited may come before the result, and is confirmed with it.
fn drain_until_result(door: &Door<'_>, writer: &mut Member) -> Result<(), Failure> {
    if !door.extensions.have(Extensions::RESULTS) {
        return Ok(());
    }
    let doing = format!("the first message of {}", writer.number);
    let mut last = None;
    loop {
        let (packet_type, content) = door.receive(&mut writer.stream, &doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Result { success: true, .. }) => break,
            Ok(ServerPacket::Numbered { id, .. }) => last = Some(id),
            _ => return Err(unexpected(&doing, packet_type, &content)),
        }
    }
    last.map_or(Ok(()), |id| confirm(door, writer, id, &doing))
}

fn confirm(door: &Door<'_>, member: &mut Member, id: Seq, doing: &str) -> Result<(), Failure> {
    put(&mut member.stream.out, member.number, Request::Arrived { through: id });
    door.send(&mut member.stream)?;
    door.result(&mut member.stream, doing)
}

/// Whether it is a message, of a user or of the system, and no notice.
fn is_mail(packet: &ServerPacket<'_>) -> bool {
    use oicq::wire::server::SystemKind::Notice;
    match packet {
        ServerPacket::Message { sign, .. } => *sign != Sign::System(Notice),
        ServerPacket::Numbered { .. } => true,
        _ => false,
    }
}
