/* A model that Sieve exported as ONNX, run by onnxruntime's C interface: the first class and the patches that each selector kept.
 *
 *     cc onnxruntime.c -I ORT/include -L ORT/lib -lonnxruntime -Wl,-rpath,ORT/lib -o ask     (ORT: an unpacked release of onnxruntime)
 *     ./ask model.onnx numbers.f32
 *
 * numbers.f32: [3, side, side] floats of one picture, plane by plane: RGB / 255, minus mean, by deviation (key "input" of the file's card).
 * docs/how-to-onnxruntime.md is its page. */
#include <onnxruntime_c_api.h>

#include <stdio.h>
#include <stdlib.h>

static const OrtApi *ort;

static void check(OrtStatus *status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", ort->GetErrorMessage(status));
    exit(1);
}

/* The numbers of a file; *count of them. */
static float *read_floats(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    float *numbers = NULL;
    size_t room = 0;
    *count = 0;
    while (file && (*count < room || (numbers = realloc(numbers, (room = 2 * room + 4096) * sizeof *numbers)))) {
        const size_t got = fread(numbers + *count, sizeof *numbers, room - *count, file);
        if (!got) break;
        *count += got;
    }
    if (!file || !numbers) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(1);
    }
    fclose(file);
    return numbers;
}

static size_t elements_of(OrtValue *value)
{
    OrtTensorTypeAndShapeInfo *shape = NULL;
    size_t count = 0;
    check(ort->GetTensorTypeAndShape(value, &shape));
    check(ort->GetTensorShapeElementCount(shape, &count));
    ort->ReleaseTensorTypeAndShapeInfo(shape);
    return count;
}

static void tell_logits(OrtValue *value)
{
    float *logits = NULL;
    size_t best = 0, count = elements_of(value);
    check(ort->GetTensorMutableData(value, (void **)&logits));
    for (size_t i = 1; i < count; i++)
        if (logits[i] > logits[best]) best = i;
    printf("class %zu of %zu, logit %.6f\n", best, count, (double)logits[best]);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.onnx NUMBERS.f32\n", argv[0]);
        return 2;
    }
    ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!ort) {
        fprintf(stderr, "this onnxruntime is older than its header\n");
        return 1;
    }
    OrtEnv *env = NULL;
    OrtSessionOptions *options = NULL;
    OrtSession *session = NULL;
    OrtMemoryInfo *memory = NULL;
    OrtAllocator *allocator = NULL;
    OrtValue *input = NULL, *outputs[16] = { NULL };
    char *names[16];
    size_t outputs_count = 0, count = 0;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "sieve", &env));
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(env, argv[1], options, &session));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->SessionGetOutputCount(session, &outputs_count));
    if (outputs_count > 16) outputs_count = 16;
    for (size_t i = 0; i < outputs_count; i++) check(ort->SessionGetOutputName(session, i, allocator, &names[i]));

    float *numbers = read_floats(argv[2], &count);
    int64_t side = 1;
    while (3 * side * side < (int64_t)count) side++;
    const int64_t shape[] = { 1, 3, side, side };
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, numbers, count * sizeof *numbers, shape, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
    const char *const input_name = "pixel_values";
    check(ort->Run(session, NULL, &input_name, (const OrtValue *const *)&input, 1, (const char *const *)names, outputs_count, outputs));
    tell_logits(outputs[0]);
    for (size_t i = 1; i < outputs_count; i++) printf("%s: %zu patches\n", names[i], elements_of(outputs[i]));

    for (size_t i = 0; i < outputs_count; i++) {
        ort->ReleaseValue(outputs[i]);
        check(ort->AllocatorFree(allocator, names[i]));
    }
    ort->ReleaseValue(input);
    ort->ReleaseMemoryInfo(memory);
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(env);
    free(numbers);
    return 0;
}
