//! Sessions that do nothing, and what each of them costs the server in memory.
//!
//! The users are there before memory is looked at first, so that what they cost is not counted.

use oicq::id::ServiceNumber;
use oicq::wire::{Request, ServerPacket};

use crate::bench::users::{Door, put, unexpected};
use crate::bench::watch::{Memory, Watch};
use crate::failure::Failure;

/// What sessions have cost.
pub(crate) struct Idle {
    pub(crate) sessions: u64,
    pub(crate) before: Memory,
    pub(crate) after: Memory,
}

impl Idle {
    /// Bytes of memory for each session; none where the server's memory has become less.
    pub(crate) fn bytes_a_session(&self) -> u64 {
        let grown = self.after.proportional.saturating_sub(self.before.proportional);
        grown / self.sessions.max(1)
    }
}

/// Logs all of them in, looks at the server's memory before and after, and asks each whether it is still there.
pub(crate) fn measure(
    door: &Door<'_>,
    numbers: &[ServiceNumber],
    watch: Watch,
) -> Result<Idle, Failure> {
    let memory = || {
        watch.memory().ok_or_else(|| {
            Failure::Failed(
                "the server's memory cannot be read: this load is for a server on this machine whose /proc \
                 may be looked at; take the same user, or --serve"
                    .to_owned(),
            )
        })
    };
    // One user goes in and out first: what the first session of all needs is not that of each.
    drop(door.log_in(&numbers[..1])?);
    let before = memory()?;
    let mut members = door.log_in(numbers)?;
    let after = memory()?;
    for member in &mut members {
        put(&mut member.stream.out, member.number, Request::Test);
        door.send(&mut member.stream)?;
    }
    for member in &mut members {
        let doing = format!("a connection test of {}", member.number);
        let (packet_type, content) = door.receive(&mut member.stream, &doing)?;
        match ServerPacket::decode(packet_type, &content) {
            Ok(ServerPacket::Tested { .. }) => door.result(&mut member.stream, &doing)?,
            _ => return Err(unexpected(&doing, packet_type, &content)),
        }
    }
    Ok(Idle { sessions: members.len() as u64, before, after })
}
