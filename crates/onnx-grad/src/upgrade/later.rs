//! Brings models of opset 18 and later to a later one, for runtimes that want it.
//!
//! Most operators were only opened to more element types since. Those whose form or meaning changed are rewritten, or refused by name.

use crate::{
    attr,
    error::{Error, Result},
    graph::label,
    model::{Model, NEWEST_OPSET, same_domain},
    proto::{GraphProto, NodeProto},
};

/// The model at opset `to` of `ai.onnx`.
///
/// # Errors
/// It is of a later opset; there is no such opset; a node's meaning cannot be kept.
pub fn raise(model: &Model, to: i64) -> Result<Model> {
    let from = model.opset("").unwrap_or(1);
    if to < from {
        return Err(Error::Lower { found: from, asked: to });
    }
    if to > NEWEST_OPSET {
        return Err(Error::TooNew { what: "opset", found: to, known: NEWEST_OPSET });
    }
    let mut model = model.clone();
    raise_graph(model.graph_mut(), from, to)?;
    model.set_opset("", to);
    Ok(model)
}

fn raise_graph(graph: &mut GraphProto, from: i64, to: i64) -> Result<()> {
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().map(|inner| &mut **inner).chain(&mut attribute.graphs) {
                raise_graph(inner, from, to)?;
            }
        }
        if same_domain(&node.domain, "") {
            raise_node(node, from, to)?;
        }
    }
    Ok(())
}

fn raise_node(node: &mut NodeProto, from: i64, to: i64) -> Result<()> {
    let passes = |opset: i64| from < opset && to >= opset;
    let cannot = |node: &NodeProto, reason: &str| {
        let (name, op) = (label(node).to_owned(), node.op_type.clone());
        Err(Error::Upgrade { node: name, op, opset: from, reason: reason.to_owned() })
    };
    match &*node.op_type {
        "GridSample" if passes(20) => {
            let mode = match node.attr_str("mode") {
                None | Some("bilinear") => "linear",
                Some("bicubic") => "cubic",
                Some(_) => return Ok(()),
            };
            node.attribute.retain(|attribute| attribute.name != "mode");
            node.attribute.push(attr::string("mode", mode));
            Ok(())
        }
        "DFT" if passes(20) => cannot(node, "since opset 20 its axis is an input"),
        "GroupNormalization" if passes(21) => {
            cannot(node, "since opset 21 its scale and bias are one a channel, not one a group")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ModelProto, OperatorSetIdProto};

    fn model(op: &str, mode: Option<&str>) -> Model {
        let node = NodeProto {
            op_type: op.into(),
            name: "it".into(),
            output: vec!["y".into()],
            attribute: mode.map(|mode| attr::string("mode", mode)).into_iter().collect(),
            ..Default::default()
        };
        let graph = GraphProto { node: vec![node], ..Default::default() };
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 18 }];
        Model::from_proto(ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }).unwrap()
    }

    #[test]
    fn what_changed_since_is_rewritten_or_refused() {
        let mode = |mode: Option<&str>, to: i64| {
            let raised = raise(&model("GridSample", mode), to).unwrap();
            assert_eq!(raised.opset(""), Some(to));
            raised.graph().node[0].attr_str("mode").map(str::to_owned)
        };
        assert_eq!(mode(None, 20).as_deref(), Some("linear"));
        assert_eq!(mode(Some("bicubic"), 22).as_deref(), Some("cubic"));
        assert_eq!(mode(Some("nearest"), 20).as_deref(), Some("nearest"));
        assert_eq!(mode(Some("bilinear"), 19).as_deref(), Some("bilinear"));
        assert!(raise(&model("GroupNormalization", None), 21).is_err_and(|error| error.to_string().contains("`it`")));
        assert!(raise(&model("GroupNormalization", None), 20).is_ok());
        assert!(raise(&model("DFT", None), 20).is_err());
    }

    #[test]
    fn no_model_is_lowered_or_brought_to_what_nobody_knows() {
        assert!(matches!(raise(&model("Relu", None), 17), Err(Error::Lower { found: 18, asked: 17 })));
        assert!(matches!(raise(&model("Relu", None), NEWEST_OPSET + 1), Err(Error::TooNew { .. })));
    }
}
