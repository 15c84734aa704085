//! Knows the detectors of the YOLO family (v5 to v11 and what descends from them): the layers worth looking at are what the neck
//! gives to the detection head, not the backbone's end that a classifier would have.
//!
//! Such a model is one `Sequential` named `model`, whose last module is the head with a branch for each scale (`model.22.cv2.0`,
//! `model.24.m.1`). What the head reads are the outputs of earlier modules of `model`, one for each grid size.

use camscope_plugin::{Layer, LayerResolver, Model, Preference, export_plugin};

struct Necks;

impl LayerResolver for Necks {
    fn name(&self) -> &str {
        "yolo-necks"
    }

    fn resolve(&self, _: &Model, layers: &[Layer]) -> Result<Vec<Preference>, String> {
        let Some(head) = layers.iter().filter_map(head_of).max() else { return Ok(Vec::new()) };
        // The neck's outputs: for each grid size the last module before the head that gives it.
        let mut outputs: Vec<(u64, &Layer)> = Vec::new();
        for layer in layers.iter().filter(|layer| number(layer).is_some_and(|number| number < head)) {
            let (Some(grid), true) = (grid(layer), layer.is_output && is_whole(layer)) else { continue };
            outputs.retain(|(other, _)| *other != grid);
            outputs.push((grid, layer));
        }
        // Of three scales the middle one shows most of what there is; then the finer, then the coarser one.
        outputs.sort_by_key(|(grid, _)| std::cmp::Reverse(*grid));
        let middle = outputs.len() / 2;
        if middle > 0 {
            outputs[..=middle].rotate_right(1);
        }
        Ok(outputs.iter().map(|(_, layer)| Preference { layer: layer.index, layout: None }).collect())
    }
}

/// The number of the module of `model` that a layer belongs to.
fn number(layer: &Layer) -> Option<u32> {
    layer.module.strip_prefix("model.")?.split('.').next()?.parse().ok()
}

/// Whether a layer is the output of such a module itself, not of a part of it.
fn is_whole(layer: &Layer) -> bool {
    layer.module.split('.').count() == 2
}

/// The number of the head, if a layer lies in one: a module with a branch for each scale.
fn head_of(layer: &Layer) -> Option<u32> {
    let number = number(layer)?;
    let mut rest = layer.module.split('.').skip(2);
    let branch = rest.next()?;
    let scale = rest.next()?;
    let is_branch = matches!(branch, "cv2" | "cv3" | "cv4") && scale.parse::<u32>().is_ok() && rest.next().is_some();
    is_branch.then_some(number)
}

/// How many places a layer's grid has.
fn grid(layer: &Layer) -> Option<u64> {
    match layer.shape.as_slice() {
        [_, _, Some(height), Some(width)] => Some(height * width),
        _ => None,
    }
}

export_plugin! { resolvers: [Necks] }

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(index: u32, module: &str, size: u64) -> Layer {
        Layer {
            index,
            value: format!("v{index}"),
            module: module.to_owned(),
            is_output: true,
            op: "Conv".to_owned(),
            elem_type: 1,
            shape: vec![None, Some(8), Some(size), Some(size)],
            layout: None,
            informative: true,
        }
    }

    #[test]
    fn the_necks_outputs_are_found_and_other_models_left_alone() {
        let yolo = [
            layer(0, "model.4", 80),
            layer(1, "model.9", 20),
            layer(2, "model.15", 80),
            layer(3, "model.18.cv1.conv", 40),
            layer(4, "model.18", 40),
            layer(5, "model.21", 20),
            layer(6, "model.22.cv2.0.0.conv", 80),
            layer(7, "model.22.cv3.2.1.conv", 20),
        ];
        let chosen: Vec<u32> = Necks.resolve(&Model::default(), &yolo).unwrap().iter().map(|p| p.layer).collect();
        assert_eq!(chosen, [4, 2, 5]);
        let resnet = [layer(0, "layer1.0.conv1", 56), layer(1, "layer4.1.relu", 7)];
        assert!(Necks.resolve(&Model::default(), &resnet).unwrap().is_empty());
    }
}
