//! The picture of a long run: what was looked at each second over time, one panel below the other, with restarts and
//! compactions marked in all of them.
//!
//! Owns how it is drawn. Numbers it is given.

use std::error::Error;
use std::path::Path;

use indicatif::{BinaryBytes, HumanCount};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::title;
use super::sample::{Mark, Sample};
use super::verdict::Measured;
use crate::bench::plot::{COLORS, FONT, key, write};
use crate::failure::Failure;

const WIDTH: u32 = 1_200;
const PANEL_HEIGHT: u32 = 240;
/// Smaller than other titles: a long one has to fit.
const TITLE: (&str, u32) = ("sans-serif", 18);
/// Whether a mark is of a sort.
type IsMark = fn(Mark) -> bool;

/// What is marked, and how.
const MARKS: [(&str, IsMark, RGBColor); 3] = [
    ("killed", |mark| matches!(mark, Mark::Kill), RGBColor(204, 51, 51)),
    ("stopped", |mark| matches!(mark, Mark::Stop), RGBColor(120, 120, 120)),
    ("compacted", |mark| matches!(mark, Mark::Compacted { .. }), RGBColor(210, 190, 90)),
];
/// How much higher than the highest value a panel is, so that the curves' names have room.
const ROOM_FOR_NAMES: f64 = 1.3;

/// A value of a sample, where it is known.
type Value = fn(&Sample) -> Option<f64>;

/// One panel: what stands beside its axis, how its numbers are written, and its curves.
struct Panel {
    title: &'static str,
    show: fn(f64) -> String,
    is_log: bool,
    curves: &'static [(&'static str, Value)],
}

const PANELS: &[Panel] = &[
    Panel {
        title: "messages a second",
        show: whole,
        is_log: false,
        curves: &[("arrived", |sample| Some(sample.rate() as f64))],
    },
    Panel {
        title: "milliseconds",
        show: |value| value.to_string(),
        is_log: true,
        curves: &[
            ("50 %", |sample| sample.times.map(|times| times.p50 as f64 / 1e6)),
            ("99 %", |sample| sample.times.map(|times| times.p99 as f64 / 1e6)),
            ("longest", |sample| sample.times.map(|times| times.max as f64 / 1e6)),
        ],
    },
    Panel {
        title: "memory",
        show: bytes,
        is_log: false,
        curves: &[("memory of the server", |sample| sample.memory.map(|memory| memory as f64))],
    },
    Panel {
        title: "on disk",
        show: bytes,
        is_log: false,
        curves: &[("folder of the log", |sample| Some(sample.bytes as f64))],
    },
    Panel {
        title: "files",
        show: whole,
        is_log: false,
        curves: &[
            ("open files of the server", |sample| sample.files.map(|files| files as f64)),
            ("connections", |sample| Some(sample.connections as f64)),
        ],
    },
    Panel {
        title: "messages",
        show: whole,
        is_log: false,
        curves: &[("not arrived yet", |sample| Some(sample.waiting as f64))],
    },
    Panel {
        title: "% of a processor",
        show: whole,
        is_log: false,
        curves: &[
            ("server", |sample| sample.work.server.map(|percent| percent as f64)),
            ("load", |sample| sample.work.generator.map(|percent| percent as f64)),
            ("others", |sample| sample.work.others.map(|percent| percent as f64)),
        ],
    },
];

/// Draws it into a file, in place of what was there.
pub(super) fn draw(file: &Path, measured: &Measured) -> Result<(), Failure> {
    write(file, |svg| picture(svg, measured))
}

fn picture(svg: &mut String, measured: &Measured) -> Result<(), Box<dyn Error>> {
    let height = PANEL_HEIGHT * PANELS.len() as u32 + 60;
    let all = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    all.fill(&WHITE)?;
    let [load, upkeep] = title(measured);
    let panels = all.titled(&load, TITLE)?.titled(&upkeep, TITLE)?;
    let areas = panels.split_evenly((PANELS.len(), 1));
    for (index, (panel, area)) in PANELS.iter().zip(&areas).enumerate() {
        draw_panel(panel, area, measured, index == 0)?;
    }
    all.present()?;
    Ok(())
}

