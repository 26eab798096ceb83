/**
 * An array on the GPU for all elements of one size that a session holds: from its start what lasts, and behind that what a program needs
 * while it runs. Places count elements.
 */

/** Places are multiples of so many elements: whole words, and whole cache lines for the larger ones. */
const alignment = 32;
const aligned = (elements: number): number => Math.ceil(elements / alignment) * alignment;

export class Heap {
  /** Where what lasts ends. The first elements belong to nobody. */
  given = alignment;
  buffer: GPUBuffer;
  /** Elements behind it that the largest program needs. */
  private running = 0;
  private readonly device: GPUDevice;
  /** Of an element. */
  readonly bytes: 2 | 4;

  constructor(device: GPUDevice, bytes: 2 | 4) {
    this.device = device;
    this.bytes = bytes;
    this.buffer = this.create(this.size);
  }

  /** Bytes that it has to have. */
  get size(): number {
    return this.bytes * (this.given + this.running);
  }

  allocate(elements: number): number {
    const place = this.given;
    this.given += aligned(elements);
    return place;
  }

  /** A program needs so many bytes while it runs. */
  wantRunning(bytes: number): void {
    this.running = Math.max(this.running, aligned(bytes / this.bytes));
  }

  /** Bytes that it would have to have, with so many elements more that last and so many bytes while a program runs. */
  sizeWith(elements: readonly number[], running: number): number {
    const more = elements.reduce((sum, count) => sum + aligned(count), 0);
    return this.bytes * (this.given + more + Math.max(this.running, aligned(running / this.bytes)));
  }

  /** Makes it as large as it has to be; the first `kept` elements stay what they were. */
  grow(kept: number): void {
    const { size } = this;
    if (size <= this.buffer.size) return;
    const before = this.buffer;
    this.buffer = this.create(size);
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(before, 0, this.buffer, 0, Math.min(before.size, this.bytes * kept));
    this.device.queue.submit([encoder.finish()]);
    before.destroy();
  }

  write(place: number, elements: Uint32Array | Uint16Array): void {
    // Whole words are written; what lies beside an odd half belongs to nobody.
    const whole = elements.byteLength % 4 === 0 ? elements : new Uint16Array(elements.length + 1);
    if (whole !== elements) whole.set(elements);
    this.device.queue.writeBuffer(this.buffer, this.bytes * place, whole);
  }

  /** So many elements as whole words. */
  bytesOf(elements: number): number {
    return Math.ceil((this.bytes * elements) / 4) * 4;
  }

  /** Asks for so many bytes to be copied to where they can be read. */
  copy(encoder: GPUCommandEncoder, from: number, size: number, staging: GPUBuffer, to: number): void {
    if (size > 0) encoder.copyBufferToBuffer(this.buffer, this.bytes * from, staging, to, size);
  }

  private create(size: number): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.device.createBuffer({ size, usage });
  }
}
