//! Logins, all at once: right ones, and wrong ones against one number and against many.

use oicq::codec::secret::Secret;
use oicq::id::ServiceNumber;
use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::bench::users::PASSWORD;
use crate::failure::Failure;

const USERS: usize = 50;
const AT_ONCE: usize = 64;
const WRONG: Secret<'_> = Secret::new(b"not the password");

#[derive(Default)]
pub(super) struct Logins {
    begun: usize,
}

impl Attack for Logins {
    fn users(&self, connections: usize) -> usize {
        USERS.min(connections)
    }

    fn begin(&mut self, _: &mut Pool<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        for _ in 0..AT_ONCE {
            let Some(key) = pool.open()? else { break };
            let users = &pool.users;
            let (one, any) = (users[0], users[self.begun % users.len()]);
            let unknown = ServiceNumber(any.0.saturating_add(1_000_000));
            let (number, password) = match self.begun % 4 {
                0 | 1 => (any, PASSWORD),
                2 => (one, WRONG),
                _ => (unknown, WRONG),
            };
            self.begun += 1;
            pool.ask_as(key, number, Request::LogIn { password, mode: 0 });
        }
        Ok(())
    }
}
