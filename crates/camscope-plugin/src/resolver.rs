//! Layer resolvers: pick the layers worth looking at in a family of models.

use crate::{
    abi::{
        CAMSCOPE_LAYOUT_AS_FOUND, CAMSCOPE_LAYOUT_NCHW, CAMSCOPE_LAYOUT_NHWC, CAMSCOPE_LAYOUT_TOKENS, CAMSCOPE_OK,
        CamscopeHost, CamscopeLayer, CamscopeLayerResolver, CamscopeLayerResolverFactory, CamscopeLayerSink,
        CamscopeLayout, CamscopeModel,
    },
    boundary::{c_text, guarded, leak, slice, text},
};

/// The layout of a layer's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
    /// Batch, tokens, channels: `prefix` tokens without a position (a class token) come first, then a grid, row by row.
    Tokens {
        /// Tokens before the grid.
        prefix: u32,
        /// The grid's height.
        height: u32,
        /// The grid's width.
        width: u32,
    },
}

/// The metadata of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The program that wrote the file.
    pub producer: String,
    /// The graph's name.
    pub graph: String,
    /// The input's name.
    pub input: String,
    /// The file's metadata.
    pub metadata: Vec<(String, String)>,
}

/// One layer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its number, from 0, in the order of the graph.
    pub index: u32,
    /// The value's name in the graph.
    pub value: String,
    /// The path of the PyTorch module that outputs it, or inside which it is computed; empty if none is known.
    pub module: String,
    /// Whether it is the output of `module`, not only computed inside of it.
    pub is_output: bool,
    /// The operator that computes it.
    pub op: String,
    /// ONNX's code of its element type.
    pub elem_type: i32,
    /// Its shape; `None` for a free axis.
    pub shape: Vec<Option<u64>>,
    /// The layout that camscope found; `None` if this crate is too old to know it.
    pub layout: Option<Layout>,
    /// Whether it comes before the classifier, so that a heatmap there makes sense.
    pub informative: bool,
}

/// A layer worth looking at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Its [`Layer::index`].
    pub layer: u32,
    /// Its layout; `None` for the one that camscope found.
    pub layout: Option<Layout>,
}

/// Knows the layers of a family of models.
pub trait LayerResolver: Send + Sync + 'static {
    /// Its name: a to z, 0 to 9, `-` and `_`.
    fn name(&self) -> &str;
    /// The layers worth looking at, the best first; none if the model is of another family.
    ///
    /// # Errors
    /// Why the resolver failed, as a message for the user.
    fn resolve(&self, model: &Model, layers: &[Layer]) -> Result<Vec<Preference>, String>;
}

/// The factory of these resolvers.
#[doc(hidden)]
pub fn export(resolvers: Vec<Box<dyn LayerResolver>>) -> CamscopeLayerResolverFactory {
    let item = |resolver: Box<dyn LayerResolver>| CamscopeLayerResolver {
        struct_size: size_of::<CamscopeLayerResolver>() as u32,
        reserved: 0,
        name: c_text(resolver.name()),
        data: Box::into_raw(Box::new(resolver)).cast(),
        resolve: Some(resolve),
    };
    let (count, items) = leak(resolvers.into_iter().map(item).collect());
    CamscopeLayerResolverFactory { struct_size: size_of::<CamscopeLayerResolverFactory>() as u32, count, items }
}

unsafe extern "C" fn resolve(
    item: *const CamscopeLayerResolver,
    host: *const CamscopeHost,
    model: *const CamscopeModel,
    layers: *const *const CamscopeLayer,
    count: usize,
    sink: *const CamscopeLayerSink,
) -> i32 {
    guarded(host, || {
        // SAFETY: `item` is one of `export`, whose data is a boxed trait object that is never freed.
        let resolver = unsafe { &*(*item).data.cast::<Box<dyn LayerResolver>>() };
        // SAFETY: the host's structs and what they point to are valid during the call.
        let model = unsafe { read_model(&*model) };
        // SAFETY: as above; `layers` holds `count` pointers.
        let layers: Vec<Layer> = unsafe { slice(layers, count).iter().map(|&layer| read_layer(&*layer)).collect() };
        let preferences = resolver.resolve(&model, &layers)?;
        // SAFETY: as above.
        let add = unsafe { (*sink).add }.ok_or("the host takes no layers")?;
        for preference in preferences {
            let layout = to_abi(preference.layout);
            // SAFETY: the sink is valid during the call, and so is the layout.
            if unsafe { add(sink, preference.layer, &layout) } != CAMSCOPE_OK {
                return Err(format!("camscope refuses layer {}", preference.layer));
            }
        }
        Ok(())
    })
}

unsafe fn read_model(model: &CamscopeModel) -> Model {
    let count = model.metadata_count as usize;
    // SAFETY: the host's strings and lists are valid during the call.
    unsafe {
        let keys = slice(model.metadata_keys, count).iter().map(|&key| text(key));
        let values = slice(model.metadata_values, count).iter().map(|&value| text(value));
        Model {
            producer: text(model.producer),
            graph: text(model.graph),
            input: text(model.input),
            metadata: keys.zip(values).collect(),
        }
    }
}

unsafe fn read_layer(layer: &CamscopeLayer) -> Layer {
    // SAFETY: the host's strings and lists are valid during the call.
    let (value, module, op, shape) =
        unsafe { (text(layer.value), text(layer.module), text(layer.op), slice(layer.shape, layer.rank as usize)) };
    let CamscopeLayout { kind, prefix, height, width } = layer.layout;
    Layer {
        index: layer.index,
        value,
        module,
        is_output: layer.is_output != 0,
        op,
        elem_type: layer.elem_type,
        shape: shape.iter().map(|&size| u64::try_from(size).ok()).collect(),
        layout: match kind {
            CAMSCOPE_LAYOUT_NCHW => Some(Layout::Nchw),
            CAMSCOPE_LAYOUT_NHWC => Some(Layout::Nhwc),
            CAMSCOPE_LAYOUT_TOKENS => Some(Layout::Tokens { prefix, height, width }),
            _ => None,
        },
        informative: layer.informative != 0,
    }
}

fn to_abi(layout: Option<Layout>) -> CamscopeLayout {
    let plain = |kind| CamscopeLayout { kind, prefix: 0, height: 0, width: 0 };
    match layout {
        None => plain(CAMSCOPE_LAYOUT_AS_FOUND),
        Some(Layout::Nchw) => plain(CAMSCOPE_LAYOUT_NCHW),
        Some(Layout::Nhwc) => plain(CAMSCOPE_LAYOUT_NHWC),
        Some(Layout::Tokens { prefix, height, width }) => {
            CamscopeLayout { kind: CAMSCOPE_LAYOUT_TOKENS, prefix, height, width }
        }
    }
}
