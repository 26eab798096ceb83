// The calls of NVIDIA's driver that runtime/devices/cuda-driver.ts makes, on the processor: device memory is memory, a module is a
// shared library made of the same CUDA text by a C++ compiler, the threads of a block take turns at its barriers. So a machine
// without a GPU can run the cuda target from end to end, slowly. Memory has canaries around it that every free looks at. What a stream
// is asked for is done as late as it may be: one piece whenever an event is asked for, or when somebody waits.
#include <dlfcn.h>
#include <ucontext.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <vector>

struct Index { int x, y, z; };
extern "C" thread_local Index blockIdx{}, threadIdx{};

namespace {
constexpr int longest = 64;
constexpr size_t stack = 128 * 1024, canary = 64;
typedef void (*Kernel)(...);
struct Launch { Kernel kernel; unsigned grid, block; std::vector<uint64_t> arguments; };
struct Graph { std::vector<std::function<void()>> acts; };
Graph* recording = nullptr;
std::map<uint64_t, size_t> memories, pinned;
std::deque<std::function<void()>> underway;
struct Event { uint64_t after; bool asked; };
// Pieces that were asked for, and that are done.
uint64_t asked = 0, done = 0;

std::vector<ucontext_t> threads;
std::vector<std::vector<char>> stacks;
std::vector<char> finished;
ucontext_t scheduler;
unsigned running;
const Launch* launched;

void enter() {
  uint64_t v[longest] = {};
  std::memcpy(v, launched->arguments.data(), 8 * launched->arguments.size());
  // Pointers and integers are passed alike; more than a kernel takes does no harm.
  auto k = reinterpret_cast<void (*)(
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
    uint64_t, uint64_t, uint64_t, uint64_t)>(launched->kernel);
  k(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15], v[16], v[17], v[18],
    v[19], v[20], v[21], v[22], v[23], v[24], v[25], v[26], v[27], v[28], v[29], v[30], v[31], v[32], v[33], v[34], v[35],
    v[36], v[37], v[38], v[39], v[40], v[41], v[42], v[43], v[44], v[45], v[46], v[47], v[48], v[49], v[50], v[51], v[52],
    v[53], v[54], v[55], v[56], v[57], v[58], v[59], v[60], v[61], v[62], v[63]);
  finished[running] = 1;
}

void run(const Launch& launch) {
  launched = &launch;
  if (threads.size() < launch.block) {
    threads.resize(launch.block);
    stacks.resize(launch.block, std::vector<char>(stack));
  }
  for (unsigned block = 0; block < launch.grid; block++) {
    finished.assign(launch.block, 0);
    for (unsigned at = 0; at < launch.block; at++) {
      getcontext(&threads[at]);
      threads[at].uc_stack = {stacks[at].data(), 0, stack};
      threads[at].uc_link = &scheduler;
      makecontext(&threads[at], enter, 0);
    }
    for (bool working = true; working;) {
      working = false;
      for (running = 0; running < launch.block; running++) {
        if (finished[running]) continue;
        blockIdx = {(int)block, 0, 0};
        threadIdx = {(int)running, 0, 0};
        swapcontext(&scheduler, &threads[running]);
        working |= !finished[running];
      }
    }
  }
}

int later(std::function<void()> act) {
  if (recording) {
    recording->acts.push_back(act);
    return 0;
  }
  underway.push_back(act);
  asked++;
  return 0;
}

void doOne() {
  std::function<void()> act = underway.front();
  underway.pop_front();
  act();
  done++;
}

int doUntil(uint64_t count) {
  while (done < count) doOne();
  return 0;
}

bool isPinned(uint64_t address, size_t bytes) {
  auto next = pinned.upper_bound(address);
  if (next == pinned.begin()) return false;
  --next;
  return address + bytes <= next->first + next->second;
}

template <class T> int give(uint64_t where, T value) {
  std::memcpy(reinterpret_cast<void*>(where), &value, sizeof value);
  return 0;
}
}

