//! Who makes a value and who reads it.

use crate::{
    graph::{NameMap, defined_outside_nodes, each_read},
    proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto},
};

/// Look-ups by value name over a graph that stays as it is.
#[derive(Debug)]
pub struct Index<'a> {
    graph: &'a GraphProto,
    numbers: NameMap<&'a str, usize>,
    /// By number.
    values: Vec<Value<'a>>,
    /// The positions of the nodes that read the first value, then those that read the second, …
    consumers: Vec<usize>,
}

/// What is known of one value.
#[derive(Debug, Default)]
struct Value<'a> {
    producer: Option<usize>,
    given: bool,
    initializer: Option<&'a TensorProto>,
    info: Option<&'a ValueInfoProto>,
    last_reader: Option<usize>,
    /// Where its part of `consumers` begins, and how long it is.
    readers: (usize, usize),
}

impl<'a> Index<'a> {
    /// Reads the graph once.
    pub fn new(graph: &'a GraphProto) -> Self {
        let mut numbers = NameMap::default();
        numbers.reserve(graph.node.len() + graph.initializer.len() + graph.input.len());
        let mut index = Self { graph, numbers, values: Vec::new(), consumers: Vec::new() };
        let mut read = Vec::new();
        for (at, node) in graph.node.iter().enumerate() {
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                let number = index.number(name);
                index.values[number].producer = Some(at);
            }
            for name in each_read(node) {
                let number = index.number(name);
                let value = &mut index.values[number];
                if value.last_reader.replace(at) != Some(at) {
                    value.readers.1 += 1;
                    read.push((number, at));
                }
            }
        }
        index.gather_readers(&read);
        for name in defined_outside_nodes(graph) {
            let number = index.number(name);
            index.values[number].given = true;
        }
        for tensor in &graph.initializer {
            let number = index.number(&tensor.name);
            index.values[number].initializer = Some(tensor);
        }
        for info in graph.value_info.iter().chain(&graph.input).chain(&graph.output) {
            let number = index.number(&info.name);
            index.values[number].info = Some(info);
        }
        index
    }

    /// The number of a value, a new one where it has none.
    fn number(&mut self, name: &'a str) -> usize {
        let next = self.values.len();
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.values.push(Value::default());
        }
        number
    }

    /// Sorts (value, position of a node that reads it) by value; the positions of each stay in order.
    fn gather_readers(&mut self, read: &[(usize, usize)]) {
        let mut begin = 0;
        for value in &mut self.values {
            let count = std::mem::replace(&mut value.readers, (begin, 0)).1;
            begin += count;
        }
        self.consumers = vec![0; begin];
        for &(number, at) in read {
            let (begin, count) = &mut self.values[number].readers;
            self.consumers[*begin + *count] = at;
            *count += 1;
        }
    }

    fn value(&self, name: &str) -> Option<&Value<'a>> {
        self.numbers.get(name).map(|&number| &self.values[number])
    }

    /// The position of the node that makes a value.
    pub fn producer(&self, name: &str) -> Option<usize> {
        self.value(name)?.producer
    }

    /// The node that makes a value.
    pub fn producer_node(&self, name: &str) -> Option<&'a NodeProto> {
        self.producer(name).map(|at| &self.graph.node[at])
    }

    /// The positions of the nodes that read a value, in order.
    pub fn consumers(&self, name: &str) -> &[usize] {
        self.value(name).map_or(&[], |Value { readers: (begin, count), .. }| &self.consumers[*begin..*begin + *count])
    }

    /// The nodes that read a value, in order.
    pub fn readers(&self, name: &str) -> impl Iterator<Item = &'a NodeProto> {
        self.consumers(name).iter().map(|&at| &self.graph.node[at])
    }

    /// Whether a value is an input or a constant of the graph.
    pub fn is_given(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.given)
    }

    /// The constant of that name.
    pub fn initializer(&self, name: &str) -> Option<&'a TensorProto> {
        self.value(name)?.initializer
    }

    /// What the graph states about a value.
    pub fn info(&self, name: &str) -> Option<&'a ValueInfoProto> {
        self.value(name)?.info
    }

    /// A value that is the same in every run: an initializer, or the output of a `Constant` node holding a tensor.
    pub fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.initializer(name).or_else(|| {
            let node = self.producer_node(name).filter(|node| node.op_type == "Constant" && node.domain.is_empty())?;
            node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_deref()
        })
    }
}
