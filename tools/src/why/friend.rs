//! `why DIR friend A B`: which events made A have B in its friend list and B have A, and which undid it.
//!
//! A friend list has one direction, so there are two answers.

use std::ops::ControlFlow;

use oicq::id::{Seq, ServiceNumber};
use oicq::state::{Event, State};
use serde_json::json;

use super::{Answer, Arguments, watch};
use crate::failure::Failure;
use crate::show::who;
use crate::source::{Happening, Onlooker, Source};

pub(super) fn ask(
    source: &Source,
    arguments: Arguments,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let pair = (arguments.user(0)?, arguments.user(1)?);
    if pair.0 == pair.1 {
        return Err(Failure::Usage(
            "friend: A and B are the same, nobody is its own friend".to_owned(),
        ));
    }
    let mut friends = Friends { pair, since: [None; 2], events: String::new(), answer };
    let seen = watch(source, &mut friends)?;
    let Friends { since, events, .. } = friends;
    let (state, charset, base) = (&seen.outcome.state, seen.outcome.charset, seen.outcome.base_seq);
    source.check_user(pair.0, state)?;
    source.check_user(pair.1, state)?;
    for ((owner, friend), since) in [pair, (pair.1, pair.0)].into_iter().zip(since) {
        let has = has(state, owner, friend);
        let waits = state.user(friend).is_some_and(|user| user.requests().contains(&owner));
        let object = json!({
            "what": "friendship",
            "owner": owner.0,
            "friend": friend.0,
            "has": has,
            "since": since.map(|seq: Seq| seq.0),
            "waits": waits,
        });
        let name = |number| who(state, charset, number);
        let (owner, friend) = (name(owner), name(friend));
        let since = match since {
            Some(seq) => format!("since {seq}"),
            None if has => format!("since {base} or before"),
            None if base > Seq::ZERO => format!("and has not had since {base}"),
            None => "and never had".to_owned(),
        };
        let does = if has { "has" } else { "does not have" };
        let asks = if waits { ", and waits for its answer" } else { "" };
        answer
            .say(format_args!("{owner} {does} {friend} in its friend list, {since}{asks}"), object);
    }
    answer.add(&events);
    answer.gaps(base, seen.lost);
    Ok(())
}

/// Keeps the events between two users.
struct Friends<'a> {
    pair: (ServiceNumber, ServiceNumber),
    /// The event that made it what it is, for the first in the second's friend list and the other way round.
    since: [Option<Seq>; 2],
    events: String,
    answer: &'a Answer,
}

impl Onlooker for Friends<'_> {
    fn event(&mut self, happening: &Happening<'_>) -> Result<ControlFlow<()>, Failure> {
        let (of, changes) = match happening.event {
            Event::FriendAdded { owner, friend, .. } | Event::FriendDeleted { owner, friend } => {
                ((owner, friend), true)
            }
            Event::FriendRequested { asker, friend, .. }
            | Event::RequestRejected { asker, friend }
            | Event::FriendRefused { asker, friend } => ((asker, friend), false),
            _ => return Ok(ControlFlow::Continue(())),
        };
        let direction = match of {
            _ if of == self.pair => 0,
            _ if of == (self.pair.1, self.pair.0) => 1,
            _ => return Ok(ControlFlow::Continue(())),
        };
        if changes {
            self.since[direction] = Some(happening.seq);
        }
        self.events.push_str(&self.answer.event(happening));
        Ok(ControlFlow::Continue(()))
    }
}

fn has(state: &State, owner: ServiceNumber, friend: ServiceNumber) -> bool {
    state.user(owner).is_some_and(|user| user.friend(friend).is_some())
}