extern "C" {
void emulator_meet() {
  unsigned self = running;
  swapcontext(&threads[self], &scheduler);
}

int cuInit(unsigned) { return 0; }
int cuGetErrorString(int error, uint64_t text) {
  return give(text, error == 209 ? "no kernel image is available for execution on the device" : error == 2 ? "out of memory" : "the emulator refuses");
}
int cuDeviceGetCount(uint64_t count) { return give(count, 1); }
int cuDeviceGet(uint64_t device, int ordinal) { return give(device, ordinal); }
int cuDeviceGetName(uint64_t name, int, int) { std::strcpy(reinterpret_cast<char*>(name), "emulator"); return 0; }
int cuDeviceGetAttribute(uint64_t value, int attribute, int) { return give(value, attribute == 75 ? 9 : attribute == 16 ? 4 : 0); }
int cuDevicePrimaryCtxRetain(uint64_t context, int) { return give<uint64_t>(context, 1); }
int cuCtxSetCurrent(uint64_t) { return 0; }
int cuStreamCreate(uint64_t stream, unsigned) { return give<uint64_t>(stream, 1); }
// An image is the path of a shared library.
int cuModuleLoadData(uint64_t module, uint64_t image) {
  void* library = dlopen(reinterpret_cast<const char*>(image), RTLD_NOW | RTLD_LOCAL);
  if (!library) return 209;
  return give(module, library);
}
int cuModuleGetFunction(uint64_t function, uint64_t module, const char* name) {
  void* found = dlsym(reinterpret_cast<void*>(module), name);
  return found ? give(function, found) : 500;
}
int cuModuleUnload(uint64_t) { return doUntil(asked); }
int cuMemGetInfo_v2(uint64_t free, uint64_t total) { return give(free, uint64_t(1) << 33) + give(total, uint64_t(1) << 33); }
int cuMemAlloc_v2(uint64_t address, size_t bytes) {
  if (bytes > (size_t(1) << 33)) return 2;
  char* base = static_cast<char*>(std::malloc(bytes + 2 * canary));
  std::memset(base, 0xc5, bytes + 2 * canary);
  uint64_t at = reinterpret_cast<uint64_t>(base) + canary;
  memories[at] = bytes;
  return give(address, at);
}
int cuMemFree_v2(uint64_t address) {
  doUntil(asked);
  size_t bytes = memories[address];
  unsigned char* base = reinterpret_cast<unsigned char*>(address) - canary;
  for (size_t at = 0; at < canary; at++)
    if (base[at] != 0xc5 || base[canary + bytes + at] != 0xc5) {
      std::fprintf(stderr, "emulator: a kernel wrote outside its memory\n");
      std::abort();
    }
  memories.erase(address);
  std::free(base);
  return 0;
}
int cuMemsetD8Async(uint64_t address, unsigned char value, size_t bytes, uint64_t) {
  return later([=] { std::memset(reinterpret_cast<void*>(address), value, bytes); });
}
int cuMemHostRegister_v2(uint64_t address, size_t bytes, unsigned) { pinned[address] = bytes; return 0; }
int cuMemHostUnregister(uint64_t address) { pinned.erase(address); return 0; }
// Memory that is not pinned is copied from at once, and waited for where it is copied to, as the driver does.
int cuMemcpyHtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t) {
  if (isPinned(from, bytes)) return later([=] { std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
  std::vector<char> staged(reinterpret_cast<char*>(from), reinterpret_cast<char*>(from) + bytes);
  return later([=] { std::memcpy(reinterpret_cast<void*>(to), staged.data(), bytes); });
}
int cuMemcpyDtoHAsync_v2(uint64_t to, uint64_t from, size_t bytes, uint64_t) {
  later([=] { std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
  return recording || isPinned(to, bytes) ? 0 : doUntil(asked);
}
int cuLaunchKernel(uint64_t function, unsigned gx, unsigned, unsigned, unsigned bx, unsigned, unsigned, unsigned, uint64_t, uint64_t parameters, uint64_t) {
  Launch launch{reinterpret_cast<Kernel>(function), gx, bx, {}};
  const uint64_t* list = reinterpret_cast<const uint64_t*>(parameters);
  // The values lie before the list of their addresses, in order.
  for (int at = 0; reinterpret_cast<const uint64_t*>(list[0]) + at < list && at < longest; at++)
    launch.arguments.push_back(*reinterpret_cast<const uint64_t*>(list[at]));
  return later([launch] { run(launch); });
}
int cuStreamBeginCapture_v2(uint64_t, int) { recording = new Graph; return 0; }
int cuStreamEndCapture(uint64_t, uint64_t graph) { Graph* made = recording; recording = nullptr; return give(graph, made); }
int cuGraphInstantiateWithFlags(uint64_t instance, uint64_t graph, unsigned long long) {
  return give(instance, new Graph(*reinterpret_cast<Graph*>(graph)));
}
int cuGraphDestroy(uint64_t graph) { delete reinterpret_cast<Graph*>(graph); return 0; }
int cuGraphLaunch(uint64_t instance, uint64_t) { for (auto& act : reinterpret_cast<Graph*>(instance)->acts) later(act); return 0; }
int cuGraphExecDestroy(uint64_t instance) { delete reinterpret_cast<Graph*>(instance); return 0; }
int cuStreamSynchronize(uint64_t) { return doUntil(asked); }
int cuEventCreate(uint64_t event, unsigned) { return give(event, new Event{0, true}); }
int cuEventDestroy_v2(uint64_t event) { delete reinterpret_cast<Event*>(event); return 0; }
int cuEventRecord(uint64_t event, uint64_t) { *reinterpret_cast<Event*>(event) = {asked, false}; return 0; }
int cuEventSynchronize(uint64_t event) { return doUntil(reinterpret_cast<Event*>(event)->after); }
int cuEventQuery(uint64_t event) {
  Event& of = *reinterpret_cast<Event*>(event);
  // Not ready when it is first asked for, whatever it waits for.
  const bool ready = of.asked && done >= of.after;
  of.asked = true;
  if (!ready && !underway.empty()) doOne();
  return ready ? 0 : 600;
}
}
