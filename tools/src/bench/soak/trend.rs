//! Whether something grows: the slope of points in time, by the median of the slopes between them (Theil and Sen).
//!
//! A few points far off, such as those of a restart, do not move it. It knows nothing of what is measured.

/// A value at a time.
pub(super) type Point = (f64, f64);

/// Points of a stretch that are compared with each other, at most. More are taken together.
const POINTS_MAX: usize = 600;

/// The median slope between all points of the same stretch, and the median of all values; `None` where no stretch has
/// two points. Between stretches nothing is compared: what a new process begins with is no growth of the old one's.
pub(super) fn slope(stretches: &[Vec<Point>]) -> Option<(f64, f64)> {
    let thin: Vec<_> = stretches.iter().map(|points| thinned(points)).collect();
    let mut slopes = Vec::new();
    for points in &thin {
        for (index, (from, before)) in points.iter().enumerate() {
            let later = points[index + 1..].iter().filter(|(to, _)| to > from);
            slopes.extend(later.map(|(to, after)| (after - before) / (to - from)));
        }
    }
    let mut values: Vec<_> = stretches.iter().flatten().map(|(_, value)| *value).collect();
    Some((median(&mut slopes)?, median(&mut values)?))
}

/// The middle one; of an even number the lower of the two in the middle.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len().checked_sub(1)? / 2;
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

/// As many points as are compared: neighbours are taken together by their medians.
fn thinned(points: &[Point]) -> Vec<Point> {
    let together = points.len().div_ceil(POINTS_MAX).max(1);
    let one = |some: &[Point]| {
        let [mut times, mut values] = [Vec::new(), Vec::new()];
        some.iter().for_each(|(time, value)| {
            times.push(*time);
            values.push(*value);
        });
        Some((median(&mut times)?, median(&mut values)?))
    };
    points.chunks(together).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::soak::chance::Chance;

    fn noisy(count: usize, slope: f64) -> Vec<Point> {
        let mut chance = Chance::new(5, 5);
        let noise = |chance: &mut Chance| chance.below(2_000) as f64 / 100.0 - 10.0;
        (0..count).map(|at| (at as f64, 100.0 + slope * at as f64 + noise(&mut chance))).collect()
    }

    #[test]
    fn a_line_has_its_slope_and_a_level_has_none() {
        let line: Vec<_> = (0..50).map(|at| (f64::from(at), f64::from(3 * at + 7))).collect();
        assert_eq!(slope(&[line]), Some((3.0, 79.0)));
        assert_eq!(slope(&[vec![(0.0, 5.0), (1.0, 5.0), (9.0, 5.0)]]), Some((0.0, 5.0)));
    }

    #[test]
    fn noise_hides_no_growth_and_makes_none() {
        for count in [500, 4_000] {
            let (level, _) = slope(&[noisy(count, 0.0)]).unwrap();
            assert!(level.abs() * (count as f64) < 2.0, "{level}");
            let (growing, _) = slope(&[noisy(count, 0.02)]).unwrap();
            assert!((growing - 0.02).abs() * (count as f64) < 2.0, "{growing}");
        }
    }

    #[test]
    fn a_few_points_far_off_move_nothing() {
        let mut points = noisy(400, 0.0);
        (0..40).for_each(|index| points[index * 10].1 = 1e9);
        let (level, _) = slope(&[points]).unwrap();
        assert!(level.abs() < 0.01, "{level}");
    }

    #[test]
    fn stretches_are_not_compared_with_each_other() {
        let stretch =
            |from: f64, value: f64| (0..20).map(|at| (from + f64::from(at), value)).collect();
        let (level, _) =
            slope(&[stretch(0.0, 1.0), stretch(100.0, 50.0), stretch(200.0, 99.0)]).unwrap();
        assert_eq!(level, 0.0);
        let (all, _) = slope(&[[stretch(0.0, 1.0), stretch(100.0, 50.0)].concat()]).unwrap();
        assert!(all > 0.3);
    }

    #[test]
    fn too_few_points_have_no_slope() {
        for few in [
            vec![],
            vec![vec![]],
            vec![vec![(0.0, 1.0)], vec![(5.0, 9.0)]],
            vec![vec![(1.0, 1.0); 3]],
        ] {
            assert_eq!(slope(&few), None);
        }
    }
}
