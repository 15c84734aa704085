//! A model whose values are typed and whose layers are found: what everything that explains it starts from.

use onnx_grad::{Types, graph::label, proto::NodeProto};

use onnx_grad_ort::Error as EngineError;

use crate::{
    error::{Error, Result},
    layer::{self, Choice, Layer, Reach, Resolved},
    layer_ranges::{Stored, stored},
    model::{Labels, Network, Sidecar},
    probe::{self, Feed, probe_unrolled},
    runtime::{Runtime, Value},
    target::{Known, TargetRef, default_target},
    task::Kind,
    text::printable_path,
};

/// A model at the input size that its sidecar asks for.
pub struct TypedModel {
    network: Network,
    sidecar: Sidecar,
    types: Types,
    /// What is differentiated; empty: [`Network::heads`].
    slopes: Vec<String>,
    layers: Vec<Layer>,
    stored: Vec<Option<Stored>>,
    default_layer: Option<usize>,
    /// What `auto` means: the default layer, or several.
    default_layers: Vec<usize>,
    resolved: Resolved,
    /// Why there is no layer, where there is none: the reason, and what to do.
    without: Option<(String, String)>,
}

impl TypedModel {
    /// Types the model's values and finds its layers.
    ///
    /// # Errors
    /// The model's values can't be typed, an input has no value, the output chosen for the class scores holds none, or the sidecar names
    /// a layer that the model doesn't have.
    pub fn new(runtime: &Runtime, network: Network, sidecar: Sidecar) -> Result<Self> {
        Self::for_targets(runtime, network, sidecar, &[])
    }

    /// As [`TypedModel::new`], for explaining these: the layers are those that lead to what they read. None: the default.
    ///
    /// # Errors
    /// Those of [`TypedModel::new`]; a target reads what the model doesn't have.
    pub fn for_targets(
        runtime: &Runtime,
        mut network: Network,
        mut sidecar: Sidecar,
        targets: &[TargetRef],
    ) -> Result<Self> {
        let types = type_values(runtime, &mut network, &sidecar)?;
        network.settle(&types, sidecar.task.kind, sidecar.labels.len())?;
        network.recognise(&types, &sidecar)?;
        if network.task.is_none() && targets.is_empty() {
            // What isn't known of a model that doesn't run says nothing of the model.
            runs(runtime, &network, &sidecar)?;
        }
        let mut slopes = match &network.task {
            Some(found) if targets.is_empty() => found.task.slopes(),
            _ => Vec::new(),
        };
        if network.score_count(&types) == Some(1) {
            sidecar.labels.name_both_sides();
        }
        if !targets.is_empty() {
            network.explained.clear();
        }
        for target in targets {
            for name in target.slopes(&network)? {
                if !slopes.contains(&name) {
                    slopes.push(name);
                }
            }
            for name in target.reads(&network)? {
                if !network.explained.contains(&name) {
                    network.explained.push(name);
                }
            }
            target.exists(&Known { network: &network, labels: &sidecar.labels, types: &types })?;
        }
        let mut layers = layers_of(&network, &sidecar, &types);
        let without = if layers.is_empty() { why_none(runtime, &network, &sidecar)? } else { None };
        let resolved = resolve(&network, &sidecar, &mut layers);
        let default_layer =
            resolved.first().map_or_else(|| default_layer(&layers, &sidecar), |first| Ok(Some(first)))?;
        let is_chosen = resolved.first().is_some() || sidecar.layer.is_some();
        let mut default_layers: Vec<usize> = default_layer.into_iter().collect();
        if !is_chosen {
            let heads: Vec<&str> = network.heads().iter().map(String::as_str).collect();
            let reach = reach(&network, targets);
            let slopes: Vec<&str> =
                if slopes.is_empty() { heads.clone() } else { slopes.iter().map(String::as_str).collect() };
            let (graph, input) = (network.model.graph(), &network.input().name);
            let found = layer::scales(graph, &layers, input, (&heads, &slopes), reach);
            if !found.is_empty() {
                default_layers = found;
            }
        }
        let default_layer = default_layers.first().copied();
        let stored = stored(&network, &layers);
        Ok(Self { network, sidecar, types, slopes, layers, stored, default_layer, default_layers, resolved, without })
    }

