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
#include <type_traits>
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
struct Product { float* to; float value; bool more; };
struct Fiber {
  void* stack = nullptr;
  void* pointer = nullptr;
  bool done = false;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
  std::vector<Product> products;
};
struct Meeting { int arrived = 0; long round = 0; void* slots[1024]; };

static std::vector<Fiber> fibers;
static int current, threads, step = 1;
static void* scheduler;
static std::function<void()> entry;
static Meeting block_meeting, warp_meetings[32], warpgroup_meetings[8];
constexpr size_t kAlign = 1024;
static std::vector<uchar> shared_memory(256 * 1024 + kAlign);
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

template <typename F>
static void warpgroup(void* mine, F all) {
  meet(warpgroup_meetings[current / 128], current % 128, 128, mine, all);
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
    f.products.clear();
  }
  block_meeting = Meeting();
  for (auto& m : warp_meetings) m = Meeting();
  for (auto& m : warpgroup_meetings) m = Meeting();
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
  auto start = (uintptr_t)emulated::shared_memory.data() + emulated::kAlign - 1;
  return (uchar*)(start & ~(emulated::kAlign - 1));
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
static float reciprocal(float x) { return 1 / x; }
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

// Products of four warps, made when they are waited for. Descriptors and fragments as in the PTX
// manual, "Asynchronous Warpgroup Level Matrix Shared Memory Layout": of canonical layouts, those
// with a swizzle of 128 bytes, whose 16-byte pieces at address bits 4 to 6 are flipped by bits 7 to
// 9. Along the depth there is no second panel.
static unsigned long long matrix_descriptor(const void* first, int ahead, int panel) {
  unsigned long long place = (const uchar*)first - shared_base();
  if (place % 16) { fprintf(stderr, "a matrix is not aligned\n"); abort(); }
  return 1ull << 62 | 64ull << 32 | (unsigned long long)panel << 16 | (place >> 4) + ahead;
}
// An element of the matrix of a descriptor: `deep` along the depth, `across` along rows of a or
// columns of b; the depth is that of memory's rows where `flipped`.
template <typename T> static float element(unsigned long long d, bool flipped, int across, int deep) {
  size_t place = (d & 0x3fff) << 4, panel = (d >> 16 & 0x3fff) << 4, group = (d >> 32 & 0x3fff) << 4;
  if (d >> 62 != 1) { fprintf(stderr, "a matrix that is not swizzled\n"); abort(); }
  int row = flipped ? deep : across, column = flipped ? across : deep;
  place += column / 64 * panel + row / 8 * group + row % 8 * 128 + column % 64 * 2;
  place ^= (place >> 7 & 7) << 4;
  T value;
  memcpy(&value, shared_base() + place, 2);
  return value;
}
static void warpgroup_fence() {}
static void proxy_fence() {}
static void hold(float*, int) {}
static void hold_pairs(void*, int) {}
static void warpgroup_wait() {
  auto& products = emulated::fibers[emulated::current].products;
  for (auto& p : products) *p.to = (p.more ? *p.to : 0) + p.value;
  products.clear();
}
template <typename T, typename A>
static void warpgroup_mma(int columns, bool left_flipped, bool right_flipped, float* acc, A a,
                          unsigned long long b, bool more) {
  struct { float* acc; A a; unsigned long long b; bool more; emulated::Fiber* fiber; } mine{
      acc, a, b, more, &emulated::fibers[emulated::current]};
  using Mine = decltype(mine);
  emulated::warpgroup(&mine, [=](void** slots) {
    static float left[64][16], right[256][16];
    for (int thread = 0; thread < 128; ++thread) {
      auto* m = (Mine*)slots[thread];
      int group = thread / 32 * 16 + thread % 32 / 4, pair = thread % 4 * 2;
      if constexpr (std::is_pointer_v<A>)
        for (int i = 0; i < 8; ++i)
          left[group + i / 2 % 2 * 8][pair + i % 2 + i / 4 * 8] = ((const T*)m->a)[i];
    }
    auto* first = (Mine*)slots[0];
    if constexpr (!std::is_pointer_v<A>)
      for (int row = 0; row < 64; ++row)
        for (int k = 0; k < 16; ++k) left[row][k] = element<T>(first->a, left_flipped, row, k);
    for (int column = 0; column < columns; ++column)
      for (int k = 0; k < 16; ++k)
        right[column][k] = element<T>(first->b, right_flipped, column, k);
    for (int thread = 0; thread < 128; ++thread) {
      auto* m = (Mine*)slots[thread];
      for (int i = 0; i < columns / 2; ++i) {
        int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
        int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[column][k];
        m->fiber->products.push_back({m->acc + i, sum, m->more});
      }
    }
  });
}
#define WARPGROUP_MMA(name, T, n)                                                                  \
  static void name##_##n##_rs(float* c, const void* a, unsigned long long b, bool more) {          \
    warpgroup_mma<T>(n, false, false, c, a, b, more); }                                            \
  static void name##_##n##_rt(float* c, const void* a, unsigned long long b, bool more) {          \
    warpgroup_mma<T>(n, false, true, c, a, b, more); }                                             \
  WARPGROUP_MMA_SHARED(name, T, n, ss, false, false) WARPGROUP_MMA_SHARED(name, T, n, st, false, true) \
  WARPGROUP_MMA_SHARED(name, T, n, ts, true, false) WARPGROUP_MMA_SHARED(name, T, n, tt, true, true)
#define WARPGROUP_MMA_SHARED(name, T, n, sides, x, y)                                              \
  static void name##_##n##_##sides(float* c, unsigned long long a, unsigned long long b, bool more) { \
    warpgroup_mma<T>(n, x, y, c, a, b, more); }
#define WARPGROUP_MMAS(n)                                                                          \
  WARPGROUP_MMA(warpgroup_mma_bf16, nv_bfloat16, n) WARPGROUP_MMA(warpgroup_mma_fp16, half, n)
WARPGROUP_MMAS(16) WARPGROUP_MMAS(32) WARPGROUP_MMAS(64) WARPGROUP_MMAS(128) WARPGROUP_MMAS(256)
