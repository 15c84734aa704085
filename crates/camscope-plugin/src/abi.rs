//! The C interface, struct by struct: what crosses the border between camscope and a plugin. `docs/plugin-abi.md` is the contract
//! in prose; `include/camscope_plugin.h` is made of this file.

use std::ffi::{c_char, c_void};

/// The bytes `CAMSCOPE`, as a little-endian number: how a plugin is told from any other library.
pub const CAMSCOPE_MAGIC: u64 = 0x4550_4F43_534D_4143;

/// The interface's major version. A host takes plugins of its own major version only.
pub const CAMSCOPE_ABI_MAJOR: u32 = 1;

/// The interface's minor version. A host takes plugins of its own minor version and of older ones.
pub const CAMSCOPE_ABI_MINOR: u32 = 0;

/// All went well.
pub const CAMSCOPE_OK: i32 = 0;

/// It failed; `CamscopeHost.set_error` was told why.
pub const CAMSCOPE_ERROR: i32 = 1;

/// A colormap from little to much.
pub const CAMSCOPE_SEQUENTIAL: u32 = 0;

/// A colormap away from a neutral middle, to both sides.
pub const CAMSCOPE_DIVERGING: u32 = 1;

/// A colormap whose end meets its beginning.
pub const CAMSCOPE_CYCLIC: u32 = 2;

/// No layout is given: the one that camscope found stands.
pub const CAMSCOPE_LAYOUT_AS_FOUND: u32 = 0;

/// Batch, channels, height, width.
pub const CAMSCOPE_LAYOUT_NCHW: u32 = 1;

/// Batch, height, width, channels.
pub const CAMSCOPE_LAYOUT_NHWC: u32 = 2;

/// Batch, tokens, channels: first `prefix` tokens that stand for no place, then `height` rows of `width`.
pub const CAMSCOPE_LAYOUT_TOKENS: u32 = 3;

/// Of a method: heat at a place comes of the gradient at that place, not of a mean over all places.
pub const CAMSCOPE_METHOD_KEEPS_PLACES: u32 = 1;

/// What camscope offers a plugin. Valid during the call that it is given to, no longer.
#[repr(C)]
pub struct CamscopeHost {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// The host's version of the interface.
    pub abi_major: u32,
    /// The host's version of the interface.
    pub abi_minor: u32,
    /// Zero.
    pub reserved: u32,
    /// The host's own.
    pub context: *mut c_void,
    /// Says why the call fails: UTF-8 of `length` bytes, copied at once. [the thread that was called]
    pub set_error: Option<unsafe extern "C" fn(host: *const CamscopeHost, text: *const c_char, length: usize)>,
}

