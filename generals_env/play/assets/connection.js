// Keeps a websocket to the server open: after a lost connection it connects again, and the game goes on.

const WAITS = [300, 600, 1200, 2000]; // milliseconds before each new try; the last one repeats
const REFUSED = 1008;

export class Connection {
  // onMessage(content) gets each message; onChange(state) gets "open", "lost" or "refused".
  constructor(onMessage, onChange) {
    this.onMessage = onMessage;
    this.onChange = onChange;
    this.tries = 0;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(`ws://${location.host}/socket`);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.tries = 0;
      this.onChange("open");
    });
    socket.addEventListener("message", (event) => this.onMessage(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      if (event.code === REFUSED) return this.onChange("refused");
      this.onChange("lost");
      setTimeout(() => this.connect(), WAITS[Math.min(this.tries++, WAITS.length - 1)]);
      return undefined;
    });
  }

  // Send an object; nothing is sent while the connection is lost.
  send(content) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(content));
  }
}