    /// The model.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How photos become its input.
    pub fn sidecar(&self) -> &Sidecar {
        &self.sidecar
    }

    /// The classes' names.
    pub fn labels(&self) -> &Labels {
        &self.sidecar.labels
    }

    /// The values that targets read, of any type.
    pub(crate) fn read(&self) -> Vec<&str> {
        self.network.heads().iter().map(String::as_str).collect()
    }

    /// The float values that are differentiated: those of [`Network::heads`] that targets have slopes in.
    pub fn heads(&self) -> Vec<&str> {
        let is_float = |name: &&str| self.types.get(name).is_none_or(|ty| ty.elem.is_float());
        let all = if self.slopes.is_empty() { self.network.heads() } else { &self.slopes };
        all.iter().map(String::as_str).filter(is_float).collect()
    }

    /// What is explained where nobody says.
    ///
    /// # Errors
    /// The model gives neither class scores nor a single number.
    pub fn default_target(&self) -> Result<TargetRef> {
        default_target(&self.network, &self.types)
    }

    /// The inputs that don't take the image, with what they are fed in a run of so many images: those whose batch is open get the same for
    /// each.
    ///
    /// # Errors
    /// One has no value.
    pub(crate) fn fed(&self, rows: usize) -> Result<Vec<(String, Value)>> {
        self.network.fed(rows)
    }

    /// What is to be said where there are more or fewer labels than scores.
    pub fn label_mismatch(&self) -> Option<String> {
        self.network.class_count(&self.types).and_then(|classes| self.sidecar.labels.mismatch(classes))
    }

    /// What is known of the values.
    pub fn types(&self) -> &Types {
        &self.types
    }

    /// Every layer of the model.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// For each of [`TypedModel::layers`] the type that its numbers have in the file, where that is not float32.
    pub fn stored(&self) -> &[Option<Stored>] {
        &self.stored
    }

    /// In which ways the model is quantised: `QDQ`, `QOperator`, `dynamic`, `weights`. Empty: it is not.
    pub fn forms(&self) -> Vec<&'static str> {
        onnx_grad::quantised::forms(self.network.model.graph())
    }

    /// The layer that `auto` takes.
    pub fn default_layer(&self) -> Option<usize> {
        self.default_layer
    }

    /// What `auto` means: [`TypedModel::default_layer`] alone, or several layers whose heat is fused.
    pub fn default_layers(&self) -> &[usize] {
        &self.default_layers
    }

    /// Why the model has no layers, where that is known.
    pub fn why_no_layers(&self) -> Option<&str> {
        self.without.as_ref().map(|(reason, _)| reason.as_str())
    }

    /// The error of a model without layers, with the reason where that is known.
    pub fn no_layers(&self) -> Error {
        match &self.without {
            Some((reason, help)) => Error::NoLayersSince { reason: reason.clone(), help: help.clone() },
            None => Error::NoLayers,
        }
    }

    /// What resolvers said of the layers.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }
}

/// Which layers serve targets best; none: what the model says first.
fn reach(network: &Network, targets: &[TargetRef]) -> Reach {
    let task = network.task.as_ref().map(|found| found.task.kind());
    let local = if targets.is_empty() { true } else { targets.iter().any(|target| target.is_local()) };
    match task {
        Some(Kind::Detection) if local => Reach::Scales,
        Some(Kind::Segmentation | Kind::Dense | Kind::Keypoints) if local => Reach::Deepest,
        Some(Kind::Text) => Reach::Whole,
        _ if !targets.is_empty() && local => Reach::Deepest,
        _ => Reach::Whole,
    }
}

/// Asks the resolvers for the layers worth looking at, unless the sidecar names one; layouts that they give are taken over.
pub fn resolve(network: &Network, sidecar: &Sidecar, layers: &mut [Layer]) -> Resolved {
    if sidecar.layer.is_some() { Resolved::default() } else { layer::resolve(network, layers) }
}

