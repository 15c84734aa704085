// Plugins that do everything wrong, one thing each, for the tests: cc -DFAULT_PANIC_IN_FILL … says which. None: a good one.
//   cc -fPIC -shared -I ../../crates/camscope-plugin/include -DFAULT_CRASH_IN_FILL -o faulty.so faulty.c

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "camscope_plugin.h"

#ifndef COLORMAP
#define COLORMAP "faulty"
#endif
#ifndef NAME
#define NAME "faulty"
#endif

static int32_t fill(const CamscopeColormap *self, const CamscopeHost *host, size_t count, float *rgb) {
    (void)self;
    (void)host;
    for (size_t i = 0; i < 3 * count; i++) {
        rgb[i] = (float)(i / 3) / (float)(count - 1);
#if defined BACKWARDS
        rgb[i] = 1.0f - rgb[i];
#endif
    }
#if defined FAULT_CRASH_IN_FILL
    *(volatile int *)8 = 1;
#elif defined FAULT_ABORT_IN_FILL
    abort();
#elif defined FAULT_EXIT_IN_FILL
    _exit(0);
#elif defined FAULT_HANG_IN_FILL
    for (;;) {
        sleep(1);
    }
#elif defined FAULT_NAN
    rgb[7] = NAN;
#elif defined FAULT_RANGE
    rgb[5] = 1.5f;
#elif defined FAULT_OVERRUN
    rgb[3 * count] = 0.5f;
#elif defined FAULT_ERROR
    host->set_error(host, "no colours today", 16);
    return CAMSCOPE_ERROR;
#elif defined FAULT_SILENT_ERROR
    return 7;
#endif
    return CAMSCOPE_OK;
}

static const CamscopeColormap colormap = {
#if defined FAULT_SHORT_ITEM
    .struct_size = 8,
#else
    .struct_size = sizeof(CamscopeColormap),
#endif
#if defined FAULT_KIND
    .kind = 9,
#endif
    .name = COLORMAP,
#if !defined FAULT_NO_FILL
    .fill = fill,
#endif
};
static const CamscopeColormap *const colormaps[] = {
#if defined FAULT_NULL_ITEM
    NULL
#else
    &colormap, &colormap
#endif
};
static const CamscopeColormapFactory colormap_factory = {
    .struct_size = sizeof(CamscopeColormapFactory),
#if defined FAULT_MANY
    .count = 4000000000u,
#elif defined FAULT_TWICE
    .count = 2,
#else
    .count = 1,
#endif
#if !defined FAULT_NULL_LIST
    .items = colormaps,
#endif
};

static int32_t resolve(const CamscopeLayerResolver *self, const CamscopeHost *host, const CamscopeModel *model,
                       const CamscopeLayer *const *layers, size_t count, const CamscopeLayerSink *sink) {
    (void)self;
    (void)host;
    (void)model;
    (void)layers;
    CamscopeLayout tokens = {CAMSCOPE_LAYOUT_TOKENS, 1, 3, 5};
#if defined FAULT_LAYER_RANGE
    return sink->add(sink, (uint32_t)count + 3, NULL);
#elif defined FAULT_LAYOUT
    return count == 0 ? CAMSCOPE_OK : sink->add(sink, 0, &tokens);
#elif defined FAULT_ENDLESS
    for (;;) {
        if (sink->add(sink, 0, NULL) != CAMSCOPE_OK) {
            return CAMSCOPE_OK;
        }
    }
#else
    (void)tokens;
    (void)count;
    (void)sink;
    return CAMSCOPE_OK;
#endif
}
static const CamscopeLayerResolver resolver = {
    .struct_size = sizeof(CamscopeLayerResolver), .name = "faulty-resolver", .resolve = resolve};
static const CamscopeLayerResolver *const resolvers[] = {&resolver};
static const CamscopeLayerResolverFactory resolver_factory = {
    .struct_size = sizeof(CamscopeLayerResolverFactory), .count = 1, .items = resolvers};

static int32_t differentiate(const CamscopeGradientRule *self, const CamscopeHost *host, const CamscopeNode *node,
                             const CamscopeBytesSink *sink) {
    (void)self;
    (void)host;
    (void)node;
    return sink->write(sink, (const uint8_t *)"rubbish", 7);
}
static const CamscopeGradientRule rule = {.struct_size = sizeof(CamscopeGradientRule),
                                          .domain = "faulty",
                                          .op = "Faulty",
                                          .since = 1,
                                          .until = INT64_MAX,
                                          .differentiate = differentiate};
