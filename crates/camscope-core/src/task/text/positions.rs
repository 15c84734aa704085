//! Readers that score the characters of a text by their positions, each its own, and not the columns of the picture: the first tokens of a vision
//! transformer (ViTSTR, MGP-STR), queries that look at the picture (PARSeq, ABINet), or parts of one row of scores.

use std::collections::HashSet;

use onnx_grad::{Types, graph::Index, proto::NodeProto};

use crate::{layer::descendants, model::Network};

/// How far attention lies before the sum that it is added in, at most: a projection and what moves its numbers.
const BEFORE_A_SUM: usize = 12;

/// Whether rows of scores, so many, are those of positions: they are cut out of more rows, come from rows that the model has learned, or from one
/// fully connected layer, or each from its own.
pub(super) fn are(network: &Network, types: &Types, value: &str, rows: usize) -> bool {
    let graph = network.model.graph();
    let walk = Walk { types, index: Index::new(graph), of_picture: descendants(graph, &network.input().name), rows };
    let mut value = value;
    for _ in 0..graph.node.len() {
        let Some(node) = walk.index.producer_node(value) else { return false };
        match walk.before(node) {
            Before::Rows(before) => value = before,
            Before::Positions => return true,
            Before::Else => return false,
        }
    }
    false
}

/// What rows were before a node.
enum Before<'a> {
    /// As many rows.
    Rows(&'a str),
    /// More rows, of which they are some, or learned ones.
    Positions,
    /// Something else: columns of the picture, say.
    Else,
}

struct Walk<'a> {
    types: &'a Types,
    index: Index<'a>,
    of_picture: HashSet<&'a str>,
    rows: usize,
}

impl Walk<'_> {
    fn before<'n>(&self, node: &'n NodeProto) -> Before<'n> {
        // The rows of a product are its first factor's, those of a sum any summand's.
        let count = if matches!(&*node.op_type, "MatMul" | "Gemm" | "FusedMatMul") { 1 } else { node.input.len() };
        let data = || node.input.iter().take(count).map(String::as_str).filter(|name| !name.is_empty());
        let is_learned = |name: &str| self.has_rows(name) && !self.of_picture.contains(name);
        let mut given = data().filter(|name| self.of_picture.contains(name) && self.has_rows(name));
        match (given.next(), given.next()) {
            // The rows, and what they looked at.
            (Some(one), Some(other)) if self.is_looked_at(one) => Before::Rows(other),
            (Some(only), None) if self.is_looked_at(only) && data().any(is_learned) => Before::Positions,
            (Some(one), _) => Before::Rows(one),
            (None, _) if self.cuts(node) || self.parts_a_row(node) || self.joins_rows(node) => Before::Positions,
            (None, _) => Before::Else,
        }
    }

    fn has_rows(&self, name: &str) -> bool {
        let extents = self.extents(name).unwrap_or_default();
        extents.len() > 1 && extents.contains(&Some(self.rows))
    }

    fn extents(&self, name: &str) -> Option<Vec<Option<usize>>> {
        Some(self.types.get(name)?.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect())
    }

    /// Whether a node takes some of more rows of an image.
    fn cuts(&self, node: &NodeProto) -> bool {
        let from = node.input.first().and_then(|from| self.extents(from));
        matches!(&*node.op_type, "Slice" | "Gather" | "Split") && from.is_some_and(|extents| extents.len() == 3)
    }

    /// Whether a node parts a fully connected layer's row of an image into the rows.
    fn parts_a_row(&self, node: &NodeProto) -> bool {
        let from = node.input.first().filter(|_| node.op_type == "Reshape");
        from.is_some_and(|from| self.is_connected(from) && self.extents(from).is_some_and(|extents| extents.len() == 2))
    }

    /// Whether a node joins as many fully connected layers' rows, one a position.
    fn joins_rows(&self, node: &NodeProto) -> bool {
        node.op_type == "Concat" && node.input.len() == self.rows && node.input.iter().all(|row| self.is_connected(row))
    }

    /// Whether a value is what a fully connected layer made of rows of an image, moved.
    fn is_connected(&self, name: &str) -> bool {
        let mut value = name;
        while let Some(node) = self.index.producer_node(value) {
            let mut varying = node.input.iter().filter(|name| self.index.constant(name).is_none());
            match (&*node.op_type, varying.next()) {
                ("Gemm" | "MatMul" | "FusedGemm" | "FusedMatMul", _) => return true,
                ("Reshape" | "Unsqueeze" | "Squeeze" | "Identity" | "Add" | "Softmax" | "LogSoftmax", Some(data)) => {
                    value = data
                }
                _ => return false,
            }
        }
        false
    }

    /// Whether a value comes out of attention, over what only projects and moves it.
    fn is_looked_at(&self, name: &str) -> bool {
        let mut value = name;
        for _ in 0..BEFORE_A_SUM {
            let Some(node) = self.index.producer_node(value) else { return false };
            let is_softmax =
                |name: &String| self.index.producer_node(name).is_some_and(|node| node.op_type == "Softmax");
            let mut varying = node.input.iter().filter(|name| self.index.constant(name).is_none());
            match (&*node.op_type, varying.next(), varying.next()) {
                ("Attention" | "MultiHeadAttention", ..) => return true,
                ("MatMul", Some(weights), _) if is_softmax(weights) => return true,
                (
                    "MatMul" | "Gemm" | "Reshape" | "Transpose" | "Identity" | "Squeeze" | "Unsqueeze" | "Add" | "Mul",
                    Some(only),
                    None,
                ) => value = only,
                // The shape that is asked for may be computed.
                ("Reshape", Some(data), _) => value = data,
                _ => return false,
            }
        }
        false
    }
}
