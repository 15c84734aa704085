//! Choosing among overlapping boxes: greedy non-maximum suppression, class by class.

use ndarray::ArrayD;

use super::{Detection, Detector};
use crate::error::Result;

/// How many boxes are looked at, the surest first.
const MOST: usize = 3000;

/// How many are kept.
const KEPT: usize = 300;

/// The boxes of one image, the surest first, without those that overlap a surer one of their class.
///
/// # Errors
/// The outputs are not as the format has them.
pub fn suppressed(head: &dyn Detector, value: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
    suppressed_until(head, value, &|_| false)
}

/// As [`suppressed`], up to the first of those boxes that is the wanted one: `is_it` is told how many are kept, and the last of them.
///
/// # Errors
/// Those of [`suppressed`].
pub fn suppressed_until(
    head: &dyn Detector,
    value: &dyn Fn(&str) -> Result<ArrayD<f32>>,
    is_it: &dyn Fn((usize, &Detection)) -> bool,
) -> Result<Vec<Detection>> {
    let mut boxes: Vec<Option<Detection>> = head.boxes(value)?.into_iter().map(Some).collect();
    let order = surest(boxes.iter().flatten());
    let most = head.overlap();
    let mut kept: Vec<Detection> = Vec::new();
    for found in order.into_iter().filter_map(|at| boxes[at].take()) {
        if most.is_some() && kept.len() == KEPT {
            break;
        }
        let covers =
            |surer: &Detection, most: f32| surer.class == found.class && overlap(surer.corners, found.corners) > most;
        if most.is_none_or(|most| !kept.iter().any(|surer| covers(surer, most))) {
            let is_it = is_it((kept.len() + 1, &found));
            kept.push(found);
            if is_it {
                break;
            }
        }
    }
    Ok(kept)
}

/// The places of the boxes that are looked at, the surest first; equal ones stay in their order. What is not a number is left out.
fn surest<'a>(boxes: impl Iterator<Item = &'a Detection>) -> Vec<usize> {
    let are_numbers = |probability: f32, found: &Detection| {
        !probability.is_nan() && found.corners.iter().all(|side| side.is_finite())
    };
    let rated = boxes.enumerate().map(|(at, found)| (found.evidence.probability(), at, found));
    let mut order: Vec<(f32, usize)> =
        rated.filter(|(sure, _, found)| are_numbers(*sure, found)).map(|(sure, at, _)| (sure, at)).collect();
    order.sort_unstable_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
    order.truncate(MOST);
    order.into_iter().map(|(_, at)| at).collect()
}

/// The intersection of two boxes over their union, from 0 to 1; corners are left, top, right, bottom.
pub fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |[left, top, right, bottom]: [f32; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let both = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let either = area(a) + area(b) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Element, detection::Evidence};

    #[derive(Debug)]
    struct Given(Vec<Detection>, Option<f32>);

    impl Detector for Given {
        fn reads(&self) -> Vec<String> {
            Vec::new()
        }

        fn boxes(&self, _: &dyn Fn(&str) -> Result<ArrayD<f32>>) -> Result<Vec<Detection>> {
            Ok(self.0.clone())
        }

        fn overlap(&self) -> Option<f32> {
            self.1
        }
    }

    fn found(corners: [f32; 4], class: usize, probability: f32) -> Detection {
        let element = Element { value: "y".into(), at: vec![0] };
        Detection { corners, class, evidence: Evidence::Probabilities(vec![(element, probability)]) }
    }

    #[test]
    fn the_surer_of_two_boxes_of_a_class_is_kept() {
        let boxes = vec![
            found([0.0, 0.0, 10.0, 10.0], 0, 0.5),
            found([1.0, 0.0, 11.0, 10.0], 0, 0.9),
            found([1.0, 0.0, 11.0, 10.0], 1, 0.7),
            found([50.0, 0.0, 60.0, 10.0], 0, 0.1),
            found([0.0, 0.0, f32::NAN, 10.0], 0, 0.99),
            found([0.0, 0.0, 1.0, 1.0], 0, f32::NAN),
        ];
        let none = |_: &str| unreachable!();
        let probabilities = |overlap| -> Vec<f32> {
            let kept = suppressed(&Given(boxes.clone(), overlap), &none).unwrap();
            kept.iter().map(|found| found.evidence.probability()).collect()
        };
        assert_eq!(probabilities(Some(0.5)), [0.9, 0.7, 0.1]);
        assert_eq!(probabilities(Some(0.9)), [0.9, 0.7, 0.5, 0.1]);
        assert_eq!(probabilities(None), [0.9, 0.7, 0.5, 0.1]);
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        assert_eq!(overlap([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
        assert_eq!(overlap([0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 2.0]), 0.0);
        assert_eq!(overlap([0.0; 4], [0.0; 4]), 0.0);
    }
}
