//! PyTorch module paths, recovered from what the two exporters leave in the file.

use onnx_grad::proto::NodeProto;

/// Where the `torch.export`-based exporter writes the modules around a node: a Python list of paths, the operator last.
const NAME_SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// The path of the module that a node belongs to (`layer4.1.conv2`); empty for the model itself, `None` where the file doesn't say.
pub(super) fn of(node: &NodeProto) -> Option<String> {
    let scopes = node.metadata_props.iter().find(|entry| entry.key == NAME_SCOPES);
    match scopes {
        Some(scopes) => from_scopes(&scopes.value),
        None => from_node_name(&node.name),
    }
}

/// From `['', 'layer4', 'layer4.1', 'layer4.1.relu', 'relu_16']`: the last entry but one.
fn from_scopes(list: &str) -> Option<String> {
    let inner = list.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut scopes = inner.split(',').map(|item| item.trim().trim_matches(['\'', '"']));
    scopes.next_back()?;
    Some(scopes.next_back()?.to_owned())
}

/// From `/layer3/layer3.0/conv1/Conv`, as the TorchScript-based exporter names nodes. A part that begins with the part before it
/// and a dot is an element of a `Sequential` and stands for both; the last part is the operator.
fn from_node_name(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.strip_prefix('/')?.split('/').collect();
    let (_, parts) = parts.split_last()?;
    let mut path: Vec<&str> = Vec::new();
    for part in parts {
        let is_element = |outer: &&str| part.strip_prefix(*outer).is_some_and(|rest| rest.starts_with('.'));
        if path.last().is_some_and(is_element) {
            path.pop();
        }
        path.push(part);
    }
    Some(path.join("."))
}

/// A path without the marks of repeated calls: `layer4.1.relu_1` becomes `layer4.1.relu`.
pub(super) fn without_repeats(path: &str) -> String {
    let strip = |part: &str| match part.rsplit_once('_') {
        Some((stem, count)) if !stem.is_empty() && !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
            stem.to_owned()
        }
        _ => part.to_owned(),
    };
    path.split('.').map(strip).collect::<Vec<_>>().join(".")
}

/// The path itself and every module around it, outermost first: `a`, `a.b`, `a.b.c`.
pub(super) fn enclosing(path: &str) -> impl Iterator<Item = &str> {
    let dots = path.match_indices('.').map(|(at, _)| &path[..at]);
    dots.chain(std::iter::once(path)).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchscript_names_give_module_paths() {
        let path = |name| from_node_name(name);
        assert_eq!(path("/layer3/layer3.0/conv1/Conv").as_deref(), Some("layer3.0.conv1"));
        assert_eq!(path("/features/features.18/features.18.2/Clip").as_deref(), Some("features.18.2"));
        assert_eq!(path("/features/features.1/block/block.1/avgpool/X").as_deref(), Some("features.1.block.1.avgpool"));
        assert_eq!(
            path("/trunk_output/block4/block4-2/activation/Relu").as_deref(),
            Some("trunk_output.block4.block4-2.activation")
        );
        assert_eq!(path("/GlobalAveragePool").as_deref(), Some(""));
        assert_eq!(path("Conv_12"), None);
    }

    #[test]
    fn the_newer_exporters_scopes_give_module_paths() {
        let scopes = "['', 'layer4', 'layer4.1', 'layer4.1.relu', 'relu_16']";
        assert_eq!(from_scopes(scopes).as_deref(), Some("layer4.1.relu"));
        assert_eq!(from_scopes("['', 'add']").as_deref(), Some(""));
        assert_eq!(from_scopes("nonsense"), None);
    }

    #[test]
    fn marks_of_repeated_calls_come_off() {
        assert_eq!(without_repeats("layer4.1.relu_1"), "layer4.1.relu");
        assert_eq!(without_repeats("conv_stem.bn_a"), "conv_stem.bn_a");
    }

    #[test]
    fn enclosing_modules_come_outermost_first() {
        assert_eq!(enclosing("a.b.c").collect::<Vec<_>>(), ["a", "a.b", "a.b.c"]);
        assert_eq!(enclosing("").count(), 0);
    }
}
