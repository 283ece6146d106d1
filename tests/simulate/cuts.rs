//! The power is cut: images of the disk as it may be found afterwards, and what must hold of each.
//!
//! Owns the plans by which parts of what was unsynced survive, the lives that are cut short again, and the
//! count of all this. It never touches the disk that the servers run on.

#![allow(missing_docs, unreachable_pub, reason = "a part of one test")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use oicq::log::{Durability, Found, Recovery, TABLE};

use super::story::Story;
use crate::chance::Chance;
use crate::disk::{Call, MemDisk, SECTOR, Survival, Unsynced};

/// Images of which something in particular survives; then so many by chance, for each call.
const EXTREMES: [Plan; 4] = [Plan::Nothing, Plan::Everything, Plan::OnlyFirst, Plan::OnlyLast];
/// One in so many cuts is followed by cuts while it is recovered from.
const NESTED_ONE_IN: usize = 6;
/// One in so many logs is appended to, closed and opened again.
const GONE_ON_ONE_IN: usize = 6;
/// How many cuts may follow the first one.
const DEPTH_MAX: usize = 5;

/// Chance that many can draw from.
pub type Lots = Rc<RefCell<Chance>>;

/// Which part of what was unsynced survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    Nothing,
    Everything,
    OnlyFirst,
    OnlyLast,
    /// All but one.
    AllBut(usize),
    /// What was done before the one with this index, which is torn.
    Before(usize),
    /// What was done after the one with this index, which is torn.
    After(usize),
    /// Each by itself, so many in a hundred; of those, so many in a hundred are torn.
    Any {
        kept: usize,
        torn: usize,
    },
}

impl Plan {
    fn draw(chance: &mut Chance, count: usize) -> Self {
        let one = chance.below(count);
        match chance.weighted(&[2, 3, 3, 8]) {
            0 => Self::AllBut(one),
            1 => Self::Before(one),
            2 => Self::After(one),
            _ => Self::Any {
                kept: chance.pick(&[10, 50, 50, 90]),
                torn: chance.pick(&[0, 0, 20, 100]),
            },
        }
    }

    fn fate(self, chance: &mut Chance, index: usize, count: usize) -> Survival {
        let keep = |kept| if kept { Survival::Kept } else { Survival::Lost };
        match self {
            Self::Nothing => Survival::Lost,
            Self::Everything => Survival::Kept,
            Self::OnlyFirst => keep(index == 0),
            Self::OnlyLast => keep(index + 1 == count),
            Self::AllBut(one) => keep(index != one),
            Self::Before(one) | Self::After(one) if index == one => tear(chance),
            Self::Before(one) => keep(index < one),
            Self::After(one) => keep(index > one),
            Self::Any { kept, torn } => {
                if chance.below(100) >= kept {
                    Survival::Lost
                } else if chance.below(100) < torn {
                    tear(chance)
                } else {
                    Survival::Kept
                }
            }
        }
    }
}

/// Most of what is read of a sector often stands at its beginning.
fn tear(chance: &mut Chance) -> Survival {
    let at = if chance.one_in(2) { chance.below(48) } else { chance.below(SECTOR) };
    if chance.one_in(2) { Survival::Head(at) } else { Survival::Tail(at) }
}

/// The disk after a power cut by this plan.
fn cut(disk: &MemDisk, unsynced: &[Unsynced], plan: Plan, chance: &mut Chance) -> MemDisk {
    disk.cut(&mut |one| {
        let index = unsynced.partition_point(|other| other.stamp < one.stamp);
        plan.fate(chance, index, unsynced.len())
    })
}

/// The disk after a power cut by any plan.
fn cut_somehow(disk: &MemDisk, chance: &mut Chance) -> MemDisk {
    let unsynced = disk.unsynced();
    let plan = match unsynced.len() {
        0 => Plan::Nothing,
        _ if chance.one_in(6) => Plan::Everything,
        count => Plan::draw(chance, count),
    };
    cut(disk, &unsynced, plan, chance)
}

/// How often things have happened.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Cuts while servers ran.
    pub cuts: u64,
    /// Servers that were killed.
    pub killed: u64,
    /// Cuts and kills while a log was recovered, or gone on with, after one.
    pub nested: u64,
    /// Logs that were gone on with and closed after a cut.
    pub gone_on: u64,
    /// Logs that were compacted beside a server, and taken into use by it.
    pub compacted: u64,
    pub adopted: u64,
    /// How often each row of the table of recovery was met.
    pub found: [u64; TABLE.len()],
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.killed += other.killed;
        self.nested += other.nested;
        self.gone_on += other.gone_on;
        self.compacted += other.compacted;
        self.adopted += other.adopted;
        self.found.iter_mut().zip(other.found).for_each(|(sum, more)| *sum += more);
    }

    pub fn found(&self, found: Found) -> u64 {
        TABLE.iter().zip(self.found).filter(|(row, _)| row.found == found).map(|(_, n)| n).sum()
    }

    fn note(&mut self, recovery: &Recovery) {
        for (row, count) in TABLE.iter().zip(&mut self.found) {
            *count += u64::from(recovery.found.contains(&row.found));
        }
    }
}

/// Cuts the power at every call that it is shown.
pub struct Cutter {
    story: Story,
    lots: Lots,
    durability: Option<Durability>,
    per_call: usize,
    /// How much had been done, and was safe, at the last call.
    seen: Option<(u64, usize)>,
    pub tally: Tally,
}

