//! Graphs whose quantised convolutions take channels last, as ONNX Runtime's optimiser writes them into the files that it saves.

use std::collections::{HashMap, HashSet};

use super::layers::fresh;
use crate::{
    attr,
    graph::{Index, used_names},
    proto::{GraphProto, NodeProto},
};

/// How the names of values end that the graph itself has with channels last.
pub(super) const CHANNELS_FIRST: &str = "_channels_first";

/// A value's twin with the channels behind the batch.
#[derive(Clone)]
struct Twin {
    name: String,
    rank: usize,
}

struct Rewriting {
    nodes: Vec<NodeProto>,
    used: HashSet<String>,
    /// Names of twins that are not the graph's own.
    fresh: HashSet<String>,
    twins: HashMap<String, Twin>,
    /// Values that have channels last and are still there.
    made: HashSet<String>,
    /// Names of twins that the graph had names for.
    renamed: HashMap<String, String>,
}

fn takes_channels_last(node: &NodeProto) -> bool {
    node.domain == "com.microsoft"
        && (node.op_type == "NhwcMaxPool" || node.attr_int("channels_last").unwrap_or(0) != 0)
}

/// From channels last to channels first, in as many axes as `rank`.
fn to_first(rank: usize) -> Vec<i64> {
    let rank = rank as i64;
    [0, rank - 1].into_iter().chain(1..rank - 1).collect()
}

fn to_last(rank: usize) -> Vec<i64> {
    let rank = rank as i64;
    [0].into_iter().chain(2..rank).chain([1]).collect()
}

/// Convolutions and pools that take channels last as those that take them first, and what lies between them likewise. The values of the
/// graph's outputs stay the same. For graphs without subgraphs.
pub(super) fn channels_first(graph: &mut GraphProto) {
    if !graph.node.iter().any(takes_channels_last) {
        return;
    }
    let before = graph.clone();
    let index = Index::new(&before);
    let mut rewriting = Rewriting {
        nodes: Vec::with_capacity(before.node.len()),
        used: used_names(&before),
        fresh: HashSet::new(),
        twins: HashMap::new(),
        made: HashSet::new(),
        renamed: HashMap::new(),
    };
    let outputs: HashSet<&str> = before.output.iter().map(|output| output.name.as_str()).collect();
    for node in &before.node {
        if rewriting.turned(node, &index, &outputs).is_none() {
            node.input.iter().for_each(|input| rewriting.materialise(input));
            rewriting.made.extend(node.output.iter().cloned());
            rewriting.nodes.push(node.clone());
        }
    }
    outputs.iter().for_each(|output| rewriting.materialise(output));
    let Rewriting { mut nodes, renamed, .. } = rewriting;
    for name in nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
        if let Some(own) = renamed.get(name) {
            name.clone_from(own);
        }
    }
    graph.node = nodes;
}

impl Rewriting {
    /// The node with channels first; `None`: it stays as it is.
    fn turned(&mut self, node: &NodeProto, index: &Index<'_>, outputs: &HashSet<&str>) -> Option<()> {
        let x = node.input.first()?;
        if takes_channels_last(node) {
            let spatial = node.attr_ints("kernel_shape").map(|sides| sides.len());
            let rank = spatial.map(|sides| sides + 2).or_else(|| self.twins.get(x).map(|twin| twin.rank)).unwrap_or(4);
            let first = self.first(x, rank);
            let mut turned = node.clone();
            turned.input[0] = first;
            turned.attribute.retain(|attribute| attribute.name != "channels_last");
            match &*node.op_type {
                "NhwcMaxPool" => (turned.op_type, turned.domain) = ("MaxPool".into(), String::new()),
                "QLinearConv" => turned.domain.clear(),
                _ => {}
            }
            return self.push(turned, rank);
        }
        let is_scalar =
            |name: &String| index.constant(name).is_some_and(|tensor| tensor.dims.iter().all(|&size| size == 1));
        let parameters = |from: usize| node.input.iter().skip(from).all(is_scalar);
        let (places, axis): (Vec<usize>, _) = match (&*node.domain, &*node.op_type) {
            ("com.microsoft", "QLinearAdd" | "QLinearMul") => (vec![0, 3], None),
            ("com.microsoft", "QLinearLeakyRelu" | "QLinearSigmoid") => (vec![0], None),
            ("com.microsoft", "QLinearConcat") => ((2..node.input.len()).step_by(3).collect(), node.attr_int("axis")),
            ("" | "ai.onnx" | "com.microsoft", "QuantizeLinear" | "DequantizeLinear") if parameters(1) => {
                (vec![0], None)
            }
            ("" | "ai.onnx", "Relu" | "Identity") => (vec![0], None),
            ("" | "ai.onnx", "Transpose") => return self.transposed(node, outputs),
            _ => return None,
        };
        let rank = places.iter().find_map(|&i| self.twins.get(node.input.get(i)?))?.rank;
        let mut turned = node.clone();
        for i in places {
            let name = node.input.get(i)?;
            match self.twins.get(name) {
                Some(twin) if twin.rank == rank => turned.input[i].clone_from(&twin.name),
                _ if is_scalar(name) && node.op_type != "QLinearConcat" => {}
                _ => return None,
            }
        }
        if let Some(axis) = axis {
            let last = rank as i64 - 1;
            let axis = if axis < 0 { axis + rank as i64 } else { axis };
            let to = if axis == last {
                1
            } else if axis == 0 {
                0
            } else {
                axis + 1
            };
            turned.attribute.retain(|attribute| attribute.name != "axis");
            turned.attribute.push(attr::int("axis", to));
        }
        self.push(turned, rank)
    }

