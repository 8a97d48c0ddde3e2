/* What every exported library holds beside its kernels: argument checks, workspaces, launches.
 * The generated functions follow at the end of this file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tvm/ffi/c_api.h>

#define MAX_ARGUMENTS 48
#define WORKSPACE_ALIGNMENT 64

enum { OK, NULL_POINTER, BAD_SIZE, MISALIGNED, NO_MEMORY, KERNEL_FAILED };

/* A contiguous array: an argument of a function, or a workspace. */
typedef struct {
  const char *name;
  void *data;
  int64_t count;
  DLDataType type;
  int zeroed;
} array_t;

static const DLDataType float32 = {kDLFloat, 32, 1}, float16 = {kDLFloat, 16, 1};
static const DLDataType int32 = {kDLInt, 32, 1}, int64 = {kDLInt, 64, 1};
static const DLDataType uint32 = {kDLUInt, 32, 1}, uint16 = {kDLUInt, 16, 1};
static const DLDataType uint8 = {kDLUInt, 8, 1};

static _Thread_local char last_error[1024];

/* The operators of the sizes that the compiler prints. */
static inline int64_t cdiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t bits(int64_t a) {
  int64_t n = 0;
  for (; a > 0; a >>= 1) ++n;
  return n;
}

/* Kernels call the runtime through these pointers, which a module loader would set. Those that no
 * kernel uses do not exist. */
extern int TVMBackendParallelLaunch(int (*)(int, void *, void *), void *, int);
extern int TVMBackendParallelBarrier(int, void *);
extern void *TVMBackendAllocWorkspace(int, int, uint64_t, int, int);
extern int TVMBackendFreeWorkspace(int, int, void *);
extern __typeof__(&TVMBackendParallelLaunch) __TVMBackendParallelLaunch __attribute__((weak));
extern __typeof__(&TVMBackendParallelBarrier) __TVMBackendParallelBarrier __attribute__((weak));
extern __typeof__(&TVMBackendAllocWorkspace) __TVMBackendAllocWorkspace __attribute__((weak));
extern __typeof__(&TVMBackendFreeWorkspace) __TVMBackendFreeWorkspace __attribute__((weak));

__attribute__((constructor)) static void connect_runtime(void) {
  if (&__TVMBackendParallelLaunch) __TVMBackendParallelLaunch = TVMBackendParallelLaunch;
  if (&__TVMBackendParallelBarrier) __TVMBackendParallelBarrier = TVMBackendParallelBarrier;
  if (&__TVMBackendAllocWorkspace) __TVMBackendAllocWorkspace = TVMBackendAllocWorkspace;
  if (&__TVMBackendFreeWorkspace) __TVMBackendFreeWorkspace = TVMBackendFreeWorkspace;
  /* Unset, the runtime would take half of the cores and bind its threads to them. */
  setenv("TVM_NUM_THREADS", THREADS, 0);
  setenv("TVM_BIND_THREADS", "0", 0);
}

/* `heads_slots` index or weight heads times top-k: pairs are numbered with 32 bits. */
static int32_t check_sizes(const char *function, int64_t batch, int64_t tokens, int64_t kv_tokens,
                           int64_t chunk, int64_t heads_slots) {
  const int64_t limit = INT32_MAX;
  int fits = batch >= 1 && tokens >= 1 && kv_tokens >= chunk;
  fits = fits && batch <= limit && tokens <= limit && kv_tokens <= limit;
  fits = fits && batch * kv_tokens <= limit && batch * tokens <= limit;
  fits = fits && batch * tokens * heads_slots <= limit;
  if (fits) return OK;
  snprintf(last_error, sizeof last_error,
           "%s: B=%lld, L=%lld, Lkv=%lld: give B and L of 1 or more, Lkv of one chunk (%lld) or "
           "more, and B * L * %lld and B * Lkv below 2^31",
           function, (long long)batch, (long long)tokens, (long long)kv_tokens, (long long)chunk,
           (long long)heads_slots);
  return BAD_SIZE;
}

