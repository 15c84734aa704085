//! Gradient rules for operators that onnx-grad has none for: plugins add theirs, every differentiation asks them.

use std::sync::{PoisonError, RwLock};

use onnx_grad::{
    ForeignNode, ForeignRules, Gradient, Model, Request, differentiate_again, differentiate_with,
    proto::FunctionProto,
    swap::{Swap, differentiate_swapped},
};

/// A gradient rule of an operator.
pub trait GradientRule: Send + Sync {
    /// The operator's domain; empty for `ai.onnx`.
    fn domain(&self) -> &str;
    /// The operator.
    fn op(&self) -> &str;
    /// The first and the last version of the domain that it is for.
    fn versions(&self) -> (i64, i64);
    /// The plugin that it comes from.
    fn plugin(&self) -> &str;
    /// The function of [`ForeignRules::gradient`].
    ///
    /// # Errors
    /// Why it cannot differentiate this node.
    fn differentiate(&self, node: &ForeignNode<'_>) -> Result<FunctionProto, String>;
}

static ADDED: RwLock<Vec<&'static dyn GradientRule>> = RwLock::new(Vec::new());

/// Adds a rule. It comes before those that were added earlier, so that a newer version of a plugin takes the older one's place.
pub fn add(rule: &'static dyn GradientRule) {
    ADDED.write().unwrap_or_else(PoisonError::into_inner).insert(0, rule);
}

/// Every rule that was added, the newest first.
pub fn all() -> Vec<&'static dyn GradientRule> {
    ADDED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

struct Added(Vec<&'static dyn GradientRule>);

impl ForeignRules for Added {
    fn gradient(&self, node: &ForeignNode<'_>) -> Option<Result<FunctionProto, String>> {
        let plain = |domain: &str| if domain == "ai.onnx" { String::new() } else { domain.to_owned() };
        let fits = |rule: &&&dyn GradientRule| {
            let (since, until) = rule.versions();
            plain(rule.domain()) == plain(&node.node.domain)
                && rule.op() == node.node.op_type
                && (since..=until).contains(&node.version)
        };
        let rule = self.0.iter().find(fits)?;
        let refused = |reason| format!("the gradient rule of plugin `{}`: {reason}", rule.plugin());
        Some(rule.differentiate(node).map_err(refused))
    }
}

/// [`onnx_grad::differentiate`], with the rules that were added.
///
/// # Errors
/// Those of [`onnx_grad::differentiate`].
pub fn differentiate(model: &Model, request: &Request<'_>) -> onnx_grad::Result<Gradient> {
    differentiate_with(model, request, &Added(all()))
}

/// [`differentiate`] with another backward pass through some operators.
///
/// # Errors
/// Those of [`onnx_grad::differentiate`].
pub fn differentiate_by(model: &Model, request: &Request<'_>, swap: &'static Swap) -> onnx_grad::Result<Gradient> {
    differentiate_swapped(model, request, &Added(all()), swap)
}

/// [`onnx_grad::differentiate_again`], with the rules that were added.
///
/// # Errors
/// Those of [`onnx_grad::differentiate`].
pub fn differentiate_twice(model: &Model, request: &Request<'_>) -> onnx_grad::Result<Gradient> {
    differentiate_again(model, request, &Added(all()))
}