/// What a plugin exports, as a constant named `camscope_plugin`. Everything up to `version` is read before any function is called.
#[repr(C)]
pub struct CamscopePlugin {
    /// `CAMSCOPE_MAGIC`.
    pub magic: u64,
    /// `CAMSCOPE_ABI_MAJOR` as the plugin was compiled.
    pub abi_major: u32,
    /// `CAMSCOPE_ABI_MINOR` as the plugin was compiled.
    pub abi_minor: u32,
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The plugin's name: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    pub name: *const c_char,
    /// The plugin's version: UTF-8, at most 64 bytes, ended by a zero byte.
    pub version: *const c_char,
    /// Called once, before anything else; may be null. [the thread that loads plugins]
    pub init: Option<unsafe extern "C" fn(host: *const CamscopeHost) -> i32>,
    /// Called at most once, after everything else; may be null, may never be called. [the thread that loads plugins]
    pub deinit: Option<unsafe extern "C" fn()>,
    /// The factory of a capability by its id, such as `camscope.colormap/1`; null for one that the plugin doesn't have. What it
    /// points to stays valid and unchanged as long as the process runs. [the thread that loads plugins]
    pub get_factory: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

/// `camscope.colormap/1`: the colormaps of a plugin.
#[repr(C)]
pub struct CamscopeColormapFactory {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// How many there are.
    pub count: u32,
    /// Pointers to each.
    pub items: *const *const CamscopeColormap,
}

/// A colormap.
#[repr(C)]
pub struct CamscopeColormap {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// `CAMSCOPE_SEQUENTIAL`, `CAMSCOPE_DIVERGING` or `CAMSCOPE_CYCLIC`.
    pub kind: u32,
    /// What `--colormap` takes: a to z, 0 to 9 and `_`, at most 64, ended by a zero byte.
    pub name: *const c_char,
    /// The plugin's own.
    pub data: *mut c_void,
    /// Writes `count` colours to `rgb`, red, green, blue each from 0 to 1 (sRGB), from no heat to all heat. `count` is at least 2,
    /// `rgb` has room for 3 × `count` numbers and holds NaNs before. Called once for a table, never for a pixel.
    /// [the thread that loads plugins]
    pub fill: Option<
        unsafe extern "C" fn(
            item: *const CamscopeColormap,
            host: *const CamscopeHost,
            count: usize,
            rgb: *mut f32,
        ) -> i32,
    >,
}

/// `camscope.layer-resolver/1`: the layer resolvers of a plugin.
#[repr(C)]
pub struct CamscopeLayerResolverFactory {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// How many there are.
    pub count: u32,
    /// Pointers to each.
    pub items: *const *const CamscopeLayerResolver,
}

/// Knows which layers of a family of models are worth looking at.
#[repr(C)]
pub struct CamscopeLayerResolver {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    pub name: *const c_char,
    /// The plugin's own.
    pub data: *mut c_void,
    /// Gives `sink` the layers worth looking at, the best first; none where the model is of another family. What `model` and
    /// `layers` point to is valid during the call. [any thread, one call at a time for a plugin]
    pub resolve: Option<
        unsafe extern "C" fn(
            item: *const CamscopeLayerResolver,
            host: *const CamscopeHost,
            model: *const CamscopeModel,
            layers: *const *const CamscopeLayer,
            count: usize,
            sink: *const CamscopeLayerSink,
        ) -> i32,
    >,
}

/// What is known of a model as a whole. All strings are UTF-8, ended by a zero byte.
#[repr(C)]
pub struct CamscopeModel {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// How many key-value pairs its metadata has.
    pub metadata_count: u32,
    /// The program that wrote the file.
    pub producer: *const c_char,
    /// The graph's name.
    pub graph: *const c_char,
    /// The input's name.
    pub input: *const c_char,
    /// The keys of its metadata.
    pub metadata_keys: *const *const c_char,
    /// The values of its metadata.
    pub metadata_values: *const *const c_char,
}

/// What the axes of a layer mean. This struct never grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CamscopeLayout {
    /// `CAMSCOPE_LAYOUT_…`.
    pub kind: u32,
    /// Tokens before the grid.
    pub prefix: u32,
    /// The grid's height.
    pub height: u32,
    /// The grid's width.
    pub width: u32,
}

/// One layer of a model. All strings are UTF-8, ended by a zero byte.
#[repr(C)]
pub struct CamscopeLayer {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Its number, from 0, in the order of the graph.
    pub index: u32,
    /// The value's name in the graph.
    pub value: *const c_char,
    /// The path of the PyTorch module whose output it is or inside which it is made; empty where none is known.
    pub module: *const c_char,
    /// The operator that makes it.
    pub op: *const c_char,
    /// ONNX's code of its element type.
    pub elem_type: i32,
    /// How many axes it has.
    pub rank: u32,
    /// Their extents; -1 for one that is free.
    pub shape: *const i64,
    /// What camscope takes its axes for.
    pub layout: CamscopeLayout,
    /// 1 where it is the output of `module`, 0 where it is only made inside of it.
    pub is_output: u32,
    /// 1 where it comes before the classifier, so that it can tell something.
    pub informative: u32,
}

/// Takes the layers that a resolver chooses. Valid during the call that it is given to.
#[repr(C)]
pub struct CamscopeLayerSink {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The host's own.
    pub context: *mut c_void,
    /// Takes a layer by its `index`; `layout` may be null. [the thread that was called]
    pub add:
        Option<unsafe extern "C" fn(sink: *const CamscopeLayerSink, layer: u32, layout: *const CamscopeLayout) -> i32>,
}

/// `camscope.gradient-rule/1`: the gradient rules of a plugin.
#[repr(C)]
pub struct CamscopeGradientRuleFactory {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// How many there are.
    pub count: u32,
    /// Pointers to each.
    pub items: *const *const CamscopeGradientRule,
}

