//! Names that change all the time: those of groups, which come and go, and those of users, with and without a new
//! password.

use oicq::codec::profile::Profile;
use oicq::codec::secret::Secret;
use oicq::id::GroupNumber;
use oicq::limits::NAME_BYTES;
use oicq::wire::Request;
use oicq::wire::client::Account;

use super::Attack;
use super::pool::Pool;
use crate::bench::users::PASSWORD;
use crate::failure::Failure;

/// A new password, which costs time, comes with one change in so many.
const PASSWORD_EVERY: usize = 64;

#[derive(Default)]
pub(super) struct Names {
    keys: Vec<usize>,
    step: usize,
}

impl Attack for Names {
    fn users(&self, connections: usize) -> usize {
        connections
    }

    fn begin(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        self.keys = pool.log_in()?;
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        for key in &self.keys {
            self.step += 1;
            let letter = b'a' + (self.step % 26) as u8;
            let name = [letter; NAME_BYTES];
            let profile = Profile { nickname: &name, ..Profile::default() };
            let has_password = self.step.is_multiple_of(PASSWORD_EVERY);
            let password = if has_password { PASSWORD } else { Secret::new(b"") };
            let group = GroupNumber(2);
            for request in [
                Request::AddGroup { name: &name },
                Request::RenameGroup { group, name: &name[1..] },
                Request::RenameGroup { group: GroupNumber::FIRST, name: &name },
                Request::ChangeProfile(Account { profile, password, authentication: 255 }),
                Request::DeleteGroup { group },
            ] {
                pool.ask(*key, request);
            }
        }
        Ok(())
    }
}
