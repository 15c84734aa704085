//! Who makes a value and who reads it.

use std::ops::Range;

use crate::{
    graph::{NameMap, captured, defined_outside_nodes},
    proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto},
};

/// Look-ups by value name over a graph that stays as it is.
#[derive(Debug)]
pub struct Index<'a> {
    graph: &'a GraphProto,
    numbers: NameMap<&'a str, usize>,
    /// By number.
    values: Vec<Value<'a>>,
    /// The numbers of what each node reads and makes: inputs, values that its subgraphs capture, outputs.
    touched: Vec<usize>,
    /// Where each node's part of `touched` ends.
    ends: Vec<usize>,
    /// The positions of the nodes that read the first value, then those that read the second, …
    consumers: Vec<usize>,
}

/// What is known of one value.
#[derive(Debug)]
struct Value<'a> {
    name: &'a str,
    producer: Option<usize>,
    given: bool,
    initializer: Option<&'a TensorProto>,
    info: Option<&'a ValueInfoProto>,
    last_reader: Option<usize>,
    /// Where its part of `consumers` begins, and how long it is.
    readers: (usize, usize),
}

impl<'a> Value<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, producer: None, given: false, initializer: None, info: None, last_reader: None, readers: (0, 0) }
    }

    /// Counts a node that reads the value; false if it is the same again.
    fn note_reader(&mut self, at: usize) -> bool {
        let new = self.last_reader.replace(at) != Some(at);
        self.readers.1 += usize::from(new);
        new
    }
}

impl<'a> Index<'a> {
    /// Reads the graph once.
    pub fn new(graph: &'a GraphProto) -> Self {
        let mut numbers = NameMap::default();
        numbers.reserve(graph.node.len() + graph.initializer.len() + graph.input.len());
        let (values, touched, ends, consumers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut index = Self { graph, numbers, values, touched, ends, consumers };
        for (at, node) in graph.node.iter().enumerate() {
            for name in node.input.iter().map(String::as_str).chain(captured(node)) {
                let number = index.number_for(name);
                index.touched.push(number);
                if !name.is_empty() {
                    index.values[number].note_reader(at);
                }
            }
            for name in &node.output {
                let number = index.number_for(name);
                index.touched.push(number);
                if !name.is_empty() {
                    index.values[number].producer = Some(at);
                }
            }
            index.ends.push(index.touched.len());
        }
        index.gather_readers();
        for name in defined_outside_nodes(graph) {
            let number = index.number_for(name);
            index.values[number].given = true;
        }
        for tensor in &graph.initializer {
            let number = index.number_for(&tensor.name);
            index.values[number].initializer = Some(tensor);
        }
        for info in graph.value_info.iter().chain(&graph.input).chain(&graph.output) {
            let number = index.number_for(&info.name);
            index.values[number].info = Some(info);
        }
        index
    }

    /// The number of a value, a new one where it has none.
    fn number_for(&mut self, name: &'a str) -> usize {
        let next = self.values.len();
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.values.push(Value::new(name));
        }
        number
    }

    /// Lists the positions of the nodes that read each value.
    fn gather_readers(&mut self) {
        let mut begin = 0;
        for value in &mut self.values {
            let count = std::mem::replace(&mut value.readers, (begin, 0)).1;
            value.last_reader = None;
            begin += count;
        }
        self.consumers = vec![0; begin];
        for at in 0..self.graph.node.len() {
            for touched in self.part(at).0 {
                let value = &mut self.values[self.touched[touched]];
                if !value.name.is_empty() && value.note_reader(at) {
                    let (begin, count) = value.readers;
                    self.consumers[begin + count - 1] = at;
                }
            }
        }
    }

    /// Where `touched` has what a node reads, and what it makes.
    fn part(&self, at: usize) -> (Range<usize>, Range<usize>) {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let outputs = self.ends[at] - self.graph.node[at].output.len();
        (begin..outputs, outputs..self.ends[at])
    }

    /// How many values have a number.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The number of a value.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// The value of that number.
    pub(crate) fn name_of(&self, number: usize) -> &'a str {
        self.values[number].name
    }

    /// The node that makes the value of that number.
    pub(crate) fn producer_of(&self, number: usize) -> Option<usize> {
        self.values[number].producer
    }

    /// The constant of that number.
    pub(crate) fn initializer_of(&self, number: usize) -> Option<&'a TensorProto> {
        self.values[number].initializer
    }

    /// The numbers of what the node at a position reads: its inputs (absent ones too, whose name is empty), then what its
    /// subgraphs capture.
    pub(crate) fn read_by(&self, at: usize) -> &[usize] {
        &self.touched[self.part(at).0]
    }

    /// The numbers of the node's outputs, absent ones too.
    pub(crate) fn made_by(&self, at: usize) -> &[usize] {
        &self.touched[self.part(at).1]
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
