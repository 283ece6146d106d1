//! The picture of a measurement: how long which share of messages took, and what arrived in a second over time.
//!
//! Owns how it is drawn, as SVG. Numbers it is given.

use std::error::Error;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use indicatif::HumanCount;
use plotters::prelude::*;

use super::report::Measured;
use super::round::{Round, STEP_NS};
use crate::failure::Failure;

const SIZE: (u32, u32) = (1_000, 900);
pub(crate) const FONT: (&str, u32) = ("sans-serif", 16);
pub(crate) const TITLE: (&str, u32) = ("sans-serif", 22);
/// Colours that can be told apart whoever looks.
pub(crate) const COLORS: [RGBColor; 3] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];
/// How much higher than the highest rate the picture is, so that the curves' names have room.
const ROOM_FOR_NAMES: f64 = 1.3;
/// Points of a curve of latencies for each tenth of what is left to all of them.
const POINTS_PER_NINE: i32 = 20;
/// How near to all of them the curve goes: 99.999 %.
const NINES: i32 = 5;

/// Fails early where the file could not be written; changes nothing of what is there.
pub(crate) fn check(file: &Path) -> Result<(), Failure> {
    let opened = File::options().append(true).open(file).map(drop);
    let opened = opened.or_else(|error| match error.kind() {
        // It is not left behind where nothing comes to be drawn.
        ErrorKind::NotFound => File::create_new(file).and_then(|_| fs::remove_file(file)),
        _ => Err(error),
    });
    opened.map_err(|error| {
        Failure::Failed(format!(
            "cannot write {}: {error}; name another with --plot",
            file.display()
        ))
    })
}

/// Draws it into a file, in place of what was there.
pub(crate) fn draw(
    file: &Path,
    title: &str,
    unit: &str,
    measured: &[Measured],
) -> Result<(), Failure> {
    write(file, |svg| picture(svg, title, unit, measured))
}

/// Writes what was drawn into a file, in place of what was there.
pub(crate) fn write(
    file: &Path,
    draw: impl FnOnce(&mut String) -> Result<(), Box<dyn Error>>,
) -> Result<(), Failure> {
    let mut svg = String::new();
    let cannot =
        |error: &dyn Error| Failure::Failed(format!("cannot draw {}: {error}", file.display()));
    draw(&mut svg).map_err(|error| cannot(&*error))?;
    fs::write(file, svg).map_err(|error| cannot(&error))
}

fn picture(
    svg: &mut String,
    title: &str,
    unit: &str,
    measured: &[Measured],
) -> Result<(), Box<dyn Error>> {
    let all = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    all.fill(&WHITE)?;
    let halves = all.titled(title, TITLE)?.split_evenly((2, 1));
    latencies(&halves[0], measured)?;
    rates(&halves[1], unit, measured)?;
    all.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Shares along the bottom, so that each further nine takes as much room as the one before; times upwards.
fn latencies(area: &Area<'_>, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let latencies: Vec<_> = measured.iter().map(Measured::latency).collect();
    let ms = |ns: u64| ns as f64 / 1e6;
    let share = |nines: f64| 1.0 - 10_f64.powf(-nines);
    let longest =
        latencies.iter().map(|one| ms(one.quantile(share(NINES.into())))).fold(0.0, f64::max);
    let shortest = latencies.iter().map(|one| ms(one.quantile(0.0))).fold(f64::MAX, f64::min);
    // Where nothing was measured the axis still needs two ends.
    let bottom = shortest.min(longest).max(0.001) * 0.9;
    let times = (bottom..(longest * 1.1).max(bottom * 2.0)).log_scale();
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(40)
        .x_label_area_size(40)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..f64::from(NINES), times)?;
    chart
        .configure_mesh()
        .x_desc("share of all that took no longer")
        .y_desc("milliseconds")
        .y_label_formatter(&f64::to_string)
        .light_line_style(TRANSPARENT)
        .x_labels(NINES as usize + 1)
        .x_label_formatter(&|nines| percent(share(*nines)))
        .label_style(FONT)
        .draw()?;
    for ((one, latency), color) in measured.iter().zip(&latencies).zip(COLORS) {
        // Of a thousand messages the last one is 99.9 % away: behind it nothing was measured.
        let end = (latency.count().max(1) as f64).log10();
        let nines =
            (0..=NINES * POINTS_PER_NINE).map(|n| f64::from(n) / f64::from(POINTS_PER_NINE));
        let points = nines
            .take_while(|nines| *nines <= end)
            .map(|nines| (nines, ms(latency.quantile(share(nines))).max(0.001)));
        let curve = LineSeries::new(points, color.stroke_width(2));
        chart.draw_series(curve)?.label(one.name).legend(move |at| key(at, color));
    }
    let mut names = chart.configure_series_labels();
    names
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .label_font(FONT)
        .draw()?;
    Ok(())
}

