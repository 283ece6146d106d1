//! Messages from writers to their receivers: the loop that keeps them under way, counts what arrives and checks
//! every byte of it.
//!
//! One thread, one call for what has come on a socket and one for what is to be sent; packets are made once and
//! numbered in place. Who writes to whom is settled in `pairs` and `broadcast`; which program is at the other
//! end it never knows.

pub(crate) mod broadcast;
pub(crate) mod channel;
pub(crate) mod idle;
pub(crate) mod login;
pub(crate) mod pairs;
mod ready;
mod stamped;

use oicq::wire::Request;
use oicq::wire::server::Extensions;

use self::channel::{Channel, End, Role};
use super::round::{Length, Round, Tally};
use super::run::Run;
use super::schedule::Schedule;
use super::stream::{Poll, ROOM_BYTES, Read};
use super::users::{Member, broken, closed, put};
use super::watch::Watch;
use crate::failure::Failure;

/// Sockets that are looked at in one turn.
const EVENTS: usize = 1_024;
/// The longest wait for the kernel: the bar moves, and signals are seen.
const WAIT_NS_MAX: u64 = 250_000_000;

/// What is sent, and how much of it at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of a message's text, at least 1.
    pub(crate) bytes: usize,
    /// Messages of one writer that may be under way, at least 1.
    pub(crate) under_way: usize,
    /// Messages a second, of all writers together. Without it, the next one follows where one has arrived.
    pub(crate) rate: Option<u64>,
    pub(crate) extensions: Extensions,
}

/// Something that can be measured round by round.
pub(crate) trait Load {
    /// One round. Afterwards nothing is under way.
    fn round(&mut self, watch: Watch, length: Length, run: &Run) -> Result<Round, Failure>;

    /// Checks, after the last round, that nothing has come that nobody waited for.
    fn finish(&mut self, run: &Run) -> Result<(), Failure>;
}

/// All channels of a load on one server.
pub(crate) struct Messages {
    rate: Option<u64>,
    has_results: bool,
    channels: Vec<Channel>,
    /// Each writer with its receivers behind it.
    ends: Vec<End>,
    poll: Poll,
    room: Vec<u8>,
    /// Channels that may have room for more messages.
    touched: Vec<usize>,
    /// Messages of all channels that are not done.
    under_way: u64,
    /// Replies of all ends that are waited for between rounds.
    replies: u64,
}

/// What may still be sent in a round.
enum Supply {
    /// Whatever there is room for, while the round is open.
    Endless,
    /// So many more.
    Count(u64),
    /// What is due: how many were given to their channels, and how many of those were sent.
    Steady { schedule: Schedule, given: u64, sent: u64 },
}

