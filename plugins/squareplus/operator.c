// Squareplus as a custom operator of ONNX Runtime: y = (x + sqrt(x * x + b)) / 2, for float tensors. To build it:
//   cc -O2 -fPIC -shared -o libsquareplus_operator.so operator.c -lm
// and to run a model with it: camscope explain model.onnx IMAGE --op-library libsquareplus_operator.so --plugin libsquareplus.so

#include <math.h>
#include <stdlib.h>

#include "ort_custom_op.h"

typedef struct Kernel {
    const OrtApi *api;
    float b;
} Kernel;

static void *create(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info) {
    (void)op;
    Kernel *kernel = malloc(sizeof(Kernel));
    if (kernel == NULL) {
        abort();
    }
    kernel->api = api;
    OrtStatus *status = ORT_FUNCTION(api, KernelInfoGetAttribute_float)(info, "b", &kernel->b);
    if (status != NULL) { // the attribute is left out
        ORT_FUNCTION(api, ReleaseStatus)(status);
        kernel->b = 4.0f;
    }
    return kernel;
}

static void check(OrtStatus *status) {
    if (status != NULL) {
        abort(); // an input or output that the signature below promises is not there
    }
}

static void compute(void *state, OrtKernelContext *context) {
    const Kernel *kernel = state;
    const OrtApi *api = kernel->api;
    const OrtValue *x = NULL;
    check(ORT_FUNCTION(api, KernelContext_GetInput)(context, 0, &x));
    OrtTensorTypeAndShapeInfo *info = NULL;
    check(ORT_FUNCTION(api, GetTensorTypeAndShape)(x, &info));
    size_t rank = 0, count = 0;
    int64_t shape[16];
    check(ORT_FUNCTION(api, GetDimensionsCount)(info, &rank));
    if (rank > 16) {
        abort();
    }
    check(ORT_FUNCTION(api, GetDimensions)(info, shape, rank));
    check(ORT_FUNCTION(api, GetTensorShapeElementCount)(info, &count));
    ORT_FUNCTION(api, ReleaseTensorTypeAndShapeInfo)(info);
    OrtValue *y = NULL;
    check(ORT_FUNCTION(api, KernelContext_GetOutput)(context, 0, shape, rank, &y));
    void *from = NULL, *to = NULL;
    check(ORT_FUNCTION(api, GetTensorMutableData)((OrtValue *)x, &from));
    check(ORT_FUNCTION(api, GetTensorMutableData)(y, &to));
    const float *in = from;
    float *out = to;
    for (size_t i = 0; i < count; i++) {
        out[i] = 0.5f * (in[i] + sqrtf(in[i] * in[i] + kernel->b));
    }
}

static const char *name(const OrtCustomOp *op) { return (void)op, "Squareplus"; }
static const char *provider(const OrtCustomOp *op) { return (void)op, NULL; }
static size_t one(const OrtCustomOp *op) { return (void)op, 1; }
static int32_t is_float(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_FLOAT; }
static int32_t required(const OrtCustomOp *op, size_t index) { return (void)op, (void)index, ORT_REQUIRED; }

static const OrtCustomOp squareplus = {
    .version = 10,
    .CreateKernel = create,
    .GetName = name,
    .GetExecutionProviderType = provider,
    .GetInputType = is_float,
    .GetInputTypeCount = one,
    .GetOutputType = is_float,
    .GetOutputTypeCount = one,
    .KernelCompute = compute,
    .KernelDestroy = free,
    .GetInputCharacteristic = required,
    .GetOutputCharacteristic = required,
};

// The symbol that ONNX Runtime looks for.
__attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
    const OrtApi *api = base->GetApi(14);
    OrtCustomOpDomain *domain = NULL; // as long as the process runs: sessions hold on to it
    OrtStatus *status = ORT_FUNCTION(api, CreateCustomOpDomain)("camscope.example", &domain);
    if (status == NULL) {
        status = ORT_FUNCTION(api, CustomOpDomain_Add)(domain, &squareplus);
    }
    return status != NULL ? status : ORT_FUNCTION(api, AddCustomOpDomain)(options, domain);
}
