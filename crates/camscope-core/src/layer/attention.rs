//! The attention of a transformer: which token looks at which.

use onnx_grad::{Types, proto::GraphProto};

use super::{Layer, Layout};

/// Where the tokens of an image lie: the first `prefix` stand for no place, the others for a grid, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Tokens before the grid.
    pub prefix: usize,
    /// The grid's height.
    pub height: usize,
    /// The grid's width.
    pub width: usize,
}

impl Grid {
    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.prefix + self.height * self.width
    }
}

/// The attention maps of a graph whose layers these are, `[N, heads, tokens, tokens]`, in order: softmaxes over all tokens of one grid. As
/// layers, the heads stand for channels. The grid is that of the last such map; `None` where there is none.
pub fn attention(graph: &GraphProto, types: &Types, layers: &[Layer]) -> Option<(Vec<Layer>, Grid)> {
    let grids: Vec<Grid> = layers
        .iter()
        .filter_map(|layer| match layer.layout {
            Layout::Tokens { prefix, height, width } => Some(Grid { prefix, height, width }),
            _ => None,
        })
        .collect();
    let map = |name: &str| {
        let ty = types.get(name).filter(|ty| ty.elem.is_float())?;
        let shape: Vec<Option<usize>> = ty.shape.as_ref()?.iter().map(|dim| dim.fixed()).collect();
        let (&[_, Some(_), Some(rows), Some(columns)], true) = (&shape[..], true) else { return None };
        let grid = grids.iter().find(|grid| grid.tokens() == rows && rows == columns)?;
        Some((shape, ty.elem, *grid))
    };
    let softmaxes = graph.node.iter().filter(|node| node.op_type == "Softmax" && node.domain.is_empty());
    let mut found: Vec<(Layer, Grid)> = Vec::new();
    for name in softmaxes.filter_map(|node| node.output.first()) {
        let Some((shape, elem, grid)) = map(name) else { continue };
        let layer = Layer {
            index: found.len(),
            value: name.clone(),
            op: "Softmax".into(),
            module: None,
            outputs_of: Vec::new(),
            shape,
            elem,
            layout: Layout::Nchw,
            informative: false,
        };
        found.push((layer, grid));
    }
    let grid = found.last()?.1;
    let same = found.into_iter().filter(|(_, own)| *own == grid).map(|(layer, _)| layer);
    Some((same.collect(), grid))
}
