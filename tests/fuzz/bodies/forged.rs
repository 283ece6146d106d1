//! Files of a log that no server has written, behind checksums that fit: headers, batches and notes in which some
//! numbers are others, and are now and then as large as a number can be.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each target uses a part of it")]

use oicq::id::{Seq, UnixMillis};
use oicq::log::format::{
    self, BATCH_HEADER_LEN, BatchHeader, HEADER_LEN, Mark, SEGMENT_SIZE_MIN, SegmentHeader,
    WITNESS_OFFSETS, Witness, batch_len, encode_record_header, seed_of,
};

use crate::chance::Chance;
use crate::images::{Files, Image, Item};

const LOG_ID: u64 = 7;

/// Where the files are: what the next batch has to continue.
struct Place {
    seq: Seq,
    checksum: u32,
    time: UnixMillis,
    durable: Seq,
}

/// A few files with records of this log.
pub fn forge(image: &Image, chance: &mut Chance) -> Files {
    let mut files = Files::new();
    let first = number(chance, 0);
    let mut place =
        Place { seq: Seq(first), checksum: 0, time: UnixMillis(1), durable: Seq(first) };
    let has_base = chance.one_in(3);
    for index in 0..=chance.below(3) {
        let (name, bytes) = file(image, has_base && index == 0, &mut place, chance);
        files.insert(name, bytes);
    }
    files
}

fn file(image: &Image, is_base: bool, place: &mut Place, chance: &mut Chance) -> (String, Vec<u8>) {
    let first = Seq(number(chance, place.seq.0.wrapping_add(1)));
    let header = SegmentHeader {
        charset: if chance.one_in(16) { chance.byte() } else { 1 },
        is_base,
        weak: chance.one_in(4),
        log_id: number(chance, LOG_ID),
        generation: number(chance, u64::from(is_base)),
        first,
        durable: Seq(number(chance, first.0.wrapping_sub(1))),
        size: number(chance, SEGMENT_SIZE_MIN),
        created: UnixMillis(number(chance, place.time.0)),
        chain: small(chance, if is_base { 7 } else { place.checksum }),
    };
    let (mut bytes, checksum) = header.encode();
    if !is_base {
        *place = Place { seq: header.durable, checksum, durable: header.durable, ..*place };
    }
    let seed = seed_of(header.log_id);
    let mut inner = Place { seq: Seq::ZERO, checksum, ..*place };
    let at = if is_base { &mut inner } else { &mut *place };
    let mut marks = vec![Mark { seq: at.seq, end: HEADER_LEN, checksum }];
    for _ in 0..chance.below(4) {
        batch(image, is_base, seed, at, &mut bytes, chance);
        marks.push(Mark { seq: at.seq, end: bytes.len() as u64, checksum: at.checksum });
    }
    notes(&marks, seed, &mut bytes, chance);
    bytes.resize(bytes.len().max(usize::try_from(SEGMENT_SIZE_MIN).unwrap_or(0)), 0);
    if is_base {
        // What is behind it is chained to what it has taken the place of.
        *place = Place { seq: header.durable, checksum: header.chain, ..*place };
    }
    let named = Seq(number(chance, if is_base { header.durable.0 } else { first.0 }));
    let name = if is_base { format::base_name(named) } else { format::segment_name(named) };
    (name, bytes)
}

fn batch(
    image: &Image,
    in_base: bool,
    seed: u32,
    place: &mut Place,
    bytes: &mut Vec<u8>,
    chance: &mut Chance,
) {
    let mut records = Vec::new();
    let items: Vec<&Item> = image.items.iter().filter(|item| item.in_base == in_base).collect();
    let count = 1 + chance.below(4);
    for index in 0..count {
        let next = usize::try_from(place.seq.0).unwrap_or(0).wrapping_add(index);
        let Some(item) = items.get(next).or(items.first()) else { return };
        let kind = if chance.one_in(16) { chance.byte() } else { item.kind };
        records.extend_from_slice(&encode_record_header(kind, item.payload.len()));
        records.extend_from_slice(&item.payload);
    }
    let header = BatchHeader {
        payload_len: small(chance, u32::try_from(records.len()).unwrap_or(u32::MAX)),
        first: Seq(number(chance, place.seq.0.wrapping_add(1))),
        time: UnixMillis(number(chance, place.time.0)),
        durable: Seq(number(chance, place.durable.0)),
        count: small(chance, u32::try_from(count).unwrap_or(u32::MAX)),
        flags: small(chance, 0),
        chain: small(chance, place.checksum),
    };
    let start = bytes.len();
    bytes.resize(start + BATCH_HEADER_LEN, 0);
    let sum = header.encode(seed, &mut bytes[start..]);
    bytes.extend_from_slice(&records);
    let sum = format::checksum(sum, &records);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.resize(start + usize::try_from(batch_len(records.len())).unwrap_or(0), 0);
    let last = header.first.0.wrapping_add(u64::from(header.count)).wrapping_sub(1);
    *place = Place { seq: Seq(last), checksum: sum, time: header.time, durable: place.seq };
}

/// Notes of some places, in either slot.
fn notes(marks: &[Mark], seed: u32, bytes: &mut [u8], chance: &mut Chance) {
    let first = number(chance, 1);
    for (counter, offset) in [first, first.wrapping_add(1)].into_iter().zip(WITNESS_OFFSETS) {
        if chance.one_in(2) {
            let mut mark = chance.pick(marks);
            mark.seq = Seq(number(chance, mark.seq.0));
            mark.end = number(chance, mark.end);
            let (weak, closed) = (chance.one_in(4), chance.one_in(2));
            let sector = Witness { mark, counter, weak, closed }.encode(seed);
            let at = usize::try_from(offset).unwrap_or(0);
            bytes[at..at + sector.len()].copy_from_slice(&sector);
        }
    }
}

/// A number that should be this one, and mostly is.
fn number(chance: &mut Chance, honest: u64) -> u64 {
    match chance.below(64) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - 1,
        3 => honest.wrapping_add(1),
        4 => honest.wrapping_sub(1),
        5 => 1 << 63,
        6 => 1 << 32,
        7 => chance.next(),
        _ => honest,
    }
}

fn small(chance: &mut Chance, honest: u32) -> u32 {
    match chance.below(64) {
        0 => 0,
        1 => u32::MAX,
        2 => honest.wrapping_add(1),
        3 => honest.wrapping_sub(1),
        4 => 1 << 24,
        _ => honest,
    }
}
