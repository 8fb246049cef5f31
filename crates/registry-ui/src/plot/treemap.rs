//! A treemap: an area for each number, as square as can be (Bruls, Huizing, van Wijk: "Squarified Treemaps").

/// Where an area lies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Divides an area among numbers, in their order of size; the areas are in the order of the numbers.
pub(crate) fn layout(numbers: &[u64], width: f64, height: f64) -> Vec<Area> {
    let total: f64 = numbers.iter().map(|number| *number as f64).sum();
    let mut areas = vec![Area::default(); numbers.len()];
    if total <= 0.0 {
        return areas;
    }
    let mut order: Vec<usize> = (0..numbers.len()).filter(|at| numbers[*at] > 0).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(numbers[*at]), *at));
    let scale = width * height / total;
    let area = |at: usize| numbers[at] as f64 * scale;
    let mut free = Area {
        x: 0.0,
        y: 0.0,
        width,
        height,
    };
    let mut rest = &order[..];
    while !rest.is_empty() {
        let side = free.width.min(free.height);
        let (mut taken, mut sum, mut worst) = (0, 0.0, f64::INFINITY);
        while taken < rest.len() {
            let next = sum + area(rest[taken]);
            // The largest is the first of the row, the smallest would be this one.
            let ratio = ratio(area(rest[0]), next, side).max(ratio(area(rest[taken]), next, side));
            if ratio > worst {
                break;
            }
            (taken, sum, worst) = (taken + 1, next, ratio);
        }
        let depth = if side > 0.0 { sum / side } else { 0.0 };
        let is_column = free.width >= free.height;
        let mut at = 0.0;
        for one in &rest[..taken] {
            let length = if depth > 0.0 { area(*one) / depth } else { 0.0 };
            areas[*one] = match is_column {
                true => Area {
                    x: free.x,
                    y: free.y + at,
                    width: depth,
                    height: length,
                },
                false => Area {
                    x: free.x + at,
                    y: free.y,
                    width: length,
                    height: depth,
                },
            };
            at += length;
        }
        match is_column {
            true => (free.x, free.width) = (free.x + depth, (free.width - depth).max(0.0)),
            false => (free.y, free.height) = (free.y + depth, (free.height - depth).max(0.0)),
        }
        rest = &rest[taken..];
    }
    areas
}

/// How far from a square an area is in a row of that sum along a side.
fn ratio(area: f64, sum: f64, side: f64) -> f64 {
    let ratio = area * side * side / (sum * sum);
    ratio.max(1.0 / ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_paper() {
        let areas = layout(&[6, 6, 4, 3, 2, 2, 1], 6.0, 4.0);
        let near = |one: Area, two: [f64; 4]| {
            let one = [one.x, one.y, one.width, one.height];
            one.iter().zip(two).all(|(one, two)| (one - two).abs() < 1e-9)
        };
        assert!(near(areas[0], [0.0, 0.0, 3.0, 2.0]), "{areas:?}");
        assert!(near(areas[1], [0.0, 2.0, 3.0, 2.0]), "{areas:?}");
        assert!(near(areas[2], [3.0, 0.0, 12.0 / 7.0, 7.0 / 3.0]), "{areas:?}");
    }

    proptest! {
        #[test]
        fn areas_are_as_large_as_their_numbers_and_inside(numbers in proptest::collection::vec(0_u64..1_000_000_000, 0..60)) {
            let areas = layout(&numbers, 100.0, 40.0);
            let total: f64 = numbers.iter().map(|number| *number as f64).sum();
            prop_assert_eq!(areas.len(), numbers.len());
            for (area, number) in areas.iter().zip(&numbers) {
                prop_assert!(area.x >= 0.0 && area.y >= 0.0);
                prop_assert!(area.x + area.width <= 100.0001 && area.y + area.height <= 40.0001);
                if total > 0.0 {
                    let expected = *number as f64 / total * 4000.0;
                    prop_assert!((area.width * area.height - expected).abs() < 0.01);
                }
            }
        }
    }
}
