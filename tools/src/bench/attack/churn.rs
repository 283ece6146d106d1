//! Connections that come and go as fast as they can: closed at once, reset in the middle of a reply, half closed.

use oicq::wire::Request;

use super::Attack;
use super::pool::Pool;
use crate::failure::Failure;

const AT_ONCE: usize = 64;
/// Replies that are under way when a connection is reset.
const TESTS: usize = 50;

#[derive(Default)]
pub(super) struct Churn {
    begun: usize,
    /// Connections that have asked for something, to be reset in the next step.
    asked: Vec<usize>,
}

impl Attack for Churn {
    fn users(&self, _: usize) -> usize {
        0
    }

    fn begin(&mut self, _: &mut Pool<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn go_on(&mut self, pool: &mut Pool<'_>) -> Result<(), Failure> {
        self.asked.drain(..).for_each(|key| pool.reset(key));
        for _ in 0..AT_ONCE {
            let Some(key) = pool.open()? else { break };
            self.begun += 1;
            match self.begun % 4 {
                0 => pool.close(key),
                1 => pool.reset(key),
                2 => {
                    (0..TESTS).for_each(|_| _ = pool.ask(key, Request::Test));
                    self.asked.push(key);
                }
                // The replies are still taken, and the server ends it.
                _ => {
                    pool.ask(key, Request::Test);
                    pool.half_close(key);
                }
            }
        }
        Ok(())
    }
}