    /// A change from one order into the other is none any more.
    fn transposed(&mut self, node: &NodeProto, outputs: &HashSet<&str>) -> Option<()> {
        let (x, y, perm) = (node.input.first()?, node.output.first()?, node.attr_ints("perm")?);
        let rank = perm.len();
        if rank < 3 || outputs.contains(y.as_str()) {
            return None;
        }
        let Some(twin) = self.twins.get(x).filter(|twin| twin.rank == rank && perm == to_first(rank)).cloned() else {
            if perm != to_last(rank) {
                return None;
            }
            self.materialise(x);
            self.twins.insert(y.clone(), Twin { name: x.clone(), rank });
            return Some(());
        };
        // The graph's own name for the value is the better one, but a value has only one.
        if self.fresh.remove(&twin.name) {
            self.renamed.insert(twin.name, y.clone());
        } else {
            self.nodes.push(NodeProto {
                op_type: "Identity".into(),
                name: node.name.clone(),
                input: vec![twin.name],
                output: vec![y.clone()],
                ..Default::default()
            });
        }
        self.made.insert(y.clone());
        Some(())
    }

    /// The name of a value's twin, which is made where it is not there yet.
    fn first(&mut self, x: &str, rank: usize) -> String {
        if let Some(twin) = self.twins.get(x).filter(|twin| twin.rank == rank) {
            return twin.name.clone();
        }
        let name = self.named(x);
        self.transpose(x, &name, to_first(rank));
        self.made.insert(x.to_owned());
        self.twins.insert(x.to_owned(), Twin { name: name.clone(), rank });
        name
    }

    /// Keeps a node whose values have channels first now.
    fn push(&mut self, mut node: NodeProto, rank: usize) -> Option<()> {
        for y in node.output.iter_mut().filter(|y| !y.is_empty()) {
            let name = self.named(y);
            self.twins.insert(std::mem::replace(y, name.clone()), Twin { name, rank });
        }
        self.nodes.push(node);
        Some(())
    }

    fn named(&mut self, value: &str) -> String {
        let name = fresh(&mut self.used, &format!("{value}{CHANNELS_FIRST}"));
        self.fresh.insert(name.clone());
        name
    }

    /// Gives a value channels last for whoever reads it so.
    fn materialise(&mut self, name: &str) {
        if let Some(twin) = self.twins.get(name).cloned()
            && self.made.insert(name.to_owned())
        {
            self.transpose(&twin.name, name, to_last(twin.rank));
        }
    }

    fn transpose(&mut self, x: &str, y: &str, perm: Vec<i64>) {
        let name = fresh(&mut self.used, &format!("{y}_order"));
        self.nodes.push(NodeProto {
            op_type: "Transpose".into(),
            name,
            input: vec![x.to_owned()],
            output: vec![y.to_owned()],
            attribute: vec![attr::ints("perm", &perm)],
            ..Default::default()
        });
    }
}
