//! Readers that score the characters of a text by their positions, each its own, and not the columns of the picture: the first tokens of a vision
//! transformer (ViTSTR, MGP-STR), or queries that look at the picture (PARSeq, ABINet).

use std::collections::HashSet;

use onnx_grad::{graph::Index, proto::NodeProto};

use crate::{layer::descendants, task::Context};

/// How far attention lies before the sum that it is added in, at most: a projection and what moves its numbers.
const BEFORE_A_SUM: usize = 12;

/// Whether rows of scores, so many, are those of positions: they are cut out of more rows, or come from rows that the model has learned.
pub(super) fn are(context: &Context<'_>, value: &str, rows: usize) -> bool {
    let graph = context.network.model.graph();
    let walk =
        Walk { context, index: Index::new(graph), of_picture: descendants(graph, &context.network.input().name), rows };
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

struct Walk<'a, 'b> {
    context: &'b Context<'a>,
    index: Index<'a>,
    of_picture: HashSet<&'a str>,
    rows: usize,
}

impl Walk<'_, '_> {
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
            (None, _) if self.cuts(node) => Before::Positions,
            (None, _) => Before::Else,
        }
    }

    fn has_rows(&self, name: &str) -> bool {
        let extents = self.context.extents(name).unwrap_or_default();
        extents.len() > 1 && extents.contains(&Some(self.rows))
    }

    /// Whether a node takes some of more rows of an image.
    fn cuts(&self, node: &NodeProto) -> bool {
        let from = node.input.first().and_then(|from| self.context.extents(from));
        matches!(&*node.op_type, "Slice" | "Gather" | "Split") && from.is_some_and(|extents| extents.len() == 3)
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
