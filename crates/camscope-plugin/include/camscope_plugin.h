// The plugin interface of camscope. Made by cbindgen from crates/camscope-plugin/src/abi.rs: change that, not this.
// The contract in prose is docs/plugin-abi.md.

#pragma once

#include <stddef.h>
#include <stdint.h>
#if defined(_WIN32)
#define CAMSCOPE_EXPORT __declspec(dllexport)
#else
#define CAMSCOPE_EXPORT __attribute__((visibility("default")))
#endif

// The bytes `CAMSCOPE`, as a little-endian number: how a plugin is told from any other library.
#define CAMSCOPE_MAGIC 4994579137332855107

// The interface's major version. A host takes plugins of its own major version only.
#define CAMSCOPE_ABI_MAJOR 1

// The interface's minor version. A host takes plugins of its own minor version and of older ones.
#define CAMSCOPE_ABI_MINOR 0

// All went well.
#define CAMSCOPE_OK 0

// It failed; `CamscopeHost.set_error` was told why.
#define CAMSCOPE_ERROR 1

// A colormap from little to much.
#define CAMSCOPE_SEQUENTIAL 0

// A colormap away from a neutral middle, to both sides.
#define CAMSCOPE_DIVERGING 1

// A colormap whose end meets its beginning.
#define CAMSCOPE_CYCLIC 2

// No layout is given: the one that camscope found stands.
#define CAMSCOPE_LAYOUT_AS_FOUND 0

// Batch, channels, height, width.
#define CAMSCOPE_LAYOUT_NCHW 1

// Batch, height, width, channels.
#define CAMSCOPE_LAYOUT_NHWC 2

// Batch, tokens, channels: first `prefix` tokens that stand for no place, then `height` rows of `width`.
#define CAMSCOPE_LAYOUT_TOKENS 3

// Of a method: heat at a place comes of the gradient at that place, not of a mean over all places.
#define CAMSCOPE_METHOD_KEEPS_PLACES 1

// What camscope offers a plugin. Valid during the call that it is given to, no longer.
typedef struct CamscopeHost {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // The host's version of the interface.
    uint32_t abi_major;
    // The host's version of the interface.
    uint32_t abi_minor;
    // Zero.
    uint32_t reserved;
    // The host's own.
    void *context;
    // Says why the call fails: UTF-8 of `length` bytes, copied at once. [the thread that was called]
    void (*set_error)(const struct CamscopeHost *host, const char *text, size_t length);
} CamscopeHost;

// What a plugin exports, as a constant named `camscope_plugin`. Everything up to `version` is read before any function is called.
typedef struct CamscopePlugin {
    // `CAMSCOPE_MAGIC`.
    uint64_t magic;
    // `CAMSCOPE_ABI_MAJOR` as the plugin was compiled.
    uint32_t abi_major;
    // `CAMSCOPE_ABI_MINOR` as the plugin was compiled.
    uint32_t abi_minor;
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // The plugin's name: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    const char *name;
    // The plugin's version: UTF-8, at most 64 bytes, ended by a zero byte.
    const char *version;
    // Called once, before anything else; may be null. [the thread that loads plugins]
    int32_t (*init)(const struct CamscopeHost *host);
    // Called at most once, after everything else; may be null, may never be called. [the thread that loads plugins]
    void (*deinit)(void);
    // The factory of a capability by its id, such as `camscope.colormap/1`; null for one that the plugin doesn't have. What it
    // points to stays valid and unchanged as long as the process runs. [the thread that loads plugins]
    const void *(*get_factory)(const char *id);
} CamscopePlugin;

// A colormap.
typedef struct CamscopeColormap {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // `CAMSCOPE_SEQUENTIAL`, `CAMSCOPE_DIVERGING` or `CAMSCOPE_CYCLIC`.
    uint32_t kind;
    // What `--colormap` takes: a to z, 0 to 9 and `_`, at most 64, ended by a zero byte.
    const char *name;
    // The plugin's own.
    void *data;
    // Writes `count` colours to `rgb`, red, green, blue each from 0 to 1 (sRGB), from no heat to all heat. `count` is at least 2,
    // `rgb` has room for 3 × `count` numbers and holds NaNs before. Called once for a table, never for a pixel.
    // [the thread that loads plugins]
    int32_t (*fill)(const struct CamscopeColormap *item, const struct CamscopeHost *host, size_t count, float *rgb);
} CamscopeColormap;

// `camscope.colormap/1`: the colormaps of a plugin.
typedef struct CamscopeColormapFactory {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // How many there are.
    uint32_t count;
    // Pointers to each.
    const struct CamscopeColormap *const *items;
} CamscopeColormapFactory;

// What is known of a model as a whole. All strings are UTF-8, ended by a zero byte.
typedef struct CamscopeModel {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // How many key-value pairs its metadata has.
    uint32_t metadata_count;
    // The program that wrote the file.
    const char *producer;
    // The graph's name.
    const char *graph;
    // The input's name.
    const char *input;
    // The keys of its metadata.
    const char *const *metadata_keys;
    // The values of its metadata.
    const char *const *metadata_values;
} CamscopeModel;

// What the axes of a layer mean. This struct never grows.
typedef struct CamscopeLayout {
    // `CAMSCOPE_LAYOUT_…`.
    uint32_t kind;
    // Tokens before the grid.
    uint32_t prefix;
    // The grid's height.
    uint32_t height;
    // The grid's width.
    uint32_t width;
} CamscopeLayout;