fn draw_panel(
    panel: &Panel,
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    measured: &Measured,
    is_first: bool,
) -> Result<(), Box<dyn Error>> {
    let values =
        panel.curves.iter().flat_map(|(_, value)| measured.samples.iter().filter_map(value));
    let (lowest, highest) =
        values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let (bottom, top) = match panel.is_log {
        true => (lowest.min(highest).max(0.001) * 0.9, (highest * 3.0).max(0.01)),
        false => (0.0, (highest * ROOM_FOR_NAMES).max(1.0)),
    };
    // One sort of chart for both scales: where it is logarithmic, logarithms are drawn.
    let scaled = |value: f64| if panel.is_log { value.max(0.001).log10() } else { value };
    let minutes = |ns: u64| ns as f64 / 60e9;
    let end = measured.samples.last().map_or(1.0, |last| minutes(last.at_ns)).max(0.01);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .margin_right(30)
        .x_label_area_size(36)
        .y_label_area_size(100)
        .build_cartesian_2d(0.0..end, scaled(bottom)..scaled(top))?;
    let show = |value: &f64| {
        let value = if panel.is_log { 10_f64.powf(*value) } else { *value };
        // Of a logarithm, a few digits say all.
        if panel.is_log { format!("{value:.3}") } else { (panel.show)(value) }
    };
    chart
        .configure_mesh()
        .x_desc("minutes")
        .y_desc(panel.title)
        .light_line_style(TRANSPARENT)
        .y_label_formatter(&show)
        .label_style(FONT)
        .y_labels(6)
        .draw()?;
    let mut named = if is_first { Vec::new() } else { MARKS.map(|(name, ..)| name).to_vec() };
    for (at_ns, mark) in &measured.marks {
        let Some((name, _, color)) = MARKS.iter().find(|(_, is_it, _)| is_it(*mark)) else {
            continue;
        };
        let ends = [scaled(bottom), scaled(top)].map(|height| (minutes(*at_ns), height));
        let line = chart.draw_series(LineSeries::new(ends, color.stroke_width(1)))?;
        if !named.contains(name) {
            named.push(name);
            line.label(*name).legend(move |at| key(at, *color));
        }
    }
    for ((name, value), color) in panel.curves.iter().zip(COLORS) {
        let points = measured
            .samples
            .iter()
            .filter_map(|sample| Some((minutes(sample.at_ns), scaled(value(sample)?))));
        let curve = LineSeries::new(points, color.stroke_width(1));
        chart.draw_series(curve)?.label(*name).legend(move |at| key(at, color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(FONT)
        .draw()?;
    Ok(())
}

fn whole(value: f64) -> String {
    HumanCount(value.max(0.0) as u64).to_string()
}

fn bytes(value: f64) -> String {
    BinaryBytes(value.max(0.0) as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::soak::verdict::Capacity;
    use crate::bench::soak::verdict::tests::stood;
    use crate::bench::watch::Limit;

    #[test]
    fn every_panel_has_its_curves_and_every_mark_its_name() {
        let mut svg = String::new();
        let mut measured = stood(|_, _| ());
        measured.marks.push((7, Mark::Stop));
        picture(&mut svg, &measured).unwrap();
        let curves: usize = PANELS.iter().map(|panel| panel.curves.len()).sum();
        assert!(svg.matches("<polyline").count() >= curves);
        for word in PANELS.iter().flat_map(|panel| panel.curves).map(|(name, _)| *name) {
            assert!(svg.contains(word), "{word}");
        }
        for word in ["killed", "stopped", "compacted", "minutes", "--seed 7", "</svg>"] {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn the_longest_title_is_not_clipped() {
        let mut measured = stood(|_, _| ());
        (measured.users, measured.rate, measured.seed) = (18_000, 1_234_567, u64::MAX);
        measured.elapsed_ns = 86_399_000_000_000;
        measured.capacity = Some(Capacity { rate: 2_345_678, limit: Limit::Generator });
        let em = f64::from(TITLE.1);
        for line in title(&measured) {
            let width = line.chars().count() as f64 * em * 0.6;
            assert!(width < f64::from(WIDTH), "{line} is about {width} wide");
        }
    }

    #[test]
    fn nothing_measured_is_drawn_as_well() {
        let mut measured =
            stood(|_, sample| (sample.times, sample.memory, sample.files) = (None, None, None));
        picture(&mut String::new(), &measured).unwrap();
        (measured.samples, measured.marks) = (Vec::new(), Vec::new());
        picture(&mut String::new(), &measured).unwrap();
    }
}