static const CamscopeGradientRule *const rules[] = {&rule};
static const CamscopeGradientRuleFactory rule_factory = {
    .struct_size = sizeof(CamscopeGradientRuleFactory), .count = 1, .items = rules};

// ---- a method: Grad-CAM, as bytes of an ONNX FunctionProto ----

typedef struct {
    uint8_t bytes[2048];
    size_t length;
} Message;

static void varint(Message *m, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        m->bytes[m->length++] = (uint8_t)(value | 0x80);
    }
    m->bytes[m->length++] = (uint8_t)value;
}

static void number(Message *m, uint32_t field, uint64_t value) {
    varint(m, (uint64_t)field << 3);
    varint(m, value);
}

static void bytes(Message *m, uint32_t field, const void *content, size_t length) {
    varint(m, (uint64_t)field << 3 | 2);
    varint(m, length);
    memcpy(m->bytes + m->length, content, length);
    m->length += length;
}

static void text(Message *m, uint32_t field, const char *content) { bytes(m, field, content, strlen(content)); }

// A node `op` that reads `a` and `b` (null: none) and makes `out`, with the attribute `name` of an integer or of two integers (0: none).
static void node(Message *function, const char *op, const char *a, const char *b, const char *out, const char *name,
                 int count, const int64_t *values) {
    Message node = {.length = 0}, attribute = {.length = 0};
    if (a) {
        text(&node, 1, a);
    }
    if (b) {
        text(&node, 1, b);
    }
    text(&node, 2, out);
    text(&node, 4, op);
    if (name) {
        text(&attribute, 1, name);
        for (int i = 0; i < count; i++) {
            number(&attribute, count == 1 && strcmp(op, "Constant") ? 3 : 8, (uint64_t)values[i]);
        }
        number(&attribute, 20, count == 1 && strcmp(op, "Constant") ? 2 : 7);
        bytes(&node, 5, attribute.bytes, attribute.length);
    }
#if defined FAULT_METHOD_DOMAIN
    text(&node, 7, "com.microsoft");
#endif
    bytes(function, 7, node.bytes, node.length);
}

static int32_t build(const CamscopeMethod *self, const CamscopeHost *host, const CamscopeBytesSink *sink) {
    (void)self;
    const int64_t places[] = {2, 3}, channels[] = {1}, no[] = {0}, images[] = {0};
    (void)images;
    Message f = {.length = 0}, opset = {.length = 0};
    text(&f, 1, "gradcam");
    text(&f, 4, "activation");
    text(&f, 4, "gradient");
#if defined FAULT_METHOD_INPUTS
    text(&f, 4, "logits");
#endif
#if !defined FAULT_METHOD_OUTPUTS
    text(&f, 5, "heatmap");
    text(&f, 5, "product");
#endif
    node(&f, "Constant", NULL, NULL, "places", "value_ints", 2, places);
    node(&f, "Constant", NULL, NULL, "channels", "value_ints", 1, channels);
    node(&f, "ReduceMean", "gradient", "places", "weight", NULL, 0, NULL);
#if defined FAULT_METHOD_NAN
    // The mean over itself: 0 / 0 where there is no gradient.
    node(&f, "Div", "weight", "weight", "one", NULL, 0, NULL);
    node(&f, "Mul", "one", "activation", "product", NULL, 0, NULL);
#elif defined FAULT_METHOD_OPERATOR
    node(&f, "Multiply", "weight", "activation", "product", NULL, 0, NULL);
#elif defined FAULT_METHOD_ORDER
    node(&f, "Mul", "weight", "later", "product", NULL, 0, NULL);
#elif defined FAULT_METHOD_MIXES
    node(&f, "Constant", NULL, NULL, "images", "value_ints", 1, images);
    node(&f, "ReduceMean", "weight", "images", "mixed", NULL, 0, NULL);
    node(&f, "Mul", "mixed", "activation", "product", NULL, 0, NULL);
#elif defined FAULT_METHOD_RANDOM
    node(&f, "RandomNormalLike", "activation", NULL, "noise", NULL, 0, NULL);
    node(&f, "Mul", "weight", "noise", "product", NULL, 0, NULL);
#elif defined FAULT_METHOD_PRODUCT
    node(&f, "Mul", "weight", "activation", "half", NULL, 0, NULL);
    node(&f, "Add", "half", "half", "product", NULL, 0, NULL);
#else
    node(&f, "Mul", "weight", "activation", "product", NULL, 0, NULL);
#endif
#if defined FAULT_METHOD_SHAPE
    node(&f, "ReduceSum", "product", "channels", "heatmap", NULL, 0, NULL);
#elif defined FAULT_METHOD_PRODUCT
    node(&f, "ReduceSum", "half", "channels", "heatmap", "keepdims", 1, no);
#elif defined FAULT_METHOD_TYPE
    node(&f, "ReduceSum", "product", "channels", "sum", "keepdims", 1, no);
    const int64_t to_double[] = {11};
    node(&f, "Cast", "sum", NULL, "heatmap", "to", 1, to_double);
#else
    node(&f, "ReduceSum", "product", "channels", "heatmap", "keepdims", 1, no);
#endif
    text(&opset, 1, "");
#if defined FAULT_METHOD_OPSET
    number(&opset, 2, 13);
#else
    number(&opset, 2, 18);
#endif
    bytes(&f, 9, opset.bytes, opset.length);
    text(&f, 10, "faulty");
#if defined FAULT_METHOD_ERROR
    host->set_error(host, "no method today", 15);
    return CAMSCOPE_ERROR;
#elif defined FAULT_METHOD_RUBBISH
    return sink->write(sink, (const uint8_t *)"rubbish", 7);
#elif defined FAULT_METHOD_CRASH
    *(volatile int *)8 = 1;
#endif
    (void)host;
    return sink->write(sink, f.bytes, f.length);
}

