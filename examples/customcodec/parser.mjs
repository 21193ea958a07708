// The codec of package plain for the official client:
//
//   const socket = io(url, { parser });
export const protocol = 5;

export const PacketType = { CONNECT: 0, DISCONNECT: 1, EVENT: 2, ACK: 3, CONNECT_ERROR: 4 };

// An encoder makes a list of messages of each packet.
export class Encoder {
  encode({ type, nsp, id, data }) {
    return [JSON.stringify({ type, nsp, id, data })];
  }
}

// A decoder tells its one listener of each packet. What it throws ends the
// connection, as a parse error.
export class Decoder {
  #listener;

  on(_event, listener) {
    this.#listener = listener;
  }

  off() {
    this.#listener = undefined;
  }

  add(message) {
    const packet = JSON.parse(message);
    if (!(packet.type >= 0 && packet.type <= 4) || typeof packet.nsp !== "string") throw new Error("invalid packet");
    this.#listener?.(packet);
  }

  destroy() {}
}
