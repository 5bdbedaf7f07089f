// Binary tensors: the reply's frame (a JSON header, then raw little-endian numbers), and .npy.

const READERS = {
  FP32: (bytes) => new Float32Array(bytes),
  FP16: (bytes) => Float32Array.from(new Uint16Array(bytes), fromHalf),
  INT32: (bytes) => new Int32Array(bytes),
  UINT8: (bytes) => new Uint8Array(bytes),
};

function fromHalf(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) {
    return fraction ? NaN : sign * Infinity;
  }
  return exponent === 0 ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// buffer: the whole reply, of which the first headerBytes are JSON.
// Returns { reply, tensors: { name: { shape, data } } }.
export function readFrame(buffer, headerBytes) {
  const reply = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 0, headerBytes)));
  const tensors = {};
  let at = headerBytes;
  for (const { name, datatype, shape, parameters } of reply.outputs) {
    const end = at + parameters.binary_data_size;
    tensors[name] = { shape, data: READERS[datatype](buffer.slice(at, end)) };
    at = end;
  }
  return { reply, tensors };
}

// A numpy file, version 1.0, of floats in C order.
export function npyBlob(shape, data) {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${axes}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = new Uint8Array(10 + length);
  head.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, length & 255, length >> 8]);
  head.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
  return new Blob([head, Float32Array.from(data)], { type: "application/octet-stream" });
}
