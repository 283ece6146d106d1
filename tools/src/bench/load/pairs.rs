//! Pairs of users, of whom one writes to the other.

use oicq::id::ServiceNumber;
use oicq::wire::Request;

use super::ready::make_ready;
use super::{Messages, Shape};
use crate::bench::users::{Door, Member};
use crate::failure::Failure;

/// Lets pairs in, ready to write: two and two of these users.
pub(crate) fn prepare(
    door: &Door<'_>,
    numbers: &[ServiceNumber],
    shape: &Shape,
) -> Result<Messages, Failure> {
    let mut members = door.log_in(numbers)?.into_iter();
    let pair = || Some((members.next()?, vec![members.next()?]));
    let mut pairs: Vec<_> = std::iter::from_fn(pair).collect();
    make_ready(door, &mut pairs, request)?;
    Messages::new(shape, pairs, request)
}

fn request<'a>(receivers: &[Member], content: &'a [u8]) -> Request<'a> {
    let receiver = receivers.first().map_or(ServiceNumber::NONE, |receiver| receiver.number);
    Request::Send { receiver, content }
}
