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

fn list_obstacles(obstacles: &[UnsupportedNode]) -> String {
    let mut text = String::from("no gradient: ");
    match obstacles {
        [one] => text.push_str(&one.to_string()),
        many => {
            text.push_str(&format!("{} nodes are in the way", many.len()));
            for obstacle in many {
                text.push_str(&format!("\n  {obstacle}"));
            }
        }
    }
    text
}
