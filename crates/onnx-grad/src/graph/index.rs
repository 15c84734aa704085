//! Who makes a value and who reads it.

use std::collections::HashMap;

use crate::{
    graph::{defined_outside_nodes, reads},
    proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto},
};

/// Look-ups by value name over a graph that stays as it is.
#[derive(Debug)]
pub struct Index<'a> {
    graph: &'a GraphProto,
    producer: HashMap<&'a str, usize>,
    consumers: HashMap<&'a str, Vec<usize>>,
    given: HashMap<&'a str, Option<&'a TensorProto>>,
    info: HashMap<&'a str, &'a ValueInfoProto>,
}

impl<'a> Index<'a> {
    /// Reads the graph once.
    pub fn new(graph: &'a GraphProto) -> Self {
        let mut producer = HashMap::new();
        let mut consumers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            producer.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), at)));
            for name in reads(node) {
                let readers = consumers.entry(name).or_default();
                if readers.last() != Some(&at) {
                    readers.push(at);
                }
            }
        }
        let mut given: HashMap<&str, Option<&TensorProto>> =
            defined_outside_nodes(graph).map(|name| (name, None)).collect();
        given.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), Some(tensor))));
        let infos = graph.value_info.iter().chain(&graph.input).chain(&graph.output);
        let info = infos.map(|info| (info.name.as_str(), info)).collect();
        Self { graph, producer, consumers, given, info }
    }

    /// The position of the node that makes a value.
    pub fn producer(&self, name: &str) -> Option<usize> {
        self.producer.get(name).copied()
    }

    /// The node that makes a value.
    pub fn producer_node(&self, name: &str) -> Option<&'a NodeProto> {
        self.producer(name).map(|at| &self.graph.node[at])
    }

    /// The positions of the nodes that read a value, in order.
    pub fn consumers(&self, name: &str) -> &[usize] {
        self.consumers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The nodes that read a value, in order.
    pub fn readers(&self, name: &str) -> impl Iterator<Item = &'a NodeProto> {
        self.consumers(name).iter().map(|&at| &self.graph.node[at])
    }

    /// Whether a value is an input or a constant of the graph.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The constant of that name.
    pub fn initializer(&self, name: &str) -> Option<&'a TensorProto> {
        self.given.get(name).copied().flatten()
    }

    /// What the graph states about a value.
    pub fn info(&self, name: &str) -> Option<&'a ValueInfoProto> {
        self.info.get(name).copied()
    }

    /// A value that is the same in every run: an initializer, or the output of a `Constant` node holding a tensor.
    pub fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.initializer(name).or_else(|| {
            let node = self.producer_node(name).filter(|node| node.op_type == "Constant" && node.domain.is_empty())?;
            node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_deref()
        })
    }
}
