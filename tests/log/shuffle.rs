//! Whole pieces of a log in the wrong place: batches, notes and segments that are swapped, repeated, removed, or put
//! back as they once were.

use super::layout::{Files, Known, Left, Verdict};
use super::matrix::{Bench, on_all};
use super::*;
use oicq::log::format::SECTOR_LEN;

/// Puts these batches of a segment into it, one behind another, and zeros behind them.
fn rebuilt(bench: &Bench, segment: usize, parts: &[usize]) -> Vec<u8> {
    let bytes = bench.bytes(segment);
    let mut changed = bytes[..at(HEADER_LEN)].to_vec();
    for part in parts {
        let batch = &bench.known.segments[segment].batches[*part];
        changed.extend_from_slice(&bytes[batch.from..batch.to]);
    }
    changed.resize(bytes.len(), 0);
    changed
}

/// Every way to take one batch out, put one in once more, and swap two.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let whole: Vec<_> = (0..count).collect();
    let mut all = Vec::new();
    for one in 0..count {
        let mut removed = whole.clone();
        removed.remove(one);
        all.push(removed);
        for other in 0..=count {
            let mut repeated = whole.clone();
            repeated.insert(other, one);
            all.push(repeated);
        }
        for other in one + 1..count {
            let mut swapped = whole.clone();
            swapped.swap(one, other);
            all.push(swapped);
        }
        all.push(whole[..one].to_vec());
    }
    all
}

/// What the format says of batches in another order: the first that is not in its place is damage, unless nothing
/// follows in a segment that may have ended there.
fn judge_order(known: &Known, segment: usize, parts: &[usize]) -> Verdict {
    let batches = &known.segments[segment].batches;
    let wrong = parts.iter().enumerate().position(|(place, part)| place != *part);
    let place = wrong.unwrap_or(parts.len());
    let offset = batches.get(place).map_or(known.segments[segment].end(), |batch| batch.from);
    let damaged =
        Verdict::Damaged { segment, offsets: [offset; 2], seq: known.seq_at(segment, place) };
    let is_last = segment + 1 == known.segments.len();
    let kept = known.items_before(segment, place);
    match wrong {
        None if place == batches.len() => Verdict::Opens(known.items.len()),
        None if is_last && !known.is_noted(segment, batches[place].first) => Verdict::Opens(kept),
        _ => damaged,
    }
}

#[test]
fn batches_swapped_repeated_and_removed() {
    on_all("batches moved", |bench| {
        for segment in bench.segments() {
            for parts in orders(bench.known.segments[segment].batches.len()) {
                let changed = rebuilt(bench, segment, &parts);
                if changed.len() != bench.bytes(segment).len() {
                    // A base is as long as its batches: one more does not fit.
                    continue;
                }
                let mut files = bench.known.files.clone();
                files.insert(bench.known.segments[segment].name.clone(), changed);
                let expected = judge_order(&bench.known, segment, &parts);
                bench.tried += 1;
                bench.check(
                    &files,
                    &expected,
                    &format!("{:?}, segment {segment}: {parts:?}", bench.left),
                );
            }
        }
    });
}

#[test]
fn batches_over_others_and_behind_the_end() {
    on_all("batches copied", |bench| {
        for segment in bench.segments() {
            let count = bench.known.segments[segment].batches.len();
            let end = bench.known.segments[segment].end();
            for from in 0..count {
                let batch = &bench.known.segments[segment].batches[from];
                let copy = bench.bytes(segment)[batch.from..batch.to].to_vec();
                let over = (0..count).filter(|to| *to != from);
                let over: Vec<_> =
                    over.map(|to| bench.known.segments[segment].batches[to].from).collect();
                for to in over.into_iter().chain([end, end + 8, end + 64, end + 504, end + 4096]) {
                    if to + copy.len() > bench.bytes(segment).len() {
                        continue;
                    }
                    let mut files = bench.known.files.clone();
                    let file = files.get_mut(&bench.known.segments[segment].name).unwrap();
                    file[to..to + copy.len()].copy_from_slice(&copy);
                    let what = format!("segment {segment}: batch {from} at {to}");
                    // Where batches were not synced one by one, an older one behind the end proves nothing.
                    let is_last = segment + 1 == bench.segments().len();
                    if is_last && bench.left == Left::Weak && to > end {
                        bench.tried += 1;
                        bench.check(&files, &Verdict::Opens(bench.known.items.len()), &what);
                    } else {
                        bench.is_damaged(&files, None, &what);
                    }
                }
            }
        }
    });
}

