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

static const void *get_factory(const char *id) {
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
