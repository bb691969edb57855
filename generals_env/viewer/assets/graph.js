// Draws lines over the turns: one a player, with ticks and a cursor at the current turn.

const LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 22;

// Return round numbers from low to high, about `count` of them.
export function ticks(low, high, count) {
  const span = high - low || 1;
  const rough = span / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const numbers = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) numbers.push(i * step);
  return numbers;
}

function shortNumber(number) {
  const text = Math.abs(number) >= 10000 ? `${number / 1000}k` : String(Number(number.toPrecision(6)));
  return text.replace("-", "−");
}

export class Graph {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  // The frame under a point of the window.
  frameAt(x, frames) {
    const box = this.canvas.getBoundingClientRect();
    const share = (x - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return Math.round(Math.min(Math.max(share, 0), 1) * (frames - 1));
  }

  // lines: [{values, color, faint}] with one value a frame, as long as there are; first: turn of the first frame; frames: their
  // number; frame: that of the cursor.
  draw(lines, first, frames, frame) {
    const { canvas, context } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const [ink, edge] = ["--ink-soft", "--panel-edge"].map((name) => style.getPropertyValue(name).trim());
    let low = 0, high = 0;
    for (const { values } of lines) {
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (high === low) high = low + 1;
    high += (high - low) * 0.05;
    const x = (at) => LEFT + (at / Math.max(frames - 1, 1)) * (width - LEFT - RIGHT);
    const y = (value) => height - BOTTOM - ((value - low) / (high - low)) * (height - TOP - BOTTOM);
    context.font = `11px ${style.getPropertyValue("--font").trim() || "sans-serif"}`;
    context.fillStyle = ink;
    context.strokeStyle = edge;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticks(low, high, 4)) {
      context.beginPath();
      context.moveTo(LEFT, Math.round(y(tick)) + 0.5);
      context.lineTo(width - RIGHT, Math.round(y(tick)) + 0.5);
      context.stroke();
      context.fillText(shortNumber(tick), LEFT - 6, y(tick));
    }
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const tick of ticks(first, first + frames - 1, Math.max(Math.floor(width / 90), 2))) {
      if (Number.isInteger(tick)) context.fillText(shortNumber(tick), x(tick - first), height - 6);
    }
    context.lineJoin = "round";
    for (const line of lines) this.drawLine(line, x, y, width);
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(x(frame)) + 0.5, TOP - 6);
    context.lineTo(Math.round(x(frame)) + 0.5, height - BOTTOM);
    context.stroke();
    for (const { values, color } of lines) {
      if (frame >= values.length || Number.isNaN(values[frame])) continue;
      context.fillStyle = color;
      context.beginPath();
      context.arc(x(frame), y(values[frame]), 3.5, 0, 2 * Math.PI);
      context.fill();
    }
  }

  // Draw no more points than pixels: the lowest and the highest value of each.
  drawLine({ values, color, faint }, x, y, width) {
    const { context } = this;
    const step = Math.max(Math.floor(values.length / width), 1);
    context.strokeStyle = color;
    context.globalAlpha = faint ? 0.35 : 1;
    context.lineWidth = 2;
    context.beginPath();
    let drawing = false;
    for (let at = 0; at < values.length; at += step) {
      if (Number.isNaN(values[at])) {
        drawing = false;
        continue;
      }
      let low = values[at], high = values[at];
      for (let i = at; i < Math.min(at + step, values.length); i++) {
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
      if (drawing) context.lineTo(x(at), y(low));
      else context.moveTo(x(at), y(low));
      if (high > low) context.lineTo(x(at), y(high));
      drawing = true;
    }
    context.stroke();
    context.globalAlpha = 1;
  }
}