impl Messages {
    /// Writers and their receivers, who are logged in and have nothing under way. `request` is what a writer sends with
    /// a text.
    fn new(
        shape: &Shape,
        groups: Vec<(Member, Vec<Member>)>,
        request: impl for<'a> Fn(&[Member], &'a [u8]) -> Request<'a>,
    ) -> Result<Self, Failure> {
        let mut load = Self {
            rate: shape.rate,
            has_results: shape.extensions.have(Extensions::RESULTS),
            channels: Vec::with_capacity(groups.len()),
            ends: Vec::new(),
            poll: Poll::new(EVENTS).map_err(|error| broken("the start", &error))?,
            room: vec![0; ROOM_BYTES],
            touched: Vec::with_capacity(groups.len()),
            under_way: 0,
            replies: 0,
        };
        for (writer, receivers) in groups {
            let (channel, from) = (load.channels.len(), writer.number);
            let request =
                |text: &[u8], out: &mut Vec<u8>| put(out, from, request(&receivers, text));
            load.channels.push(Channel::new(shape, load.ends.len(), receivers.len(), request));
            load.add(End::new(writer, channel, Role::Writer))?;
            for receiver in receivers {
                load.add(End::new(receiver, channel, Role::receiver(shape, from)))?;
            }
        }
        Ok(load)
    }

    fn add(&mut self, end: End) -> Result<(), Failure> {
        let added = self.poll.add(&end.stream.socket, self.ends.len());
        added.map_err(|error| broken("the start", &error))?;
        self.ends.push(end);
        Ok(())
    }

    /// Asks on every connection for an answer, and waits for all of them: no connection is idle for too long, and
    /// nothing else comes.
    fn settle(&mut self, run: &Run) -> Result<(), Failure> {
        for key in 0..self.ends.len() {
            let end = &mut self.ends[key];
            put(&mut end.stream.out, end.own, Request::Test);
            end.replies = 1 + u32::from(self.has_results);
            self.replies += u64::from(end.replies);
            self.flush(key)?;
        }
        let (mut tally, mut last_ns) = (Tally::none(), run.ns());
        while self.replies > 0 {
            self.turn(&mut tally, &mut last_ns, u64::MAX, run)?;
        }
        Ok(())
    }

    /// Waits until something comes, at most until then, and takes it.
    fn turn(
        &mut self,
        tally: &mut Tally,
        last_ns: &mut u64,
        until_ns: u64,
        run: &Run,
    ) -> Result<(), Failure> {
        let now = run.ns();
        let wait_ns = until_ns.saturating_sub(now).min(WAIT_NS_MAX);
        let count = self.poll.wait(Some(wait_ns)).map_err(|error| broken("a round", &error))?;
        if count > 0 || self.under_way + self.replies == 0 {
            *last_ns = now;
        } else if now > last_ns.saturating_add(run.patience_ns) {
            return Err(self.missing(run.patience_ns));
        }
        let mut room = std::mem::take(&mut self.room);
        for index in 0..count {
            let happened = self.poll.happened(index);
            if happened.has_room {
                self.flush(happened.key)?;
            }
            if happened.has_bytes {
                self.read(happened.key, &mut room, tally, run)?;
            }
        }
        self.room = room;
        Ok(())
    }

    fn read(
        &mut self,
        key: usize,
        room: &mut [u8],
        tally: &mut Tally,
        run: &Run,
    ) -> Result<(), Failure> {
        let end = &mut self.ends[key];
        let read = match end.stream.read(room) {
            Ok(Read::Bytes(read)) => read,
            Ok(Read::Nothing) => return Ok(()),
            Ok(Read::End) => return Err(closed(&end.doing())),
            Err(error) => return Err(broken(&end.doing(), &error)),
        };
        let channel = &mut self.channels[end.channel];
        let taken = end.take(channel, &room[..read], run.ns(), tally)?;
        end.stream.keep(&room[taken.bytes..read]);
        self.replies -= u64::from(taken.replies);
        self.under_way -= taken.done;
        if taken.done > 0 {
            touch(&mut self.touched, channel, end.channel);
        }
        if !self.ends[key].stream.out.is_empty() {
            self.flush(key)?;
        }
        Ok(())
    }

    /// Lets every channel that has room send what may be sent.
    fn top_up(&mut self, supply: &mut Supply, is_open: bool, run: &Run) -> Result<(), Failure> {
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            let now = run.ns();
            let channel = &mut self.channels[index];
            channel.is_touched = false;
            let key = channel.writer;
            let out = &mut self.ends[key].stream.out;
            let mut sent = 0;
            while channel.has_room()
                && let Some(start_ns) = supply.next(index, channel.sent_in_round(), now, is_open)
            {
                channel.send(start_ns, out);
                sent += 1;
            }
            self.under_way += sent;
            if sent > 0 {
                self.flush(key)?;
            }
        }
        self.touched = touched;
        Ok(())
    }

    fn flush(&mut self, key: usize) -> Result<(), Failure> {
        let end = &mut self.ends[key];
        // Where the other end has closed, it may have said why; that is read next.
        match end.stream.flush(&self.poll, key) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed.map_err(|error| broken(&end.doing(), &error)),
        }
    }

    /// What has not come.
    fn missing(&self, patience_ns: u64) -> Failure {
        let seconds = patience_ns as f64 / 1e9;
        let waiting = |end: &&End| end.replies > 0 || end.waits(&self.channels[end.channel]);
        let what = self.ends.iter().find(waiting).map_or_else(String::new, End::awaited);
        Failure::Failed(format!(
            "{what} has not come for {seconds} s: it is lost, or the server stands still"
        ))
    }
}

impl Load for Messages {
    fn round(&mut self, watch: Watch, length: Length, run: &Run) -> Result<Round, Failure> {
        self.settle(run)?;
        let begun = run.ns();
        let mut tally = Tally::begin(watch, length, begun);
        let mut supply = Supply::new(self.rate, self.channels.len(), length, begun);
        let mut last_ns = begun;
        for (index, channel) in self.channels.iter_mut().enumerate() {
            channel.begin_round();
            touch(&mut self.touched, channel, index);
        }
        loop {
            let now = run.ns();
            run.look(now)?;
            let is_open = tally.look(now);
            supply.give(now, |index| touch(&mut self.touched, &mut self.channels[index], index));
            self.top_up(&mut supply, is_open, run)?;
            if self.under_way == 0 && supply.is_used_up(is_open) {
                return Ok(tally.end(run.ns()));
            }
            supply.check(now)?;
            let until = tally.next_look_ns().min(supply.next_due_ns());
            self.turn(&mut tally, &mut last_ns, until, run)?;
        }
    }

    fn finish(&mut self, run: &Run) -> Result<(), Failure> {
        self.settle(run)
    }
}

fn touch(touched: &mut Vec<usize>, channel: &mut Channel, index: usize) {
    if !channel.is_touched {
        channel.is_touched = true;
        touched.push(index);
    }
}

