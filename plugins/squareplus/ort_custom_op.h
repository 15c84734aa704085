// As much of ONNX Runtime's C interface as operator.c needs, for machines without onnxruntime_c_api.h. That interface never changes
// the place of a function: OrtApi is a table of pointers, and the numbers here are places in it.

#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct OrtStatus OrtStatus;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtValue OrtValue;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtCustomOp OrtCustomOp;

typedef struct OrtApi {
    void (*functions[104])(void);
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

enum { ORT_FLOAT = 1, ORT_REQUIRED = 0 };

// Of version 10: what came later is not looked at.
struct OrtCustomOp {
    uint32_t version;
    void *(*CreateKernel)(const OrtCustomOp *op, const OrtApi *api, const OrtKernelInfo *info);
    const char *(*GetName)(const OrtCustomOp *op);
    const char *(*GetExecutionProviderType)(const OrtCustomOp *op);
    int32_t (*GetInputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetInputTypeCount)(const OrtCustomOp *op);
    int32_t (*GetOutputType)(const OrtCustomOp *op, size_t index);
    size_t (*GetOutputTypeCount)(const OrtCustomOp *op);
    void (*KernelCompute)(void *kernel, OrtKernelContext *context);
    void (*KernelDestroy)(void *kernel);
    int32_t (*GetInputCharacteristic)(const OrtCustomOp *op, size_t index);
    int32_t (*GetOutputCharacteristic)(const OrtCustomOp *op, size_t index);
};

typedef OrtStatus *(*OrtCreateCustomOpDomain)(const char *domain, OrtCustomOpDomain **out);
typedef OrtStatus *(*OrtCustomOpDomain_Add)(OrtCustomOpDomain *domain, const OrtCustomOp *op);
typedef OrtStatus *(*OrtAddCustomOpDomain)(OrtSessionOptions *options, OrtCustomOpDomain *domain);
typedef OrtStatus *(*OrtGetTensorMutableData)(OrtValue *value, void **out);
typedef OrtStatus *(*OrtGetDimensionsCount)(const OrtTensorTypeAndShapeInfo *info, size_t *out);
typedef OrtStatus *(*OrtGetDimensions)(const OrtTensorTypeAndShapeInfo *info, int64_t *out, size_t count);
typedef OrtStatus *(*OrtGetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo *info, size_t *out);
typedef OrtStatus *(*OrtGetTensorTypeAndShape)(const OrtValue *value, OrtTensorTypeAndShapeInfo **out);
typedef OrtStatus *(*OrtKernelInfoGetAttribute_float)(const OrtKernelInfo *info, const char *name, float *out);
typedef OrtStatus *(*OrtKernelContext_GetInput)(const OrtKernelContext *context, size_t index, const OrtValue **out);
typedef OrtStatus *(*OrtKernelContext_GetOutput)(OrtKernelContext *context, size_t index, const int64_t *shape, size_t rank,
                                                 OrtValue **out);
typedef void (*OrtReleaseStatus)(OrtStatus *status);
typedef void (*OrtReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *info);

enum {
    ORT_AT_CreateCustomOpDomain = 26,
    ORT_AT_CustomOpDomain_Add = 27,
    ORT_AT_AddCustomOpDomain = 28,
    ORT_AT_GetTensorMutableData = 51,
    ORT_AT_GetDimensionsCount = 61,
    ORT_AT_GetDimensions = 62,
    ORT_AT_GetTensorShapeElementCount = 64,
    ORT_AT_GetTensorTypeAndShape = 65,
    ORT_AT_KernelInfoGetAttribute_float = 85,
    ORT_AT_KernelContext_GetInput = 90,
    ORT_AT_KernelContext_GetOutput = 91,
    ORT_AT_ReleaseStatus = 93,
    ORT_AT_ReleaseTensorTypeAndShapeInfo = 99,
};

#define ORT_FUNCTION(api, name) ((Ort##name)(api)->functions[ORT_AT_##name])
