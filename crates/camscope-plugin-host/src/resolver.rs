//! Plugins' layer resolvers as the core's.

use std::{
    ffi::{CString, c_char},
    sync::{Arc, Mutex, PoisonError},
};

use camscope_core::{
    layer::{self, Layer, LayerResolver, Layout, Preference},
    model::Network,
};
use camscope_plugin::abi::{
    CAMSCOPE_ERROR, CAMSCOPE_LAYOUT_AS_FOUND, CAMSCOPE_LAYOUT_NCHW, CAMSCOPE_LAYOUT_NHWC, CAMSCOPE_LAYOUT_TOKENS,
    CAMSCOPE_OK, CamscopeHost, CamscopeLayer, CamscopeLayerResolver, CamscopeLayerResolverFactory, CamscopeLayerSink,
    CamscopeLayout, CamscopeModel,
};

use crate::{
    adapt::{Plugin, c_text},
    raw,
};

type Resolve = unsafe extern "C" fn(
    *const CamscopeLayerResolver,
    *const CamscopeHost,
    *const CamscopeModel,
    *const *const CamscopeLayer,
    usize,
    *const CamscopeLayerSink,
) -> i32;

/// A layer resolver of a plugin.
pub(crate) struct Resolver {
    pub(crate) name: String,
    plugin: Arc<Plugin>,
    item: *const CamscopeLayerResolver,
    resolve: Resolve,
}

// SAFETY: the contract lets the function be called on any thread, one call at a time, which `Plugin::call` sees to.
unsafe impl Send for Resolver {}
// SAFETY: as above.
unsafe impl Sync for Resolver {}

/// What a resolver is told of the model as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) producer: String,
    pub(crate) graph: String,
    pub(crate) input: String,
    pub(crate) metadata: Vec<(String, String)>,
}

/// The resolvers of a factory.
///
/// # Safety
/// The factory is null or keeps to the contract.
pub(crate) unsafe fn read(
    factory: *const CamscopeLayerResolverFactory,
    plugin: &Arc<Plugin>,
) -> Result<Vec<Resolver>, String> {
    if factory.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: as the caller promises, here and below.
    let factory = unsafe { raw::copy(factory, "layer resolver factory") }?;
    let items = unsafe { raw::items(factory.items, factory.count, "layer resolver") }?;
    let one = |item: *const CamscopeLayerResolver| {
        let read = unsafe { raw::copy(item, "layer resolver") }?;
        let name = unsafe { raw::name(read.name, "layer resolver's name", true) }?;
        let resolve = read.resolve.ok_or_else(|| format!("layer resolver `{name}` has no function `resolve`"))?;
        let known = layer::resolvers().into_iter().find(|known| known.name() == name);
        if let Some(other) = known.filter(|known| known.plugin() != plugin.name) {
            return Err(format!("its layer resolver `{name}` is the name of one of plugin `{}`", other.plugin()));
        }
        Ok(Resolver { name, plugin: Arc::clone(plugin), item, resolve })
    };
    let all = items.into_iter().map(one).collect::<Result<Vec<_>, String>>()?;
    match all.iter().enumerate().find(|(at, one)| all[..*at].iter().any(|other| other.name == one.name)) {
        Some((_, twice)) => Err(format!("it has two layer resolvers `{}`", twice.name)),
        None => Ok(all),
    }
}

/// The answers so far, and what was wrong with one.
#[derive(Default)]
struct Answers {
    all: Vec<(u32, CamscopeLayout)>,
    most: usize,
}

const AS_FOUND: CamscopeLayout = CamscopeLayout { kind: CAMSCOPE_LAYOUT_AS_FOUND, prefix: 0, height: 0, width: 0 };

unsafe extern "C" fn add(sink: *const CamscopeLayerSink, layer: u32, layout: *const CamscopeLayout) -> i32 {
    // SAFETY: plugins pass on the sink that they were given, whose context is the mutex of `ask`.
    let answers = unsafe { &*(*sink).context.cast::<Mutex<Answers>>() };
    // SAFETY: the layout is null or valid during the call.
    let layout = unsafe { layout.as_ref() }.copied().unwrap_or(AS_FOUND);
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    if answers.all.len() > answers.most {
        return CAMSCOPE_ERROR;
    }
    answers.all.push((layer, layout));
    CAMSCOPE_OK
}

