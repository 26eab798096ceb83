#!/usr/bin/env python3
"""The benchmark's single operations in PyTorch: torch_kernels.py WHAT THREADS MODE prints one JSON line with the median ms."""
import json, statistics, sys, time
import torch

what, threads, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
torch.manual_seed(0)
if what.startswith("matmul-"):
    n = int(what.split("-")[1])
    a, b, out = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
    run = lambda: torch.matmul(a, b, out=out)
else:
    x, weight, bias = torch.rand(4096, 1024), torch.rand(1024), torch.rand(1024)
    f = (lambda: torch.softmax(x, -1)) if what == "softmax" else (lambda: torch.layer_norm(x, (1024,), weight, bias))
    run = torch.compile(f) if mode == "compile" else f
with torch.no_grad():
    for _ in range(5):
        run()
    times, start = [], time.perf_counter()
    while len(times) < 10 or time.perf_counter() - start < 0.5:
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1e3)
print(json.dumps({"ms": statistics.median(times), "peer": f"torch {torch.__version__}"}))
