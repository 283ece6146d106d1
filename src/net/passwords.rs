//! Passwords cost time on purpose, more than one thread can spend between two packets: they are hashed
//! and compared on a thread of their own, one at a time. The verdict comes back as an input of a later turn.
//!
//! It never learns whose password it looks at, and never keeps, logs or prints one. A password that it is given
//! is wiped when the job is done, and so is the memory that it was hashed in.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use argon2::password_hash;
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
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
        let mut worker =
            Worker::new(params).map_err(|error| io::Error::other(error.to_string()))?;
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
    cost: Params,
    /// What passwords are hashed in, one after the other; never given back, for whoever asks the system for so much
    /// again and again leaves holes between what others hold.
    memory: Vec<Block>,
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
    fn new(cost: Params) -> Result<Self, HashError> {
        let mut worker = Self { cost, memory: Vec::new(), nobody: Box::default() };
        worker.nobody = worker.hash(Secret::new(b"nobody's password"))?;
        Ok(worker)
    }

    fn judge(&mut self, job: &PasswordJob) -> Result<Verdict, HashError> {
        let outcome = match &job.task {
            Task::Hash { password } => Outcome::Hashed(self.hash(password.as_secret())?),
            Task::Verify { password, hash } => {
                let known = hash.as_ref().unwrap_or(&self.nobody).clone();
                let matches = self.matches(password.as_secret(), &known);
                Outcome::Matches(matches && hash.is_some())
            }
        };
        Ok(Verdict { ticket: job.ticket, outcome })
    }

    fn hash(&mut self, password: Secret<'_>) -> Result<Box<str>, HashError> {
        let salt = outside::random::<SALT_BYTES>().map_err(HashError::Chance)?;
        let hash = self.hash_salted(password, &salt).map_err(HashError::Argon2)?;
        Ok(hash.to_string().into_boxed_str())
    }

    fn hash_salted(
        &mut self,
        password: Secret<'_>,
        salt: &[u8],
    ) -> password_hash::Result<PasswordHash> {
        let salt = Salt::new(salt)?;
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let hasher = Argon2::new(algorithm, version, self.cost.clone());
        let output = self.output(&hasher, password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
        Ok(PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: (&self.cost).try_into()?,
            salt: Some(salt),
            hash: Some(output),
        })
    }

    /// The hash says itself what it cost when it was made.
    fn matches(&mut self, password: Secret<'_>, hash: &str) -> bool {
        self.compare(password, hash).unwrap_or_else(|error| {
            ::log::error!("a password could not be compared: {error}");
            false
        })
    }

    fn compare(&mut self, password: Secret<'_>, hash: &str) -> password_hash::Result<bool> {
        let hash = PasswordHash::new(hash)?;
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Ok(false) };
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let hasher = Argon2::new(algorithm, version, Params::try_from(&hash)?);
        // Compared in a time that does not tell how much of it is right.
        Ok(self.output(&hasher, password, salt, expected.len())? == *expected)
    }

    fn output(
        &mut self,
        hasher: &Argon2<'_>,
        password: Secret<'_>,
        salt: &Salt,
        bytes: usize,
    ) -> password_hash::Result<Output> {
        let blocks = hasher.params().block_count();
        if self.memory.len() < blocks {
            // Nothing in it is needed any more, so the smaller one goes first.
            self.memory = Vec::new();
            self.memory.try_reserve_exact(blocks).map_err(|_| argon2::Error::OutOfMemory)?;
            self.memory.resize(blocks, Block::new());
        }
        let mut room = [0; Output::MAX_LENGTH];
        let out = room.get_mut(..bytes).ok_or(password_hash::Error::OutputSize)?;
        let memory = &mut self.memory[..blocks];
        let hashed =
            hasher.hash_password_into_with_memory(password.expose(), salt, out, &mut *memory);
        // With what is left in it, passwords could be tried out at no cost.
        memory.fill(Block::new());
        hashed?;
        Ok(Output::new(out)?)
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
    fn the_same_memory_serves_every_password_and_is_wiped() {
        let mut worker = Worker::new(CHEAP.params().unwrap()).unwrap();
        let dear = Cost { memory_kib: 64, passes: 2 }.params().unwrap();
        let dearer = Worker::new(dear).unwrap().nobody;
        let place = worker.memory.as_ptr();
        assert_eq!(worker.memory.len(), 8);
        for _ in 0..3 {
            assert!(worker.matches(Secret::new(b"nobody's password"), &worker.nobody.clone()));
            assert!(!worker.matches(Secret::new(b"secret"), &worker.nobody.clone()));
            assert_eq!(worker.memory.as_ptr(), place);
        }
        // A password that has cost more is looked at as it was hashed, and what cheaper ones take is a part of it.
        for hash in [&dearer, &worker.nobody.clone()] {
            assert!(worker.matches(Secret::new(b"nobody's password"), hash));
            assert_eq!(worker.memory.len(), 64);
        }
        assert!(worker.memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }

    /// From Argon2's reference implementation, as its library is tested with.
    #[test]
    fn hashes_are_those_of_everybody_else() {
        let mut worker = Worker::new(CHEAP.params().unwrap()).unwrap();
        let hash =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(worker.matches(Secret::new(b"password"), hash));
        assert!(!worker.matches(Secret::new(b"passwort"), hash));
        assert!(!worker.matches(Secret::new(b"password"), "$argon2id$v=19$m=256,t=2,p=1"));
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
