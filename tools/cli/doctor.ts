/** `nacre doctor`: what this machine has, and for each thing missing the one command that would give it. */
import { existsSync, readFileSync } from 'node:fs';
import { cpus, platform, totalmem } from 'node:os';
import { describeCpu } from '../../runtime/devices/cpu.ts';
import { hasRelaxedSimd } from '../../runtime/devices/wasm-features.ts';
import { needNvcc } from '../driver/targets/cuda-compile.ts';
import { showRate } from '../driver/numbers.ts';
import { versionOf } from '../driver/packages.ts';
import { count, exit, printJson, type Terminal } from './terminal.ts';

interface Finding {
  readonly name: string;
  readonly found: boolean;
  /** Needed for the fast target; the others cost a feature. */
  readonly isNeeded: boolean;
  readonly text: string;
  /** It is there, but slower than doing without. */
  readonly isSlow?: boolean;
  /** The command that would give it. */
  readonly get?: string;
}

export interface DoctorCommand {
  readonly json: boolean;
  /** Where a description of this machine goes, for plans made elsewhere. */
  readonly save?: string;
}

export async function doctor(options: DoctorCommand, terminal: Terminal): Promise<number> {
  if (options.save !== undefined) {
    const { saveDevice } = await import('../driver/device-file.ts');
    const { machine } = await saveDevice(options.save);
    terminal.out(
      `${options.save}: ${count(machine.threads, 'thread')} that reach ${showRate(machine.contraction, 'FLOP')}\n`,
    );
    return exit.ok;
  }
  const findings = await examine();
  const isWell = findings.every((finding) => finding.found || !finding.isNeeded);
  if (options.json) {
    for (const { isNeeded, ...finding } of findings) printJson(terminal, { ...finding, needed: isNeeded });
    return isWell ? exit.ok : exit.failed;
  }
  const width = Math.max(...findings.map((finding) => finding.name.length));
  for (const { name, found, isNeeded, text, get } of findings) {
    terminal.out(`${found ? 'ok     ' : isNeeded ? 'MISSING' : 'absent '}  ${name.padEnd(width)}  ${text}\n`);
    if (!found && get !== undefined) terminal.out(`${' '.repeat(width + 11)}get it: ${get}\n`);
  }
  const has = (...names: readonly string[]): boolean =>
    names.every((name) => findings.some((finding) => finding.name === name && finding.found));
  // In the order in which `auto` looks.
  terminal.out(
    has('koffi', 'libLLVM')
      ? 'Training runs natively here.\n'
      : has('koffi', 'CUDA', 'nvcc')
        ? 'Training runs here on the NVIDIA GPU.\n'
        : findings.some(({ name, found, isSlow }) => name === 'WebGPU' && found && isSlow !== true)
          ? 'Training runs here on the GPU, through WebGPU.\n'
          : 'Training runs here in WebAssembly; machine code is faster, for large models several times.\n',
  );
  return isWell ? exit.ok : exit.failed;
}

async function examine(): Promise<Finding[]> {
  const cpu = await describeCpu();
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNodeNew = (major === 20 && minor >= 19) || (major === 22 && minor >= 3) || major > 22;
  const koffi = versionOf('koffi');
  const prettier = versionOf('prettier');
  const bindings = versionOf('llvm-bindings');
  const esbuild = versionOf('esbuild');
  const vectors = /\+avx512f\b/.test(cpu.features ?? '')
    ? 'AVX-512'
    : /\+avx2\b/.test(cpu.features ?? '')
      ? 'AVX2'
      : /\+neon\b/.test(cpu.features ?? '')
        ? 'NEON'
        : undefined;
  const model = cpus()[0]?.model ?? cpu.cpu ?? 'unknown';
  return [
    {
      name: 'Node',
      found: isNodeNew,
      isNeeded: true,
      text: `${process.version} on ${platform()} ${process.arch}`,
      get: installCommand('node'),
    },
    {
      name: 'koffi',
      found: koffi !== undefined,
      isNeeded: true,
      text: koffi ?? 'calls native libraries',
      get: 'npm install koffi',
    },
    {
      name: 'libLLVM',
      found: cpu.llvm !== undefined,
      isNeeded: true,
      text:
        cpu.llvm === undefined
          ? (cpu.problem ?? 'compiles programs for the cpu')
          : `${cpu.llvm.version} at ${cpu.llvm.path}`,
      get: installCommand('llvm'),
    },
    { name: 'CPU', found: true, isNeeded: false, text: `${model}${cpu.cpu === undefined ? '' : ` (${cpu.cpu})`}` },
    {
      name: 'vectors',
      found: vectors !== undefined || cpu.llvm === undefined,
      isNeeded: false,
      text: vectors ?? (cpu.llvm === undefined ? 'known once libLLVM is there' : 'neither AVX2 nor AVX-512 nor NEON'),
    },
    {
      name: 'memory',
      found: true,
      isNeeded: false,
      text: `${(totalmem() / 2 ** 30).toFixed(1)} GiB; caches of a core ${cpu.l1 / 1024} KiB and ${cpu.l2 / 1024} KiB`,
    },
    { name: 'threads', found: true, isNeeded: false, text: String(cpu.threads) },
    {
      name: 'OpenMP',
      found: cpu.openmp !== undefined,
      isNeeded: false,
      text: cpu.openmp ?? 'a thread team from the system; without it Nacre keeps one of its own',
      get: installCommand('openmp'),
    },
    {
      name: 'WebAssembly',
      found: true,
      isNeeded: false,
      text: `SIMD${hasRelaxedSimd() ? ' and relaxed SIMD' : ''}, ${count(cpu.threads, 'thread')}: the target wasm`,
    },
    await examineWebGpu(),
    await examineCuda(),
    examineNvcc(),
    {
      name: 'esbuild',
      found: esbuild !== undefined,
      isNeeded: false,
      text: esbuild ?? 'nacre build',
      get: 'npm install esbuild',
    },
    {
      name: 'prettier',
      found: prettier !== undefined,
      isNeeded: false,
      text: prettier ?? 'nacre fmt',
      get: 'npm install prettier',
    },
    {
      name: 'llvm-bindings',
      found: bindings !== undefined,
      isNeeded: false,
      text: bindings ?? 'optional: LLVM modules and bitcode from TypeScript; compiles for some minutes',
      get: 'npm install --no-save --save-optional llvm-bindings@0.4.2',
    },
  ];
}

