//! What can go wrong in this crate.

use std::fmt;

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between an ONNX file and its gradient graph.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The verb: `read` or `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {0}")]
    NotOnnx(String),
    /// The file ends before the model does.
    #[error("truncated ONNX model: the file ends inside a message ({0})")]
    Truncated(String),
    /// The file was written for a newer ONNX than this crate knows.
    #[error("the model needs {what} {found}, and the newest known here is {known}")]
    TooNew {
        /// `IR version` or `opset`.
        what: &'static str,
        /// What the file says.
        found: i64,
        /// What this crate knows.
        known: i64,
    },
    /// The file was written for an older ONNX than can be read.
    #[error("the model is of opset {found}, and the oldest that can be differentiated is {oldest}")]
    TooOld {
        /// What the file says.
        found: i64,
        /// What this crate reads.
        oldest: i64,
    },
    /// More bytes than an `.onnx` file holds.
    #[error("{bytes} bytes are more than one .onnx file holds")]
    TooManyBytes {
        /// How many there are.
        bytes: usize,
    },
    /// An older form of the model was asked for.
    #[error("the model is of opset {found}, and cannot be brought down to {asked}")]
    Lower {
        /// What it is of.
        found: i64,
        /// What was asked for.
        asked: i64,
    },
    /// Tensor bytes that belong in a file beside the model are not there.
    #[error("the data of tensor `{tensor}` should be in the external file {path}: {reason}")]
    ExternalData {
        /// The tensor's name.
        tensor: String,
        /// The file as the model names it.
        path: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The model breaks a rule of the ONNX specification.
    #[error("malformed ONNX model: {0}")]
    Malformed(String),
    /// Taking the model's control flow or functions apart, or its values, would take more memory or time than there is.
    #[error("the model is too large to be differentiated: {0}")]
    TooLarge(String),
    /// A name that the graph doesn't have was asked for.
    #[error("the graph has no value named `{0}`")]
    UnknownValue(String),
    /// A value that the backward pass takes from the forward pass has no known element type.
    #[error("the type of the value `{0}` is not known")]
    Untyped(String),
    /// The operators between the layer and the output that cannot be differentiated, every one of them.
    #[error("{}", list_obstacles(.0))]
    NotDifferentiable(Vec<UnsupportedNode>),
    /// A node cannot be carried over from its old operator set.
    #[error("cannot upgrade node `{node}` ({op}, opset {opset}): {reason}")]
    Upgrade {
        /// The node's name, or its first output's.
        node: String,
        /// The operator.
        op: String,
        /// The opset it was written for.
        opset: i64,
        /// Why not.
        reason: String,
    },
    /// A rule broke its contract. A defect of the rule, never of the model.
    #[error("the gradient rule of {op} (node `{node}`) is broken: {reason}")]
    BrokenRule {
        /// The operator.
        op: String,
        /// The node's name, or its first output's.
        node: String,
        /// What is wrong.
        reason: String,
    },
}

/// One node that stands in the way of a gradient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// The node's name, or its first output's where it has none.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Its domain; empty for `ai.onnx`.
    pub domain: String,
    /// The version of the domain that the model uses.
    pub opset: i64,
    /// Why it cannot be differentiated.
    pub reason: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = if self.domain.is_empty() { "ai.onnx" } else { &self.domain };
        write!(f, "{} (domain {domain}, opset {}) at node `{}`: {}", self.op, self.opset, self.node, self.reason)
    }
}

/// How a reason begins that lies in the types that were given, not in the node.
pub(crate) const UNKNOWN_RANK: &str = "the rank of ";

/// How many nodes of unknown rank are named.
const NAMED: usize = 3;

/// One node a line. Where types are missing they are missing for many nodes: those share a line, and the first of them leads to the cause.
fn list_obstacles(obstacles: &[UnsupportedNode]) -> String {
    let mut text = String::from("no gradient: ");
    if let [one] = obstacles {
        text.push_str(&one.to_string());
        return text;
    }
    text.push_str(&format!("{} nodes are in the way", obstacles.len()));
    let (untyped, others): (Vec<_>, Vec<_>) =
        obstacles.iter().partition(|obstacle| obstacle.reason.starts_with(UNKNOWN_RANK));
    for obstacle in others {
        text.push_str(&format!("\n  {obstacle}"));
    }
    match untyped.as_slice() {
        [] => {}
        [one] => text.push_str(&format!("\n  {one}")),
        many => {
            let names: Vec<String> =
                many.iter().take(NAMED).map(|obstacle| format!("`{}` ({})", obstacle.node, obstacle.op)).collect();
            let more = many.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            text.push_str(&format!(
                "\n  {} nodes read values whose rank is not known, first of all {}{more}: give types, by value_info or by running the model once",
                many.len(),
                names.join(", ")
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(at: usize, reason: &str) -> UnsupportedNode {
        UnsupportedNode {
            node: format!("n{at}"),
            op: "Add".into(),
            domain: String::new(),
            opset: 18,
            reason: reason.replace("VALUE", &format!("`v{at}`")),
        }
    }

    #[test]
    fn nodes_of_unknown_rank_share_a_line() {
        let rank = "the rank of VALUE is not known: give types";
        let mut all: Vec<UnsupportedNode> = (0..39).map(|at| node(at, rank)).collect();
        all.insert(5, node(77, "it has no rule"));
        let said = Error::NotDifferentiable(all).to_string();
        assert_eq!(said.lines().count(), 3, "{said}");
        assert!(said.contains("n77") && said.contains("39 nodes read values whose rank is not known"), "{said}");
        assert!(said.contains("`n0` (Add), `n1` (Add), `n2` (Add) and 36 more"), "{said}");
        assert!(Error::NotDifferentiable(vec![node(1, rank)]).to_string().contains("`v1`"));
    }
}