impl Resolver {
    /// What the plugin answers; that its layers exist and fit is for the core to check.
    pub(crate) fn ask(&self, facts: &Facts, layers: &[Layer]) -> Result<Vec<Preference>, String> {
        let texts = [&facts.producer, &facts.graph, &facts.input].map(|text| c_text(text));
        let (keys, values): (Vec<CString>, Vec<CString>) =
            facts.metadata.iter().map(|(key, value)| (c_text(key), c_text(value))).unzip();
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<*const c_char>>();
        let (key_pointers, value_pointers) = (pointers(&keys), pointers(&values));
        let model = CamscopeModel {
            struct_size: size_of::<CamscopeModel>() as u32,
            metadata_count: keys.len() as u32,
            producer: texts[0].as_ptr(),
            graph: texts[1].as_ptr(),
            input: texts[2].as_ptr(),
            metadata_keys: key_pointers.as_ptr(),
            metadata_values: value_pointers.as_ptr(),
        };
        let rows: Vec<([CString; 3], Vec<i64>)> = layers.iter().map(row).collect();
        let structs: Vec<CamscopeLayer> = layers.iter().zip(&rows).map(|(layer, row)| to_abi(layer, row)).collect();
        let layer_pointers: Vec<*const CamscopeLayer> = structs.iter().map(std::ptr::from_ref).collect();
        let answers = Mutex::new(Answers { all: Vec::new(), most: layers.len() });
        let sink = CamscopeLayerSink {
            struct_size: size_of::<CamscopeLayerSink>() as u32,
            reserved: 0,
            context: std::ptr::from_ref(&answers).cast_mut().cast(),
            add: Some(add),
        };
        // SAFETY: everything pointed to lives until the end of this function.
        self.plugin.call(|host| unsafe {
            (self.resolve)(self.item, host, &model, layer_pointers.as_ptr(), structs.len(), &sink)
        })?;
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        if answers.all.len() > answers.most {
            return Err(format!("it names more layers than the {} that there are", layers.len()));
        }
        answers.all.into_iter().map(|(layer, layout)| preference(layer, layout)).collect()
    }
}

fn preference(layer: u32, layout: CamscopeLayout) -> Result<Preference, String> {
    let CamscopeLayout { kind, prefix, height, width } = layout;
    let layout = match kind {
        CAMSCOPE_LAYOUT_AS_FOUND => None,
        CAMSCOPE_LAYOUT_NCHW => Some(Layout::Nchw),
        CAMSCOPE_LAYOUT_NHWC => Some(Layout::Nhwc),
        CAMSCOPE_LAYOUT_TOKENS if [prefix, height, width].iter().all(|&n| n < 1 << 16) && height > 0 && width > 0 => {
            Some(Layout::Tokens { prefix: prefix as usize, height: height as usize, width: width as usize })
        }
        CAMSCOPE_LAYOUT_TOKENS => return Err(format!("it gives layer {layer} a grid of {prefix}+{height}×{width}")),
        other => return Err(format!("it gives layer {layer} layout {other}, which there isn't")),
    };
    Ok(Preference { layer: layer as usize, layout })
}

fn row(layer: &Layer) -> ([CString; 3], Vec<i64>) {
    let texts = [&layer.value, layer.module.as_ref().unwrap_or(&String::new()), &layer.op].map(|text| c_text(text));
    (texts, layer.shape.iter().map(|size| size.map_or(-1, |size| size as i64)).collect())
}

fn to_abi(layer: &Layer, (texts, shape): &([CString; 3], Vec<i64>)) -> CamscopeLayer {
    let plain = |kind| CamscopeLayout { kind, ..AS_FOUND };
    CamscopeLayer {
        struct_size: size_of::<CamscopeLayer>() as u32,
        index: layer.index as u32,
        value: texts[0].as_ptr(),
        module: texts[1].as_ptr(),
        op: texts[2].as_ptr(),
        elem_type: layer.elem.code(),
        rank: shape.len() as u32,
        shape: shape.as_ptr(),
        layout: match layer.layout {
            Layout::Nchw => plain(CAMSCOPE_LAYOUT_NCHW),
            Layout::Nhwc => plain(CAMSCOPE_LAYOUT_NHWC),
            // Of signals and volumes the rank says enough: the interface has no name for them.
            Layout::Ncl | Layout::Ncdhw | Layout::Ndhwc => AS_FOUND,
            Layout::Tokens { prefix, height, width } => CamscopeLayout {
                kind: CAMSCOPE_LAYOUT_TOKENS,
                prefix: prefix as u32,
                height: height as u32,
                width: width as u32,
            },
        },
        is_output: u32::from(layer.output_of().is_some()),
        informative: u32::from(layer.informative),
    }
}

impl LayerResolver for Resolver {
    fn name(&self) -> &str {
        &self.name
    }

    fn plugin(&self) -> &str {
        &self.plugin.name
    }

    fn resolve(&self, network: &Network, layers: &[Layer]) -> Result<Vec<Preference>, String> {
        let proto = network.model.proto();
        let metadata = proto.metadata_props.iter().map(|pair| (pair.key.clone(), pair.value.clone()));
        let facts = Facts {
            producer: proto.producer_name.clone(),
            graph: network.model.graph().name.clone(),
            input: network.input().name.clone(),
            metadata: metadata.collect(),
        };
        self.ask(&facts, layers)
    }
}