/// The types of a model's values at the size that its sidecar asks for. Control flow whose course is known at that size is taken
/// apart in the model.
///
/// # Errors
/// ONNX Runtime cannot load the model; an input has no value; a loop is too long.
pub fn type_values(runtime: &Runtime, network: &mut Network, sidecar: &Sidecar) -> Result<Types> {
    let (model, types) = probe_unrolled(runtime, &network.model, &feeds(network, sidecar)?)?;
    network.model = model;
    Ok(types)
}

/// What is fed to the model's inputs.
///
/// # Errors
/// One has no value.
fn feeds(network: &Network, sidecar: &Sidecar) -> Result<Vec<Feed>> {
    let input = network.input();
    let shape = network.input_shape(&sidecar.preprocessing)?;
    let mut feeds =
        vec![Feed { name: input.name.clone(), elem: input.elem, shape, free_batch: input.batch().is_none() }];
    for other in network.others() {
        let value = other.given()?;
        let free_batch = input.batch().is_none() && other.is_by_image();
        feeds.push(Feed { name: other.name.clone(), elem: other.elem, shape: value.shape().to_vec(), free_batch });
    }
    Ok(feeds)
}

/// Whether the model runs at the size that its sidecar asks for.
///
/// # Errors
/// [`Error::AssumedSize`] where nothing but camscope asked for that size, else ONNX Runtime's own.
fn runs(runtime: &Runtime, network: &Network, sidecar: &Sidecar) -> Result<()> {
    probe::run_once(runtime, &network.model, &feeds(network, sidecar)?).map_err(|error| {
        let (height, width) = sidecar.preprocessing.size;
        let is_open =
            network.takes_photos() && network.input().shape.iter().skip(1).filter(|size| size.is_none()).count() > 1;
        match error {
            EngineError::Inference { reason, .. } if is_open => Error::AssumedSize {
                path: printable_path(&network.path),
                size: (height as usize, width as usize),
                reason,
            },
            error => error.into(),
        }
    })
}

/// Why a model has no layers, and what to do, where that is known.
///
/// # Errors
/// It doesn't run.
fn why_none(runtime: &Runtime, network: &Network, sidecar: &Sidecar) -> Result<Option<(String, String)>> {
    runs(runtime, network, sidecar)?;
    let control = |node: &&NodeProto| matches!(&*node.op_type, "If" | "Loop" | "Scan") && node.domain.is_empty();
    let Some(node) = network.model.graph().node.iter().find(control) else { return Ok(None) };
    let (what, whose) = match &*node.op_type {
        "If" => ("which branch it takes", "one branch"),
        _ => ("how often it runs", "a number of iterations"),
    };
    let reason = format!("{what} is not known before the model runs, for the {} `{}`", node.op_type, label(node));
    let help = format!(
        "it depends on what the picture shows, not on its size; export the model with {whose} that is fixed (PyTorch: without torch.cond or a \
         data-dependent if)"
    );
    Ok(Some((reason, help)))
}

/// The layers of a model.
pub fn layers_of(network: &Network, sidecar: &Sidecar, types: &Types) -> Vec<Layer> {
    let layout = network.input_layout(&sidecar.preprocessing);
    let heads: Vec<&str> = network.heads().iter().map(String::as_str).collect();
    let (graph, input) = (network.model.graph(), &network.input().name);
    let Some(outline) = onnx_grad::quantised::outline(graph) else {
        return layer::find(graph, types, input, &heads, layout);
    };
    let mut types = types.clone();
    for info in &outline.value_info {
        if let Some(ty) = info.r#type.as_ref().and_then(onnx_grad::ValueType::from_proto) {
            types.insert(info.name.clone(), ty);
        }
    }
    layer::find(&outline, &types, input, &heads, layout)
}

/// The layer that `auto` takes: the sidecar's, else the last before the classifier; `None` where the model has no layers.
///
/// # Errors
/// The sidecar names a layer that the model doesn't have.
pub fn default_layer(layers: &[Layer], sidecar: &Sidecar) -> Result<Option<usize>> {
    let automatic = layer::automatic(layers).ok().map(|layer| layer.index);
    let Some(name) = &sidecar.layer else { return Ok(automatic) };
    let choice: Choice = name.parse().unwrap_or(Choice::Auto);
    let chosen = layer::choose(layers, automatic, &choice).map(|layer| Some(layer.index));
    chosen.map_err(|error| sidecar.at_fault("layer", error))
}