// One layer of a model. All strings are UTF-8, ended by a zero byte.
typedef struct CamscopeLayer {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Its number, from 0, in the order of the graph.
    uint32_t index;
    // The value's name in the graph.
    const char *value;
    // The path of the PyTorch module whose output it is or inside which it is made; empty where none is known.
    const char *module;
    // The operator that makes it.
    const char *op;
    // ONNX's code of its element type.
    int32_t elem_type;
    // How many axes it has.
    uint32_t rank;
    // Their extents; -1 for one that is free.
    const int64_t *shape;
    // What camscope takes its axes for.
    struct CamscopeLayout layout;
    // 1 where it is the output of `module`, 0 where it is only made inside of it.
    uint32_t is_output;
    // 1 where it comes before the classifier, so that it can tell something.
    uint32_t informative;
} CamscopeLayer;

// Takes the layers that a resolver chooses. Valid during the call that it is given to.
typedef struct CamscopeLayerSink {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // The host's own.
    void *context;
    // Takes a layer by its `index`; `layout` may be null. [the thread that was called]
    int32_t (*add)(const struct CamscopeLayerSink *sink, uint32_t layer, const struct CamscopeLayout *layout);
} CamscopeLayerSink;

// Knows which layers of a family of models are worth looking at.
typedef struct CamscopeLayerResolver {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // Its name: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    const char *name;
    // The plugin's own.
    void *data;
    // Gives `sink` the layers worth looking at, the best first; none where the model is of another family. What `model` and
    // `layers` point to is valid during the call. [any thread, one call at a time for a plugin]
    int32_t (*resolve)(const struct CamscopeLayerResolver *item,
                       const struct CamscopeHost *host,
                       const struct CamscopeModel *model,
                       const struct CamscopeLayer *const *layers,
                       size_t count,
                       const struct CamscopeLayerSink *sink);
} CamscopeLayerResolver;

// `camscope.layer-resolver/1`: the layer resolvers of a plugin.
typedef struct CamscopeLayerResolverFactory {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // How many there are.
    uint32_t count;
    // Pointers to each.
    const struct CamscopeLayerResolver *const *items;
} CamscopeLayerResolverFactory;

// What is known of a value.
typedef struct CamscopeValueType {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // ONNX's code of its element type; 0 where it is not known or the value is left out.
    int32_t elem_type;
    // How many axes it has; -1 where that is not known.
    int32_t rank;
    // Zero.
    uint32_t reserved;
    // Their extents; -1 for one that is free.
    const int64_t *shape;
} CamscopeValueType;

// The node that is to be differentiated.
typedef struct CamscopeNode {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // The version of ONNX's own operators in the model, at least 18: the function may use this one or an older one.
    uint32_t opset;
    // The node as an ONNX `NodeProto`.
    const uint8_t *bytes;
    // How many bytes that is.
    size_t length;
    // The types of its inputs.
    const struct CamscopeValueType *const *inputs;
    // How many inputs it has, those left out in the middle included.
    size_t input_count;
    // The types of its outputs.
    const struct CamscopeValueType *const *outputs;
    // How many outputs it has.
    size_t output_count;
    // For each input 1 where its gradient is wanted, else 0.
    const uint8_t *wanted;
} CamscopeNode;

// Takes bytes. Valid during the call that it is given to.
typedef struct CamscopeBytesSink {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // The host's own.
    void *context;
    // Appends bytes, copied at once. [the thread that was called]
    int32_t (*write)(const struct CamscopeBytesSink *sink, const uint8_t *bytes, size_t length);
} CamscopeBytesSink;

// How an operator that ONNX doesn't define is differentiated.
typedef struct CamscopeGradientRule {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // The operator's domain, ended by a zero byte; empty for ONNX's own.
    const char *domain;
    // The operator, ended by a zero byte.
    const char *op;
    // The first version of the domain that it is for.
    int64_t since;
    // The last one.
    int64_t until;
    // The plugin's own.
    void *data;
    // Writes an ONNX `FunctionProto` to `sink`: see `docs/plugin-abi.md`. What `node` points to is valid during the call.
    // [any thread, one call at a time for a plugin]
    int32_t (*differentiate)(const struct CamscopeGradientRule *item,
                             const struct CamscopeHost *host,
                             const struct CamscopeNode *node,
                             const struct CamscopeBytesSink *sink);
} CamscopeGradientRule;

// `camscope.gradient-rule/1`: the gradient rules of a plugin.
typedef struct CamscopeGradientRuleFactory {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // How many there are.
    uint32_t count;
    // Pointers to each.
    const struct CamscopeGradientRule *const *items;
} CamscopeGradientRuleFactory;

// How a heatmap is computed from a layer's activation and its gradient.
typedef struct CamscopeMethod {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // `CAMSCOPE_METHOD_…`, added up; the other bits are zero.
    uint32_t flags;
    // What `--method` takes: a to z, 0 to 9, `-` and `_`, at most 64, ended by a zero byte.
    const char *name;
    // What it computes and who proposed it, in one line: UTF-8, at most 200 bytes, ended by a zero byte.
    const char *about;
    // The plugin's own.
    void *data;
    // Writes an ONNX `FunctionProto` from activation and gradient to the heatmap to `sink`: see `docs/plugin-abi.md`.
    // [the thread that loads plugins]
    int32_t (*build)(const struct CamscopeMethod *item,
                     const struct CamscopeHost *host,
                     const struct CamscopeBytesSink *sink);
} CamscopeMethod;

// `camscope.method/1`: the methods of a plugin.
typedef struct CamscopeMethodFactory {
    // Size of this struct in bytes.
    uint32_t struct_size;
    // How many there are.
    uint32_t count;
    // Pointers to each.
    const struct CamscopeMethod *const *items;
} CamscopeMethodFactory;

#ifdef __cplusplus
extern "C" {
#endif
// The one symbol that a plugin exports.
extern CAMSCOPE_EXPORT const CamscopePlugin camscope_plugin;
#ifdef __cplusplus
}
#endif