static int32_t check_arrays(const char *function, const array_t *arrays, int count) {
  for (int i = 0; i < count; ++i) {
    const char *name = arrays[i].name;
    if (!arrays[i].data) {
      snprintf(last_error, sizeof last_error, "%s: %s is NULL", function, name);
      return NULL_POINTER;
    }
    if ((uintptr_t)arrays[i].data % (arrays[i].type.bits / 8)) {
      snprintf(last_error, sizeof last_error, "%s: %s is not at a multiple of %d bytes", function,
               name, arrays[i].type.bits / 8);
      return MISALIGNED;
    }
  }
  return OK;
}

static size_t bytes_of(const array_t *array) {
  return (size_t)array->count * (array->type.bits / 8);
}

/* Allocate the arrays without data, and zero those that must start as zeros. */
static int32_t allocate(const char *function, array_t *arrays, int count) {
  for (int i = 0; i < count; ++i) {
    if (!arrays[i].data) {
      size_t rounded = (bytes_of(arrays + i) / WORKSPACE_ALIGNMENT + 1) * WORKSPACE_ALIGNMENT;
      arrays[i].data = aligned_alloc(WORKSPACE_ALIGNMENT, rounded);
      if (!arrays[i].data) {
        snprintf(last_error, sizeof last_error, "%s: no memory for the workspace %s, %zu bytes",
                 function, arrays[i].name, rounded);
        return NO_MEMORY;
      }
    }
    if (arrays[i].zeroed) memset(arrays[i].data, 0, bytes_of(arrays + i));
  }
  return OK;
}

static void release(array_t *arrays, int count) {
  for (int i = 0; i < count; ++i) free(arrays[i].data);
}

/* Keep the message of the error that a kernel raised. */
static void take_error(const char *function) {
  TVMFFIObjectHandle error = NULL;
  TVMFFIErrorMoveFromRaised(&error);
  if (!error) {
    snprintf(last_error, sizeof last_error, "%s: a kernel failed and gave no reason", function);
    return;
  }
  const TVMFFIErrorCell *cell = (const TVMFFIErrorCell *)((const char *)error + sizeof(TVMFFIObject));
  snprintf(last_error, sizeof last_error, "%s: %.*s", function, (int)cell->message.size,
           cell->message.data);
  TVMFFIObjectDecRef(error);
}

/* Call a kernel: arrays, then numbers, the last `axes` of which are its grid. */
static int32_t launch(const char *function, TVMFFISafeCallType kernel, array_t *const *arrays,
                      int array_count, const int64_t *numbers, int number_count, int axes) {
  TVMFFIAny arguments[MAX_ARGUMENTS], result;
  DLTensor tensors[MAX_ARGUMENTS];
  int64_t stride = 1;
  if (array_count + number_count > MAX_ARGUMENTS) {
    snprintf(last_error, sizeof last_error, "%s: a kernel has %d arguments, at most %d are passed",
             function, array_count + number_count, MAX_ARGUMENTS);
    return KERNEL_FAILED;
  }
  memset(arguments, 0, sizeof arguments);
  memset(&result, 0, sizeof result);
  for (int i = 0; i < number_count; ++i) {
    if (i >= number_count - axes && numbers[i] == 0) return OK;
    if (numbers[i] > INT32_MAX || numbers[i] < INT32_MIN) {
      snprintf(last_error, sizeof last_error, "%s: a launch size of %lld does not fit 32 bits",
               function, (long long)numbers[i]);
      return BAD_SIZE;
    }
    arguments[array_count + i].type_index = kTVMFFIInt;
    arguments[array_count + i].v_int64 = numbers[i];
  }
  for (int i = 0; i < array_count; ++i) {
    array_t *array = arrays[i];
    tensors[i] = (DLTensor){.data = array->data,
                            .device = {kDLCPU, 0},
                            .ndim = 1,
                            .dtype = array->type,
                            .shape = &array->count,
                            .strides = &stride,
                            .byte_offset = 0};
    arguments[i].type_index = kTVMFFIDLTensorPtr;
    arguments[i].v_ptr = &tensors[i];
  }
  if (kernel(NULL, arguments, array_count + number_count, &result) == 0) return OK;
  take_error(function);
  return KERNEL_FAILED;
}
