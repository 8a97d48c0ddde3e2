// Runs generated CUDA on a CPU, one thread block after the other, for tests.
//
// A thread is a fiber that runs until it has to meet others: at a barrier, or in a collective
// operation of its warp. What one thread reads before another has written is therefore seen to be
// missing, and so is a copy that is read before it was waited for: asynchronous copies are made at
// the wait. Types and functions are those that TVM's CUDA prints.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <deque>
#include <functional>
#include <vector>

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
struct uint2 { uint x, y; };
struct uint4 { uint x, y, z, w; };
struct dim3 { int x, y, z; };

struct nv_bfloat16 {
  ushort bits = 0;
  nv_bfloat16() = default;
  nv_bfloat16(float x) {
    uint u;
    memcpy(&u, &x, 4);
    if (x != x) { bits = 0x7fff; return; }
    bits = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  }
  operator float() const {
    uint u = uint(bits) << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
  }
};
struct half {
  _Float16 value = 0;
  half() = default;
  half(float x) : value(_Float16(x)) {}
  operator float() const { return float(value); }
};

// -- fibers -----------------------------------------------------------------------------------
extern "C" void switch_stack(void** save, void* load);
__asm__(R"(
.text
.globl switch_stack
.type switch_stack,@function
switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace emulated {
constexpr size_t kStack = 1 << 19;
struct Copy { void* to; const void* from; int bytes; bool valid; };
struct Fiber {
  void* stack = nullptr;
  void* pointer = nullptr;
  bool done = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};
struct Meeting { int arrived = 0; long round = 0; void* slots[1024]; };

static std::vector<Fiber> fibers;
static int current, threads, step = 1;
static void* scheduler;
static std::function<void()> entry;
static Meeting block_meeting, warp_meetings[32];
static std::vector<uchar> shared_memory(256 * 1024 + 128);
static long idle;

static void next() {
  if (++idle > 64l * threads + 4096) {
    fprintf(stderr, "threads wait for each other for ever\n");
    abort();
  }
  int from = current, to = from;
  do { to = (to + step + threads) % threads; } while (fibers[to].done && to != from);
  if (fibers[to].done) { void* unused; switch_stack(&unused, scheduler); }
  if (to == from) return;
  current = to;
  switch_stack(&fibers[from].pointer, fibers[to].pointer);
}

static void start() {
  entry();
  fibers[current].done = true;
  idle = 0;
  next();
}

// Meets `count` threads; the last to come runs `all` for every one of them.
template <typename F>
static void meet(Meeting& at, int place, int count, void* mine, F all) {
  long round = at.round;
  at.slots[place] = mine;
  if (++at.arrived == count) {
    all(at.slots);
    at.arrived = 0;
    ++at.round;
    idle = 0;
    return;
  }
  while (at.round == round) next();
}

template <typename F>
static void warp(void* mine, F all) {
  meet(warp_meetings[current / 32], current % 32, 32, mine, all);
}

static void run(int count, bool backwards, std::function<void()> body) {
  threads = count;
  step = backwards ? -1 : 1;
  entry = body;
  idle = 0;
  fibers.resize(count);
  for (auto& f : fibers) {
    if (!f.stack) f.stack = malloc(kStack);
    void** top = (void**)(((uintptr_t)f.stack + kStack) & ~uintptr_t(15));
    *--top = nullptr;
    *--top = (void*)start;
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    f.pointer = top;
    f.done = false;
    f.open.clear();
    f.groups.clear();
  }
  block_meeting = Meeting();
  for (auto& m : warp_meetings) m = Meeting();
  // Nobody may count on what was there.
  memset(shared_memory.data(), 0xff, shared_memory.size());
  current = 0;
  switch_stack(&scheduler, fibers[0].pointer);
}

static void perform(const Copy& copy) {
  if (copy.valid) memcpy(copy.to, copy.from, copy.bytes);
  else memset(copy.to, 0, copy.bytes);
}
}  // namespace emulated

static dim3 blockIdx;
struct ThreadIndex {
  struct { operator int() const { return emulated::current; } } x;
};
static ThreadIndex threadIdx;
static uchar* shared_base() {
  return (uchar*)(((uintptr_t)emulated::shared_memory.data() + 127) & ~uintptr_t(127));
}

// -- what generated code calls ----------------------------------------------------------------
static void tvm_builtin_cuda_cta_sync() {
  emulated::meet(emulated::block_meeting, emulated::current, emulated::threads, nullptr,
                 [](void**) {});
}
template <typename T> static T max(T a, T b) { return a > b ? a : b; }
template <typename T> static T min(T a, T b) { return a < b ? a : b; }
static float max(float a, float b) { return fmaxf(a, b); }
static float min(float a, float b) { return fminf(a, b); }
#define CUDART_INF_F INFINITY
static nv_bfloat16 __float2bfloat16_rn(float x) { return nv_bfloat16(x); }
static half __float2half_rn(float x) { return half(x); }
static void aligned(const void* p, int bytes) {
  if ((uintptr_t)p % bytes) { fprintf(stderr, "an access of %d bytes is not aligned\n", bytes); abort(); }
}
static void copy_2(void* to, const void* from) { memcpy(to, from, 2); }
static void copy_4(void* to, const void* from) { aligned(to, 4); aligned(from, 4); memcpy(to, from, 4); }
static void copy_8(void* to, const void* from) { aligned(to, 8); aligned(from, 8); memcpy(to, from, 8); }
static void copy_16(void* to, const void* from) { aligned(to, 16); aligned(from, 16); memcpy(to, from, 16); }
__attribute__((noinline)) static float mul_rn(float x, float y) { return x * y; }
static float exp2_approx(float x) { return exp2f(x); }
template <typename T> static void atomic_add(T* to, T x) { *to += x; }

template <typename T> static T shuffle_xor(T x, int mask) {
  struct { T x; int mask; T result; } mine{x, mask, T()};
  using Mine = decltype(mine);
  emulated::warp(&mine, [](void** slots) {
    for (int i = 0; i < 32; ++i) {
      auto* a = (Mine*)slots[i];
      a->result = ((Mine*)slots[i ^ a->mask])->x;
    }
  });
  return mine.result;
}

template <typename T> static void pack(void* to, float first, float second) {
  T both[2] = {T(first), T(second)};
  memcpy(to, both, 4);
}
static void pack_bf16(void* to, float a, float b) { pack<nv_bfloat16>(to, a, b); }
static void pack_fp16(void* to, float a, float b) { pack<half>(to, a, b); }

// Fragments as in the PTX manual, "Matrix Fragments for mma.m16n8k16".
template <typename T> static void mma(float* acc, const void* a, const void* b) {
  struct { float* acc; const T* a; const T* b; } mine{acc, (const T*)a, (const T*)b};
  using Mine = decltype(mine);
  emulated::warp(&mine, [](void** slots) {
    float A[16][16], B[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      auto* m = (Mine*)slots[lane];
      int group = lane >> 2, pair = lane % 4 * 2;
      for (int i = 0; i < 8; ++i) {
        int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
        int col = pair + (i & 1) + (i < 4 ? 0 : 8);
        A[row][col] = m->a[i];
      }
      for (int i = 0; i < 4; ++i) B[pair + (i & 1) + (i < 2 ? 0 : 8)][group] = m->b[i];
    }
    for (int lane = 0; lane < 32; ++lane) {
      auto* m = (Mine*)slots[lane];
      for (int i = 0; i < 4; ++i) {
        int row = (lane >> 2) + (i < 2 ? 0 : 8), col = lane % 4 * 2 + (i & 1);
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += A[row][k] * B[k][col];
        m->acc[i] += sum;
      }
    }
  });
}
static void mma_bf16(float* acc, const void* a, const void* b) { mma<nv_bfloat16>(acc, a, b); }
static void mma_fp16(float* acc, const void* a, const void* b) { mma<half>(acc, a, b); }

template <bool Transposed> static void matrices(void* to, const void* row) {
  struct { ushort* to; const ushort* row; } mine{(ushort*)to, (const ushort*)row};
  using Mine = decltype(mine);
  aligned(row, 16);
  emulated::warp(&mine, [](void** slots) {
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i)
        for (int half = 0; half < 2; ++half) {
          int r = lane / 4, c = lane % 4 * 2 + half;
          if (Transposed) std::swap(r, c);
          ((Mine*)slots[lane])->to[2 * i + half] = ((Mine*)slots[8 * i + r])->row[c];
        }
  });
}
static void load_matrix(void* to, const void* row) { matrices<false>(to, row); }
static void load_matrix_trans(void* to, const void* row) { matrices<true>(to, row); }

static void async_copy(void* to, const void* from, int bytes, bool valid) {
  aligned(to, bytes);
  if (valid) aligned(from, bytes);
  emulated::fibers[emulated::current].open.push_back({to, from, bytes, valid});
}
static void async_copy_4(void* to, const void* from, bool valid) { async_copy(to, from, 4, valid); }
static void async_copy_8(void* to, const void* from, bool valid) { async_copy(to, from, 8, valid); }
static void async_copy_16(void* to, const void* from, bool valid) { async_copy(to, from, 16, valid); }
static void async_commit() {
  auto& fiber = emulated::fibers[emulated::current];
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}
static void async_wait(int pending) {
  auto& fiber = emulated::fibers[emulated::current];
  while ((int)fiber.groups.size() > pending) {
    for (auto& copy : fiber.groups.front()) emulated::perform(copy);
    fiber.groups.pop_front();
  }
}