impl Cutter {
    /// Logs are opened with `durability` again, or with any, if there is none.
    pub fn new(story: Story, seed: u64, durability: Option<Durability>, per_call: usize) -> Self {
        let lots = Rc::new(RefCell::new(Chance::new(seed)));
        Self { story, lots, durability, per_call, seen: None, tally: Tally::default() }
    }

    /// A call is about to be made. Where nothing has been done since the last one, neither cut would differ.
    pub fn at_call(&mut self, disk: &MemDisk) {
        let seen = Some((disk.changes(), self.story.safe()));
        if std::mem::replace(&mut self.seen, seen) == seen {
            return;
        }
        let unsynced = disk.unsynced();
        let count = unsynced.len();
        if count == 0 {
            return self.try_out(disk, &unsynced, Plan::Nothing);
        }
        for plan in &EXTREMES[..if count == 1 { 2 } else { 4 }] {
            self.try_out(disk, &unsynced, *plan);
        }
        for _ in 0..self.per_call {
            let plan = Plan::draw(&mut self.lots.borrow_mut(), count);
            self.try_out(disk, &unsynced, plan);
        }
        self.tally.killed += 1;
        self.try_lives(disk.killed(), 1);
    }

    fn try_out(&mut self, disk: &MemDisk, unsynced: &[Unsynced], plan: Plan) {
        let image = cut(disk, unsynced, plan, &mut self.lots.borrow_mut());
        self.tally.cuts += 1;
        self.try_lives(image, 0);
    }

    /// So many servers at least start on this, one after the other, whose lives end too soon; and the last
    /// one's does not.
    fn try_lives(&mut self, mut image: MemDisk, lives: usize) {
        let mut safe = self.story.safe();
        let is_nested = self.lots.borrow_mut().one_in(NESTED_ONE_IN);
        let more = if is_nested { 1 + self.lots.borrow_mut().below(DEPTH_MAX - lives) } else { 0 };
        for _ in 0..lives + more {
            (image, safe) = self.live(&image, safe);
            self.tally.nested += 1;
        }
        self.open(&image, safe);
    }

    fn durability(&self) -> Durability {
        let any =
            [Durability::Always, Durability::Always, Durability::Interval(30), Durability::Never];
        self.durability.unwrap_or_else(|| self.lots.borrow_mut().pick(&any))
    }

    /// A log opens after the last cut, and can be gone on with.
    fn open(&mut self, image: &MemDisk, safe: usize) {
        let (mut log, recovery, count) = self.story.open(image, self.durability(), safe);
        self.tally.note(&recovery);
        if !self.lots.borrow_mut().one_in(GONE_ON_ONE_IN) {
            return;
        }
        let batches = self.lots.borrow_mut().below(4);
        let count = self.story.go_on(&mut log, count, batches, 20, |_| ());
        log.close().unwrap_or_else(|error| panic!("it does not close: {error}"));
        let (.., again) = self.story.open(image, self.durability(), count);
        assert_eq!(again, count, "what was closed is opened");
        self.tally.gone_on += 1;
    }

    /// A server starts on this and goes on for a while; somewhere in this it is killed, or the power is cut.
    /// Answers the disk as it is then, and how many events are safe.
    fn live(&mut self, image: &MemDisk, safe: usize) -> (MemDisk, usize) {
        let durability = self.durability();
        let moments = Moments::new(self.lots.clone(), safe);
        let watching = moments.clone();
        image.watch(move |disk, made| watching.at_call(disk, made.call));
        let (mut log, recovery, count) = self.story.open(image, durability, safe);
        self.tally.note(&recovery);
        // Whoever starts now is answered by what was recovered.
        moments.safe.set(count);
        let (batches, millis, closes) = {
            let mut chance = self.lots.borrow_mut();
            (chance.pick(&[0, 0, 1, 4]), chance.pick(&[2, 20]), chance.one_in(2))
        };
        let count = self.story.go_on(&mut log, count, batches, millis, |count| {
            if durability == Durability::Always {
                moments.safe.set(count);
            }
        });
        if closes {
            log.close().unwrap_or_else(|error| panic!("it does not close: {error}"));
            moments.safe.set(count);
        }
        image.unwatch();
        moments.at_end(image)
    }
}

/// Chooses one moment of a life for its end: each has a chance, those more that change something.
#[derive(Clone)]
struct Moments {
    lots: Lots,
    weights: Rc<Cell<usize>>,
    safe: Rc<Cell<usize>>,
    chosen: Rc<RefCell<Option<(MemDisk, usize)>>>,
}

impl Moments {
    fn new(lots: Lots, safe: usize) -> Self {
        let safe = Rc::new(Cell::new(safe));
        Self { lots, weights: Rc::default(), safe, chosen: Rc::default() }
    }

    fn at_call(&self, disk: &MemDisk, call: Call) {
        let reads = [Call::Lock, Call::List, Call::Open, Call::Size, Call::Read, Call::Bytes];
        self.consider(disk, if reads.contains(&call) { 1 } else { 6 });
    }

    fn consider(&self, disk: &MemDisk, weight: usize) {
        self.weights.set(self.weights.get() + weight);
        let mut chance = self.lots.borrow_mut();
        if chance.below(self.weights.get()) < weight {
            let end = if chance.one_in(4) { disk.killed() } else { cut_somehow(disk, &mut chance) };
            *self.chosen.borrow_mut() = Some((end, self.safe.get()));
        }
    }

    fn at_end(&self, disk: &MemDisk) -> (MemDisk, usize) {
        self.consider(disk, 6);
        self.chosen.borrow_mut().take().expect("the first moment is chosen where no later one is")
    }
}