/// How an operator that ONNX doesn't define is differentiated.
#[repr(C)]
pub struct CamscopeGradientRule {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The operator's domain, ended by a zero byte; empty for ONNX's own.
    pub domain: *const c_char,
    /// The operator, ended by a zero byte.
    pub op: *const c_char,
    /// The first version of the domain that it is for.
    pub since: i64,
    /// The last one.
    pub until: i64,
    /// The plugin's own.
    pub data: *mut c_void,
    /// Writes an ONNX `FunctionProto` to `sink`: see `docs/plugin-abi.md`. What `node` points to is valid during the call.
    /// [any thread, one call at a time for a plugin]
    pub differentiate: Option<
        unsafe extern "C" fn(
            item: *const CamscopeGradientRule,
            host: *const CamscopeHost,
            node: *const CamscopeNode,
            sink: *const CamscopeBytesSink,
        ) -> i32,
    >,
}

/// The node that is to be differentiated.
#[repr(C)]
pub struct CamscopeNode {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// The version of ONNX's own operators in the model, at least 18: the function may use this one or an older one.
    pub opset: u32,
    /// The node as an ONNX `NodeProto`.
    pub bytes: *const u8,
    /// How many bytes that is.
    pub length: usize,
    /// The types of its inputs.
    pub inputs: *const *const CamscopeValueType,
    /// How many inputs it has, those left out in the middle included.
    pub input_count: usize,
    /// The types of its outputs.
    pub outputs: *const *const CamscopeValueType,
    /// How many outputs it has.
    pub output_count: usize,
    /// For each input 1 where its gradient is wanted, else 0.
    pub wanted: *const u8,
}

/// What is known of a value.
#[repr(C)]
pub struct CamscopeValueType {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// ONNX's code of its element type; 0 where it is not known or the value is left out.
    pub elem_type: i32,
    /// How many axes it has; -1 where that is not known.
    pub rank: i32,
    /// Zero.
    pub reserved: u32,
    /// Their extents; -1 for one that is free.
    pub shape: *const i64,
}

/// Takes bytes. Valid during the call that it is given to.
#[repr(C)]
pub struct CamscopeBytesSink {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The host's own.
    pub context: *mut c_void,
    /// Appends bytes, copied at once. [the thread that was called]
    pub write: Option<unsafe extern "C" fn(sink: *const CamscopeBytesSink, bytes: *const u8, length: usize) -> i32>,
}

/// `camscope.method/1`: the methods of a plugin.
#[repr(C)]
pub struct CamscopeMethodFactory {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// How many there are.
    pub count: u32,
    /// Pointers to each.
    pub items: *const *const CamscopeMethod,
}

/// How a heatmap is computed from a layer's activation and its gradient.
#[repr(C)]
pub struct CamscopeMethod {
    /// Size of this struct in bytes.
    pub struct_size: u32,
    /// `CAMSCOPE_METHOD_…`, added up; the other bits are zero.
    pub flags: u32,
    /// What `--method` takes: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    pub name: *const c_char,
    /// What it computes and who proposed it, in one line: UTF-8, at most 200 bytes, ended by a zero byte.
    pub about: *const c_char,
    /// The plugin's own.
    pub data: *mut c_void,
    /// Writes an ONNX `FunctionProto` from activation and gradient to the heatmap to `sink`: see `docs/plugin-abi.md`.
    /// [the thread that loads plugins]
    pub build: Option<
        unsafe extern "C" fn(
            item: *const CamscopeMethod,
            host: *const CamscopeHost,
            sink: *const CamscopeBytesSink,
        ) -> i32,
    >,
}

// SAFETY: these are read-only descriptions of what lives as long as the process; the contract asks plugins for that.
unsafe impl Sync for CamscopePlugin {}
// SAFETY: as above.
unsafe impl Send for CamscopeColormapFactory {}
// SAFETY: as above.
unsafe impl Sync for CamscopeColormapFactory {}
// SAFETY: as above.
unsafe impl Send for CamscopeLayerResolverFactory {}
// SAFETY: as above.
unsafe impl Sync for CamscopeLayerResolverFactory {}
// SAFETY: as above.
unsafe impl Send for CamscopeGradientRuleFactory {}
// SAFETY: as above.
unsafe impl Sync for CamscopeGradientRuleFactory {}
// SAFETY: as above.
unsafe impl Send for CamscopeMethodFactory {}
// SAFETY: as above.
unsafe impl Sync for CamscopeMethodFactory {}
