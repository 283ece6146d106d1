//! Connections that hold packets open: some send a byte now and then, the others half a packet and then nothing, before
//! a login and in a session.

use oicq::id::ServiceNumber;
use oicq::limits::CONTENT_BYTES_IN_SESSION;
use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

/// One socket in so many has a user in session.
const SESSIONS_PART: usize = 20;
const AT_ONCE: usize = 64;
/// Between two bytes. The server gives a connection 30 s to log in.
const BYTE_EVERY_NS: u64 = 1_000_000_000;

#[derive(Default)]
pub(super) struct Slow {
    due_ns: u64,
    begun: usize,
}

impl Attack for Slow {
    fn users(&self, connections: usize) -> usize {
        connections / SESSIONS_PART
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        // The largest packet that there is, but for its last bytes.
        let data = vec![7; CONTENT_BYTES_IN_SESSION as usize - 8];
        for key in pool.log_in()? {
            let mut bytes = Vec::new();
            let piece = Request::FilePiece { friend: ServiceNumber::FIRST, data: &data };
            crate::bench::users::put(&mut bytes, ServiceNumber::NONE, piece);
            pool.say(key, &bytes[..bytes.len() - 4_096], 1);
        }
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        let mut test = Vec::new();
        crate::bench::users::put(&mut test, ServiceNumber::NONE, Request::Test);
        for _ in 0..AT_ONCE {
            let Some(key) = pool.open()? else { break };
            let begun = self.begun % test.len();
            self.begun += 1;
            pool.say(key, &test[..begun], 0);
        }
        let now_ns = pool.now_ns();
        if now_ns < self.due_ns {
            return Ok(());
        }
        self.due_ns = now_ns + BYTE_EVERY_NS;
        // The first byte of a packet says the least of what will come; what follows it may be any byte.
        for key in pool.keys().into_iter().step_by(2) {
            pool.say(key, &[0x81], 0);
        }
        Ok(())
    }
}
