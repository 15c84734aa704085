//! Which rule differentiates which operator.

use std::sync::LazyLock;

use crate::{graph::NameMap, model::same_domain, rules, vjp::Vjp};

/// The vector–Jacobian product of an operator: from the cotangents of a node's outputs it emits those of its inputs, as standard nodes.
pub type Rule = fn(&mut Vjp<'_>) -> Result<Vec<Grad>, Unsupported>;

/// The cotangent of one input, as a rule returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grad {
    /// It was not asked for ([`Vjp::needs`] is false).
    NotNeeded,
    /// The output doesn't depend on this input, or is flat in it almost everywhere.
    Zero,
    /// The emitted value, of the same shape and type as the input.
    Of(crate::Val),
    /// The output depends on this input, and the gradient isn't followed there, as in the framework that the operator is from. It is told:
    /// [`crate::Gradient::stopped`].
    Stopped,
}

/// Why a rule cannot differentiate this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

impl<T: Into<String>> From<T> for Unsupported {
    fn from(reason: T) -> Self {
        Self(reason.into())
    }
}

/// What is known of an operator's gradient.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Differentiated by this rule.
    Rule(Rule),
    /// Rounds to integers, and is differentiated by this rule as if it didn't: its integers carry gradients, in float32.
    Through(Rule),
    /// Carries no gradient: its outputs are integers, booleans, or constant almost everywhere.
    Stop(Discrete),
}

/// What an operator without a gradient makes of what it reads, and so what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discrete {
    /// It looks at shapes alone: what it makes doesn't depend on the numbers.
    Shape,
    /// A yes, a no or a sign: flat almost everywhere.
    Mask,
    /// The places of something. Right as an index; numbers that are computed with carry no gradient on.
    Place,
    /// Numbers in steps, which carry a signal but no gradient: an error where they come to the scores.
    Steps,
}

/// One operator of the table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its domain; empty for `ai.onnx`.
    pub domain: &'static str,
    /// Its name.
    pub op: &'static str,
    /// The first opset of the domain that the rule holds for. (Older models are upgraded to opset 18 first, so a rule sees
    /// the forms of that opset and later ones only.)
    pub since: i64,
    /// The last one, if a later version changed the meaning.
    pub until: i64,
    /// How it is differentiated.
    pub kind: Kind,
}

/// A row for an `ai.onnx` operator differentiated by a rule.
pub const fn rule(op: &'static str, rule: Rule) -> Entry {
    Entry { domain: "", op, since: 1, until: i64::MAX, kind: Kind::Rule(rule) }
}

/// A row for a `com.microsoft` operator, as ONNX Runtime's optimiser saves them, differentiated by a rule.
pub(crate) const fn fused(op: &'static str, rule: Rule) -> Entry {
    Entry { domain: "com.microsoft", op, since: 1, until: i64::MAX, kind: Kind::Rule(rule) }
}

/// A row for an operator that rounds, whose gradient goes straight through.
pub(crate) const fn through(domain: &'static str, op: &'static str, rule: Rule) -> Entry {
    Entry { domain, op, since: 1, until: i64::MAX, kind: Kind::Through(rule) }
}

/// A row for an `ai.onnx` operator that carries no gradient.
pub const fn stop(op: &'static str, makes: Discrete) -> Entry {
    Entry { domain: "", op, since: 1, until: i64::MAX, kind: Kind::Stop(makes) }
}

/// Every operator with a rule, in the order of the family files.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    rules::FAMILIES.iter().flat_map(|family| family.iter())
}

/// The row for an operator of a domain at an opset.
pub fn lookup(domain: &str, op: &str, opset: i64) -> Option<&'static Entry> {
    static TABLE: LazyLock<NameMap<&'static str, Vec<&'static Entry>>> = LazyLock::new(|| {
        let mut table: NameMap<&str, Vec<&Entry>> = NameMap::default();
        for entry in entries() {
            table.entry(entry.op).or_default().push(entry);
        }
        table
    });
    let fits = |entry: &&&Entry| same_domain(entry.domain, domain) && (entry.since..=entry.until).contains(&opset);
    TABLE.get(op)?.iter().find(fits).copied()
}
