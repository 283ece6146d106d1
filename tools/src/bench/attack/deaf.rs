//! Clients who never read what they are sent: messages and broadcasts of others, their own search results, files.

use oicq::id::ServiceNumber;
use oicq::limits::MESSAGE_BYTES;
use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

const FILE_BYTES: u32 = 1 << 30;
const PIECE_BYTES: usize = 32 << 10;
const ALL: &[u8] = b"select * from users";

/// Two and two: one who speaks and one who is deaf.
#[derive(Default)]
pub(super) struct Deaf {
    pairs: Vec<Pair>,
}

struct Pair {
    speaker: usize,
    deaf: usize,
    number: ServiceNumber,
}

impl Attack for Deaf {
    fn users(&self, connections: usize) -> usize {
        connections / 2 * 2
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let (keys, users) = (pool.log_in()?, pool.users.clone());
        for (key, user) in keys.chunks_exact(2).zip(users.chunks_exact(2)) {
            let pair = Pair { speaker: key[0], deaf: key[1], number: user[1] };
            pool.ask(pair.speaker, Request::AddFriend { friend: user[1] });
            pool.ask(pair.deaf, Request::AddFriend { friend: user[0] });
            self.pairs.push(pair);
        }
        pool.settle()?;
        for Pair { speaker, number, .. } in &self.pairs {
            let offer = Request::OfferFile { friend: *number, name: b"file", length: FILE_BYTES };
            pool.ask(*speaker, offer);
        }
        pool.settle()?;
        for (pair, user) in self.pairs.iter().zip(users.chunks_exact(2)) {
            pool.ask(pair.deaf, Request::AnswerFile { friend: user[0], allow: 1 });
        }
        pool.settle()?;
        self.pairs.iter().try_for_each(|pair| pool.deafen(pair.deaf))
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let (text, data) = (vec![b'x'; MESSAGE_BYTES], vec![7; PIECE_BYTES]);
        for Pair { speaker, deaf, number } in &self.pairs {
            pool.ask(*speaker, Request::Send { receiver: *number, content: &text });
            pool.ask(*speaker, Request::Broadcast { group: 0, content: &text });
            pool.ask(*speaker, Request::FilePiece { friend: *number, data: &data });
            pool.ask(*deaf, Request::Search { statement: ALL });
            pool.ask(
                *deaf,
                Request::ListOnline { start: ServiceNumber::FIRST, count: 255, direction: 2 },
            );
        }
        Ok(())
    }
}