impl Supply {
    fn new(rate: Option<u64>, channels: usize, length: Length, now_ns: u64) -> Self {
        match (rate, length) {
            (None, Length::Time { .. }) => Self::Endless,
            (None, Length::Messages(count)) => Self::Count(count),
            (Some(rate), length) => {
                let schedule = match length {
                    Length::Time { warm_up_ns, duration_ns } => {
                        Schedule::lasting(now_ns, rate, channels, warm_up_ns + duration_ns)
                    }
                    Length::Messages(count) => Schedule::of(now_ns, rate, channels, count),
                };
                Self::Steady { schedule, given: 0, sent: 0 }
            }
        }
    }

    /// Gives channels what has become due; `touch` is called for each of them.
    fn give(&mut self, now_ns: u64, mut touch: impl FnMut(usize)) {
        if let Self::Steady { schedule, given, .. } = self {
            let due = schedule.due(now_ns);
            // More than one for each channel touches none that is not touched already.
            let fresh = *given..due.min(given.saturating_add(schedule.channels()));
            fresh.for_each(|message| touch(schedule.channel_of(message)));
            *given = due;
        }
    }

    /// When the time of a channel's next message begins, if it may be sent.
    fn next(&mut self, channel: usize, index: u64, now_ns: u64, is_open: bool) -> Option<u64> {
        match self {
            Self::Endless => is_open.then_some(now_ns),
            Self::Count(left) => {
                *left = left.checked_sub(1)?;
                Some(now_ns)
            }
            Self::Steady { schedule, given, sent } => {
                let message = schedule.message(channel, index);
                (message < *given).then(|| {
                    *sent += 1;
                    schedule.time_of(message)
                })
            }
        }
    }

    /// Whether nothing will be sent any more.
    const fn is_used_up(&self, is_open: bool) -> bool {
        match self {
            Self::Endless => !is_open,
            Self::Count(left) => *left == 0,
            Self::Steady { schedule, sent, .. } => *sent == schedule.total(),
        }
    }

    fn next_due_ns(&self) -> u64 {
        match self {
            Self::Steady { schedule, given, .. } if *given < schedule.total() => {
                schedule.time_of(*given)
            }
            _ => u64::MAX,
        }
    }

    /// Fails where a steady rate is more than the server takes: what was due could not all be sent in twice its time.
    fn check(&self, now_ns: u64) -> Result<(), Failure> {
        let Self::Steady { schedule, sent, .. } = self else { return Ok(()) };
        if now_ns < schedule.end_ns(2) || *sent == schedule.total() {
            return Ok(());
        }
        let (late, total) = (schedule.total() - sent, schedule.total());
        Err(Failure::Failed(format!(
            "the server does not keep up with the rate: {late} of {total} messages of a round could not even be sent \
             in twice its time; take a smaller --rate, or a larger --under-way"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const ROUND: Length = Length::Time { warm_up_ns: 0, duration_ns: SECOND_NS };

    #[test]
    fn without_a_rate_a_round_has_its_time_or_its_number() {
        let mut supply = Supply::new(None, 2, ROUND, 0);
        assert_eq!(supply.next(0, 0, 7, true), Some(7));
        assert_eq!((supply.next(0, 1, 8, false), supply.is_used_up(false)), (None, true));
        let mut supply = Supply::new(None, 2, Length::Messages(2), 0);
        let sent: Vec<_> = (0..3).map(|now| supply.next(0, now, now, true)).collect();
        assert_eq!((sent, supply.is_used_up(true)), (vec![Some(0), Some(1), None], true));
    }

    #[test]
    fn at_a_rate_channels_have_what_is_due_with_the_time_at_which_it_was() {
        let mut supply = Supply::new(Some(4), 3, ROUND, 0);
        assert_eq!((supply.next(0, 0, 0, true), supply.next_due_ns()), (None, 0));
        let mut touched = Vec::new();
        supply.give(SECOND_NS / 2, |channel| touched.push(channel));
        assert_eq!((touched, supply.next_due_ns()), (vec![0, 1, 2], SECOND_NS * 3 / 4));
        // Late by half a second, and by a quarter.
        assert_eq!(supply.next(0, 0, SECOND_NS / 2, true), Some(0));
        assert_eq!(supply.next(1, 0, SECOND_NS / 2, true), Some(SECOND_NS / 4));
        assert_eq!(supply.next(0, 1, SECOND_NS / 2, true), None, "the fourth is not due yet");
        assert!(!supply.is_used_up(false), "what is due is sent even behind the end");
    }

    #[test]
    fn a_rate_that_is_too_high_fails_after_twice_its_time() {
        let supply = Supply::new(Some(1_000), 3, ROUND, 0);
        assert!(supply.check(2 * SECOND_NS - 1).is_ok());
        let Err(Failure::Failed(words)) = supply.check(2 * SECOND_NS) else { panic!("it fails") };
        assert!(words.contains("1000 of 1000 messages"), "{words}");
    }
}