#ifndef METHOD
#define METHOD "faulty-cam"
#endif
#ifndef ABOUT
#define ABOUT "feature maps weighted by their mean gradient, of a plugin"
#endif
static const CamscopeMethod method = {.struct_size = sizeof(CamscopeMethod),
#if defined FAULT_METHOD_FLAGS
                                      .flags = 6,
#endif
                                      .name = METHOD,
                                      .about = ABOUT,
#if !defined FAULT_METHOD_NO_BUILD
                                      .build = build
#endif
};
static const CamscopeMethod *const methods[] = {&method, &method};
static const CamscopeMethodFactory method_factory = {.struct_size = sizeof(CamscopeMethodFactory),
#if defined FAULT_METHOD_TWICE
                                                     .count = 2,
#else
                                                     .count = 1,
#endif
                                                     .items = methods};

static const void *get_factory(const char *id) {
#if defined WITH_METHOD
    return strcmp(id, "camscope.method/1") == 0 ? &method_factory : NULL;
#endif
    (void)method_factory;
#if defined FAULT_NOTHING
    return NULL;
#elif defined FAULT_RUBBISH_RULE
    if (strcmp(id, "camscope.gradient-rule/1") == 0) {
        return &rule_factory;
    }
#elif defined FAULT_LAYER_RANGE || defined FAULT_LAYOUT || defined FAULT_ENDLESS
    if (strcmp(id, "camscope.layer-resolver/1") == 0) {
        return &resolver_factory;
    }
#endif
    (void)resolver_factory;
    (void)rule_factory;
    return strcmp(id, "camscope.colormap/1") == 0 ? &colormap_factory : NULL;
}

static int32_t init(const CamscopeHost *host) {
    (void)host;
#if defined FAULT_INIT_ERROR
    host->set_error(host, "no licence", 10);
    return CAMSCOPE_ERROR;
#elif defined FAULT_CRASH_IN_INIT
    *(volatile int *)8 = 1;
#endif
    return CAMSCOPE_OK;
}

#if defined FAULT_CRASH_AT_LOAD
__attribute__((constructor)) static void at_load(void) { *(volatile int *)8 = 1; }
#elif defined FAULT_HANG_AT_LOAD
__attribute__((constructor)) static void at_load(void) {
    for (;;) {
        sleep(1);
    }
}
#endif

#if defined FAULT_NO_SYMBOL
#define camscope_plugin another_name
#endif
CAMSCOPE_EXPORT const CamscopePlugin camscope_plugin = {
#if defined FAULT_MAGIC
    .magic = 42,
#else
    .magic = CAMSCOPE_MAGIC,
#endif
#if defined FAULT_MAJOR
    .abi_major = CAMSCOPE_ABI_MAJOR + 1,
#else
    .abi_major = CAMSCOPE_ABI_MAJOR,
#endif
#if defined FAULT_MINOR
    .abi_minor = CAMSCOPE_ABI_MINOR + 1,
#else
    .abi_minor = CAMSCOPE_ABI_MINOR,
#endif
#if defined FAULT_SHORT
    .struct_size = 24,
#else
    .struct_size = sizeof(CamscopePlugin),
#endif
#if !defined FAULT_NULL_NAME
    .name = NAME,
#endif
    .version = "0.3.1",
    .init = init,
#if !defined FAULT_NO_FACTORY
    .get_factory = get_factory,
#endif
};
