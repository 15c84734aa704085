//! At which place of a map a seed is other than zero, in whatever order its numbers lie.
//!
//! Heads give maps with their rows one behind the other, with the channels last, with an axis of anchors, or without a batch. The backward
//! pass begins by bringing such a seed into the order of a map; each of its numbers can be followed there.

use std::collections::HashMap;

use onnx_grad::{
    graph::reads,
    proto::{GraphProto, NodeProto},
};

use super::Shape;
use crate::blocked;

/// How a seed becomes a map `[1, channels, height, width]`, before anything is computed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Entry {
    /// What is transposed on the way: its sizes, and its axes in their new order. What is reshaped keeps the order of its numbers.
    transposed: Vec<(Vec<usize>, Vec<usize>)>,
    /// Height and width.
    pub(super) map: [usize; 2],
}

impl Entry {
    /// That of a seed in a backward pass of one image, with the map's name and whether it lies in blocks. `None`: it becomes no map.
    pub(super) fn of(graph: &GraphProto, shapes: &HashMap<String, Shape>, seed: &str) -> Option<(Self, String, bool)> {
        let sizes = |name: &str| -> Option<Vec<usize>> {
            shapes.get(name)?.iter().map(|&size| usize::try_from(size).ok()).collect()
        };
        let is_map = |sizes: &[usize]| matches!(sizes, [1, _, _, _]);
        let (mut name, mut transposed) = (seed, Vec::new());
        // The first value behind the last change of the order, with how much was transposed before it.
        let mut map = is_map(&sizes(seed)?).then_some((seed, 0));
        loop {
            let own = sizes(name)?;
            let mut readers = graph.node.iter().filter(|node| reads(node).contains(&name));
            let only = readers.next().filter(|_| readers.next().is_none());
            let Some((node, next)) = only.and_then(|node| Some((node, node.output.first()?.as_str()))) else { break };
            let scaled =
                |at: usize| node.input.get(at).is_some_and(|input| input == name) && sizes(next).as_ref() == Some(&own);
            match (&*node.domain, &*node.op_type) {
                ("", "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten") => {}
                ("", "Transpose") => transposed.push((own, order(node)?)),
                // By a slope, number by number: zeros stay zeros.
                ("", "Mul") if scaled(0) || scaled(1) => {
                    name = next;
                    continue;
                }
                ("", "Div") if scaled(0) => {
                    name = next;
                    continue;
                }
                (blocked::DOMAIN, "ReorderInput") if node.attr_int("channels_last").unwrap_or(0) != 0 => {
                    let [1, height, width, _] = own[..] else { return None };
                    transposed.push((own, vec![0, 3, 1, 2]));
                    return Some((Self { transposed, map: [height, width] }, next.to_owned(), true));
                }
                _ => break,
            }
            name = next;
            map = sizes(name).filter(|sizes| is_map(sizes)).map(|_| (name, transposed.len())).or(map);
        }
        let (name, changes) = map?;
        transposed.truncate(changes);
        let [_, _, height, width] = sizes(name)?[..] else { return None };
        Some((Self { transposed, map: [height, width] }, name.to_owned(), false))
    }

    /// The place in the map, row by row, of a number of the seed.
    fn place(&self, mut at: usize) -> usize {
        for (sizes, order) in &self.transposed {
            // Where along each axis it is.
            let mut along = vec![0; sizes.len()];
            for (along, size) in along.iter_mut().zip(sizes).rev() {
                *along = at % size;
                at /= size;
            }
            at = order.iter().fold(0, |at, &axis| at * sizes[axis] + along[axis]);
        }
        at % (self.map[0] * self.map[1])
    }
}

/// The axes in their new order.
fn order(transpose: &NodeProto) -> Option<Vec<usize>> {
    transpose.attr_ints("perm")?.iter().map(|&axis| usize::try_from(axis).ok()).collect()
}

/// The one place, row and column, at which seeds are other than zero. The maps are of one size.
pub(in super::super) fn place(seeds: &[(&[f32], &Entry)]) -> Option<[f32; 2]> {
    const TOGETHER: usize = 1024;
    let mut found = None;
    for (seed, entry) in seeds {
        for (number, slopes) in seed.chunks(TOGETHER).enumerate() {
            // All bits but the sign's: as fast as reading them.
            if slopes.iter().fold(0, |bits, slope| bits | (slope.to_bits() << 1)) == 0 {
                continue;
            }
            for (at, _) in slopes.iter().enumerate().filter(|(_, slope)| **slope != 0.0) {
                let place = entry.place(number * TOGETHER + at);
                if found.is_some_and(|found| found != place) {
                    return None;
                }
                found = Some(place);
            }
        }
    }
    let (at, columns) = (found.unwrap_or(0), seeds.first()?.1.map[1]);
    Some([(at / columns) as f32, (at % columns) as f32])
}

