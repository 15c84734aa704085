//! What every rule may rely on: no size and no attribute of a node is so large that arithmetic with two of them overflows.

use crate::{
    model::same_domain,
    proto::NodeProto,
    registry::Unsupported,
    types::{Dim, KnownTypes},
};

/// Larger than any axis of a real value.
const LARGEST_SIZE: usize = 1 << 31;
/// More elements than fit into any memory.
const MOST_ELEMENTS: usize = 1 << 40;
/// Larger than any stride, axis, block or count.
const LARGEST_ATTRIBUTE: u64 = 1 << 30;

/// Looks at the attributes of a node and at the types of what it reads and makes, before a rule does.
///
/// # Errors
/// One is out of range: in words, for an obstacle.
pub(crate) fn check(node: &NodeProto, types: &KnownTypes<'_>) -> Result<(), Unsupported> {
    for name in node.input.iter().chain(&node.output) {
        let dims = types.get(name).and_then(|ty| ty.shape.as_deref()).unwrap_or_default();
        let sizes = dims.iter().map(|dim| dim.fixed().unwrap_or(1));
        // A size of 0 must not hide the others.
        let whole = sizes.map(|size| size.max(1)).try_fold(1usize, usize::checked_mul);
        let each = dims.iter().all(|dim| dim.fixed().is_none_or(|size| size <= LARGEST_SIZE));
        if !each || whole.is_none_or(|whole| whole > MOST_ELEMENTS) {
            return Err(format!("`{name}` is too large: its shape is [{}]", listed(dims)).into());
        }
    }
    // Attributes of other domains mean what their plugins say.
    if !same_domain(&node.domain, "") && node.domain != "com.microsoft" {
        return Ok(());
    }
    for attribute in &node.attribute {
        let mut numbers = attribute.i.iter().chain(&attribute.ints);
        if let Some(number) = numbers.find(|number| number.unsigned_abs() > LARGEST_ATTRIBUTE) {
            return Err(format!("its {} is out of range: {number}", attribute.name).into());
        }
    }
    Ok(())
}

fn listed(dims: &[Dim]) -> String {
    let size = |dim: &Dim| dim.fixed().map_or("?".into(), |size| size.to_string());
    dims.iter().map(size).collect::<Vec<String>>().join(", ")
}
