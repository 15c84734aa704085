// ice: a colormap for camscope in plain C, black to white over blue. To build and to try it:
//   cc -O2 -fPIC -shared -I ../../crates/camscope-plugin/include -o ice.so ice.c -lm && camscope plugin check ice.so
// To use it, put ice.so into ~/.local/share/camscope/plugins, then: camscope explain MODEL IMAGE --colormap ice

#include <math.h>

#include "camscope_plugin.h"

// Writes `count` colours to `rgb`: red, green and blue, each from 0 to 1, from no heat to all heat.
static int32_t fill(const CamscopeColormap *self, const CamscopeHost *host, size_t count, float *rgb) {
    (void)self;
    (void)host;
    for (size_t i = 0; i < count; i++) {
        float heat = (float)i / (float)(count - 1);
        rgb[3 * i] = powf(heat, 2.2f);
        rgb[3 * i + 1] = powf(heat, 1.4f);
        rgb[3 * i + 2] = sinf(heat * 1.5707964f);
    }
    return CAMSCOPE_OK;
}

static const CamscopeColormap colormap = {
    .struct_size = sizeof(CamscopeColormap), .kind = CAMSCOPE_SEQUENTIAL, .name = "ice", .fill = fill};
static const CamscopeColormap *const colormaps[] = {&colormap};
static const CamscopeColormapFactory factory = {
    .struct_size = sizeof(CamscopeColormapFactory), .count = 1, .items = colormaps};

static const void *get_factory(const char *id) {
    const char *mine = "camscope.colormap/1";
    while (*id && *id == *mine) {
        id++;
        mine++;
    }
    return *id == *mine ? &factory : NULL;
}

CAMSCOPE_EXPORT const CamscopePlugin camscope_plugin = {
    .magic = CAMSCOPE_MAGIC,
    .abi_major = CAMSCOPE_ABI_MAJOR,
    .abi_minor = CAMSCOPE_ABI_MINOR,
    .struct_size = sizeof(CamscopePlugin),
    .name = "ice",
    .version = "0.1.0",
    .get_factory = get_factory,
};
