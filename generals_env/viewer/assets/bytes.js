// Reads the bytes of a game: base64, deflate, and numbers of varying length.

// Inflate the base64 text of an element.
export async function inflate(text) {
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Reads sections of bytes one after the other.
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  // Read numbers of 7 bits a byte, the lowest first; the top bit says that more follow.
  varints(count) {
    const numbers = new Uint32Array(count);
    const { bytes } = this;
    let at = this.at;
    for (let i = 0; i < count; i++) {
      let number = 0, shift = 0, byte;
      do {
        byte = bytes[at++];
        number |= (byte & 127) << shift;
        shift += 7;
      } while (byte > 127);
      numbers[i] = number;
    }
    this.at = at;
    return numbers;
  }

  // Read signed numbers: 0, -1, 1, -2, ...
  signed(count) {
    return Int32Array.from(this.varints(count), (number) => (number >>> 1) ^ -(number & 1));
  }

  // Read 32-bit floats that are stored as four planes: all lowest bytes first.
  floats(count) {
    const planes = this.take(4 * count);
    const bytes = new Uint8Array(4 * count);
    for (let i = 0; i < count; i++) for (let k = 0; k < 4; k++) bytes[4 * i + k] = planes[k * count + i];
    return new Float32Array(bytes.buffer);
  }
}
