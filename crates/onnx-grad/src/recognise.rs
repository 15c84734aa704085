//! Finds activation functions that exporters spell out, so that they are differentiated as what they are.
//!
//! Spelled out, each step's rule would ask for its own input or output to be kept; runtimes, which recognise the same spellings, then
//! cannot run the function as one. Its own rule takes the function's input alone.

use std::collections::{HashMap, HashSet};

use crate::{
    attr,
    graph::Index,
    proto::{GraphProto, NodeProto},
};

/// The nodes of a graph with spelled-out functions as one node each: `Gelu`, `Swish` and `HardSwish`. `None`: there are none.
///
/// The steps in between are gone, so `keep` names the values that must stay.
pub(crate) fn recognise(graph: &GraphProto, index: &Index<'_>, keep: &HashSet<&str>) -> Option<Vec<NodeProto>> {
    let mut found: HashMap<usize, Found> = HashMap::new();
    let mut gone: HashSet<usize> = HashSet::new();
    let search = Search { graph, index, keep };
    for at in (0..graph.node.len()).rev().filter(|&at| matches!(&*graph.node[at].op_type, "Mul" | "Div")) {
        if gone.contains(&at) {
            continue;
        }
        if let Some(function) = search.product(at) {
            gone.extend(function.inside.iter().copied());
            found.insert(at, function);
        }
    }
    if found.is_empty() {
        return None;
    }
    let one = |(at, node): (usize, &NodeProto)| match found.get(&at) {
        Some(function) => Some(NodeProto {
            op_type: function.op.to_owned(),
            name: node.name.clone(),
            input: vec![function.x.clone()],
            output: node.output.clone(),
            attribute: if function.op == "Swish" { vec![attr::float("alpha", 1.0)] } else { Vec::new() },
            ..Default::default()
        }),
        None => (!gone.contains(&at)).then(|| node.clone()),
    };
    Some(graph.node.iter().enumerate().filter_map(one).collect())
}

/// The values that are steps of a spelled-out activation function, which nothing but its last node comes of.
pub fn activation_steps(graph: &GraphProto) -> HashSet<String> {
    let (index, keep) = (Index::new(graph), HashSet::new());
    let search = Search { graph, index: &index, keep: &keep };
    let products = (0..graph.node.len()).filter(|&at| matches!(&*graph.node[at].op_type, "Mul" | "Div"));
    let inside = products.filter_map(|at| search.product(at)).flat_map(|found| found.inside);
    inside.flat_map(|at| graph.node[at].output.iter().cloned()).collect()
}

struct Found {
    op: &'static str,
    x: String,
    /// The nodes that are steps of it, without the last.
    inside: Vec<usize>,
}

struct Search<'a> {
    graph: &'a GraphProto,
    index: &'a Index<'a>,
    keep: &'a HashSet<&'a str>,
}

impl<'a> Search<'a> {
    /// The node that makes a value which nobody else reads, if it is of that kind.
    fn step(&self, name: &str, op: &str) -> Option<(usize, &'a NodeProto)> {
        let at = self.index.producer(name)?;
        let node = &self.graph.node[at];
        let own = node.op_type == op && node.domain.is_empty() && self.index.consumers(name).len() == 1;
        (own && !self.keep.contains(name)).then_some((at, node))
    }

    fn number(&self, name: &str) -> Option<f64> {
        let values = self.index.constant(name).filter(|tensor| tensor.len().is_ok_and(|len| len == 1))?;
        values.to_floats().ok()?.first().copied()
    }

    /// A number and a value, in either order.
    fn number_and_value(&self, node: &'a NodeProto) -> Option<(f64, &'a str)> {
        let [a, b] = node.input.as_slice() else { return None };
        match (self.number(a), self.number(b)) {
            (Some(number), None) => Some((number, b)),
            (None, Some(number)) => Some((number, a)),
            _ => None,
        }
    }

    /// A product of x, a function of x, and numbers.
    fn product(&self, root: usize) -> Option<Found> {
        let mut inside = Vec::new();
        let mut number = 1.0;
        let mut values: Vec<&str> = Vec::new();
        let node = &self.graph.node[root];
        if !node.domain.is_empty() {
            return None;
        }
        let mut open: Vec<&str> = Vec::new();
        match (&*node.op_type, node.input.as_slice()) {
            ("Mul", [a, b]) => open.extend([a.as_str(), b]),
            ("Div", [a, b]) => {
                number /= self.number(b)?;
                open.push(a);
            }
            _ => return None,
        }
        while let Some(name) = open.pop() {
            if let Some(factor) = self.number(name) {
                number *= factor;
            } else if let Some((at, node)) = self.step(name, "Mul").filter(|_| inside.len() < 3) {
                inside.push(at);
                open.extend(node.input.iter().map(String::as_str));
            } else {
                values.push(name);
            }
        }
        let [a, b] = values.as_slice() else { return None };
        let (x, (op, more)) = match self.function(a, b, number) {
            Some(function) => (a, function),
            None => (b, self.function(b, a, number)?),
        };
        inside.extend(more);
        Some(Found { op, x: (*x).to_owned(), inside })
    }

    /// Which function x · `other` · `number` is.
    fn function(&self, x: &str, other: &str, number: f64) -> Option<(&'static str, Vec<usize>)> {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs();
        if let Some((at, node)) = self.step(other, "Sigmoid") {
            return (node.input[0] == x && near(number, 1.0)).then(|| ("Swish", vec![at]));
        }
        if let Some((at, node)) = self.step(other, "HardSigmoid") {
            let attribute = |name: &str, default: f64| node.attr_float(name).unwrap_or(default);
            let usual = near(attribute("alpha", 0.2), 1.0 / 6.0) && near(attribute("beta", 0.5), 0.5);
            return (node.input[0] == x && near(number, 1.0) && usual).then(|| ("HardSwish", vec![at]));
        }
        if let Some((clip, node)) = self.step(other, "Clip") {
            let [shifted, low, high] = node.input.as_slice() else { return None };
            let (shift, sum) = self.step(shifted, "Add")?;
            let (three, from) = self.number_and_value(sum)?;
            let usual =
                self.number(low)? == 0.0 && self.number(high)? == 6.0 && three == 3.0 && near(number, 1.0 / 6.0);
            return (from == x && usual).then(|| ("HardSwish", vec![clip, shift]));
        }
        let (shift, sum) = self.step(other, "Add")?;
        let (one, from) = self.number_and_value(sum)?;
        let (erf, node) = self.step(from, "Erf")?;
        let (scale, scaled) = self.step(&node.input[0], "Div").or_else(|| self.step(&node.input[0], "Mul"))?;
        let from = match &*scaled.op_type {
            "Div" => {
                let [from, by] = scaled.input.as_slice() else { return None };
                near(self.number(by)?, std::f64::consts::SQRT_2).then_some(from.as_str())?
            }
            _ => {
                let (by, from) = self.number_and_value(scaled)?;
                near(by, std::f64::consts::FRAC_1_SQRT_2).then_some(from)?
            }
        };
        (from == x && one == 1.0 && near(number, 0.5)).then(|| ("Gelu", vec![shift, erf, scale]))
    }
}