#[test]
fn segments_removed_swapped_and_repeated() {
    on_all("files moved", |bench| {
        let names: Vec<_> = bench.known.files.keys().cloned().collect();
        let whole = bench.known.files.clone();
        for (index, name) in names.iter().enumerate() {
            let mut files = whole.clone();
            files.remove(name);
            // The segments behind a base could be a log's beginning, but for their numbers.
            let seq = bench.known.seq_at(index, 0);
            let seq = if bench.known.segments[index].is_base { 1 } else { seq };
            bench.is_damaged(&files, Some(seq), &format!("without {name}"));
            for other in names.iter().filter(|other| *other != name) {
                let what = format!("{name} and {other}");
                let mut swapped = whole.clone();
                swapped.insert(name.clone(), whole[other].clone());
                bench.is_damaged(&swapped, None, &format!("{what} repeated"));
                swapped.insert(other.clone(), whole[name].clone());
                bench.is_damaged(&swapped, None, &format!("{what} swapped"));
                let mut files = files.clone();
                if files.len() > 1 {
                    files.remove(other);
                    bench.is_damaged(&files, None, &format!("without {what}"));
                }
            }
            let behind = bench.known.segments[0].number;
            for number in 0..40 {
                let new = format::segment_name(Seq(number));
                if !whole.contains_key(&new)
                    && (number > behind || !bench.known.segments[0].is_base)
                {
                    let mut files = whole.clone();
                    files.insert(new.clone(), whole[name].clone());
                    bench.is_damaged(&files, None, &format!("{name} again as {new}"));
                    files.insert(new.clone(), Vec::new());
                    bench.is_damaged(&files, None, &format!("{new} with nothing in it"));
                }
            }
        }
    });
}

#[test]
fn a_folder_as_it_was_at_any_time_is_a_log() {
    on_all("whole folders put back", |bench| {
        for (moment, (files, items)) in bench.known.history.iter().enumerate() {
            bench.check(
                files,
                &Verdict::Opens(*items),
                &format!("{:?}, moment {moment}", bench.left),
            );
        }
        bench.tried += bench.known.history.len();
    });
}

#[test]
fn a_file_as_it_once_was_is_no_more_than_a_lost_end_of_the_last_one() {
    on_all("old copies put back", |bench| {
        let history: Vec<Files> =
            bench.known.history.iter().map(|(files, _)| files.clone()).collect();
        for (moment, old) in history.iter().enumerate() {
            for segment in bench.segments() {
                if let Some(bytes) = old.get(&bench.known.segments[segment].name) {
                    bench.with(segment, &format!("as of moment {moment}"), |file| {
                        file.clone_from(bytes)
                    });
                }
            }
        }
    });
}

#[test]
fn notes_swapped_repeated_and_as_they_once_were() {
    on_all("notes moved", |bench| {
        let history: Vec<Files> =
            bench.known.history.iter().map(|(files, _)| files.clone()).collect();
        for segment in bench.segments() {
            let name = &bench.known.segments[segment].name;
            let old = history.iter().filter_map(|files| files.get(name));
            let all = old.chain([&bench.known.files[name]]);
            let mut sectors: Vec<_> = all
                .flat_map(|bytes| [512, 1024].map(|from| bytes[from..from + SECTOR_LEN].to_vec()))
                .collect();
            sectors.push(vec![0; SECTOR_LEN]);
            sectors.sort_unstable();
            sectors.dedup();
            for (first, one) in sectors.iter().enumerate() {
                for (second, other) in sectors.iter().enumerate() {
                    bench.with(segment, &format!("notes {first} and {second}"), |file| {
                        file[512..1024].copy_from_slice(one);
                        file[1024..1536].copy_from_slice(other);
                    });
                }
            }
        }
    });
}
