// Moves and scales the board in its room: wheel, drag, and pinch; and tells taps from drags.

const MAX_ZOOM = 5, STEP = 1.25, DRAG = 8; // CSS pixels that a tap may move

export class Zoom {
  // view: a BoardView; onTap(tile) is called for clicks and taps, onDraw() when the board must be drawn in another size.
  constructor(room, view, onTap, onDraw) {
    Object.assign(this, { room, view, onTap, onDraw });
    this.zoom = 1;
    this.x = this.y = 0; // of the board's corner in the room, when zoomed
    this.pointers = new Map();
    this.dragged = false;
    const canvas = view.canvas;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    room.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scale(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX, event.clientY);
    }, { passive: false });
  }

  // Take the room's width and a height; draw() of the view follows.
  layout(height) {
    this.width = this.room.clientWidth;
    this.height = height;
    this.view.fit(this.width * this.zoom, height * this.zoom);
    this.room.classList.toggle("zoomed", this.zoom > 1);
    this.room.style.height = this.zoom > 1 ? `${height}px` : "";
  }

  // Scale around a point of the window; around the middle without one.
  scale(factor, x, y) {
    const zoom = Math.min(Math.max(this.zoom * factor, 1), MAX_ZOOM);
    if (zoom === this.zoom) return;
    const box = this.view.canvas.getBoundingClientRect(), room = this.room.getBoundingClientRect();
    const atX = x ?? room.left + room.width / 2, atY = y ?? room.top + room.height / 2;
    const shareX = (atX - box.left) / box.width, shareY = (atY - box.top) / box.height;
    this.zoom = zoom;
    this.layout(this.height);
    this.onDraw();
    const { clientWidth, clientHeight } = this.view.canvas;
    this.place(atX - room.left - shareX * clientWidth, atY - room.top - shareY * clientHeight);
  }

  // Put the board's corner to x, y in the room; the board stays in sight.
  place(x, y) {
    const { clientWidth, clientHeight, style } = this.view.canvas;
    const inside = (value, size, room) => (size <= room ? (room - size) / 2 : Math.min(Math.max(value, room - size), 0));
    this.x = inside(x, clientWidth, this.width);
    this.y = inside(y, clientHeight, this.height);
    style.transform = this.zoom > 1 ? `translate(${this.x}px, ${this.y}px)` : "";
  }

  down(event) {
    if (event.button > 0) return;
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.view.canvas.setPointerCapture(event.pointerId);
    if (this.pointers.size === 1) {
      this.dragged = false;
      this.start = { x: event.clientX, y: event.clientY };
    } else {
      this.dragged = true; // a pinch is no tap
    }
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
      const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y);
      if (distance(before) > 0) this.scale(distance(now) / distance(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (this.dragged || Math.hypot(now.x - this.start.x, now.y - this.start.y) > DRAG) {
      this.dragged = true;
      if (this.zoom > 1) this.place(this.x + now.x - before.x, this.y + now.y - before.y);
    }
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    const known = this.pointers.delete(event.pointerId);
    if (!known || this.dragged || event.type === "pointercancel") return;
    const tile = this.view.tileAt(event.clientX, event.clientY);
    if (tile >= 0) this.onTap(tile);
  }
}
