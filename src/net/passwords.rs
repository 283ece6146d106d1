//! Passwords cost time on purpose, more than one thread can spend between two packets: they are hashed
//! and compared on a thread of their own, one at a time. The verdict comes back as an input of a later turn.
//!
//! It never learns whose password it looks at, and never keeps, logs or prints one. A password that it is given
//! is wiped when the job is done.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Version};
use polling::Poller;

use super::{ServerError, outside};
use crate::cli::settings::Cost;
use crate::codec::secret::Secret;
use crate::engine::{Outcome, PasswordJob, Task, Verdict};

/// Jobs that may wait for the worker: the engine gives one at a time and keeps the others itself.
const JOBS_WAITING: usize = 1;
/// Bytes of salt: what the standard of password hash strings recommends.
const SALT_BYTES: usize = 16;

/// The loop's end of the worker.
#[derive(Debug)]
pub(super) struct Passwords {
    jobs: SyncSender<PasswordJob>,
    verdicts: Receiver<Result<Verdict, HashError>>,
}

impl Passwords {
    /// Starts the worker. It wakes up the poller with each verdict.
    pub(super) fn start(cost: Cost, poller: Arc<Poller>) -> io::Result<Self> {
        let params = cost.params().map_err(|error| io::Error::other(error.to_string()))?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let worker = Worker::new(hasher).map_err(|error| io::Error::other(error.to_string()))?;
        let (jobs, jobs_taken) = sync_channel(JOBS_WAITING);
        let (verdicts_given, verdicts) = sync_channel(JOBS_WAITING);
        let work = move || {
            for job in jobs_taken {
                if verdicts_given.send(worker.judge(&job)).is_err() {
                    return;
                }
                // Nobody is left to wake where this fails.
                let _ = poller.notify();
            }
        };
        // The thread ends with the channel, and what it could still be doing then is for nobody.
        thread::Builder::new().name("passwords".to_owned()).spawn(work)?;
        Ok(Self { jobs, verdicts })
    }

    /// Gives a job to the worker, which has none: the engine waits for each verdict.
    pub(super) fn submit(&self, job: PasswordJob) -> Result<(), ServerError> {
        self.jobs.try_send(job).map_err(|_| gone())
    }

    /// A verdict that has come in. Without the worker nobody could log in any more: that is an error.
    pub(super) fn poll_verdict(&self) -> Result<Option<Verdict>, ServerError> {
        match self.verdicts.try_recv() {
            Ok(Ok(verdict)) => Ok(Some(verdict)),
            Ok(Err(error)) => {
                let error = io::Error::other(error.to_string());
                Err(ServerError::System { doing: "hash a password", error })
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }
}

fn gone() -> ServerError {
    let error = io::Error::other("its thread has ended");
    ServerError::System { doing: "work on passwords", error }
}

struct Worker {
    hasher: Argon2<'static>,
    /// Compared with where there is no such user, so that nobody can tell by the time that it takes.
    nobody: Box<str>,
}

/// Why there is no hash. There is nothing in it that could tell about the password.
#[derive(Debug)]
enum HashError {
    Chance(getrandom::Error),
    Argon2(password_hash::Error),
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chance(error) => write!(f, "no random salt: {error}"),
            Self::Argon2(error) => error.fmt(f),
        }
    }
}

impl Worker {
    fn new(hasher: Argon2<'static>) -> Result<Self, HashError> {
        let mut worker = Self { hasher, nobody: Box::default() };
        worker.nobody = worker.hash(Secret::new(b"nobody's password"))?;
        Ok(worker)
    }

    fn judge(&self, job: &PasswordJob) -> Result<Verdict, HashError> {
        let outcome = match &job.task {
            Task::Hash { password } => Outcome::Hashed(self.hash(password.as_secret())?),
            Task::Verify { password, hash } => {
                let matches =
                    self.matches(password.as_secret(), hash.as_ref().unwrap_or(&self.nobody));
                Outcome::Matches(matches && hash.is_some())
            }
        };
        Ok(Verdict { ticket: job.ticket, outcome })
    }

    fn hash(&self, password: Secret<'_>) -> Result<Box<str>, HashError> {
        let salt = outside::random::<SALT_BYTES>().map_err(HashError::Chance)?;
        let hash = self.hasher.hash_password_with_salt(password.expose(), &salt);
        hash.map(|hash| hash.to_string().into_boxed_str()).map_err(HashError::Argon2)
    }

    /// The hash says itself what it cost when it was made.
    fn matches(&self, password: Secret<'_>, hash: &str) -> bool {
        match self.hasher.verify_password(password.expose(), hash) {
            Ok(()) => true,
            Err(password_hash::Error::PasswordInvalid) => false,
            Err(error) => {
                ::log::error!("a password could not be compared: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polling::Events;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

    fn verdict(passwords: &Passwords, poller: &Poller, ticket: u64, task: Task) -> Outcome {
        passwords.submit(PasswordJob { ticket, task }).unwrap();
        loop {
            poller.wait(&mut Events::new(), Some(Duration::from_secs(10))).unwrap();
            if let Some(verdict) = passwords.poll_verdict().unwrap() {
                assert_eq!(verdict.ticket, ticket);
                return verdict.outcome;
            }
        }
    }

    #[test]
    fn a_password_matches_its_own_hash_alone() {
        let poller = Arc::new(Poller::new().unwrap());
        let passwords = Passwords::start(CHEAP, Arc::clone(&poller)).unwrap();
        let right = || Secret::new(b"secret").to_owned();
        let wrong = || Secret::new(b"Secret").to_owned();
        let hashed = verdict(&passwords, &poller, 1, Task::Hash { password: right() });
        let Outcome::Hashed(hash) = hashed else { panic!("no hash") };
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");

        let verify = |password, hash| Task::Verify { password, hash };
        let outcome = verdict(&passwords, &poller, 2, verify(right(), Some(hash.clone())));
        assert!(matches!(outcome, Outcome::Matches(true)));
        let outcome = verdict(&passwords, &poller, 3, verify(wrong(), Some(hash)));
        assert!(matches!(outcome, Outcome::Matches(false)));
        let outcome = verdict(&passwords, &poller, 4, verify(right(), None));
        assert!(matches!(outcome, Outcome::Matches(false)));
        let outcome = verdict(&passwords, &poller, 5, verify(right(), Some("no hash".into())));
        assert!(matches!(outcome, Outcome::Matches(false)));
    }
}
