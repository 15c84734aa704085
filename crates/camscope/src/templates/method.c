// NAME: a method for camscope. To build and to try it:
//   cc -O2 -fPIC -shared -o NAME.so NAME.c && camscope plugin check NAME.so
// To use it, put NAME.so into ~/.local/share/camscope/plugins, then: camscope explain MODEL IMAGE --method METHOD

#include <string.h>

#include "camscope_plugin.h"

// ---- enough of protobuf to write an ONNX FunctionProto ----

typedef struct {
    uint8_t bytes[4096];
    size_t length;
} Message;

static void varint(Message *m, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        m->bytes[m->length++] = (uint8_t)(value | 0x80);
    }
    m->bytes[m->length++] = (uint8_t)value;
}

static void number(Message *m, uint32_t field, int64_t value) {
    varint(m, (uint64_t)field << 3);
    varint(m, (uint64_t)value);
}

static void bytes(Message *m, uint32_t field, const void *content, size_t length) {
    varint(m, (uint64_t)field << 3 | 2);
    varint(m, length);
    memcpy(m->bytes + m->length, content, length);
    m->length += length;
}

static void text(Message *m, uint32_t field, const char *content) { bytes(m, field, content, strlen(content)); }

// A node `op` that reads `a` and `b` (NULL: none) and makes `out`. `attribute` (NULL: none) is one of type 2, an integer, or 7, integers.
static void node(Message *function, const char *op, const char *a, const char *b, const char *out,
                 const char *attribute, int type, int64_t value) {
    Message node = {.length = 0}, written = {.length = 0};
    if (a) {
        text(&node, 1, a);
    }
    if (b) {
        text(&node, 1, b);
    }
    text(&node, 2, out);
    text(&node, 4, op);
    if (attribute) {
        text(&written, 1, attribute);
        number(&written, type == 2 ? 3 : 8, value);
        number(&written, 20, type);
        bytes(&node, 5, written.bytes, written.length);
    }
    bytes(function, 7, node.bytes, node.length);
}

// From activation and gradient, [N, C, H, W], to the heatmap, [N, H, W]: the sum over the channels of relu(gradient) × activation.
static int32_t build(const CamscopeMethod *self, const CamscopeHost *host, const CamscopeBytesSink *sink) {
    (void)self;
    (void)host;
    Message f = {.length = 0}, opset = {.length = 0};
    text(&f, 1, "METHOD");
    text(&f, 4, "activation");
    text(&f, 4, "gradient");
    text(&f, 5, "heatmap");
    text(&f, 5, "product");
    node(&f, "Constant", NULL, NULL, "channels", "value_ints", 7, 1);
    node(&f, "Relu", "gradient", NULL, "positive", NULL, 0, 0);
    node(&f, "Mul", "positive", "activation", "product", NULL, 0, 0);
    node(&f, "ReduceSum", "product", "channels", "heatmap", "keepdims", 2, 0);
    text(&opset, 1, "");
    number(&opset, 2, 18);
    bytes(&f, 9, opset.bytes, opset.length);
    text(&f, 10, "NAME");
    return sink->write(sink, f.bytes, f.length);
}

static const CamscopeMethod method = {.struct_size = sizeof(CamscopeMethod),
                                      .flags = CAMSCOPE_METHOD_KEEPS_PLACES,
                                      .name = "METHOD",
                                      .about = "feature maps times their positive gradient, place by place",
                                      .build = build};
static const CamscopeMethod *const methods[] = {&method};
static const CamscopeMethodFactory factory = {
    .struct_size = sizeof(CamscopeMethodFactory), .count = 1, .items = methods};

static const void *get_factory(const char *id) { return strcmp(id, "camscope.method/1") == 0 ? &factory : NULL; }

CAMSCOPE_EXPORT const CamscopePlugin camscope_plugin = {
    .magic = CAMSCOPE_MAGIC,
    .abi_major = CAMSCOPE_ABI_MAJOR,
    .abi_minor = CAMSCOPE_ABI_MINOR,
    .struct_size = sizeof(CamscopePlugin),
    .name = "NAME",
    .version = "0.1.0",
    .get_factory = get_factory,
};