async function examineWebGpu(): Promise<Finding> {
  const finding = { name: 'WebGPU', isNeeded: false };
  if (versionOf('webgpu') === undefined)
    return { ...finding, found: false, text: 'any GPU, through the package webgpu', get: 'npm install webgpu' };
  try {
    const { openAdapter } = await import('../../runtime/devices/webgpu-adapter.ts');
    const { description } = await openAdapter();
    const { name, software } = description;
    return { ...finding, found: true, isSlow: software, text: `${name}${software ? ', in software: slow' : ''}` };
  } catch (error) {
    return { ...finding, found: false, text: error instanceof Error ? error.message : String(error) };
  }
}

async function examineCuda(): Promise<Finding> {
  const finding = { name: 'CUDA', isNeeded: false };
  try {
    const { describeCuda } = await import('../../runtime/devices/cuda.ts');
    const { name, major, minor, multiprocessors } = await describeCuda();
    const text = `${name}, compute capability ${major}.${minor}, ${multiprocessors} multiprocessors`;
    return { ...finding, found: true, text };
  } catch (error) {
    return { ...finding, found: false, text: error instanceof Error ? error.message : String(error) };
  }
}

function examineNvcc(): Finding {
  const finding = { name: 'nvcc', isNeeded: false };
  try {
    return { ...finding, found: true, text: needNvcc() };
  } catch (error) {
    const get = 'the CUDA toolkit from NVIDIA, or NACRE_NVCC=/path/to/nvcc';
    return { ...finding, found: false, text: error instanceof Error ? error.message : String(error), get };
  }
}

/** By the package manager this system has. */
function installCommand(what: 'node' | 'llvm' | 'openmp'): string {
  const managers = [
    {
      file: '/opt/homebrew/bin/brew',
      node: 'brew install node',
      llvm: 'brew install llvm@19',
      openmp: 'brew install libomp',
    },
    {
      file: '/usr/local/bin/brew',
      node: 'brew install node',
      llvm: 'brew install llvm@19',
      openmp: 'brew install libomp',
    },
    {
      file: '/usr/bin/dnf',
      node: 'sudo dnf install nodejs',
      llvm: 'sudo dnf install llvm-libs',
      openmp: 'sudo dnf install libgomp',
    },
    {
      file: '/usr/bin/pacman',
      node: 'sudo pacman -S nodejs',
      llvm: 'sudo pacman -S llvm-libs',
      openmp: 'sudo pacman -S gcc-libs',
    },
    {
      file: '/usr/bin/zypper',
      node: 'sudo zypper install nodejs22',
      llvm: 'sudo zypper install libLLVM19',
      openmp: 'sudo zypper install libgomp1',
    },
  ];
  const debian = {
    node: 'npx --yes n lts',
    llvm: `sudo apt-get install -y ${debianLlvm()}`,
    openmp: 'sudo apt-get install -y libgomp1',
  };
  return (managers.find(({ file }) => existsSync(file)) ?? debian)[what];
}

/** Each release of Debian and Ubuntu has libLLVM under another number. */
function debianLlvm(): string {
  let release = '';
  try {
    release = readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Not Linux, or a very small one: the number that most releases have.
  }
  const id = /^VERSION_CODENAME=(\w+)/m.exec(release)?.[1] ?? '';
  const numbers: Record<string, string> = {
    bookworm: '15',
    trixie: '19',
    jammy: '15',
    noble: '18',
    plucky: '19',
    bullseye: '14',
  };
  return `libllvm${numbers[id] ?? '15'}`;
}