/// Time along the bottom, all rounds one behind the other; what arrived in a second upwards.
fn rates(area: &Area<'_>, unit: &str, measured: &[Measured]) -> Result<(), Box<dyn Error>> {
    let step_s = STEP_NS as f64 / 1e9;
    let rates: Vec<Vec<f64>> =
        measured.iter().map(|one| one.rounds.iter().flat_map(per_second).collect()).collect();
    let highest = rates.iter().flatten().copied().fold(1.0, f64::max);
    let longest = rates.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(40)
        .x_label_area_size(40)
        .y_label_area_size(90)
        .build_cartesian_2d(0.0..longest as f64 * step_s, 0.0..highest * ROOM_FOR_NAMES)?;
    chart
        .configure_mesh()
        .x_desc("seconds of all rounds, one behind the other")
        .y_desc(format!("{unit} a second"))
        .light_line_style(TRANSPARENT)
        .y_label_formatter(&|rate| HumanCount(*rate as u64).to_string())
        .label_style(FONT)
        .draw()?;
    for ((one, rates), color) in measured.iter().zip(&rates).zip(COLORS) {
        let points =
            rates.iter().enumerate().map(|(step, rate)| ((step as f64 + 0.5) * step_s, *rate));
        let curve = LineSeries::new(points, color.stroke_width(2));
        chart.draw_series(curve)?.label(one.name).legend(move |at| key(at, color));
    }
    let mut names = chart.configure_series_labels();
    names
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .label_font(FONT)
        .draw()?;
    Ok(())
}

/// What arrived in a second, by steps. A last step that the round has not filled is left out, where it is not all
/// there is: less time is no lower rate.
fn per_second(round: &Round) -> impl Iterator<Item = f64> {
    let whole = usize::try_from(round.elapsed_ns / STEP_NS).unwrap_or(usize::MAX);
    let step_s = round.elapsed_ns.clamp(1, STEP_NS) as f64 / 1e9;
    round.steps.iter().take(whole.max(1)).map(move |n| *n as f64 / step_s)
}

/// The piece of a curve beside its name.
pub(crate) fn key((x, y): (i32, i32), color: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2))
}

/// A share of all with as many nines as it has.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::round::Latency;
    use crate::bench::watch::Work;

    fn measured(name: &'static str, times_us: std::ops::Range<u64>) -> Measured {
        let mut latency = Latency::new();
        times_us.for_each(|us| latency.record(us * 1_000, 1));
        let (steps, work) = (vec![10, 20, 15], Work::default());
        let round = Round { arrivals: 45, elapsed_ns: 3 * STEP_NS, latency, steps, work };
        Measured { name, rounds: vec![round] }
    }

    #[test]
    fn a_check_leaves_nothing_behind_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.svg");
        check(&file).unwrap();
        assert!(!file.exists());
        fs::write(&file, "before").unwrap();
        check(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"before");
        assert!(check(&folder.path().join("nowhere/a.svg")).is_err());
    }

    #[test]
    fn everything_that_was_measured_has_its_curves_and_its_name() {
        let all = [measured("server", 10..1_000), measured("bare relay", 5..50)];
        let mut svg = String::new();
        picture(&mut svg, "a title", "messages", &all).unwrap();
        assert!(svg.matches("<polyline").count() >= 4);
        for word in ["a title", "server", "bare relay", "messages a second", "99.9 %", "</svg>"] {
            assert!(svg.contains(word), "{word}");
        }
    }

    #[test]
    fn nothing_measured_is_drawn_as_well() {
        for all in [vec![], vec![measured("server", 0..0)]] {
            picture(&mut String::new(), "", "logins", &all).unwrap();
        }
    }

    #[test]
    fn a_step_that_is_not_full_is_no_lower_rate() {
        let rates = |elapsed_ns| {
            let mut one = measured("server", 0..0).rounds.remove(0);
            one.elapsed_ns = elapsed_ns;
            per_second(&one).collect::<Vec<_>>()
        };
        assert_eq!(rates(3 * STEP_NS), [100.0, 200.0, 150.0]);
        assert_eq!(rates(3 * STEP_NS - 1), [100.0, 200.0]);
        assert_eq!(rates(STEP_NS / 2), [200.0], "all there is");
    }

    #[test]
    fn shares_have_as_many_nines_as_they_need() {
        let shown: Vec<_> = [0.0, 0.9, 0.99, 0.999, 0.99999].map(percent).into();
        assert_eq!(shown, ["0 %", "90 %", "99 %", "99.9 %", "99.999 %"]);
    }
}