#[cfg(test)]
mod tests {
    use onnx_grad::attr;

    use super::*;

    /// The entry of `seed` in a chain of nodes, each with an order of axes (none: a reshape; -1: a product) and with its output's sizes.
    fn entry(sizes: &[i64], chain: &[(&[i64], &[i64])]) -> Option<Entry> {
        let mut shapes = HashMap::from([("seed".to_owned(), sizes.to_vec())]);
        let mut graph = GraphProto::default();
        for (at, (order, sizes)) in chain.iter().enumerate() {
            let input = if at == 0 { "seed".to_owned() } else { format!("v{at}") };
            let output = format!("v{}", at + 1);
            shapes.insert(output.clone(), sizes.to_vec());
            graph.node.push(NodeProto {
                op_type: match order {
                    [] => "Reshape",
                    [-1] => "Mul",
                    _ => "Transpose",
                }
                .into(),
                input: vec![input, "other".into()],
                output: vec![output],
                attribute: if order.len() > 1 { vec![attr::ints("perm", order)] } else { Vec::new() },
                ..Default::default()
            });
        }
        graph.node.push(NodeProto {
            op_type: "Conv".into(),
            input: vec![format!("v{}", chain.len()), "w".into()],
            output: vec!["out".into()],
            ..Default::default()
        });
        Some(Entry::of(&graph, &shapes, "seed")?.0)
    }

    /// Where the seed is not zero but at that number.
    fn at(entry: &Entry, count: usize, numbers: &[usize]) -> Option<[f32; 2]> {
        let mut seed = vec![0.0; count];
        numbers.iter().for_each(|&number| seed[number] = -1.0);
        place(&[(&seed, entry)])
    }

    #[test]
    fn each_order_of_a_map_is_followed_to_its_place() {
        // Four channels, three rows, five columns: channel 2, row 1, column 3.
        let plain = entry(&[1, 4, 15], &[(&[], &[1, 4, 3, 5])]).unwrap();
        assert_eq!(at(&plain, 60, &[2 * 15 + 8]), Some([1.0, 3.0]));
        let channels_last = entry(&[1, 15, 4], &[(&[0, 2, 1], &[1, 4, 15]), (&[], &[1, 4, 3, 5])]).unwrap();
        assert_eq!(at(&channels_last, 60, &[8 * 4 + 2]), Some([1.0, 3.0]));
        let no_batch = entry(&[30, 2], &[(&[], &[1, 3, 5, 4]), (&[0, 3, 1, 2], &[1, 4, 3, 5])]).unwrap();
        assert_eq!(at(&no_batch, 60, &[(8 * 2 + 1) * 2]), Some([1.0, 3.0]));
        // Two anchors with two numbers each.
        let anchors = [(&[0, 1, 4, 2, 3][..], &[1, 2, 2, 3, 5][..]), (&[], &[1, 4, 3, 5])];
        let anchors = entry(&[1, 2, 3, 5, 2], &anchors).unwrap();
        assert_eq!(at(&anchors, 60, &[(15 + 8) * 2, (15 + 8) * 2 + 1, 8 * 2]), Some([1.0, 3.0]));
        // Two places, and none.
        for entry in [&plain, &channels_last, &no_batch, &anchors] {
            assert_eq!(at(entry, 60, &[0, 59]), None);
            assert_eq!(at(entry, 60, &[]), Some([0.0, 0.0]));
        }
        // The slope of what the head ends with, in the head's own order, and behind the last change of it.
        let product = [(&[-1][..], &[30, 2][..]), (&[], &[1, 3, 5, 4]), (&[0, 3, 1, 2], &[1, 4, 3, 5])];
        assert_eq!(entry(&[30, 2], &product).unwrap(), no_batch);
        let last = [(&[][..], &[1, 4, 3, 5][..]), (&[-1], &[1, 4, 3, 5])];
        assert_eq!(entry(&[1, 4, 15], &last).unwrap(), plain);
        // No map.
        assert_eq!(entry(&[1, 1000], &[]), None);
        assert_eq!(entry(&[2, 4, 3, 5], &[]), None);
    }

    #[test]
    fn what_is_no_number_is_not_zero_and_a_negative_zero_is() {
        let map = entry(&[1, 2, 2, 3], &[]).unwrap();
        let mut seeds = [[0.0; 12], [0.0; 12]];
        let place = |seeds: &[[f32; 12]; 2]| place(&seeds.each_ref().map(|seed| (&seed[..], &map)));
        seeds[0][5] = 1.0;
        seeds[1][11] = -2.0;
        seeds[0][0] = -0.0;
        assert_eq!(place(&seeds), Some([1.0, 2.0]));
        seeds[1][6] = f32::NAN;
        assert_eq!(place(&seeds), None);
    }
}
