//! Passwords cost time on purpose, more than one thread can spend between two packets: they are hashed
//! and compared on a thread of their own, one at a time. The verdict comes back as an input of a later turn.
//!
//! It never learns whose password it looks at, and never keeps, logs or prints one. A password that it is given
//! is wiped when the job is done.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use argon2::password_hash;
use argon2::password_hash::phc::{self, Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use polling::Poller;
use zeroize::Zeroize as _;

use super::{ServerError, outside};
use crate::cli::settings::Cost;
use crate::codec::secret::Secret;
use crate::engine::{Outcome, PasswordJob, Task, Verdict};
use crate::state::State;

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
        let hasher = Hasher::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut worker =
            Worker::new(hasher).map_err(|error| io::Error::other(error.to_string()))?;
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

/// What makes hashes and compares with them: Argon2, and in a test what counts how often it is asked.
trait Hashing {
    fn hash(&mut self, password: &[u8], salt: &[u8]) -> password_hash::Result<PasswordHash>;
    fn is_of(&mut self, password: &[u8], hash: &PasswordHash) -> password_hash::Result<bool>;
}

/// Argon2, and the memory that it works in.
struct Hasher {
    algorithm: Algorithm,
    version: Version,
    cost: Params,
    /// What passwords are hashed in, one after the other, as far as they cost what new ones do; never given back, for
    /// whoever asks the system for so much again and again leaves holes between what others hold.
    memory: Vec<Block>,
}

impl Hashing for Hasher {
    fn hash(&mut self, password: &[u8], salt: &[u8]) -> password_hash::Result<PasswordHash> {
        let salt = Salt::new(salt)?;
        let hasher = Argon2::new(self.algorithm, self.version, self.cost.clone());
        let output = self.output(&hasher, password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
        Ok(PasswordHash {
            algorithm: self.algorithm.ident(),
            version: Some(self.version.into()),
            params: (&self.cost).try_into()?,
            salt: Some(salt),
            hash: Some(output),
        })
    }

    /// The hash says itself what it cost when it was made.
    fn is_of(&mut self, password: &[u8], hash: &PasswordHash) -> password_hash::Result<bool> {
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Ok(false) };
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let hasher = Argon2::new(algorithm, version, Params::try_from(hash)?);
        // Compared in a time that does not tell how much of it is right.
        Ok(self.output(&hasher, password, salt, expected.len())? == *expected)
    }
}

impl Hasher {
    const fn new(algorithm: Algorithm, version: Version, cost: Params) -> Self {
        Self { algorithm, version, cost, memory: Vec::new() }
    }

    fn output(
        &mut self,
        hasher: &Argon2<'_>,
        password: &[u8],
        salt: &Salt,
        bytes: usize,
    ) -> password_hash::Result<Output> {
        let blocks = hasher.params().block_count();
        let mut room = [0; Output::MAX_LENGTH];
        let out = room.get_mut(..bytes).ok_or(password_hash::Error::OutputSize)?;
        // A dear one is rare, since it is made anew: what it takes is given back.
        let mut memory_of_dear = Vec::new();
        let is_dear = blocks > self.cost.block_count();
        let memory = if is_dear { &mut memory_of_dear } else { &mut self.memory };
        if memory.len() < blocks {
            memory.try_reserve_exact(blocks).map_err(|_| argon2::Error::OutOfMemory)?;
            memory.resize(blocks, Block::new());
        }
        let memory = &mut memory[..blocks];
        let hashed = hasher.hash_password_into_with_memory(password, salt, out, &mut *memory);
        // With what is left in it, passwords could be tried out at no cost.
        memory.iter_mut().for_each(Block::zeroize);
        hashed?;
        Ok(Output::new(out)?)
    }
}

struct Worker<H> {
    hasher: H,
    /// Compared with where there is no such user, and where there is none whose password it could be, so that
    /// nobody can tell by the time that it takes: as far as the user's hash was made at the cost of now. Where the
    /// cost has been changed, the time tells that there is a user who has not logged in since. It shows what hashes
    /// cost now, too.
    nobody: PasswordHash,
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

impl<H: Hashing> Worker<H> {
    fn new(mut hasher: H) -> Result<Self, HashError> {
        let nobody = hash(&mut hasher, Secret::new(b"nobody's password"))?;
        Ok(Self { hasher, nobody })
    }

    fn judge(&mut self, job: &PasswordJob) -> Result<Verdict, HashError> {
        let outcome = match &job.task {
            Task::Hash { password } => {
                let hash = hash(&mut self.hasher, password.as_secret())?;
                Outcome::Hashed(hash.to_string().into_boxed_str())
            }
            Task::Verify { password, hash } => self.compare(password.as_secret(), hash.as_deref()),
        };
        Ok(Verdict { ticket: job.ticket, outcome })
    }

    /// One comparison, whatever the hash is.
    fn compare(&mut self, password: Secret<'_>, hash: Option<&str>) -> Outcome {
        let known = hash.and_then(|hash| {
            let usable = usable(hash);
            usable.inspect_err(|why| ::log::error!("a password cannot be compared: {why}")).ok()?
        });
        let matches =
            match self.hasher.is_of(password.expose(), known.as_ref().unwrap_or(&self.nobody)) {
                Ok(is_of) => is_of && known.is_some(),
                Err(error) => {
                    ::log::error!("a password could not be compared: {error}");
                    false
                }
            };
        match known {
            Some(known) if matches && !self.is_like_new(&known) => Outcome::MatchesOlder,
            _ => Outcome::Matches(matches),
        }
    }

    /// Whether the hash was made as the server makes them now.
    fn is_like_new(&self, hash: &PasswordHash) -> bool {
        let made = |hash: &PasswordHash| (hash.algorithm, hash.version, hash.params.clone());
        made(hash) == made(&self.nobody)
    }
}

fn hash(hasher: &mut impl Hashing, password: Secret<'_>) -> Result<PasswordHash, HashError> {
    let salt = outside::random::<SALT_BYTES>().map_err(HashError::Chance)?;
    hasher.hash(password.expose(), &salt).map_err(HashError::Argon2)
}

/// Why a hash of the log is none that a password is compared with. The server makes no such hash.
#[derive(Debug)]
enum Unusable {
    Phc(phc::Error),
    Params(password_hash::Error),
    Cost(Cost),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phc(error) => write!(f, "the hash on record cannot be read: {error}"),
            Self::Params(error) => write!(f, "the hash on record is not of Argon2: {error}"),
            Self::Cost(Cost { memory_kib, passes }) => write!(
                f,
                "the hash on record would cost {memory_kib} KiB of memory and {passes} passes, more than a server \
                 takes on"
            ),
        }
    }
}

/// What passwords can be compared with, or `None` for a hash that no password has: one of zeros alone, which the
/// repair of a log leaves where it has lost the hash.
fn usable(hash: &str) -> Result<Option<PasswordHash>, Unusable> {
    let hash = PasswordHash::new(hash).map_err(Unusable::Phc)?;
    let cost = cost_of(&hash).map_err(Unusable::Params)?;
    if !cost.is_bearable_on_record() {
        return Err(Unusable::Cost(cost));
    }
    let is_somebodys = |output: &Output| output.as_bytes().iter().any(|byte| *byte != 0);
    Ok(hash.hash.as_ref().is_some_and(is_somebodys).then_some(hash))
}

fn cost_of(hash: &PasswordHash) -> password_hash::Result<Cost> {
    let params = Params::try_from(hash)?;
    Ok(Cost { memory_kib: params.m_cost(), passes: params.t_cost() })
}

/// What the hashes on record cost. All further ones are made by this server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct OnRecord {
    /// Memory of the dearest that passwords are compared with, in KiB.
    pub(super) memory_kib_max: u32,
    /// Users whose hash costs more than a server takes on.
    pub(super) too_dear: usize,
}

impl OnRecord {
    /// Looks through all users.
    pub(super) fn of(state: &State) -> Self {
        Self::of_hashes(state.users().map(|(_, user)| user.password_hash()))
    }

    /// Hardly any two of them were made in different ways, so each way is looked at once.
    fn of_hashes<'a>(hashes: impl Iterator<Item = &'a str>) -> Self {
        let mut ways = BTreeMap::<&str, usize>::new();
        for hash in hashes {
            // In front of the salt and the output.
            let way = hash.rsplitn(3, '$').nth(2).unwrap_or_default();
            *ways.entry(way).or_default() += 1;
        }
        let mut all = Self::default();
        for (way, users) in ways {
            let cost = PasswordHash::new(way).ok().and_then(|hash| cost_of(&hash).ok());
            match cost {
                Some(cost) if cost.is_bearable_on_record() => {
                    all.memory_kib_max = all.memory_kib_max.max(cost.memory_kib);
                }
                Some(_) => all.too_dear += users,
                // What is no hash of Argon2 costs nothing.
                None => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use polling::Events;

    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };
    /// What the repair of a log leaves where a hash is lost.
    const NO_PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$\
                               AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn hasher(cost: Cost) -> Hasher {
        Hasher::new(Algorithm::Argon2id, Version::V0x13, cost.params().unwrap())
    }

    fn hash_at(cost: Cost, password: &[u8]) -> Box<str> {
        let hash = hash(&mut hasher(cost), Secret::new(password)).unwrap();
        hash.to_string().into_boxed_str()
    }

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

    #[test]
    fn the_same_memory_serves_every_password_and_is_wiped() {
        let mut worker = Worker::new(hasher(CHEAP)).unwrap();
        let dearer = hash_at(Cost { memory_kib: 64, passes: 2 }, b"secret");
        let own = hash_at(CHEAP, b"secret");
        let place = worker.hasher.memory.as_ptr();
        assert_eq!(worker.hasher.memory.len(), 8);
        let mut compare = |password: &[u8], hash: &str| {
            let outcome = worker.compare(Secret::new(password), Some(hash));
            let memory = &worker.hasher.memory;
            assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
            (outcome, memory.as_ptr(), memory.len())
        };
        for _ in 0..3 {
            assert!(
                matches!(compare(b"secret", &own), (Outcome::Matches(true), at, 8) if at == place)
            );
            assert!(
                matches!(compare(b"Secret", &own), (Outcome::Matches(false), at, 8) if at == place)
            );
        }
        // A password that has cost more is looked at as it was hashed, and what that has taken is not kept.
        assert!(
            matches!(compare(b"secret", &dearer), (Outcome::MatchesOlder, at, 8) if at == place)
        );
        assert!(matches!(compare(b"secret", &own), (Outcome::Matches(true), at, 8) if at == place));
    }

    #[test]
    fn a_hash_that_no_new_one_may_cost_is_compared_once_and_made_anew() {
        let dear = Cost { memory_kib: 8, passes: (1 << 17) + 1 };
        assert!(!dear.is_bearable());
        let mut worker = Worker::new(Counted::default()).unwrap();
        let hash = format!(
            "$argon2id$v=19$m=8,t={},p=1$AAAAAAAAAAAAAAAAAAAAAA$BBBBBBBBBBBBBBBBBBBBBA",
            dear.passes
        );
        let outcome = worker.compare(Secret::new(b"secret"), Some(&hash));
        assert!(matches!(outcome, Outcome::MatchesOlder));
        assert_eq!(worker.hasher.0, [dear]);
    }

    #[test]
    fn what_hashes_on_record_cost_is_known_at_the_start() {
        let hash = |way: &str| format!("{way}$AAAAAAAAAAAAAAAAAAAAAA$BBBBBBBBBBBBBBBBBBBBBA");
        let on_record = |hashes: &[String]| OnRecord::of_hashes(hashes.iter().map(String::as_str));
        assert_eq!(on_record(&[]), OnRecord::default());
        let bearable = ["m=19456,t=2,p=1", "m=2097152,t=1,p=1", "m=8,t=500000,p=1"];
        let too_dear = ["m=2097153,t=1,p=1", "m=4194304,t=1,p=1", "m=8,t=4294967295,p=1"];
        let mut hashes: Vec<_> =
            bearable.iter().map(|costs| hash(&format!("$argon2id$v=19${costs}"))).collect();
        assert_eq!(on_record(&hashes), OnRecord { memory_kib_max: 1 << 21, too_dear: 0 });
        assert_eq!(on_record(&hashes[..1]).memory_kib_max, 19_456);
        for costs in too_dear {
            hashes.extend([(); 2].map(|()| hash(&format!("$argon2i$v=16${costs}"))));
        }
        hashes.extend(["-", "", "$", "$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$BBBB"].map(str::to_owned));
        assert_eq!(on_record(&hashes), OnRecord { memory_kib_max: 1 << 21, too_dear: 6 });
        assert_eq!(on_record(&[NO_PASSWORD.to_owned()]).memory_kib_max, 19_456);
    }

    #[test]
    fn a_password_matches_a_hash_of_any_other_cost_which_is_said() {
        let mut worker = Worker::new(hasher(CHEAP)).unwrap();
        let mut compare = |password, hash: &str| worker.compare(Secret::new(password), Some(hash));
        let mut i = Hasher::new(Algorithm::Argon2i, Version::V0x13, CHEAP.params().unwrap());
        let mut old = Hasher::new(Algorithm::Argon2id, Version::V0x10, CHEAP.params().unwrap());
        let others = [
            hash_at(Cost { memory_kib: 16, passes: 1 }, b"secret"),
            hash_at(Cost { memory_kib: 8, passes: 2 }, b"secret"),
            hash(&mut i, Secret::new(b"secret")).unwrap().to_string().into_boxed_str(),
            hash(&mut old, Secret::new(b"secret")).unwrap().to_string().into_boxed_str(),
        ];
        for other in others {
            assert!(matches!(compare(b"secret", &other), Outcome::MatchesOlder), "{other}");
            assert!(matches!(compare(b"Secret", &other), Outcome::Matches(false)), "{other}");
        }
        let same = hash_at(CHEAP, b"secret");
        assert!(matches!(compare(b"secret", &same), Outcome::Matches(true)));
    }

    /// Counts what is compared, by what it costs, and finds every password to be right.
    #[derive(Default)]
    struct Counted(Vec<Cost>);

    impl Hashing for Counted {
        fn hash(&mut self, password: &[u8], salt: &[u8]) -> password_hash::Result<PasswordHash> {
            hasher(CHEAP).hash(password, salt)
        }

        fn is_of(&mut self, _: &[u8], hash: &PasswordHash) -> password_hash::Result<bool> {
            self.0.push(cost_of(hash)?);
            Ok(true)
        }
    }

    #[test]
    fn whoever_has_no_password_costs_as_much_as_whoever_has_one() {
        let mut worker = Worker::new(Counted::default()).unwrap();
        let mut compare = |hash| {
            let outcome = worker.compare(Secret::new(b"secret"), hash);
            (std::mem::take(&mut worker.hasher.0), outcome)
        };
        let own = hash_at(CHEAP, b"secret");
        let (work, outcome) = compare(Some(&own));
        assert!(work == [CHEAP] && matches!(outcome, Outcome::Matches(true)));
        let dear = |memory: u32, passes: u32| {
            format!(
                "$argon2id$v=19$m={memory},t={passes},p=1$AAAAAAAAAAAAAAAAAAAAAA$BBBBBBBBBBBBBBBBBBBBBA"
            )
        };
        let (memory, passes) = (dear(4_194_304, 1), dear(8, 4_294_967_295));
        let nobodys: [(_, Option<&str>); 9] = [
            ("an unknown number", None),
            ("a hash that repair has left", Some(NO_PASSWORD)),
            ("a hash that was redacted", Some("-")),
            ("nothing", Some("")),
            ("no hash", Some("$")),
            (
                "another function's",
                Some("$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$BBBBBBBBBBBBBBBBBBBBBA"),
            ),
            ("no output", Some("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA")),
            ("gigabytes of memory", Some(&memory)),
            ("years of passes", Some(&passes)),
        ];
        for (whose, hash) in nobodys {
            let (work, outcome) = compare(hash);
            assert_eq!(work, [CHEAP], "{whose}");
            assert!(matches!(outcome, Outcome::Matches(false)), "{whose}");
        }
    }
}
